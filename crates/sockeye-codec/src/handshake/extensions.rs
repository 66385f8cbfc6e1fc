//! The grammar of `Sec-WebSocket-Extensions` (section 9.1).

use super::headers::{is_token_byte, trim_start};

/// How many extensions a value of the header lists; `None`: it is not such a list.
pub(super) fn count_extensions(value: &[u8]) -> Option<usize> {
    extensions(value).try_fold(0, |count, extension| extension.map(|_| count + 1))
}

/// The extensions that a value of the header lists.
///
/// ```text
/// extension-list  = 1#extension
/// extension       = extension-token *( ";" extension-param )
/// extension-param = token [ "=" (token | quoted-string) ]
/// ```
/// White space may stand between any two of these, and empty elements of the list are passed over
/// (RFC 2616 section 2.1). "When using the quoted-string syntax variant, the value after
/// quoted-string unescaping MUST conform to the 'token' ABNF."
///
/// `None`, and then nothing: from here on it is not such a list.
pub(crate) fn extensions(value: &[u8]) -> impl Iterator<Item = Option<Extension<'_>>> {
    let mut rest = trim_start(value);
    std::iter::from_fn(move || {
        while let [b',', after @ ..] = rest {
            rest = trim_start(after);
        }
        if rest.is_empty() {
            return None;
        }
        let extension = Extension::split_off(&mut rest).filter(|_| matches!(rest, [] | [b',', ..]));
        if extension.is_none() {
            rest = &[];
        }
        Some(extension)
    })
}

/// One extension of the list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension<'a> {
    pub(crate) name: &'a [u8],
    /// From the first `;` on, checked.
    parameters: &'a [u8],
}

/// One parameter of an extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: Option<Value<'a>>,
}

/// A token, which may have been quoted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a>(&'a [u8]);

impl<'a> Extension<'a> {
    fn split_off(rest: &mut &'a [u8]) -> Option<Self> {
        let name = token(rest)?;
        let parameters = *rest;
        while let [b';', ..] = rest {
            Parameter::split_off(rest)?;
        }
        Some(Self { name, parameters: &parameters[..parameters.len() - rest.len()] })
    }

    pub(crate) fn parameters(self) -> impl Iterator<Item = Parameter<'a>> {
        let mut rest = self.parameters;
        std::iter::from_fn(move || Parameter::split_off(&mut rest))
    }
}

impl<'a> Parameter<'a> {
    /// With the `;` before it.
    fn split_off(rest: &mut &'a [u8]) -> Option<Self> {
        *rest = trim_start(rest.strip_prefix(b";")?);
        let name = token(rest)?;
        let mut value = None;
        if let [b'=', after @ ..] = rest {
            *rest = trim_start(after);
            value = Some(Value(match rest {
                [b'"', after @ ..] => {
                    *rest = after;
                    quoted_token(rest)?
                }
                _ => token(rest)?,
            }));
        }
        Some(Self { name, value })
    }
}

impl<'a> Value<'a> {
    /// Without quotes and escapes.
    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> + 'a {
        self.0.iter().copied().filter(|&byte| byte != b'\\')
    }
}

/// Splits off a token and the white space behind it.
fn token<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = rest.iter().take_while(|byte| is_token_byte(**byte)).count();
    let (token, after) = rest.split_at(len);
    *rest = trim_start(after);
    (len > 0).then_some(token)
}

/// The same of a token in quotes, the first of which is gone already. Its escapes are left in it;
/// no token has a backslash of its own.
fn quoted_token<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let quoted = *rest;
    loop {
        *rest = match *rest {
            [b'"', after @ ..] => {
                let token = &quoted[..quoted.len() - rest.len()];
                *rest = trim_start(after);
                return (!token.is_empty()).then_some(token);
            }
            [b'\\', byte, after @ ..] | [byte, after @ ..] if is_token_byte(*byte) => after,
            _ => return None,
        };
    }
}
