//! The file, as it is written.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScript {
    pub(super) name: String,
    #[serde(default)]
    pub(super) strict: bool,
    #[serde(default)]
    pub(super) connect: RawConnect,
    #[serde(default)]
    pub(super) data: BTreeMap<String, RawData>,
    #[serde(default)]
    pub(super) reply: Vec<Spanned<RawReply>>,
    #[serde(default)]
    pub(super) step: Vec<Spanned<RawStep>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConnect {
    pub(super) path: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) subprotocols: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawData {
    pub(super) file: Spanned<String>,
    #[serde(default)]
    pub(super) order: RawOrder,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawOrder {
    #[default]
    Turn,
    Random,
    Connection,
}

/// What there is to send; exactly one of them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawKind {
    #[default]
    Text,
    Binary,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReply {
    pub(super) expect: Option<Spanned<String>>,
    pub(super) expect_exact: Option<Spanned<String>>,
    pub(super) expect_json: Option<Spanned<OneOrMore>>,
    pub(super) send: Spanned<String>,
    pub(super) kind: Option<RawKind>,
}

/// Exactly one of `send`.. to `close`, and what belongs to it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    pub(super) send: Option<Spanned<String>>,
    pub(super) send_file: Option<Spanned<String>>,
    pub(super) send_hex: Option<Spanned<String>>,
    pub(super) send_base64: Option<Spanned<String>>,
    pub(super) expect: Option<Spanned<String>>,
    pub(super) expect_exact: Option<Spanned<String>>,
    pub(super) expect_json: Option<Spanned<OneOrMore>>,
    pub(super) expect_bytes: Option<Spanned<String>>,
    pub(super) expect_any: Option<Spanned<bool>>,
    pub(super) think: Option<Spanned<String>>,
    pub(super) ping: Option<Spanned<bool>>,
    pub(super) close: Option<Spanned<RawClose>>,
    #[serde(rename = "loop")]
    pub(super) repeat: Option<Spanned<RawLoop>>,
    pub(super) kind: Option<Spanned<RawKind>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) measure: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClose {
    pub(super) code: Option<u16>,
    #[serde(default)]
    pub(super) reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLoop {
    pub(super) times: Option<u64>,
    #[serde(rename = "for")]
    pub(super) duration: Option<Spanned<String>>,
    pub(super) forever: Option<bool>,
    pub(super) steps: Vec<Spanned<RawStep>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawJson {
    /// What stands before the JSON: socket.io's `42`.
    pub(super) prefix: Option<Spanned<String>>,
    pub(super) pointer: Spanned<String>,
    pub(super) equals: Option<Spanned<toml::Value>>,
    pub(super) save: Option<Spanned<String>>,
}

/// A table, or an array of them.
pub(super) struct OneOrMore(pub(super) Vec<RawJson>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMoreVisitor)
    }
}

struct OneOrMoreVisitor;

impl<'de> Visitor<'de> for OneOrMoreVisitor {
    type Value = OneOrMore;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ pointer = \"/type\", equals = \"ack\" }, or an array of such tables")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMore, A::Error> {
        let one = RawJson::deserialize(MapAccessDeserializer::new(map))?;
        Ok(OneOrMore(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<OneOrMore, A::Error> {
        let mut more = Vec::new();
        while let Some(one) = all.next_element()? {
            more.push(one);
        }
        Ok(OneOrMore(more))
    }
}
