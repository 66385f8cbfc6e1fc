//! The server half without a socket: rooms, limits, pictures, the page's policy.

use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::assets::{content_security_policy, is_same_origin};
use super::picture::{Facts, Media, facts};
use super::protocol::{self, Command, Refusal, TEXT_CHARS_MAX};
use super::rooms::{
    Entered, Frame, HISTORY_BYTES_MAX, HISTORY_FRAMES_MAX, MEMBERS_MAX, Membership, ROOMS_MAX,
    Shared,
};

type TestShared = Shared<u32>;

fn enter(shared: &TestShared, connection: u32, room: &str, name: &str) -> Entered<u32> {
    shared.rooms().enter(connection, room, name, connection.into()).expect("there is room")
}

/// Posts a text as the chat does. Returns its id.
fn post(shared: &TestShared, member: Membership, tag: Option<&str>, text: &str) -> u64 {
    let mut rooms = shared.rooms();
    let ticket = rooms.ticket(member, tag, 1_000).expect("a member");
    rooms.record(member.room, &ticket, tag, Frame::Text(text.into()));
    ticket.id
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    result.expect_err("refused").code()
}

#[test]
fn members_come_and_go() {
    let shared = TestShared::default();
    let ada = enter(&shared, 1, "lobby", "Ada");
    let bo = enter(&shared, 2, "lobby", "Bo");
    assert_eq!(bo.count.members, 2);
    let (members, history) = shared.rooms().snapshot(ada.membership.room);
    let names: Vec<_> = members.iter().map(|member| &*member.name).collect();
    assert_eq!(names, ["Ada", "Bo"]);
    assert!(history.is_empty());

    let count = shared.rooms().leave(ada.membership).expect("she was there");
    assert_eq!(count.members, 1);
    assert!(count.version > bo.count.version);
    assert_eq!(shared.rooms().leave(ada.membership), None);
    assert_eq!(code(shared.rooms().ticket(ada.membership, None, 0)), "not-joined");
}

#[test]
fn names_in_a_room_are_different() {
    let shared = TestShared::default();
    let long = "n".repeat(protocol::NAME_CHARS_MAX);
    assert_eq!(&*enter(&shared, 1, "lobby", "Ada").name, "Ada");
    assert_eq!(&*enter(&shared, 2, "lobby", "ADA").name, "ADA (2)");
    assert_eq!(&*enter(&shared, 3, "lobby", "ada").name, "ada (3)");
    assert_eq!(&*enter(&shared, 4, "elsewhere", "ada").name, "ada");
    assert_eq!(*enter(&shared, 5, "lobby", &long).name, *long);
    let numbered = enter(&shared, 6, "lobby", &long).name;
    assert_eq!(*numbered, format!("{} (2)", &long[..28]));
}

#[test]
fn the_same_author_takes_its_place_again() {
    let shared = TestShared::default();
    let (author, other) = (shared.author(Some("secret")), shared.author(Some("other")));
    assert_ne!(author, other);
    assert_eq!(author, shared.author(Some("secret")));
    assert_ne!(shared.author(None), shared.author(None));

    let old = shared.rooms().enter(1, "lobby", "Ada", author).expect("there is room");
    let new = shared.rooms().enter(2, "lobby", "Ada", author).expect("there is room");
    assert_eq!(new.replaced, Some((old.membership.member, 1)));
    assert_eq!((&*new.name, new.count.members), ("Ada", 1));
    // The end of the old connection comes later, and takes nobody out.
    assert_eq!(shared.rooms().leave(old.membership), None);
    let third = shared.rooms().enter(3, "lobby", "Ada", other).expect("there is room");
    assert_eq!((&*third.name, third.replaced), ("Ada (2)", None));
}

#[test]
fn rooms_and_members_have_a_limit() {
    let shared = TestShared::default();
    let first = enter(&shared, 0, "room 0", "Ada");
    for number in 1..ROOMS_MAX {
        enter(&shared, 1, &format!("room {number}"), "Ada");
    }
    assert_eq!(code(shared.rooms().enter(1, "one more", "Ada", 1)), "too-many-rooms");
    // An empty one makes place, but not for as long as somebody is in it.
    shared.rooms().leave(first.membership);
    assert_eq!(shared.rooms().occupied().len(), ROOMS_MAX - 1);
    let more = enter(&shared, 1, "one more", "Ada");
    assert_ne!(more.membership.room, first.membership.room);

    for number in 1..MEMBERS_MAX {
        enter(&shared, 100 + u32::try_from(number).expect("small"), "one more", "Ada");
    }
    assert_eq!(code(shared.rooms().enter(9, "one more", "Ada", 9)), "room-full");
}

