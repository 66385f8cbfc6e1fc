//! What page and server say to each other.
//!
//! JSON in text messages, told apart by `type`: [`Command`] from the page, [`Event`] to it. A
//! picture is a binary message both ways: two bytes with the length of a head (big-endian), the
//! head in JSON, the picture.
//!
//! A `tag` is a name that the page gives to what it posts. It comes back with the event, or with
//! the error, and what was posted under it in the same room is not posted twice.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::picture::{self, Facts};
use super::rooms::{MemberId, MemberName, RoomCount};

pub(crate) const NAME_CHARS_MAX: usize = 32;
pub(crate) const ROOM_CHARS_MAX: usize = 64;
pub(crate) const TEXT_CHARS_MAX: usize = 4_000;
pub(crate) const TAG_BYTES_MAX: usize = 64;
pub(crate) const PICTURE_BYTES_MAX: usize = 512 << 10;
/// A small file can unfold to more than a phone has memory for.
pub(crate) const PICTURE_SIDE_MAX: u32 = 4_096;
const HEAD_BYTES_MAX: usize = 1_024;

/// From the page.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Command<'a> {
    /// Go to a room, out of the one before.
    Join {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        room: Cow<'a, str>,
        /// A secret of the page, the same each time it connects. It may take its own place again
        /// when the server has not noticed yet that its connection is gone.
        #[serde(borrow, default)]
        token: Option<Cow<'a, str>>,
    },
    /// Out of the room, into none.
    Leave,
    Say {
        #[serde(borrow)]
        text: Cow<'a, str>,
        #[serde(borrow, default)]
        tag: Option<Cow<'a, str>>,
    },
    Typing {
        on: bool,
    },
}

/// The head of a picture from the page.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PictureHead<'a> {
    #[serde(borrow, default)]
    pub(crate) tag: Option<Cow<'a, str>>,
}

/// A picture from the page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PictureFrame<'a> {
    pub(crate) head: PictureHead<'a>,
    pub(crate) picture: &'a [u8],
}

/// To the page.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Event<'a> {
    /// First of all: the rooms that have somebody in them.
    Welcome {
        rooms: &'a [RoomCount],
    },
    /// How many are in a room now. Two shards may tell of the same room, so the higher `version`
    /// is right, whatever came first.
    Room(&'a RoomCount),
    /// You are in; as many events as `history` says follow that are old.
    Joined {
        room: &'a str,
        member: MemberId,
        /// May differ from the one that was wanted, if somebody has that.
        name: &'a str,
        author: &'a str,
        members: &'a [MemberName],
        history: usize,
    },
    Entered {
        member: MemberId,
        name: &'a str,
    },
    Left {
        member: MemberId,
    },
    /// Your place was taken by another connection with your token.
    Replaced,
    Typing {
        member: MemberId,
        on: bool,
    },
    /// `id` grows in each room; `author` is the same for all that was posted with one token.
    Message {
        id: u64,
        member: MemberId,
        name: &'a str,
        author: &'a str,
        at: u64,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<&'a str>,
    },
    /// The head of a picture.
    Picture {
        id: u64,
        member: MemberId,
        name: &'a str,
        author: &'a str,
        at: u64,
        media: &'a str,
        width: u32,
        height: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<&'a str>,
    },
    Error {
        code: &'a str,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<&'a str>,
    },
}

impl Event<'_> {
    pub(crate) fn to_json(&self) -> String {
        // Strings and numbers: there is nothing in it that JSON has no word for.
        serde_json::to_string(self).expect("an event is JSON")
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: &'static str,
    text: Cow<'static, str>,
    tag: Option<Box<str>>,
}

impl Refusal {
    fn new(code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into(), tag: None }
    }

    /// Names what was posted.
    pub(crate) fn about(mut self, tag: Option<&str>) -> Self {
        self.tag = tag.map(Into::into);
        self
    }

    #[cfg(test)]
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn to_json(&self) -> String {
        Event::Error { code: self.code, text: &self.text, tag: self.tag.as_deref() }.to_json()
    }

    fn malformed() -> Self {
        Self::new("malformed", "The server does not understand this message.")
    }

    pub(crate) fn not_joined() -> Self {
        Self::new("not-joined", "Join a room first.")
    }

    pub(crate) fn too_fast() -> Self {
        Self::new("too-fast", "Too much at once: wait a moment.")
    }

    pub(crate) fn busy() -> Self {
        Self::new("busy", "The server is too busy: try again.")
    }

    pub(crate) fn room_full() -> Self {
        Self::new("room-full", "This room is full.")
    }

    pub(crate) fn rooms_full() -> Self {
        Self::new("too-many-rooms", "There are too many rooms: choose one of them.")
    }
}

