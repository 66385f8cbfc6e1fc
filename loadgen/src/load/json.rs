//! One value of a JSON text, found by a pointer (RFC 6901). Nothing is built of what stands beside
//! it, and what is found is lent as it is written, so that no digit of a number is lost.

use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// As deep as a message may be nested is deeper than this.
const TOKENS_MAX: usize = 100;

/// A pointer, such as `/users/0/id`; the empty one is the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    text: Box<str>,
    tokens: Vec<Token>,
}

/// A step from a value to one of those that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: Box<str>,
    /// What it means to an array.
    index: Option<usize>,
}

/// What was to be looked into is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoJson;

impl Pointer {
    /// The text of the value that it leads to.
    ///
    /// # Errors
    /// The whole is not one JSON text.
    pub(crate) fn find<'a>(&self, json: &'a [u8]) -> Result<Option<&'a str>, NoJson> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let found = Search(&self.tokens).deserialize(&mut reader).map_err(|_| NoJson)?;
        reader.end().map_err(|_| NoJson)?;
        Ok(found)
    }
}

impl FromStr for Pointer {
    type Err = String;

    //= rfc6901#section-3
    //# json-pointer    = *( "/" reference-token )
    //# escaped         = "~" ( "0" / "1" )
    fn from_str(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut rest = text.split('/');
        if rest.next().is_some_and(|before| !before.is_empty()) {
            return Err(format!("`{text}` is no JSON pointer: it begins with `/`, as in `/id`"));
        }
        for token in rest {
            if token.replace("~0", "").replace("~1", "").contains('~') {
                let what = "`~` is written as `~0`, and a `/` that is part of a name as `~1`";
                return Err(format!("`{text}` is no JSON pointer: {what}"));
            }
            let name = token.replace("~1", "/").replace("~0", "~");
            tokens.push(Token { index: index(&name), name: name.into() });
        }
        if tokens.len() > TOKENS_MAX {
            return Err(format!("a JSON pointer has at most {TOKENS_MAX} steps here"));
        }
        Ok(Self { text: text.into(), tokens })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

//= rfc6901#section-4
//# characters comprised of digits (see ABNF below; note that leading zeros are not allowed)
fn index(name: &str) -> Option<usize> {
    let has_digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let is_index = has_digits && (name.len() == 1 || !name.starts_with('0'));
    if is_index { name.parse().ok() } else { None }
}

/// What is left of the way to a value.
struct Search<'p>(&'p [Token]);

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return serde::Deserialize::deserialize(reader)
                .map(|value: &RawValue| Some(value.get()));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some((token, rest)) = self.0.split_first() else { return Ok(None) };
        let mut found = None;
        // Where a name is there twice the last one counts, as with most readers.
        while let Some(is_it) = map.next_key_seed(IsNamed(&token.name))? {
            if is_it {
                found = map.next_value_seed(Search(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let Some((token, rest)) = self.0.split_first() else { return Ok(None) };
        let mut found = None;
        for at in 0.. {
            if Some(at) == token.index {
                let Some(here) = array.next_element_seed(Search(rest))? else { break };
                found = here;
            } else if array.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether the name of a member is this one.
struct IsNamed<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for IsNamed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for IsNamed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn find<'a>(pointer: &str, json: &'a str) -> Result<Option<&'a str>, NoJson> {
        pointer.parse::<Pointer>().expect(pointer).find(json.as_bytes())
    }

    #[test]
    fn the_examples_of_rfc_6901_lead_where_they_must() {
        // Section 5, but for the last member.
        let json = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,
            "k\"l":6," ":7,"m~n":8}"#;
        let whole = Ok(Some(json));
        assert_eq!(find("", json), whole);
        for (pointer, expected) in [
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(find(pointer, json), Ok(Some(expected)), "{pointer}");
        }
        assert_eq!(find("/~01", r#"{"~1":1,"/":2}"#), Ok(Some("1")), "~0 comes last");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for (pointer, json) in [
            ("/b", r#"{"a":1}"#),
            ("/a/b", r#"{"a":1}"#),
            ("/a/b", r#"{"a":"b"}"#),
            ("/a/b", r#"{"a":null}"#),
            ("/2", "[0,1]"),
            ("/01", "[0,1]"),
            ("/-", "[0,1]"),
            ("/+1", "[0,1]"),
            ("/99999999999999999999999", "[0,1]"),
            ("/a", "[0,1]"),
            ("/0", "true"),
            ("/a", "-1.5"),
        ] {
            assert_eq!(find(pointer, json), Ok(None), "{pointer} in {json}");
        }
        assert_eq!(find("/01", r#"{"01":1}"#), Ok(Some("1")), "of an object it is a name");
        assert_eq!(find("/a", r#"{"a":1,"a":2}"#), Ok(Some("2")));
        assert_eq!(
            find("/a", r#"{ "\u0061" : 12345678901234567890123 }"#).unwrap().unwrap().len(),
            23
        );
    }

    #[test]
    fn what_is_no_json_is_not_looked_into() {
        let deep = "[".repeat(100_000);
        for json in ["", "{", r#"{"a":1"#, r#"{"a":1}}"#, r#"{"a":1} x"#, "{'a':1}", "nul", &deep] {
            for pointer in ["", "/a", "/0"] {
                assert_eq!(find(pointer, json), Err(NoJson), "{pointer} in {json:.20}");
            }
        }
        assert_eq!("/a".parse::<Pointer>().unwrap().find(b"{\"a\":\"\xff\"}"), Err(NoJson));
    }

    #[test]
    fn what_is_no_pointer_is_told() {
        for text in ["id", "a/b", "/~", "/~2", "/a~b", "#/a"] {
            let error = text.parse::<Pointer>().unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is no JSON pointer: ")), "{error}");
        }
        assert!("/a".repeat(101).parse::<Pointer>().is_err());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a/~01\"\\\\]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a/~01]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_serde_json_finds(
            value in json(),
            pointer in "(/(a|~0|~1|0|1){0,2}){0,4}",
        ) {
            let text = value.to_string();
            let expected = value.pointer(&pointer).map(Value::to_string);
            prop_assert_eq!(find(&pointer, &text), Ok(expected.as_deref()));
        }

        #[test]
        fn bytes_of_any_kind_do_not_stop_it(bytes: Vec<u8>) {
            let _ = "/a/0".parse::<Pointer>().unwrap().find(&bytes);
        }
    }
}
