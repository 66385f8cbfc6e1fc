use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::super::payload::{Generator, Values};
use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn parse(text: &str) -> Result<Script, String> {
    Script::parse(text, &folder())
}

/// The steps of a script, as `[[step]]` each.
fn steps(steps: &[&str]) -> Script {
    let text: Vec<_> = steps.iter().map(|step| format!("[[step]]\n{step}\n")).collect();
    parse(&format!("name = \"test\"\n{}", text.concat())).unwrap()
}

/// The error of a script: `name` is its first line, so a step's `[[step]]` is on the second.
fn wrong(rest: &str) -> String {
    let error = parse(&format!("name = \"test\"\n{rest}")).unwrap_err();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

/// A connection, driven by hand.
struct Driven<'a> {
    script: &'a Script,
    runner: Runner,
    generator: Generator,
    now_ns: u64,
    sent: String,
}

impl<'a> Driven<'a> {
    fn new(script: &'a Script) -> Self {
        let runner = Runner::new(script);
        let generator = Generator::new(1, 0, 1);
        Self { script, runner, generator, now_ns: 1_000, sent: String::new() }
    }

    fn moment(&self) -> Moment {
        Moment { now_ns: self.now_ns, now_unix_ms: 5, connection: 3 }
    }

    fn next(&mut self) -> Action<'a> {
        let mut out = Vec::new();
        let moment = self.moment();
        let action = self.runner.next(self.script, moment, &mut self.generator, &mut out);
        self.sent = String::from_utf8(out).unwrap();
        action
    }

    fn sends(&mut self) -> String {
        assert_eq!(self.next(), Action::Send { kind: Kind::Text });
        self.sent.clone()
    }

    fn takes(&mut self, kind: Kind, payload: &[u8]) -> Outcome<'a> {
        let mut out = b"before".to_vec();
        let (moment, message) = (self.moment(), (kind, payload));
        let generator = &mut self.generator;
        let outcome = self.runner.message(self.script, moment, message, generator, &mut out);
        self.sent = String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned();
        outcome
    }

    fn text(&mut self, payload: &str) -> Outcome<'a> {
        self.takes(Kind::Text, payload.as_bytes())
    }
}

const MET: Outcome<'_> = Outcome::Met { class: None };

#[test]
fn a_login_is_measured_and_its_answer_used() {
    let script = steps(&[
        "send = '{\"type\":\"login\",\"user\":{{conn}}}'",
        "expect_json = { pointer = \"/type\", equals = \"ack\", save = \"type\" }\n\
         timeout = \"2s\"\nmeasure = \"login\"",
        "send = 'thanks for {{var type}} {{seq}}'",
        "expect = 'you, {{var type}} {{seq}}'\nmeasure = \"thanks\"",
        "close = { code = 4000, reason = \"bye\" }",
    ]);
    assert_eq!(script.classes, ["login", "thanks"]);
    let mut one = Driven::new(&script);
    assert_eq!(one.sends(), "{\"type\":\"login\",\"user\":3}");
    assert_eq!(one.next(), Action::Expect { until_ns: 2_000_001_000 });
    one.now_ns += 10;
    assert_eq!(one.next(), Action::Expect { until_ns: 2_000_001_000 }, "asking changes nothing");
    assert_eq!(one.text("{\"type\":\"news\"}"), Outcome::Skipped);
    assert_eq!(one.text("no JSON"), Outcome::Skipped);
    assert_eq!(one.text("{\"type\":\"ack\"}"), Outcome::Met { class: Some(0) });
    assert_eq!(one.sends(), "thanks for ack 1");
    assert_eq!(one.text("you, ack 0"), Outcome::Skipped, "the number of another message");
    assert_eq!(
        one.text("thank you, ack 1"),
        Outcome::Met { class: Some(1) },
        "before it is waited for"
    );
    assert_eq!(one.next(), Action::Close { code: 4000, reason: "bye" });
    assert_eq!(one.next(), Action::Done);
    assert_eq!(one.next(), Action::Done);
    assert_eq!(one.text("late"), Outcome::Skipped);
}

