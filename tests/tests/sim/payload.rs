//! What the messages say: a line that tells what it is, and filler that no other message has at the
//! same place.

use std::sync::LazyLock;

use sockeye::sim::Random;

/// Filler is cut from one text: a lost, doubled or moved byte shows.
const TEXT_BYTES: usize = 1 << 19;
const LEN_MAX: usize = 1 << 18;

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut random = Random::new(1);
    (0..TEXT_BYTES).map(|_| char::from(b'!' + random.below(94) as u8)).collect()
});

fn filler(of: u64, len: usize) -> &'static str {
    let from = (of.wrapping_mul(0x9E37_79B9) % (TEXT_BYTES - LEN_MAX) as u64) as usize;
    &TEXT[from..from + len]
}

/// A message of `len` bytes, or of its first line if that is longer. `of` chooses the filler.
pub(crate) fn write(line: &str, of: u64, len: usize) -> String {
    let len = len.saturating_sub(line.len() + 1).min(LEN_MAX);
    let mut text = String::with_capacity(line.len() + 1 + len);
    text.push_str(line);
    text.push('\n');
    text.push_str(filler(of, len));
    text
}

/// The words of a message's line: the verb, and numbers. The rest is filler of the last number.
pub(crate) fn read(text: &str) -> Result<(&str, Vec<u64>), String> {
    let (line, rest) = text.split_once('\n').ok_or_else(|| format!("no line: {:.60}", text))?;
    let mut words = line.split(' ');
    let verb = words.next().unwrap_or_default();
    let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
    let numbers = numbers.map_err(|_| format!("not a line of ours: {line:.60}"))?;
    let of = numbers.last().copied().unwrap_or(0);
    if rest.len() > LEN_MAX || rest != filler(of, rest.len()) {
        return Err(format!("bytes are wrong behind `{line:.60}`"));
    }
    Ok((verb, numbers))
}