#[test]
fn history_is_bounded_and_outlives_its_members() {
    let shared = TestShared::default();
    let ada = enter(&shared, 1, "lobby", "Ada").membership;
    let ids: Vec<u64> =
        (0..=HISTORY_FRAMES_MAX).map(|n| post(&shared, ada, None, &n.to_string())).collect();
    assert!(ids.is_sorted_by(|one, next| one < next));
    shared.rooms().leave(ada);
    let (_, history) = shared.rooms().snapshot(ada.room);
    assert_eq!(history.len(), HISTORY_FRAMES_MAX);
    assert_eq!(history[0], Frame::Text("1".into()));

    let ada = enter(&shared, 1, "lobby", "Ada").membership;
    let large = "x".repeat(HISTORY_BYTES_MAX - 1);
    post(&shared, ada, None, &large);
    post(&shared, ada, None, "last");
    let (_, history) = shared.rooms().snapshot(ada.room);
    assert_eq!(history, [Frame::Text("last".into())]);
}

#[test]
fn what_has_a_tag_is_posted_once() {
    let shared = TestShared::default();
    let ada = enter(&shared, 1, "lobby", "Ada").membership;
    let bo = enter(&shared, 2, "lobby", "Bo").membership;
    post(&shared, ada, Some("tag"), "hello");
    let again = shared.rooms().ticket(ada, Some("tag"), 0).expect("a member");
    assert_eq!(again.posted, Some(Frame::Text("hello".into())));
    // A tag is its author's own.
    assert_eq!(shared.rooms().ticket(bo, Some("tag"), 0).expect("a member").posted, None);
}

