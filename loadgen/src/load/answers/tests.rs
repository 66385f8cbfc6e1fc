use super::super::payload::{Names, Recorded, Size, Template};
use super::super::plan::{Plan, Scenario, tests::plan};
use super::*;

fn id(json: &str) -> Identity {
    Identity::of(json).unwrap_or_else(|| panic!("{json} names a message"))
}

#[test]
fn values_that_are_equal_are_the_same_name() {
    for (a, b) in [
        (r#""A""#, r#""\u0041""#),
        (r#""a/b""#, r#""a\/b""#),
        (r#""🐟""#, r#""\ud83d\udc1f""#),
        ("1", "1.0"),
        ("1", "1e0"),
        ("100", "1E2"),
        ("0", "-0"),
        ("0.5", "5e-1"),
        ("18446744073709551616", "18446744073709551616"),
    ] {
        assert_eq!(id(a), id(b), "{a} and {b}");
    }
}

#[test]
fn values_that_differ_are_different_names() {
    let all = [
        "1",
        r#""1""#,
        "-1",
        "1.5",
        r#""""#,
        r#"" ""#,
        // Beyond 2^53, beyond 2^64, beyond 2^127.
        "9007199254740993",
        "9007199254740992",
        "18446744073709551616",
        "18446744073709551617",
        "340282366920938463463374607431768211456",
        "340282366920938463463374607431768211457",
    ];
    for (n, a) in all.iter().enumerate() {
        for b in &all[..n] {
            assert_ne!(id(a), id(b), "{a} and {b}");
        }
    }
    for none in ["null", "true", "false", "{}", "[1]", r#""\ud800""#] {
        assert_eq!(Identity::of(none), None, "{none}");
    }
}

#[test]
fn answers_find_their_messages_in_any_order() {
    let flight = |sent_ns| Flight { sent_ns, ..Flight::default() };
    let mut answers = Answers::default();
    let ids: Vec<_> = (0..1000).map(|n| id(&n.to_string())).collect();
    for (n, id) in ids.iter().enumerate() {
        assert!(!answers.is_under_way(*id));
        answers.depart(*id, flight(n as u64));
        assert!(answers.is_under_way(*id));
    }
    for (n, id) in ids.iter().enumerate().rev().skip(10) {
        assert_eq!(answers.arrive(*id), Told::Answer(flight(n as u64)));
        assert_eq!(answers.arrive(*id), Told::Again);
    }
    assert_eq!(answers.len(), 10);
    assert_eq!(answers.arrive(id("\"5\"")), Told::Push);
    assert_eq!(answers.arrive(ids[900]), Told::Push, "too long ago");
    assert_eq!(answers.arrive(ids[ANSWERED_MAX - 1]), Told::Again);
    // The same name may be used again when it was answered.
    answers.depart(ids[0], flight(7));
    assert_eq!(answers.arrive(ids[0]), Told::Answer(flight(7)));
    assert_eq!(answers.drain().count(), 10);
    assert_eq!(answers.len(), 0);
}

#[test]
fn both_pointers_can_be_said() {
    let parse = |text: &str| text.parse::<AnswerId>().map(|it| (it.sent, it.received));
    let pointer = |text: &str| text.parse::<Pointer>().unwrap();
    for (text, sent, received) in [
        ("/id", "/id", "/id"),
        ("/id=/result/id", "/id", "/result/id"),
        ("/a~1b=/0", "/a~1b", "/0"),
        ("/id=", "/id", ""),
        ("=/id", "", "/id"),
        ("", "", ""),
        ("/a=b", "/a=b", "/a=b"),
    ] {
        assert_eq!(parse(text), Ok((pointer(sent), pointer(received))), "{text}");
        assert_eq!(text.parse::<AnswerId>().unwrap().to_string(), text);
    }
    assert!(parse("id").is_err() && parse("/id=id").is_ok() && parse("/~=/id").is_err());
}

#[test]
fn what_cannot_be_told_apart_is_known_before_the_run() {
    let template = |text| Payload::template(Template::parse(text, &Names::default()).unwrap());
    let lines = |text: &str| {
        Payload::template(Template::lines(
            super::super::payload::Lines::new(text.into(), Default::default()).unwrap(),
        ))
    };
    let answer_id: AnswerId = "/id".parse().unwrap();
    let open = plan();
    let closed = Plan { load: LoadKind::Closed, ..plan() };
    for good in [
        template(r#"{"id":{{seq}}}"#),
        template(r#"{"id":"{{uuid}}"}"#),
        lines("{\"id\":1}\n{\"id\":\"2\"}\n"),
        Payload::recorded(Recorded::parse("{\"id\":1}\n{\"id\":2}\n").unwrap()),
    ] {
        assert_eq!(answer_id.check(&good, &open), Ok(()), "{good:?}");
    }
    for (bad, what) in [
        (Payload::sized(Size::Fixed(32)), "looks into JSON"),
        (template("hello {{seq}}"), "message 1 has no string or number at `/id`: hello 0"),
        (template(r#"{"id":null}"#), "message 1 has no string or number"),
        (lines("{\"id\":1}\n{\"id\":2}\n{\"jd\":3}\n"), "message 3 has no string or number"),
        (template(r#"{"id":"{{conn}}"}"#), "all messages have the same"),
    ] {
        let error = answer_id.check(&bad, &open).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
    let same = template(r#"{"id":1}"#);
    assert_eq!(answer_id.check(&same, &closed), Ok(()));
    assert!(answer_id.check(&same, &Plan { in_flight: 2, ..closed }).is_err());
    let fanout = Plan { scenario: Scenario::Fanout, ..plan() };
    assert!(answer_id.check(&same, &fanout).unwrap_err().contains("fanout has none of"));
}
