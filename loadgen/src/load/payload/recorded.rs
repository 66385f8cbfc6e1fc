//! Messages that were recorded: one to a line, as it was sent, or as the developer tools of
//! browsers write it: `{"type":"send","opcode":1,"data":"hello"}`, where opcode 2 is binary and
//! its data base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Generator, Kind};

const MESSAGES_MAX: usize = 10_000_000;

/// Messages, in the order of the recording.
#[derive(Debug)]
pub(crate) struct Recorded {
    bytes: Vec<u8>,
    /// Where each ends, and what it is.
    messages: Vec<(usize, Kind)>,
}

/// What a browser writes for a message.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    direction: Option<&'a str>,
    opcode: u8,
    data: String,
}

impl Recorded {
    /// All messages of a recording that were sent, not received.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut recorded = Self { bytes: Vec::new(), messages: Vec::new() };
        for (n, line) in text.lines().enumerate() {
            if line.is_empty() {
                continue;
            }
            recorded.add(line).map_err(|what| format!("line {}: {what}", n + 1))?;
        }
        if recorded.messages.is_empty() {
            return Err("there are no messages in it".to_owned());
        }
        Ok(recorded)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        // A message that happens to be JSON has hardly an opcode and data.
        let kind = match serde_json::from_str::<Frame<'_>>(line) {
            Ok(frame) if frame.direction == Some("receive") => return Ok(()),
            Ok(Frame { opcode: 1, data, .. }) => {
                self.bytes.extend_from_slice(data.as_bytes());
                Kind::Text
            }
            Ok(Frame { opcode: 2, data, .. }) => {
                let decoded = STANDARD.decode_vec(data, &mut self.bytes);
                decoded.map_err(|error| format!("the data of opcode 2 is no base64: {error}"))?;
                Kind::Binary
            }
            Ok(Frame { opcode: opcode @ (8..=10), .. }) => {
                return Err(format!("opcode {opcode} is a control frame; leave it out"));
            }
            Ok(Frame { opcode, .. }) => {
                return Err(format!("opcode {opcode} is no message; 1 is text, 2 is binary"));
            }
            Err(_) => {
                self.bytes.extend_from_slice(line.as_bytes());
                Kind::Text
            }
        };
        if self.messages.len() == MESSAGES_MAX {
            return Err("more than 10,000,000 messages".to_owned());
        }
        self.messages.push((self.bytes.len(), kind));
        Ok(())
    }

    /// How many there are: at least one.
    pub(crate) const fn len(&self) -> usize {
        self.messages.len()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.messages.iter().map(|(end, _)| *end);
        ends.clone().zip(std::iter::once(0).chain(ends)).map(|(to, from)| &self.bytes[from..to])
    }

    /// Appends the next one.
    #[inline]
    pub(super) fn write(&self, generator: &mut Generator, out: &mut Vec<u8>) -> Kind {
        let at = generator.turn(0, self.messages.len());
        let from = if at == 0 { 0 } else { self.messages[at - 1].0 };
        let (to, kind) = self.messages[at];
        out.extend_from_slice(&self.bytes[from..to]);
        kind
    }
}
