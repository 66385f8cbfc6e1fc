//! What messages of a size are filled with.

use std::sync::LazyLock;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::Kind;

/// The same for every run.
pub(super) static FILLING: LazyLock<Filling> = LazyLock::new(Filling::new);

/// Larger than what a deflate window remembers, so that a large message does not repeat itself
/// within it.
const BLOCK_BYTES: usize = 64 * 1024;
/// A message begins at one of 64 places that stay in the nearest cache.
const STRIDE_BYTES: usize = 64;
const PLACES: u64 = 64;

/// Words, which compress as text does, and noise, which does not.
#[derive(Debug)]
pub(super) struct Filling {
    text: Vec<u8>,
    binary: Vec<u8>,
}

const WORDS: &[&str] = &[
    "the", "of", "and", "to", "in", "that", "is", "was", "for", "with", "message", "server",
    "river", "salmon", "net", "harbour", "north", "seven", "lantern", "copper", "quickly", "under",
    "between", "morning", "window", "paper", "signal", "carried", "without", "question", "yellow",
    "engine", "42", "2026", "price", "order",
];

impl Filling {
    fn new() -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
        let mut text = Vec::with_capacity(BLOCK_BYTES + 16);
        while text.len() < BLOCK_BYTES {
            text.extend_from_slice(WORDS[random.random_range(0..WORDS.len())].as_bytes());
            text.push(b' ');
        }
        text.truncate(BLOCK_BYTES);
        let mut binary = vec![0; BLOCK_BYTES];
        random.fill(&mut binary[..]);
        Self { text, binary }
    }

    /// Appends so many bytes, for the next message others.
    #[inline]
    pub(super) fn write(&self, kind: Kind, sequence: u64, bytes: usize, out: &mut Vec<u8>) {
        let block = match kind {
            Kind::Text => &self.text,
            Kind::Binary => &self.binary,
        };
        let place = usize::try_from(sequence % PLACES).unwrap_or(0) * STRIDE_BYTES;
        let (mut at, mut left) = (place, bytes);
        out.reserve(bytes);
        while left > 0 {
            let piece = left.min(BLOCK_BYTES - at);
            out.extend_from_slice(&block[at..at + piece]);
            (at, left) = (0, left - piece);
        }
    }
}