#[test]
fn commands_are_read() {
    let join = r#"{"type":"join","name":"A\u0041","room":"lobby","token":null,"newer":[1]}"#;
    let expected = Command::Join { name: "AA".into(), room: "lobby".into(), token: None };
    assert_eq!(protocol::parse(join), Ok(expected));
    assert_eq!(protocol::parse(r#"{"type":"leave"}"#), Ok(Command::Leave));
    let typing = r#"{"on":true,"type":"typing"}"#;
    assert_eq!(protocol::parse(typing), Ok(Command::Typing { on: true }));
    for wrong in ["", "null", "[]", "{}", r#"{"type":"say"}"#, r#"{"type":"say","text":1}"#] {
        assert_eq!(code(protocol::parse(wrong)), "malformed", "{wrong}");
    }
}

#[test]
fn names_are_checked() {
    assert_eq!(protocol::check_name("  Ada  "), Ok("Ada"));
    assert_eq!(protocol::check_name("👩‍👧"), Ok("👩‍👧"));
    let longest = "é".repeat(32);
    assert_eq!(protocol::check_name(&longest), Ok(&*longest));
    let too_long = "é".repeat(33);
    for wrong in ["", "  ", "a\nb", "a\0", "\u{202e}adA", "\u{200b}", "\u{feff}", &too_long] {
        assert_eq!(code(protocol::check_name(wrong)), "name", "{wrong:?}");
    }
    assert_eq!(protocol::check_room(&"r".repeat(64)).map(str::len), Ok(64));
    assert_eq!(code(protocol::check_room(&"r".repeat(65))), "room");
}

#[test]
fn texts_and_tags_are_checked() {
    let longest = "🐟".repeat(TEXT_CHARS_MAX);
    assert_eq!(protocol::check_text(&longest), Ok(&*longest));
    assert_eq!(code(protocol::check_text(&format!("{longest}!"))), "text");
    assert_eq!(code(protocol::check_text(" \n ")), "text");
    assert_eq!(protocol::check_tag(None), Ok(None));
    assert_eq!(protocol::check_tag(Some("1")), Ok(Some("1")));
    assert_eq!(code(protocol::check_tag(Some(""))), "malformed");
    assert_eq!(code(protocol::check_tag(Some(&"x".repeat(65)))), "malformed");
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\0\0\0\0\x30";
const GIF: &[u8] = b"GIF89a\x05\0\x06\x01";
const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc0\0\x0b\x08\0\x10\x01\0";
const WEBP_LOSSY: &[u8] = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0abc\x9d\x01\x2a\x40\x01\xf0\0";
const WEBP_LOSSLESS: &[u8] = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x3f\xc0\x0b\0";
const WEBP_EXTENDED: &[u8] = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\xff\0\0\x0f\0\0";

#[test]
fn pictures_are_known_by_their_bytes() {
    for (bytes, media, width, height) in [
        (PNG, Media::Png, 256, 48),
        (GIF, Media::Gif, 5, 262),
        (JPEG, Media::Jpeg, 256, 16),
        (WEBP_LOSSY, Media::Webp, 320, 240),
        (WEBP_LOSSLESS, Media::Webp, 64, 48),
        (WEBP_EXTENDED, Media::Webp, 256, 16),
    ] {
        assert_eq!(facts(bytes), Some(Facts { media, width, height }));
        // Cut anywhere, it is none, and nothing panics.
        for length in 0..bytes.len() {
            assert_eq!(facts(&bytes[..length]), None, "{media:?} cut at {length}");
        }
    }
    for wrong in [&b"<svg>"[..], b"\xff\xd8\xff\xda\0\x02", b"GIF89a\0\0\x01\0", b"%PDF-1.7"] {
        assert_eq!(facts(wrong), None);
    }
}

#[test]
fn pictures_have_limits() {
    assert!(protocol::check_picture(PNG).is_ok());
    let mut large = PNG.to_vec();
    large.resize(protocol::PICTURE_BYTES_MAX, 0);
    assert!(protocol::check_picture(&large).is_ok());
    large.push(0);
    assert_eq!(code(protocol::check_picture(&large)), "picture-size");
    let mut wide = PNG.to_vec();
    wide[18..20].copy_from_slice(&[0x10, 0x01]);
    assert_eq!(code(protocol::check_picture(&wide)), "picture-size");
    assert_eq!(code(protocol::check_picture(b"<svg>")), "picture-format");
}

#[test]
fn picture_messages_are_taken_apart() {
    let frame = protocol::parse_picture(b"\0\x0b{\"tag\":\"t\"}rest").expect("well formed");
    assert_eq!((frame.head.tag.as_deref(), frame.picture), (Some("t"), &b"rest"[..]));
    for wrong in [&b""[..], b"\0", b"\0\x03{}", b"\0\x02{]", b"\xff\xff{}"] {
        assert_eq!(code(protocol::parse_picture(wrong)), "malformed");
    }
}

#[test]
fn an_allowance_fills_with_time() {
    let mut allowance = Allowance::default();
    let start = Instant::now();
    assert!((0..30).all(|_| allowance.spend(1, start)));
    assert!(!allowance.spend(1, start));
    assert!(!allowance.spend(2, start + Duration::from_millis(300)));
    assert!(allowance.spend(2, start + Duration::from_millis(400)));
    let later = start + Duration::from_secs(3_600);
    assert!(allowance.spend(30, later) && !allowance.spend(1, later));
}

#[test]
fn only_its_own_pages_use_the_socket() {
    let host = Some("chat.example:9001");
    assert!(is_same_origin(None, host));
    assert!(is_same_origin(Some("http://chat.example:9001"), host));
    assert!(is_same_origin(Some("https://CHAT.example:9001"), host));
    for wrong in ["null", "http://chat.example", "http://chat.example:9001.evil", "file://", ""] {
        assert!(!is_same_origin(Some(wrong), host), "{wrong}");
    }
    assert!(!is_same_origin(Some("http://chat.example:9001"), None));
}

#[test]
fn a_host_cannot_write_the_policy() {
    let policy = content_security_policy(Some("[::1]:9001"));
    assert!(policy.contains("connect-src 'self' ws://[::1]:9001 wss://[::1]:9001;"));
    for host in [None, Some(""), Some("a; script-src *"), Some("a b")] {
        assert!(content_security_policy(host).contains("connect-src 'self';"), "{host:?}");
    }
}
