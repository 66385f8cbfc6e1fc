//! What a step expects.

use memchr::memmem::Finder;
use serde_json::Value;

use super::super::payload::{Generator, Kind, Template, Values};

/// Recognizes a message.
#[derive(Debug)]
pub(super) enum Matcher {
    Any,
    Contains(Needle),
    Exact(Needle),
    Bytes(Box<[u8]>),
    Json {
        /// What stands before the JSON.
        prefix: Template,
        conditions: Vec<Condition>,
    },
}

/// What stands in the message.
#[derive(Debug)]
pub(super) enum Needle {
    Literal(Box<Finder<'static>>),
    /// It depends on what was sent or saved.
    Rendered(Template),
}

/// Something about a place in the JSON; it must be there at least.
#[derive(Debug)]
pub(super) struct Condition {
    /// RFC 6901
    pub(super) pointer: Box<str>,
    pub(super) equals: Option<Expected>,
    /// The variable that keeps what stands there.
    pub(super) save: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Expected {
    Value(Value),
    /// A string that depends on what was sent or saved.
    Rendered(Template),
}

/// Whether a message is the one.
#[derive(Debug)]
pub(super) enum Match {
    No,
    Yes,
    /// Yes, and this is its JSON, which may have something to save.
    Json(Value),
}

impl Needle {
    pub(super) fn literal(text: &[u8]) -> Self {
        Self::Literal(Box::new(Finder::new(text).into_owned()))
    }
}

impl Matcher {
    /// `scratch` is used behind what it has, and left as it was.
    pub(super) fn matches(
        &self,
        kind: Kind,
        payload: &[u8],
        values: &Values<'_>,
        generator: &mut Generator,
        scratch: &mut Vec<u8>,
    ) -> Match {
        let before = scratch.len();
        let matches = match self {
            Self::Any => true,
            Self::Contains(Needle::Literal(finder)) => finder.find(payload).is_some(),
            Self::Contains(Needle::Rendered(template)) => {
                template.render(values, generator, scratch);
                memchr::memmem::find(payload, &scratch[before..]).is_some()
            }
            Self::Exact(Needle::Literal(finder)) => finder.needle() == payload,
            Self::Exact(Needle::Rendered(template)) => {
                template.render(values, generator, scratch);
                scratch[before..] == *payload
            }
            Self::Bytes(bytes) => kind == Kind::Binary && **bytes == *payload,
            Self::Json { prefix, conditions } => {
                prefix.render(values, generator, scratch);
                let json = payload.strip_prefix(&scratch[before..]);
                scratch.truncate(before);
                let json = json.and_then(|json| serde_json::from_slice::<Value>(json).ok());
                let Some(json) = json else { return Match::No };
                let mut met = |condition: &Condition| {
                    let found = json.pointer(&condition.pointer);
                    let met = found.is_some_and(|found| match &condition.equals {
                        None => true,
                        Some(Expected::Value(value)) => is_same(found, value),
                        Some(Expected::Rendered(template)) => {
                            template.render(values, generator, scratch);
                            found.as_str().map(str::as_bytes) == Some(&scratch[before..])
                        }
                    });
                    scratch.truncate(before);
                    met
                };
                return if conditions.iter().all(&mut met) { Match::Json(json) } else { Match::No };
            }
        };
        scratch.truncate(before);
        if matches { Match::Yes } else { Match::No }
    }

    /// What of the JSON is to be kept, and in which variable: a string as it is, all else as JSON.
    pub(super) fn saved(&self, json: &Value) -> impl Iterator<Item = (usize, String)> {
        let conditions = match self {
            Self::Json { conditions, .. } => &conditions[..],
            _ => &[],
        };
        conditions.iter().filter_map(|condition| {
            let found = json.pointer(&condition.pointer)?;
            let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
            Some((condition.save?, text))
        })
    }

    /// In a few words.
    pub(super) fn describe(&self) -> String {
        let needle = |needle: &Needle| match needle {
            Needle::Literal(finder) => {
                let text = String::from_utf8_lossy(finder.needle());
                let short: String = text.chars().take(40).collect();
                format!("`{short}`")
            }
            Needle::Rendered(_) => "what its template says".to_owned(),
        };
        match self {
            Self::Any => "no message".to_owned(),
            Self::Contains(text) => format!("no message that contains {}", needle(text)),
            Self::Exact(text) => format!("no message that is {}", needle(text)),
            Self::Bytes(bytes) => format!("no message with these {} bytes", bytes.len()),
            Self::Json { conditions, .. } => {
                let pointers: Vec<_> =
                    conditions.iter().map(|c| format!("`{}`", c.pointer)).collect();
                format!("no JSON as expected at {}", pointers.join(" and "))
            }
        }
    }
}

/// 1 and 1.0 are the same number.
fn is_same(found: &Value, expected: &Value) -> bool {
    match (found.as_f64(), expected.as_f64()) {
        // Whole numbers beyond 2^53 differ, though as floats they do not.
        (Some(a), Some(b)) if found.is_f64() != expected.is_f64() => a == b,
        _ => found == expected,
    }
}