pub(crate) fn parse(text: &str) -> Result<Command<'_>, Refusal> {
    serde_json::from_str(text).map_err(|_| Refusal::malformed())
}

pub(crate) fn parse_picture(bytes: &[u8]) -> Result<PictureFrame<'_>, Refusal> {
    let (length, rest) = bytes.split_first_chunk().ok_or_else(Refusal::malformed)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length > HEAD_BYTES_MAX {
        return Err(Refusal::malformed());
    }
    let (head, picture) = rest.split_at_checked(length).ok_or_else(Refusal::malformed)?;
    let head = serde_json::from_slice(head).map_err(|_| Refusal::malformed())?;
    Ok(PictureFrame { head, picture })
}

/// A picture as it is sent out.
pub(crate) fn picture_frame(head: &Event<'_>, picture: &[u8]) -> Vec<u8> {
    let head = head.to_json();
    // The longest name and tag, all of it escaped, stay far below.
    let length = u16::try_from(head.len()).expect("the head of a picture is short");
    [&length.to_be_bytes(), head.as_bytes(), picture].concat()
}

pub(crate) fn check_name(name: &str) -> Result<&str, Refusal> {
    check_label(name, NAME_CHARS_MAX).ok_or_else(|| {
        let text = format!("A name has 1 to {NAME_CHARS_MAX} visible characters.");
        Refusal::new("name", text)
    })
}

pub(crate) fn check_room(room: &str) -> Result<&str, Refusal> {
    check_label(room, ROOM_CHARS_MAX).ok_or_else(|| {
        let text = format!("The name of a room has 1 to {ROOM_CHARS_MAX} visible characters.");
        Refusal::new("room", text)
    })
}

fn check_label(label: &str, chars_max: usize) -> Option<&str> {
    let label = label.trim();
    let fits = !label.is_empty() && label.chars().take(chars_max + 1).count() <= chars_max;
    (fits && !label.chars().any(is_deceptive)).then_some(label)
}

/// Characters with which one name can be made to look like another: invisible ones, and those that
/// turn the direction of what follows. The joiner U+200D stays, for emoji are made with it.
fn is_deceptive(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}')
}

pub(crate) fn check_text(text: &str) -> Result<&str, Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::new("text", "There is nothing in this message."));
    }
    if text.chars().take(TEXT_CHARS_MAX + 1).count() > TEXT_CHARS_MAX {
        let text = format!("A message has at most {TEXT_CHARS_MAX} characters.");
        return Err(Refusal::new("text", text));
    }
    Ok(text)
}

pub(crate) fn check_tag(tag: Option<&str>) -> Result<Option<&str>, Refusal> {
    match tag {
        Some(tag) if tag.is_empty() || tag.len() > TAG_BYTES_MAX => Err(Refusal::malformed()),
        tag => Ok(tag),
    }
}

pub(crate) fn check_picture(picture: &[u8]) -> Result<Facts, Refusal> {
    if picture.len() > PICTURE_BYTES_MAX {
        let text = format!("A picture has at most {} KiB.", PICTURE_BYTES_MAX >> 10);
        return Err(Refusal::new("picture-size", text));
    }
    let text = "Only PNG, JPEG, GIF and WebP pictures can be shown.";
    let facts = picture::facts(picture).ok_or_else(|| Refusal::new("picture-format", text))?;
    if facts.width.max(facts.height) > PICTURE_SIDE_MAX {
        let text = format!("A picture has at most {PICTURE_SIDE_MAX} pixels a side.");
        return Err(Refusal::new("picture-size", text));
    }
    Ok(facts)
}

/// As text, because the numbers of JavaScript have only 53 bits.
pub(crate) fn author_text(author: u64) -> String {
    format!("{author:016x}")
}