#[test]
fn loops_turn_as_often_as_they_say() {
    let script = steps(&[
        "loop = { times = 2, steps = [{ send = \"a\" }, { loop = { times = 3, steps = [\n\
         { send = \"b\" }] } }] }",
        "send = \"c\"",
    ]);
    let mut one = Driven::new(&script);
    let said: Vec<_> = (0..9).map(|_| one.sends()).collect();
    assert_eq!(said.concat(), "abbbabbbc");
    assert_eq!(one.next(), Action::Done);

    let script =
        steps(&["loop = { for = \"1s\", steps = [{ think = \"400ms\" }] }", "ping = true"]);
    let mut one = Driven::new(&script);
    for _ in 0..3 {
        assert_eq!(one.next(), Action::Think { ns: 400_000_000 });
        one.now_ns += 400_000_000;
    }
    assert_eq!(one.next(), Action::Ping, "no turn begins after a second");
    assert_eq!(one.next(), Action::Done);

    let script = steps(&["loop = { forever = true, steps = [{ expect_any = true }] }"]);
    let mut one = Driven::new(&script);
    for _ in 0..1_000 {
        assert!(matches!(one.next(), Action::Expect { .. }));
        assert_eq!(one.text("x"), MET);
    }
}

#[test]
fn each_expectation_of_a_loop_has_all_of_its_time() {
    let each = "{ expect_any = true, timeout = \"1s\" }";
    let script = steps(&[&format!("loop = {{ times = 2, steps = [{each}] }}")]);
    let mut one = Driven::new(&script);
    assert_eq!(one.next(), Action::Expect { until_ns: 1_000_001_000 });
    one.now_ns += 900_000_000;
    assert_eq!(one.text("x"), MET);
    assert_eq!(one.next(), Action::Expect { until_ns: 1_900_001_000 });
    assert_eq!(one.runner.timed_out(&script), "line 3: no message came within 1s");
    assert_eq!(one.next(), Action::Done, "it gives up");
}

#[test]
fn every_way_to_expect() {
    let script = steps(&[
        "expect = \"bc\"",
        "expect_exact = \"abc\"",
        "expect_bytes = \"00 fF\"",
        "expect_json = [{ prefix = \"42\", pointer = \"/0\", equals = \"ev\" },\n\
         { pointer = \"/1/n\", equals = 1, save = \"n\" }, { pointer = \"/1\", save = \"all\" }]",
        "expect_exact = '1 {\"n\":1.0}'",
        "send = '{{var n}} {{var all}} {{json var all}}'",
    ]);
    let mut one = Driven::new(&script);
    assert_eq!(one.text("b c"), Outcome::Skipped);
    assert_eq!(one.text("abcd"), MET);
    assert_eq!(one.text("abcd"), Outcome::Skipped);
    assert_eq!(one.text("abc"), MET);
    assert_eq!(one.takes(Kind::Text, &[0, 255]), Outcome::Skipped, "text is not binary");
    assert_eq!(one.takes(Kind::Binary, &[0, 255]), MET);
    for no in ["[\"ev\",{\"n\":1}]", "42[\"ev\",{\"n\":2}]", "42[\"ev\"]", "42[\"no\",{\"n\":1}]"] {
        assert_eq!(one.text(no), Outcome::Skipped, "{no}");
    }
    assert_eq!(one.text("42[\"ev\",{\"n\":1.0}]"), MET, "1.0 is 1");
    assert_eq!(one.text("1.0 {\"n\":1.0}"), Outcome::Skipped);
    assert_eq!(one.text("1 {\"n\":1.0}"), MET);
    assert_eq!(one.sends(), "1.0 {\"n\":1.0} \"{\\\"n\\\":1.0}\"");
}

#[test]
fn every_way_to_send() {
    let script = steps(&[
        "send = \"{{seq}}\"\nkind = \"binary\"",
        "send_hex = \"00 01\"",
        "send_base64 = \"aGk=\"\nkind = \"text\"",
        "send_file = \"ticker.toml\"",
    ]);
    let mut one = Driven::new(&script);
    assert_eq!(one.next(), Action::Send { kind: Kind::Binary });
    assert_eq!(one.sent, "0");
    assert_eq!(one.next(), Action::Send { kind: Kind::Binary });
    assert_eq!(one.sent, "\0\u{1}");
    assert_eq!(one.sends(), "hi");
    assert!(one.sends().contains("channel-") && !one.sent.ends_with('\n'));
}

