//! What a message is made of: bytes of some size, a template, lines of a file, a recording.
//!
//! A [`Payload`] is made once and shared by all threads. What changes from message to message
//! stands in a [`Generator`], one for each thread, and in [`Values`]. Writing a message allocates
//! nothing but what `out` needs to grow.

mod filling;
mod options;
mod recorded;
mod size;
mod template;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use filling::FILLING;
pub(crate) use options::PayloadOptions;
pub(crate) use recorded::Recorded;
pub(crate) use size::Size;
pub(crate) use template::{LineOrder, Lines, Names, Template};

/// Messages of a template that are looked at before a run.
const PREVIEWS: u64 = 8;

/// The type of a data message (RFC 6455 section 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Binary,
}

/// What templates can name.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values<'a> {
    /// The number of the connection, from 0.
    pub(crate) connection: u64,
    /// The number of the message on its connection, from 0.
    pub(crate) sequence: u64,
    /// Of the monotonic clock.
    pub(crate) now_ns: u64,
    /// Since 1970.
    pub(crate) now_unix_ms: u64,
    /// What a script has saved, in the order of [`Names::variables`]; what is missing is empty.
    pub(crate) variables: &'a [Box<[u8]>],
}

/// Random numbers, and whose turn it is: one for each thread. The same seed gives the same load.
#[derive(Debug)]
pub(crate) struct Generator {
    random: Xoshiro256PlusPlus,
    /// How often a line was taken from each source, by its place in `Names`.
    turns: Vec<u64>,
    thread: u64,
    threads: u64,
}

impl Generator {
    /// `threads` of them take lines in turn: each takes every `threads`th.
    pub(crate) fn new(seed: u64, thread: u64, threads: u64) -> Self {
        // Far apart for every thread, and the same for every run.
        let seed = seed ^ thread.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { random, turns: Vec::new(), thread, threads: threads.max(1) }
    }

    /// Random numbers for others too: think times, jitter.
    pub(crate) const fn random(&mut self) -> &mut Xoshiro256PlusPlus {
        &mut self.random
    }

    /// The number of the line to take from a source of so many.
    fn turn(&mut self, source: usize, lines: usize) -> usize {
        if self.turns.len() <= source {
            self.turns.resize(source + 1, 0);
        }
        let turn = &mut self.turns[source];
        let line = turn.wrapping_mul(self.threads).wrapping_add(self.thread);
        *turn = turn.wrapping_add(1);
        usize::try_from(line % lines as u64).unwrap_or(0)
    }
}

/// What messages are made of.
#[derive(Debug)]
pub(crate) struct Payload {
    content: Content,
    /// The share of messages that are text.
    text_share: f64,
    fragment_bytes: Option<NonZeroUsize>,
}

#[derive(Debug)]
enum Content {
    Sized(Size),
    Template(Template),
    Recorded(Recorded),
}

impl Payload {
    /// Bytes of this size: words where they are text, noise where they are not.
    pub(crate) const fn sized(size: Size) -> Self {
        Self { content: Content::Sized(size), text_share: 0.0, fragment_bytes: None }
    }

    /// What a template makes: text, if nothing else is said.
    pub(crate) const fn template(template: Template) -> Self {
        Self { content: Content::Template(template), text_share: 1.0, fragment_bytes: None }
    }

    /// What was recorded, in turn, each of the type that it had.
    pub(crate) const fn recorded(recorded: Recorded) -> Self {
        Self { content: Content::Recorded(recorded), text_share: 1.0, fragment_bytes: None }
    }

    /// With this share of text messages; what was recorded has types of its own.
    #[must_use]
    pub(crate) const fn text_share(mut self, share: f64) -> Self {
        self.text_share = share.clamp(0.0, 1.0);
        self
    }

    /// In frames of at most so many bytes of payload.
    #[must_use]
    pub(crate) const fn fragment(mut self, bytes: Option<NonZeroUsize>) -> Self {
        self.fragment_bytes = bytes;
        self
    }

    /// The size, where the content is filling that a stamp may be written over.
    pub(crate) const fn size(&self) -> Option<Size> {
        match self.content {
            Content::Sized(size) => Some(size),
            Content::Template(_) | Content::Recorded(_) => None,
        }
    }

    /// Most bytes of payload in a frame; `None`: a message is one frame.
    pub(crate) const fn fragment_bytes(&self) -> Option<NonZeroUsize> {
        self.fragment_bytes
    }

    /// Shows what will be sent: every message of a file, and some of a template. What is filling
    /// is not shown.
    pub(crate) fn preview(
        &self,
        mut look: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let template = match &self.content {
            Content::Sized(_) => return Ok(()),
            Content::Recorded(recorded) => return recorded.iter().try_for_each(look),
            Content::Template(template) => template,
        };
        if let Some(lines) = template.as_lines() {
            return lines.iter().try_for_each(look);
        }
        let mut generator = Generator::new(1, 0, 1);
        let now_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_unix_ms = now_unix.as_millis() as u64;
        (0..PREVIEWS).try_for_each(|sequence| {
            let mut message = Vec::new();
            let values = Values { sequence, now_unix_ms, ..Values::default() };
            template.render(&values, &mut generator, &mut message);
            look(&message)
        })
    }

    /// Appends the payload of the next message, and says what it is. What is text is UTF-8.
    #[inline]
    pub(crate) fn write(
        &self,
        values: &Values<'_>,
        generator: &mut Generator,
        out: &mut Vec<u8>,
    ) -> Kind {
        match &self.content {
            Content::Sized(size) => {
                let kind = self.kind(generator);
                let bytes = size.sample(generator.random());
                FILLING.write(kind, values.sequence, bytes, out);
                kind
            }
            Content::Template(template) => {
                template.render(values, generator, out);
                self.kind(generator)
            }
            Content::Recorded(recorded) => recorded.write(generator, out),
        }
    }

    fn kind(&self, generator: &mut Generator) -> Kind {
        // No random number where there is no choice.
        let text = self.text_share > 0.0
            && (self.text_share >= 1.0 || generator.random().random_bool(self.text_share));
        if text { Kind::Text } else { Kind::Binary }
    }

    /// In words, for the report: `32 B`, `lognormal, median 200 B, text`.
    pub(crate) fn describe(&self) -> String {
        let mut words = match &self.content {
            Content::Sized(size) => size.to_string(),
            Content::Template(_) => "template".to_owned(),
            Content::Recorded(recorded) => format!("{} recorded messages", recorded.len()),
        };
        let sized = matches!(self.content, Content::Sized(_));
        if self.text_share > 0.0 && self.text_share < 1.0 {
            words += &format!(", {:.0} % text", self.text_share * 100.0);
        } else if sized && self.text_share >= 1.0 {
            words += ", text";
        } else if !sized && self.text_share <= 0.0 {
            words += ", binary";
        }
        if let Some(bytes) = self.fragment_bytes {
            words += &format!(", in frames of {bytes} B");
        }
        words
    }
}

/// `80:20`: parts that are text and parts that are binary, as a share of text.
pub(crate) fn parse_mix(text: &str) -> Result<f64, String> {
    let parts = text.split_once(':').and_then(|(text, binary)| {
        Some((text.trim().parse::<u32>().ok()?, binary.trim().parse::<u32>().ok()?))
    });
    match parts {
        Some((text, binary)) if text > 0 || binary > 0 => {
            Ok(f64::from(text) / (f64::from(text) + f64::from(binary)))
        }
        _ => Err(format!("`{text}` is no mix; give parts of text and of binary, such as 80:20")),
    }
}
