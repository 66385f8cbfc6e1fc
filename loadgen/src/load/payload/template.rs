//! Messages with places that are filled in: `{"seq":{{seq}},"user":"{{uuid}}"}`.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::{FILLING, Generator, Kind, Size, Values};

/// A template is at most so long, and has at most so many places.
const TEMPLATE_BYTES_MAX: usize = 16 * 1024 * 1024;
const PARTS_MAX: usize = 10_000;

/// Which line is next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LineOrder {
    /// Each use takes the next line; behind the last one comes the first.
    #[default]
    Turn,
    /// Any.
    Random,
    /// A connection has its line, which stays: line 5 is that of connection 5.
    Connection,
}

/// The lines of a file.
#[derive(Debug)]
pub(crate) struct Lines {
    text: Box<str>,
    /// Where each begins and ends.
    bounds: Vec<(usize, usize)>,
    order: LineOrder,
}

impl Lines {
    /// All lines of a text that are not empty.
    pub(crate) fn new(text: String, order: LineOrder) -> Result<Self, String> {
        let text = text.into_boxed_str();
        let mut bounds = Vec::new();
        let mut from = 0;
        for line in text.split_inclusive('\n') {
            let content = line.trim_end_matches(['\n', '\r']);
            if !content.is_empty() {
                bounds.push((from, from + content.len()));
            }
            from += line.len();
        }
        if bounds.is_empty() {
            return Err("there are no lines in it".to_owned());
        }
        Ok(Self { text, bounds, order })
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bounds.iter().map(|(from, to)| &self.text.as_bytes()[*from..*to])
    }

    fn next(&self, source: usize, values: &Values<'_>, generator: &mut Generator) -> &[u8] {
        let lines = self.bounds.len();
        let line = match self.order {
            LineOrder::Turn => generator.turn(source, lines),
            LineOrder::Random => generator.random().random_range(0..lines),
            LineOrder::Connection => usize::try_from(values.connection % lines as u64).unwrap_or(0),
        };
        let (from, to) = self.bounds[line];
        &self.text.as_bytes()[from..to]
    }
}

/// What a template may refer to.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// For `{{line NAME}}`.
    pub(crate) lines: Vec<(String, Arc<Lines>)>,
    /// For `{{var NAME}}`.
    pub(crate) variables: Vec<String>,
}

/// A template that was read once. Rendering it allocates nothing but what `out` needs to grow.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(Box<[u8]>),
    Sequence,
    Connection,
    Uuid,
    Random {
        min: i64,
        max: i64,
    },
    NowNs,
    NowMs,
    /// So many bytes of words.
    Fill(Size),
    Inserted {
        from: Source,
        /// As a JSON string, with its quotes.
        json: bool,
    },
}

#[derive(Debug, Clone)]
enum Source {
    /// With its place in [`Names`].
    Line(usize, Arc<Lines>),
    Variable(usize),
}

const PLACES: &str = "{{seq}}, {{conn}}, {{uuid}}, {{rand MIN MAX}}, {{now_ns}}, {{now_ms}}, \
                      {{fill SIZE}}, {{line NAME}}, {{var NAME}}, \
                      {{json line NAME}}, {{json var NAME}}";