#[test]
fn replies_are_given_whenever_they_are_due() {
    let script = parse(
        "name = \"x\"\n[[reply]]\nexpect_exact = \"2\"\nsend = \"3\"\n\
         [[reply]]\nexpect_json = { pointer = \"/ping\" }\nsend = \"pong {{conn}}\"\nkind = \"binary\"\n\
         [[step]]\nthink = \"1s\"\n[[step]]\nexpect_any = true\n",
    )
    .unwrap();
    let mut one = Driven::new(&script);
    for _ in 0..2 {
        assert_eq!(one.text("2"), Outcome::Reply { kind: Kind::Text });
        assert_eq!(one.sent, "3");
    }
    assert_eq!(one.next(), Action::Think { ns: 1_000_000_000 });
    assert_eq!(one.text("{\"ping\":null}"), Outcome::Reply { kind: Kind::Binary });
    assert_eq!(one.sent, "pong 3");
    assert_eq!(one.text("22"), MET, "a reply's message does not meet a step, others do");
}

#[test]
fn strict_scripts_take_nothing_that_they_do_not_expect() {
    let text = "name = \"x\"\nstrict = true\n[[step]]\nexpect = \"a\"\n[[step]]\nexpect = \"b\"\n";
    let script = parse(text).unwrap();
    let mut one = Driven::new(&script);
    assert_eq!(one.text("a"), MET);
    let what = "line 5: a message came that this step does not expect";
    assert_eq!(one.text("a"), Outcome::Wrong(what));
    assert_eq!(one.next(), Action::Done);
    assert_eq!(one.text("b"), Outcome::Wrong("a message came that no step expects"));
}

#[test]
fn what_is_saved_has_a_limit() {
    let script = steps(&["expect_json = { pointer = \"\", save = \"all\" }"]);
    let long = format!("\"{}\"", "x".repeat(64 * 1024 + 1));
    let mut one = Driven::new(&script);
    assert_eq!(one.text(&long), Outcome::Wrong("a value to save is longer than 64 KiB"));
    assert_eq!(one.next(), Action::Done);
    let mut one = Driven::new(&script);
    assert_eq!(one.text(&long.replace("xx", "x")), MET);
}

