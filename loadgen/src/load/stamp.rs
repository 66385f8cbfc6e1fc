//! What a message carries so that whoever gets it knows whose it is, the how-manieth, and since
//! when it has been on its way.

/// Bytes of a stamp.
pub(crate) const STAMP_BYTES: usize = 24;
/// In a text they are written as hexadecimal digits.
pub(crate) const TEXT_STAMP_BYTES: usize = 2 * STAMP_BYTES;
/// Begins each.
const MAGIC: [u8; 4] = *b"sk1\xf0";
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The number of the connection that sent it.
    pub(crate) connection: u32,
    /// The how-manieth of that connection, from 0.
    pub(crate) sequence: u64,
    /// When it was due, on the machine's monotonic clock.
    pub(crate) due_ns: u64,
}

impl Stamp {
    /// How long a message must be to have one.
    pub(crate) const fn bytes(is_text: bool) -> usize {
        if is_text { TEXT_STAMP_BYTES } else { STAMP_BYTES }
    }

    /// Writes it over the beginning of a payload, which has room for it.
    pub(crate) fn write(&self, payload: &mut [u8], is_text: bool) {
        let bytes = self.encode();
        if is_text {
            for (digits, byte) in payload.chunks_exact_mut(2).zip(bytes) {
                digits[0] = DIGITS[usize::from(byte >> 4)];
                digits[1] = DIGITS[usize::from(byte & 15)];
            }
        } else {
            payload[..STAMP_BYTES].copy_from_slice(&bytes);
        }
    }

    /// Finds one at the beginning of a payload.
    pub(crate) fn read(payload: &[u8], is_text: bool) -> Option<Self> {
        if !is_text {
            return Self::decode(payload.first_chunk()?);
        }
        let mut bytes = [0; STAMP_BYTES];
        let digits = payload.get(..TEXT_STAMP_BYTES)?;
        for (byte, digits) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: u8| DIGITS.iter().position(|known| *known == digit);
            *byte = (value(digits[0])? << 4 | value(digits[1])?) as u8;
        }
        Self::decode(&bytes)
    }

    fn encode(&self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.connection.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..].copy_from_slice(&self.due_ns.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; STAMP_BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (connection, rest) = rest.split_first_chunk()?;
        let (sequence, due_ns) = rest.split_first_chunk()?;
        (*magic == MAGIC).then_some(Self {
            connection: u32::from_le_bytes(*connection),
            sequence: u64::from_le_bytes(*sequence),
            due_ns: u64::from_le_bytes(due_ns.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stamp = Stamp { connection: 7, sequence: u64::MAX - 3, due_ns: 123_456_789_012_345 };
        for is_text in [false, true] {
            let mut payload = vec![b'x'; Stamp::bytes(is_text) + 5];
            stamp.write(&mut payload, is_text);
            assert_eq!(Stamp::read(&payload, is_text), Some(stamp));
            assert!(payload.ends_with(b"xxxxx"));
            assert!(!is_text || payload.is_ascii());
            assert_eq!(Stamp::read(&payload, !is_text), None);
            assert_eq!(Stamp::read(&payload[..Stamp::bytes(is_text) - 1], is_text), None);
        }
        assert_eq!(Stamp::read(&[b'x'; 100], true), None);
        assert_eq!(Stamp::read(&[0; 100], false), None);
    }
}
