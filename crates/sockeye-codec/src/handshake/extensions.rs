//! The grammar of `Sec-WebSocket-Extensions` (section 9.1).

use super::headers::{is_token_byte, trim_start};

/// How many extensions a value of the header lists.
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
/// `None`: it is not such a list.
pub(super) fn count_extensions(value: &[u8]) -> Option<usize> {
    let mut rest = trim_start(value);
    let mut count = 0;
    while !rest.is_empty() {
        if rest[0] != b',' {
            rest = skip_extension(rest)?;
            count += 1;
        }
        rest = match rest {
            [] => rest,
            [b',', rest @ ..] => trim_start(rest),
            _ => return None,
        };
    }
    Some(count)
}

fn skip_extension(value: &[u8]) -> Option<&[u8]> {
    let mut rest = skip_token(value)?;
    while let [b';', param @ ..] = rest {
        rest = skip_token(trim_start(param))?;
        if let [b'=', value @ ..] = rest {
            rest = match trim_start(value) {
                [b'"', quoted @ ..] => skip_quoted_token(quoted)?,
                token => skip_token(token)?,
            };
        }
    }
    Some(rest)
}

/// What follows a token and the white space behind it.
fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
    let len = bytes.iter().take_while(|byte| is_token_byte(**byte)).count();
    (len > 0).then(|| trim_start(&bytes[len..]))
}

/// The same of a token in quotes, the first of which is gone already.
fn skip_quoted_token(mut bytes: &[u8]) -> Option<&[u8]> {
    let mut len = 0;
    loop {
        bytes = match bytes {
            [b'"', rest @ ..] => return (len > 0).then(|| trim_start(rest)),
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] if is_token_byte(*byte) => rest,
            _ => return None,
        };
        len += 1;
    }
}
