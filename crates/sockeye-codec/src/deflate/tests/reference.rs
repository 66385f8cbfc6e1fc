//! DEFLATE (RFC 1951) as simply as it can be read, to be right rather than fast. It knows how far
//! back each block refers, which zlib does not tell.

/// What a payload inflates to behind `history`, and the furthest that it refers back.
pub(super) fn inflate(history: &[u8], payload: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut bytes = payload.to_vec();
    bytes.extend([0, 0, 0xff, 0xff]);
    let mut reader = Reader { bytes: &bytes, bit: 0 };
    let mut out = history.to_vec();
    let mut furthest = 0;
    while reader.bit < 8 * bytes.len() {
        let last = reader.bits(1)? == 1;
        match reader.bits(2)? {
            0 => stored(&mut reader, &mut out)?,
            1 => {
                let mut lengths = [8; 288];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                let codes = (Huffman::new(&lengths), Huffman::new(&[5; 30]));
                compressed(&mut reader, &codes, &mut out, &mut furthest)?;
            }
            2 => {
                let codes = dynamic(&mut reader)?;
                compressed(&mut reader, &codes, &mut out, &mut furthest)?;
            }
            _ => return None,
        }
        if last {
            reader.bit = reader.bit.next_multiple_of(8);
        }
    }
    Some((out.split_off(history.len()), furthest))
}

struct Reader<'a> {
    bytes: &'a [u8],
    bit: usize,
}

impl Reader<'_> {
    fn bits(&mut self, count: usize) -> Option<usize> {
        let mut value = 0;
        for n in 0..count {
            let byte = *self.bytes.get(self.bit / 8)?;
            value |= usize::from(byte >> (self.bit % 8) & 1) << n;
            self.bit += 1;
        }
        Some(value)
    }
}

/// How many codes there are of each length, and the symbols in the order of their codes.
struct Huffman {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Huffman {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&len| counts[len] += 1);
        counts[0] = 0;
        let mut symbols: Vec<_> = (0..lengths.len()).filter(|&n| lengths[n] > 0).collect();
        symbols.sort_by_key(|&n| (lengths[n], n));
        Self { counts, symbols }
    }

    fn read(&self, reader: &mut Reader<'_>) -> Option<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for len in 1..16 {
            code |= reader.bits(1)?;
            let count = self.counts[len];
            if code < first + count {
                return Some(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

fn stored(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    reader.bit = reader.bit.next_multiple_of(8);
    let len = reader.bits(16)?;
    if reader.bits(16)? != !len & 0xffff {
        return None;
    }
    for _ in 0..len {
        out.push(reader.bits(8)? as u8);
    }
    Some(())
}

fn dynamic(reader: &mut Reader<'_>) -> Option<(Huffman, Huffman)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances) = (reader.bits(5)? + 257, reader.bits(5)? + 1);
    let count = reader.bits(4)? + 4;
    let mut lengths = [0; 19];
    for &place in &ORDER[..count] {
        lengths[place] = reader.bits(3)?;
    }
    let codes = Huffman::new(&lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (value, times) = match codes.read(reader)? {
            16 => (*lengths.last()?, 3 + reader.bits(2)?),
            17 => (0, 3 + reader.bits(3)?),
            18 => (0, 11 + reader.bits(7)?),
            len => (len, 1),
        };
        lengths.extend(std::iter::repeat_n(value, times));
    }
    let (literals, distances) = lengths.split_at(literals);
    Some((Huffman::new(literals), Huffman::new(distances)))
}

fn compressed(
    reader: &mut Reader<'_>,
    (literals, distances): &(Huffman, Huffman),
    out: &mut Vec<u8>,
    furthest: &mut usize,
) -> Option<()> {
    loop {
        let symbol = match literals.read(reader)? {
            byte @ 0..256 => {
                out.push(byte as u8);
                continue;
            }
            256 => return Some(()),
            symbol => symbol - 257,
        };
        let len = match symbol {
            0..8 => 3 + symbol,
            28 => 258,
            8..28 => {
                let extra = symbol / 4 - 1;
                3 + ((4 + symbol % 4) << extra) + reader.bits(extra)?
            }
            _ => return None,
        };
        let distance = match distances.read(reader)? {
            symbol @ 0..4 => 1 + symbol,
            symbol @ 4..30 => {
                let extra = symbol / 2 - 1;
                1 + ((2 + symbol % 2) << extra) + reader.bits(extra)?
            }
            _ => return None,
        };
        *furthest = distance.max(*furthest);
        let from = out.len().checked_sub(distance)?;
        for at in from..from + len {
            out.push(out[at]);
        }
    }
}