#[test]
fn what_is_wrong_is_one_line_with_its_place_and_what_to_do() {
    let cases = [
        ("", "line 1: there are no steps"),
        ("[[step]]\nsent = \"x\"", "line 3: unknown field `sent`"),
        ("[[step]]\n\n", "line 2: this step does nothing; give it send, "),
        (
            "[[step]]\nsend = \"x\"\nexpect = \"y\"",
            "line 2: this step has send and expect; make two",
        ),
        ("[[step]\nping = true", "line 2: "),
        ("[[step]]\nsend = 5", "line 3: invalid type"),
        ("[[step]]\nsend = \"{{sek}}\"", "line 3: character 1: {{sek}} is unknown"),
        ("[[step]]\nsend = \"{{var id}}\"", "line 3: character 1: nothing is saved as `id`"),
        ("[[step]]\nexpect = \"{{uuid}}\"", "line 3: what is expected can name"),
        ("[[step]]\nexpect = \"\"", "line 3: every message contains nothing"),
        ("[[step]]\nexpect_any = false", "line 3: write expect_any = true"),
        ("[[step]]\nping = false", "line 3: write ping = true"),
        ("[[step]]\nping = true\ntimeout = \"1s\"", "line 4: timeout belongs to expect"),
        ("[[step]]\nexpect = \"x\"\nkind = \"text\"", "line 4: kind belongs to send"),
        ("[[step]]\nexpect = \"x\"\nmeasure = \"m\"", "line 4: nothing is sent before"),
        ("[[step]]\nexpect = \"x\"\ntimeout = \"2\"", "line 4: `2` is no duration"),
        ("[[step]]\nexpect = \"x\"\ntimeout = \"0s\"", "line 4: it must be longer than nothing"),
        ("[[step]]\nexpect = \"x\"\ntimeout = \"25h\"", "line 4: `25h` is longer than a day"),
        ("[[step]]\nthink = \"normal:1s\"", "line 3: `normal:1s` is no think time"),
        ("[[step]]\nthink = \"uniform:2s..1s\"", "line 3: `uniform:2s..1s` begins above its end"),
        ("[[step]]\nclose = { code = 1006 }", "line 3: 1006 may not stand in a close frame"),
        ("[[step]]\nclose = { code = 70000 }", "line 3: "),
        ("[[step]]\nclose = {}\n[[step]]\nping = true", "line 3: close is the end"),
        ("[[step]]\nloop = { times = 2, steps = [{ close = {} }] }", "line 3: close is the end"),
        ("[[step]]\nloop = { times = 2, steps = [] }", "line 3: the loop is empty"),
        ("[[step]]\nloop = { times = 0, steps = [{ ping = true }] }", "line 3: times is from 1"),
        ("[[step]]\nloop = { steps = [{ ping = true }] }", "line 3: a loop has one of"),
        (
            "[[step]]\nloop = { forever = true, steps = [{ send = \"x\" }, { think = \"0s\" }] }",
            "line 3: this loop would send without a pause",
        ),
        ("[[step]]\nsend_hex = \"0\"", "line 3: this is no hex"),
        ("[[step]]\nsend_hex = \"ff\"\nkind = \"text\"", "line 3: text must be UTF-8"),
        ("[[step]]\nsend_base64 = \"!\"", "line 3: this is no base64"),
        ("[[step]]\nsend_file = \"none.txt\"", "line 3: "),
        ("[[step]]\nexpect_json = { pointer = \"type\" }", "line 3: a pointer begins with a slash"),
        ("[[step]]\nexpect_json = { point = \"/type\" }", "line 3: unknown field `point`"),
        ("[[step]]\nexpect_json = []", "line 3: no conditions"),
        ("[[step]]\nexpect_json = \"/type\"", "line 3: invalid type: string \"/type\", expected {"),
        (
            "[[step]]\nexpect_json = { pointer = \"/a\", equals = 2026-01-01 }",
            "line 3: JSON has no dates",
        ),
        ("[data.users]\nfile = \"none.txt\"\n[[step]]\nping = true", "line 3: "),
        (
            "[data.users]\nfile = \"chat.toml\"\norder = \"any\"\n[[step]]\nping = true",
            "line 4: unknown variant",
        ),
        ("[connect]\npath = \"x\"\n[[step]]\nping = true", "line 3: a path begins with a slash"),
        (
            "[connect.headers]\nHost = \"x\"\n[[step]]\nping = true",
            "line 3: `Host` is not for a script",
        ),
        ("[connect.headers]\n\"a b\" = \"x\"\n[[step]]\nping = true", "line 3: `a b` is no name"),
        (
            "[connect.headers]\na = \"x\\r\\ny\"\n[[step]]\nping = true",
            "line 3: `a` has a value with control",
        ),
        ("[connect]\nsubprotocols = [\"a,b\"]\n[[step]]\nping = true", "line 3: `a,b` is no name"),
        ("[[reply]]\nsend = \"x\"\n[[step]]\nping = true", "line 2: a reply has one of"),
        (
            "[[reply]]\nexpect_json = { pointer = \"\", save = \"x\" }\nsend = \"x\"\n[[step]]\nping = true",
            "line 3: a reply saves nothing",
        ),
    ];
    let unlike: Vec<_> = cases
        .iter()
        .map(|(text, expected)| (wrong(text), expected))
        .filter(|(error, expected)| !error.starts_with(*expected))
        .collect();
    assert!(unlike.is_empty(), "{unlike:#?}");
    assert!(parse("").unwrap_err().contains("missing field `name`"));
}

