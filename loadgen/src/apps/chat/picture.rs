//! What a picture is, by its first bytes: nobody else's word is taken for it.

/// The formats that every browser shows and none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Gif,
    Jpeg,
    Png,
    Webp,
}

impl Media {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gif => "image/gif",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
        }
    }
}

/// Format and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) media: Media,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Reads the head of a picture; `None` if it is none of ours, or has no size.
pub(crate) fn facts(bytes: &[u8]) -> Option<Facts> {
    let (media, (width, height)) = match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => (Media::Png, png(bytes)?),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => (Media::Gif, gif(bytes)?),
        [0xff, 0xd8, 0xff, ..] => (Media::Jpeg, jpeg(bytes)?),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            (Media::Webp, webp(bytes)?)
        }
        _ => return None,
    };
    (width > 0 && height > 0).then_some(Facts { media, width, height })
}

fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    // The first chunk must be the header: length, name, width, height.
    (bytes.get(12..16)? == b"IHDR").then_some(())?;
    let side = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    Some((side(16)?, side(20)?))
}

fn gif(bytes: &[u8]) -> Option<(u32, u32)> {
    Some((u16_le(bytes, 6)?, u16_le(bytes, 8)?))
}

/// Walks the segments up to the start of the frame, which has the size.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(2..)?;
    loop {
        let [0xff, marker, body @ ..] = rest else { return None };
        match marker {
            0xff => rest = &rest[1..],         // a fill byte
            0x01 | 0xd0..=0xd7 => rest = body, // these stand alone
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                // Length, precision, height, width.
                return Some((u16_be(body, 5)?, u16_be(body, 3)?));
            }
            0xd8..=0xda => return None, // the data begins and no size was given
            _ => {
                let length = u16_be(body, 0)? as usize;
                // A length counts itself, so that each step goes on.
                rest = body.get(length.max(2)..)?;
            }
        }
    }
}

fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes.get(12..16)? {
        b"VP8X" => Some((u24_le(bytes, 24)? + 1, u24_le(bytes, 27)? + 1)),
        b"VP8L" => {
            (*bytes.get(20)? == 0x2f).then_some(())?;
            let bits = u32::from_le_bytes(*bytes.get(21..)?.first_chunk()?);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        b"VP8 " => {
            (bytes.get(23..26)? == [0x9d, 0x01, 0x2a]).then_some(())?;
            // The two highest bits are a scale.
            Some((u16_le(bytes, 26)? & 0x3fff, u16_le(bytes, 28)? & 0x3fff))
        }
        _ => None,
    }
}

fn u16_le(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u24_le(bytes: &[u8], at: usize) -> Option<u32> {
    let &[low, middle, high] = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes([low, middle, high, 0]))
}