impl Template {
    /// Reads a template; the error says where and what.
    pub(crate) fn parse(text: &str, names: &Names) -> Result<Self, String> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err("the template is longer than 16 MiB".to_owned());
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            let before = &rest[..at];
            let inside = &rest[at + 2..];
            // `\{{` is two braces that are no place.
            if let Some(before) = before.strip_suffix('\\') {
                literal.push_str(before);
                literal.push_str("{{");
                rest = inside;
                continue;
            }
            literal.push_str(before);
            let character = text[..text.len() - rest.len() + at].chars().count() + 1;
            let wrong = |what: String| format!("character {character}: {what}");
            let Some(end) = inside.find("}}") else {
                let what = "`{{` without `}}`; write `\\{{` for two braces".to_owned();
                return Err(wrong(what));
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.as_bytes().into()));
                literal.clear();
            }
            parts.push(place(&inside[..end], names).map_err(wrong)?);
            if parts.len() > PARTS_MAX {
                return Err(wrong("more than 10,000 parts".to_owned()));
            }
            rest = &inside[end + 2..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.as_bytes().into()));
        }
        Ok(Self { parts })
    }

    /// Bytes that are as they are.
    pub(crate) fn literal(bytes: Vec<u8>) -> Self {
        Self { parts: vec![Part::Literal(bytes.into())] }
    }

    /// Lines, each as it is.
    pub(crate) fn lines(lines: Lines) -> Self {
        let from = Source::Line(0, Arc::new(lines));
        Self { parts: vec![Part::Inserted { from, json: false }] }
    }

    /// The lines, if it is nothing but them.
    pub(crate) fn as_lines(&self) -> Option<&Lines> {
        match &self.parts[..] {
            [Part::Inserted { from: Source::Line(_, lines), json: false }] => Some(lines),
            _ => None,
        }
    }

    /// For the same connection, sequence and variables it always says the same.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Literal(_) | Part::Sequence | Part::Connection => true,
            Part::Uuid | Part::Random { .. } | Part::NowNs | Part::NowMs | Part::Fill(_) => false,
            Part::Inserted { from: Source::Line(_, lines), .. } => {
                lines.order == LineOrder::Connection
            }
            Part::Inserted { from: Source::Variable(_), .. } => true,
        })
    }

    /// The bytes, if it has no places.
    pub(crate) fn as_literal(&self) -> Option<&[u8]> {
        match &self.parts[..] {
            [] => Some(&[]),
            [Part::Literal(bytes)] => Some(bytes),
            _ => None,
        }
    }

    /// Appends the next message.
    #[inline]
    pub(crate) fn render(&self, values: &Values<'_>, generator: &mut Generator, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Sequence => push_decimal(out, values.sequence),
                Part::Connection => push_decimal(out, values.connection),
                Part::Uuid => push_uuid(out, generator),
                Part::Random { min, max } => {
                    let number: i64 = generator.random().random_range(*min..=*max);
                    if number < 0 {
                        out.push(b'-');
                    }
                    push_decimal(out, number.unsigned_abs());
                }
                Part::NowNs => push_decimal(out, values.now_ns),
                Part::NowMs => push_decimal(out, values.now_unix_ms),
                Part::Fill(size) => {
                    let bytes = size.sample(generator.random());
                    FILLING.write(Kind::Text, values.sequence, bytes, out);
                }
                Part::Inserted { from, json } => {
                    let text = match from {
                        Source::Line(source, lines) => lines.next(*source, values, generator),
                        Source::Variable(at) => values.variables.get(*at).map_or(&[][..], |v| v),
                    };
                    if *json {
                        push_json(out, text);
                    } else {
                        out.extend_from_slice(text);
                    }
                }
            }
        }
    }
}

/// What stands between the braces.
fn place(text: &str, names: &Names) -> Result<Part, String> {
    let words: Vec<_> = text.split_whitespace().collect();
    match words[..] {
        ["seq"] => Ok(Part::Sequence),
        ["conn"] => Ok(Part::Connection),
        ["uuid"] => Ok(Part::Uuid),
        ["now_ns"] => Ok(Part::NowNs),
        ["now_ms"] => Ok(Part::NowMs),
        ["rand", min, max] => match (min.parse(), max.parse()) {
            (Ok(min), Ok(max)) if min <= max => Ok(Part::Random { min, max }),
            _ => Err(format!("{{{{{text}}}}} wants two whole numbers, the smaller one first")),
        },
        ["fill", size] => size.parse().map(Part::Fill),
        ["json", from, name] => {
            source(from, name, names).map(|from| Part::Inserted { from, json: true })
        }
        [from @ ("line" | "var"), name] => {
            source(from, name, names).map(|from| Part::Inserted { from, json: false })
        }
        _ => Err(format!("{{{{{text}}}}} is unknown; there are {PLACES}")),
    }
}

fn source(from: &str, name: &str, names: &Names) -> Result<Source, String> {
    let known = |names: Vec<&str>| {
        if names.is_empty() { "there are none".to_owned() } else { names.join(", ") }
    };
    match from {
        "line" => {
            let at = names.lines.iter().position(|(known, _)| known == name);
            let at = at.ok_or_else(|| {
                let all = known(names.lines.iter().map(|(name, _)| &**name).collect());
                format!("no lines are called `{name}` (known: {all})")
            })?;
            Ok(Source::Line(at, Arc::clone(&names.lines[at].1)))
        }
        "var" => {
            let at = names.variables.iter().position(|known| known == name);
            let at = at.ok_or_else(|| {
                let all = known(names.variables.iter().map(|name| &**name).collect());
                format!("nothing is saved as `{name}` (known: {all})")
            })?;
            Ok(Source::Variable(at))
        }
        _ => Err(format!("there is no `{from}`; write {{{{json line NAME}}}} or var")),
    }
}

/// Decimal digits, without the machinery of `write!`.
fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A random one: version 4 of RFC 9562.
fn push_uuid(out: &mut Vec<u8>, generator: &mut Generator) {
    let mut bytes = [0; 16];
    generator.random().fill_bytes(&mut bytes);
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    for (n, byte) in bytes.into_iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// A JSON string (RFC 8259 section 7).
fn push_json(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