#[test]
fn scripts_have_limits() {
    let mut nested = "{ ping = true }".to_owned();
    let wrapped = |steps: &str| format!("{{ loop = {{ times = 1, steps = [{steps}] }} }}");
    for _ in 0..7 {
        nested = wrapped(&nested);
    }
    let script = steps(&[&format!("loop = {{ times = 1, steps = [{nested}] }}")]);
    assert_eq!(script.depth, 8);
    assert_eq!(Driven::new(&script).next(), Action::Ping);
    let deeper = wrapped(&nested);
    let error = wrong(&format!("[[step]]\nloop = {{ times = 1, steps = [{deeper}] }}"));
    assert_eq!(error, "line 3: loops are nested more than 8 deep");
    let error = wrong(&"[[step]]\nping = true\n".repeat(10_001));
    assert_eq!(error, "line 20002: more than 10,000 steps; make a loop of them");
    let classes: String = (0..65)
        .map(|n| format!("[[step]]\nsend = \"x\"\n[[step]]\nexpect = \"x\"\nmeasure = \"{n}\"\n"))
        .collect();
    assert!(wrong(&classes).starts_with("line 326: more than 64 names"));
}

#[test]
fn the_request_to_upgrade_can_be_templates() {
    let script = parse(
        "name = \"x\"\n[connect]\npath = \"/room/{{conn}}\"\nheaders = { Authorization = \"B {{line t}}\" }\n\
         subprotocols = [\"a\", \"b\"]\n[data.t]\nfile = \"chat.toml\"\norder = \"connection\"\n\
         [[step]]\nping = true\n",
    )
    .unwrap();
    let values = Values { connection: 0, ..Values::default() };
    let render = |template: &Template| {
        let mut out = Vec::new();
        template.render(&values, &mut Generator::new(0, 0, 1), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(script.connect.path.as_ref().map(render).as_deref(), Some("/room/0"));
    let [(name, value)] = &script.connect.headers[..] else { panic!("one header") };
    assert_eq!(name, "Authorization");
    assert!(render(value).starts_with("B # People in chat rooms"));
    assert_eq!(script.connect.subprotocols, ["a", "b"]);
}

#[test]
fn think_times_are_as_their_distribution_says() {
    let mut generator = Generator::new(7, 0, 1);
    let mut sample = |text: &str| -> Vec<u64> {
        let pause = Pause::parse(text).unwrap();
        (0..10_000).map(|_| pause.sample_ns(generator.random())).collect()
    };
    assert!(sample("1.5s").iter().all(|ns| *ns == 1_500_000_000));
    assert!(sample("uniform:50ms..200ms").iter().all(|ns| (50_000_000..=200_000_000).contains(ns)));
    let exponential = sample("exponential:100ms");
    let mean_ns = exponential.iter().sum::<u64>() / 10_000;
    assert!(mean_ns.abs_diff(100_000_000) < 4_000_000, "{mean_ns}");
    let longer = exponential.iter().filter(|ns| **ns > 100_000_000).count();
    assert!(longer.abs_diff(3_679) < 200, "a share of 1/e is longer than the mean: {longer}");
    assert_eq!(pause::duration_ns("250us"), Ok(250_000));
    assert_eq!(pause::duration_ns("2m"), Ok(120_000_000_000));
    for bad in ["", "s", "1", "-1s", "1..s", "1e3s", "1 week", "99999999999999999999h"] {
        assert!(pause::duration_ns(bad).is_err(), "{bad}");
    }
}

#[test]
fn presets_are_good_scripts() {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let script = Script::load(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with('#'), "{}: it says what it is for", path.display());
        assert_eq!(Some(&*script.name), path.file_stem().and_then(|stem| stem.to_str()));
        assert!(!script.classes.is_empty());
        found.push(script.name);
    }
    found.sort();
    assert_eq!(found, ["chat", "graphql-ws", "socket-io", "ticker"]);
    let missing = Script::load(&folder().join("none.toml")).unwrap_err();
    assert!(missing.contains("none.toml: No such file"), "{missing}");
}

#[test]
fn the_example_of_the_guide_is_a_good_script() {
    let guide = fs::read_to_string(folder().join("../../docs/LOAD.md")).unwrap();
    let from = guide.find("```toml\n").unwrap() + "```toml\n".len();
    let to = from + guide[from..].find("```").unwrap();
    // A file that is there.
    let script = parse(&guide[from..to].replace("tokens.txt", "chat.toml")).unwrap();
    assert_eq!(script.classes, ["login", "say"]);
    let mut one = Driven::new(&script);
    assert_eq!(one.sends(), "{\"type\":\"login\"}");
    assert_eq!(one.text("ping"), Outcome::Reply { kind: Kind::Text });
    assert_eq!(one.text("{\"type\":\"welcome\"}"), Outcome::Met { class: Some(0) });
    for turn in 1..=10 {
        let said = one.sends();
        assert_eq!(said, format!("{{\"type\":\"say\",\"id\":\"3-{turn}\"}}"));
        assert_eq!(one.text(&said), Outcome::Met { class: Some(1) });
        assert!(matches!(one.next(), Action::Think { .. }));
    }
    assert_eq!(one.next(), Action::Close { code: 1000, reason: "done" });
}

#[test]
fn the_preset_of_socket_io_talks_as_its_server_does() {
    let script = Script::load(&folder().join("socket-io.toml")).unwrap();
    let mut one = Driven::new(&script);
    assert!(matches!(one.next(), Action::Expect { .. }));
    assert_eq!(one.text("0{\"sid\":\"e1\",\"upgrades\":[],\"pingInterval\":25000}"), MET);
    assert_eq!(one.sends(), "40");
    assert_eq!(one.text("40{\"sid\":\"s\\\"1\"}"), Outcome::Met { class: Some(0) });
    let said = one.sends();
    assert!(said.starts_with("421[\"hello\",{\"from\":\"s\\\"1\",\"text\":\""), "{said}");
    assert_eq!(one.text("2"), Outcome::Reply { kind: Kind::Text });
    assert_eq!(one.sent, "3");
    assert_eq!(one.text("4310[\"world\"]"), Outcome::Skipped, "the answer to message 10");
    assert_eq!(one.text("431[\"world\"]"), Outcome::Met { class: Some(1) });
    assert!(matches!(one.next(), Action::Think { .. }));
    assert!(one.sends().starts_with("422["));
}

#[test]
fn the_preset_of_graphql_ws_talks_as_its_server_does() {
    let script = Script::load(&folder().join("graphql-ws.toml")).unwrap();
    assert_eq!(script.connect.subprotocols, ["graphql-transport-ws"]);
    let mut one = Driven::new(&script);
    assert_eq!(one.sends(), "{\"type\":\"connection_init\",\"payload\":{}}");
    assert_eq!(one.text("{\"type\":\"ping\"}"), Outcome::Reply { kind: Kind::Text });
    assert_eq!(one.sent, "{\"type\":\"pong\"}");
    assert_eq!(one.text("{\"type\":\"connection_ack\"}"), Outcome::Met { class: Some(0) });
    assert!(one.sends().starts_with("{\"id\":\"1\",\"type\":\"subscribe\""));
    assert_eq!(one.text("{\"id\":\"0\",\"type\":\"next\"}"), Outcome::Skipped);
    assert_eq!(one.text("{\"id\":\"1\",\"type\":\"next\"}"), Outcome::Met { class: Some(1) });
    assert_eq!(one.text("{\"id\":\"1\",\"type\":\"complete\"}"), MET);
    assert!(matches!(one.next(), Action::Think { .. }));
}

proptest! {
    #[test]
    fn any_text_is_a_script_or_refused(text in "[a-z=\\[\\]{}\"'\n. #0-9]{0,200}") {
        if let Err(error) = parse(&text) {
            prop_assert!(!error.is_empty() && !error.contains('\n'));
        }
    }

    #[test]
    fn what_is_skipped_or_replied_to_changes_nothing(
        messages in prop::collection::vec("(0|40|2|43)?[\\[\\]{}\":,sid0-9]{0,12}", 0..30),
    ) {
        let script = Script::load(&folder().join("socket-io.toml")).unwrap();
        let mut one = Driven::new(&script);
        for text in messages {
            let mut before = one.next();
            while !matches!(before, Action::Expect { .. }) {
                before = one.next();
            }
            match one.text(&text) {
                Outcome::Skipped | Outcome::Reply { .. } => prop_assert_eq!(one.next(), before),
                Outcome::Met { .. } => prop_assert!(text.starts_with(['0', '4'])),
                Outcome::Wrong(what) => panic!("{what}"),
            }
        }
    }
}
