use std::collections::HashSet;
use std::sync::Arc;

use clap::Parser;
use proptest::prelude::*;

use super::*;

fn names() -> Names {
    let lines = |text: &str, order| Arc::new(Lines::new(text.to_owned(), order).unwrap());
    Names {
        lines: vec![
            ("users".to_owned(), lines("anna\r\n\nbob\ncarl", LineOrder::Turn)),
            ("own".to_owned(), lines("a\nb\n", LineOrder::Connection)),
            ("any".to_owned(), lines("x\ny\n", LineOrder::Random)),
        ],
        variables: vec!["id".to_owned(), "token".to_owned()],
    }
}

fn render(template: &str, values: &Values<'_>) -> String {
    let template = Template::parse(template, &names()).unwrap();
    let mut out = Vec::new();
    template.render(values, &mut Generator::new(1, 0, 1), &mut out);
    String::from_utf8(out).unwrap()
}

fn wrong(template: &str) -> String {
    Template::parse(template, &names()).unwrap_err()
}

#[test]
fn places_are_filled_in() {
    let variables = [Box::from(*b"say \"hi\"\n\\"), Box::from(*b"t")];
    let values = Values {
        connection: 7,
        sequence: 18_446_744_073_709_551_615,
        now_ns: 0,
        now_unix_ms: 1_700_000_000_123,
        variables: &variables,
    };
    let text = render(r#"{"seq":{{seq}},"c":{{ conn }},"t":[{{now_ns}},{{now_ms}}]}"#, &values);
    assert_eq!(text, r#"{"seq":18446744073709551615,"c":7,"t":[0,1700000000123]}"#);
    assert_eq!(render("{{var token}}{{var id}}", &values), "tsay \"hi\"\n\\");
    let json = render("{{json var id}}", &values);
    assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "say \"hi\"\n\\");
    // One who has saved nothing yet.
    assert_eq!(render("[{{var id}}]", &Values::default()), "[]");
}

#[test]
fn what_is_no_place_stays() {
    let values = Values::default();
    for text in ["", "{", "}", "}}", "{\"a\":{\"b\":1}}", "ä€🦀", "{ {"] {
        assert_eq!(render(text, &values), text);
    }
    assert_eq!(render(r"\{{seq}} is {{seq}}", &values), "{{seq}} is 0");
}

#[test]
fn errors_say_where_and_what() {
    assert_eq!(
        wrong("ä {{sek}}").split(';').next(),
        Some("character 3: {{sek}} is unknown"),
        "characters, not bytes"
    );
    assert!(wrong("{{sek}}").contains("{{uuid}}"), "all places are named");
    assert!(wrong("{{seq").starts_with("character 1: `{{` without `}}`"));
    assert!(wrong("{{}}").starts_with("character 1: {{}} is unknown"));
    assert!(wrong("{{rand 5}}").contains("is unknown"));
    assert!(wrong("{{rand 5 1}}").contains("the smaller one first"));
    assert!(wrong("{{rand a b}}").contains("two whole numbers"));
    assert!(wrong("{{line nobody}}").contains("`nobody` (known: users, own, any)"));
    assert!(wrong("{{var nothing}}").contains("`nothing` (known: id, token)"));
    assert!(wrong("{{json seq x}}").contains("no `seq`"));
    let none = Template::parse("{{var id}}", &Names::default()).unwrap_err();
    assert!(none.contains("known: there are none"), "{none}");
}

#[test]
fn a_template_has_a_limit() {
    let many = "{{seq}}".repeat(10_001);
    assert!(wrong(&many).contains("more than 10,000 parts"));
    let long = "x".repeat(16 * 1024 * 1024 + 1);
    assert!(wrong(&long).contains("longer than 16 MiB"));
}

#[test]
fn uuids_are_random_ones() {
    let template = Template::parse("{{uuid}}", &names()).unwrap();
    let mut generator = Generator::new(9, 0, 1);
    let mut seen = HashSet::new();
    for _ in 0..1_000 {
        let mut out = Vec::new();
        template.render(&Values::default(), &mut generator, &mut out);
        let text = String::from_utf8(out).unwrap();
        let groups: Vec<_> = text.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(text.as_bytes()[14], b'4', "the version");
        assert!(b"89ab".contains(&text.as_bytes()[19]), "the variant");
        assert!(text.bytes().all(|b| b == b'-' || b"0123456789abcdef".contains(&b)));
        assert!(seen.insert(text));
    }
}

#[test]
fn random_numbers_reach_both_ends() {
    let template = Template::parse("{{rand -1 1}}", &names()).unwrap();
    let mut generator = Generator::new(3, 0, 1);
    let mut seen = HashSet::new();
    for _ in 0..200 {
        let mut out = Vec::new();
        template.render(&Values::default(), &mut generator, &mut out);
        seen.insert(String::from_utf8(out).unwrap());
    }
    assert_eq!(seen, HashSet::from(["-1".to_owned(), "0".to_owned(), "1".to_owned()]));
    let extremes = format!("{{{{rand {} {}}}}}", i64::MIN, i64::MIN);
    assert_eq!(render(&extremes, &Values::default()), i64::MIN.to_string());
}

#[test]
fn words_fill_as_much_as_is_asked_for() {
    let template = r#""{{fill 5}}{{fill uniform:100..200}}""#;
    let json = render(template, &Values::default());
    let text: String = serde_json::from_str(&json).unwrap();
    assert!((105..=205).contains(&text.len()), "words need no escapes in JSON: {json}");
    assert!(wrong("{{fill many}}").starts_with("character 1: `many` is no size"));
}

#[test]
fn some_templates_say_the_same_when_asked_again() {
    let same = |text| Template::parse(text, &names()).unwrap().is_repeatable();
    assert!(same("{{seq}} {{conn}} {{json var id}} {{line own}}"));
    for text in [
        "{{uuid}}",
        "{{rand 1 2}}",
        "{{now_ns}}",
        "{{now_ms}}",
        "{{line users}}",
        "{{line any}}",
        "{{fill 9}}",
    ] {
        assert!(!same(text), "{text}");
    }
}

#[test]
fn lines_come_in_turn_or_stay_with_their_connection() {
    let template = Template::parse("{{line users}}", &names()).unwrap();
    let take = |generator: &mut Generator| {
        let mut out = Vec::new();
        template.render(&Values::default(), generator, &mut out);
        String::from_utf8(out).unwrap()
    };
    let mut alone = Generator::new(0, 0, 1);
    let taken: Vec<_> = (0..4).map(|_| take(&mut alone)).collect();
    assert_eq!(taken, ["anna", "bob", "carl", "anna"], "CRLF and empty lines are no content");
    // Two threads share them out.
    let (mut first, mut second) = (Generator::new(0, 0, 2), Generator::new(0, 1, 2));
    assert_eq!([take(&mut first), take(&mut first)], ["anna", "carl"]);
    assert_eq!([take(&mut second), take(&mut second)], ["bob", "anna"]);
    let of = |connection| render("{{line own}}", &Values { connection, ..Values::default() });
    assert_eq!([of(0), of(1), of(2), of(0)], ["a", "b", "a", "a"]);
    let any: HashSet<_> = render(&"{{line any}}".repeat(50), &Values::default()).chars().collect();
    assert_eq!(any, HashSet::from(['x', 'y']));
    assert!(Lines::new("\n\r\n".to_owned(), LineOrder::Turn).unwrap_err().contains("no lines"));
}

#[test]
fn sizes_are_read() {
    let size = |text: &str| text.parse::<Size>();
    assert_eq!(size("32"), Ok(Size::Fixed(32)));
    assert_eq!(size("fixed:64KiB"), Ok(Size::Fixed(65_536)));
    assert_eq!(size("uniform:10..200"), Ok(Size::Uniform { min: 10, max: 200 }));
    assert_eq!(size("lognormal:200,1.5"), Ok(Size::Lognormal { median: 200, sigma: 1.5 }));
    for bad in [
        "",
        "x",
        "-1",
        "uniform:5",
        "uniform:9..5",
        "lognormal:200",
        "lognormal:0,1",
        "lognormal:200,NaN",
        "lognormal:200,inf",
        "lognormal:200,6",
        "normal:3",
        "1TB",
        "65MiB",
        "99999999999999999999",
    ] {
        assert!(size(bad).is_err(), "{bad}");
    }
    assert_eq!(parse_bytes("10kB"), Ok(10_000));
    assert_eq!(parse_bytes(" 2 MiB "), Ok(2 << 20));
    assert!(parse_bytes("18446744073709551615GiB").is_err(), "no overflow");
}

#[test]
fn sizes_are_as_their_distribution_says() {
    let mut generator = Generator::new(11, 0, 1);
    let mut sample = |text: &str| -> Vec<usize> {
        let size: Size = text.parse().unwrap();
        let mut all: Vec<_> = (0..20_000).map(|_| size.sample(generator.random())).collect();
        assert!(all.iter().all(|bytes| (size.min()..=size.max()).contains(bytes)));
        all.sort_unstable();
        all
    };
    let uniform = sample("uniform:10..200");
    assert_eq!((uniform[0], uniform[19_999]), (10, 200));
    assert!(uniform[10_000].abs_diff(105) <= 3, "{}", uniform[10_000]);
    let lognormal = sample("lognormal:200,1.5");
    assert!(lognormal[10_000].abs_diff(200) <= 10, "the median: {}", lognormal[10_000]);
    // One standard deviation above: 200 * e^1.5 = 896.
    assert!(lognormal[16_827].abs_diff(896) <= 60, "{}", lognormal[16_827]);
    assert_eq!(sample("lognormal:64MiB,5")[19_999], SIZE_BYTES_MAX, "cut, not longer");
}

#[test]
fn mixes_are_as_they_should() {
    assert_eq!(parse_mix("80:20"), Ok(0.8));
    assert_eq!(parse_mix("0:1"), Ok(0.0));
    for bad in ["", "80", "0:0", "a:b", "-1:2", "1:2:3"] {
        assert!(parse_mix(bad).is_err(), "{bad}");
    }
    let payload = Payload::sized(Size::Fixed(1)).text_share(0.8);
    let mut generator = Generator::new(5, 0, 1);
    let mut out = Vec::new();
    let mut write = |_| payload.write(&Values::default(), &mut generator, &mut out);
    let texts = (0..10_000).map(&mut write).filter(|kind| *kind == Kind::Text).count();
    assert!(texts.abs_diff(8_000) < 200, "{texts}");
}

#[test]
fn recordings_are_played_again() {
    let text = concat!(
        "hello\n\n",
        "{\"type\":\"send\",\"time\":1.5,\"opcode\":1,\"data\":\"a \\\"b\\\"\"}\r\n",
        "{\"type\":\"receive\",\"time\":1.6,\"opcode\":1,\"data\":\"not ours\"}\n",
        "{\"opcode\":2,\"data\":\"AAEC\"}\n",
        "{\"user\":1}\n",
    );
    let payload = Payload::recorded(Recorded::parse(text).unwrap());
    assert_eq!(payload.describe(), "4 recorded messages");
    let mut generator = Generator::new(0, 0, 1);
    let mut next = || {
        let mut out = Vec::new();
        (payload.write(&Values::default(), &mut generator, &mut out), out)
    };
    for _ in 0..2 {
        assert_eq!(next(), (Kind::Text, b"hello".to_vec()));
        assert_eq!(next(), (Kind::Text, b"a \"b\"".to_vec()));
        assert_eq!(next(), (Kind::Binary, vec![0, 1, 2]));
        assert_eq!(next(), (Kind::Text, b"{\"user\":1}".to_vec()));
    }
    let wrong = |text: &str| Recorded::parse(text).unwrap_err();
    assert!(wrong("").contains("no messages"));
    assert!(wrong("x\n{\"opcode\":2,\"data\":\"!\"}").starts_with("line 2: "), "with its line");
    assert!(wrong("{\"opcode\":9,\"data\":\"\"}").contains("control frame"));
    assert!(wrong("{\"opcode\":0,\"data\":\"\"}").contains("no message"));
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    payload: PayloadOptions,
}

fn options(arguments: &[&str]) -> Result<Payload, String> {
    let all = ["test"].iter().chain(arguments);
    let cli = Cli::try_parse_from(all).map_err(|error| error.to_string())?;
    cli.payload.payload()
}

#[test]
fn options_say_what_is_sent() {
    let describe = |arguments: &[&str]| options(arguments).unwrap().describe();
    assert_eq!(describe(&[]), "32 B");
    assert_eq!(describe(&["--bytes", "1KiB", "--text"]), "1024 B, text");
    assert_eq!(
        describe(&["--size", "uniform:1..9", "--mix", "80:20"]),
        "uniform, 1 to 9 B, 80 % text"
    );
    assert_eq!(describe(&["--size", "lognormal:200,1.5"]), "lognormal, median 200 B, sigma 1.5");
    assert_eq!(describe(&["--message", "hi {{seq}}"]), "template");
    assert_eq!(describe(&["--message", "hi", "--mix", "0:1"]), "template, binary");
    assert_eq!(describe(&["--bytes", "9", "--fragment", "4"]), "9 B, in frames of 4 B");
    for bad in [
        &["--bytes", "1", "--size", "2"][..],
        &["--bytes", "uniform:1..2"],
        &["--text", "--mix", "1:1"],
        &["--fragment", "0"],
        &["--message", "{{"],
        &["--lines-order", "random"],
    ] {
        assert!(options(bad).is_err(), "{bad:?}");
    }
    let missing = options(&["--lines", "no/such/file"]).unwrap_err();
    assert!(missing.starts_with("--lines no/such/file: "), "{missing}");
}

#[test]
fn files_are_read() {
    let file = |name: &str| format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    // Any text files will do.
    let lines = options(&["--lines", &file("Cargo.toml")]).unwrap();
    let mut out = Vec::new();
    lines.write(&Values::default(), &mut Generator::new(0, 0, 1), &mut out);
    assert_eq!(out, b"[package]");
    let whole = options(&["--message-file", &file("Cargo.toml"), "--fragment", "10"]).unwrap();
    out.clear();
    let kind = whole.write(&Values::default(), &mut Generator::new(0, 0, 1), &mut out);
    assert_eq!(kind, Kind::Text);
    assert!(out.starts_with(b"[package]\n") && !out.ends_with(b"\n"));
    assert_eq!(whole.fragment_bytes().map(NonZeroUsize::get), Some(10));
    let replay = options(&["--replay", &file("Cargo.toml")]).unwrap();
    assert!(replay.describe().ends_with("recorded messages"));
    assert!(options(&["--replay", &file("Cargo.toml"), "--text"]).is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_template_or_refused(text in "[{}a-z0-9 \\\\ä]{0,60}") {
        if let Ok(template) = Template::parse(&text, &names()) {
            let mut out = Vec::new();
            template.render(&Values::default(), &mut Generator::new(0, 0, 1), &mut out);
            prop_assert!(String::from_utf8(out).is_ok());
        }
    }

    #[test]
    fn decimals_and_json_strings_are_those_of_others(number: u64, text in any::<String>()) {
        let variables = [Box::from(text.as_bytes())];
        let values = Values { sequence: number, variables: &variables, ..Values::default() };
        let rendered = render("[{{seq}},{{json var id}}]", &values);
        let read: (u64, String) = serde_json::from_str(&rendered).unwrap();
        prop_assert_eq!(read, (number, text));
    }

    #[test]
    fn sized_messages_have_their_size_and_text_is_utf8(
        bytes in 0_usize..200_000,
        sequence: u64,
        text: bool,
    ) {
        let payload = Payload::sized(Size::Fixed(bytes)).text_share(f64::from(u8::from(text)));
        let mut out = b"before".to_vec();
        let values = Values { sequence, ..Values::default() };
        let kind = payload.write(&values, &mut Generator::new(0, 0, 1), &mut out);
        prop_assert_eq!(out.len(), 6 + bytes);
        prop_assert_eq!(kind == Kind::Text, text);
        prop_assert!(out.starts_with(b"before"), "it appends");
        prop_assert!(!text || String::from_utf8(out).is_ok());
    }

    #[test]
    fn the_same_seed_gives_the_same_messages(seed: u64) {
        let template = "{{uuid}} {{rand 0 1000000}} {{line any}}";
        let payload = Payload::template(Template::parse(template, &names()).unwrap());
        let write = |seed, thread| {
            let mut out = Vec::new();
            payload.write(&Values::default(), &mut Generator::new(seed, thread, 2), &mut out);
            out
        };
        prop_assert_eq!(write(seed, 0), write(seed, 0));
        prop_assert_ne!(write(seed, 0), write(seed, 1));
    }
}
