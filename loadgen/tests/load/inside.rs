//! What stands inside messages: answers that are told by it, and times that pushed messages carry.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::peers::{Peer as _, Tungstenite};
use crate::process::{Process, Server};
use crate::rig::{assert_clean, load_with, number};

/// A short run with a template, if there is one. Returns its report and the exit code.
fn load(url: &str, arguments: &str, template: Option<&str>) -> (Value, i32) {
    let more = template.map(|template| ["--message", template]);
    let (report, ended) = load_with(url, arguments, more.as_ref().map_or(&[], |more| more));
    (report, ended.status.code().expect("it was not killed"))
}

fn total(report: &Value, name: &str) -> f64 {
    number(report, &format!("/totals/{name}"))
}

/// The line that is said of a command line that is wrong.
fn refusal(arguments: &str, template: &str) -> String {
    let mut all = vec!["load", "ws://127.0.0.1:1/"];
    all.extend(arguments.split_whitespace());
    all.extend(["--message", template]);
    let ended = Process::run(&all);
    assert_eq!(ended.status.code(), Some(2), "{arguments}: {:?}", ended.stderr);
    ended.stderr.join("\n")
}

/// The next message, if one comes before the time is over; `Err`: the client is gone.
fn next(server: &mut WebSocket<TcpStream>) -> Result<Option<Message>, ()> {
    match server.read() {
        Ok(message) if message.is_text() => Ok(Some(message)),
        Ok(_) => Ok(None),
        Err(tungstenite::Error::Io(error))
            if matches!(error.kind(), std::io::ErrorKind::WouldBlock) =>
        {
            Ok(None)
        }
        Err(_) => Err(()),
    }
}

/// Answers in heaps, each from its last message to its first. What is left when nothing comes for a
/// moment is a heap, too.
fn answer_reversed(server: &mut WebSocket<TcpStream>, answer: fn(Message) -> Message) {
    const HEAP: usize = 4;
    let moment = Some(Duration::from_millis(20));
    server.get_ref().set_read_timeout(moment).expect("it is a socket");
    let mut heap = Vec::new();
    loop {
        let Ok(message) = next(server) else { return };
        let is_pause = message.is_none();
        heap.extend(message);
        if heap.len() < HEAP && !is_pause {
            continue;
        }
        while let Some(message) = heap.pop() {
            if server.send(answer(message)).is_err() {
                return;
            }
        }
    }
}

#[test]
fn answers_are_told_in_any_order() {
    let plain = Tungstenite::serving(|mut server| answer_reversed(&mut server, |it| it));
    let wrapped = Tungstenite::serving(|mut server| {
        answer_reversed(&mut server, |it| Message::text(format!(r#"[{{}}, {{"result":{it}}}]"#)))
    });
    let cases = [
        ("/id", r#"{"id":{{seq}}}"#),
        ("/id", r#"{"id":"{{uuid}}","text":"{{fill 300}}"}"#),
        // Further than any machine's integers.
        ("/id", r#"{"id":98765432109876543210987654321098765432{{seq}}}"#),
        ("/a~1b/1/m~0n", r#"{"a/b":[0,{"m~n":"{{conn}}-{{seq}}"}]}"#),
        ("/0", "[{{seq}}]"),
        ("", "{{seq}}"),
    ];
    for (pointer, template) in cases {
        let received = format!("/1/result{pointer}");
        for (server, id) in
            [(&plain, pointer.to_owned()), (&wrapped, format!("{pointer}={received}"))]
        {
            let url = format!("ws://{}/", server.address());
            for way in ["--rate 500", "--closed --in-flight 6"] {
                let arguments = format!("--connections 3 --duration 300ms {way} --answer-id={id}");
                let what = format!("{arguments} {template}");
                let (report, _) = load(&url, &arguments, Some(template));
                assert_clean(&report, &what);
                let sent = total(&report, "messages_sent");
                assert!(sent > 10.0, "{what}: {sent}");
                assert_eq!(total(&report, "messages_received"), sent, "{what}");
                assert_eq!(total(&report, "pushed"), 0.0, "{what}");
                assert_eq!(number(&report, "/latency/service/count"), sent, "{what}");
                assert_eq!(report["plan"]["answer_id"], id, "{what}");
            }
        }
    }
    // By their order these are the wrong ones.
    let url = format!("ws://{}/", plain.address());
    let arguments = "--connections 1 --duration 300ms --closed --in-flight 6";
    let (report, _) = load(&url, arguments, Some("{{seq}}"));
    assert!(total(&report, "mismatches") > 0.0);
}

#[test]
fn an_answer_counts_from_when_its_own_message_was_sent() {
    // The first message is answered when twenty others were, or when no more come.
    let server = Tungstenite::serving(|mut server| {
        let moment = Some(Duration::from_secs(1));
        server.get_ref().set_read_timeout(moment).expect("it is a socket");
        let (mut first, mut count) = (None, 0);
        while let Ok(message) = next(&mut server) {
            let is_pause = message.is_none();
            count += u32::from(!is_pause);
            if count == 1 && !is_pause {
                first = message;
                continue;
            }
            // The client sends the next one when it has this answer.
            thread::sleep(Duration::from_millis(5));
            let held = if count >= 21 || is_pause { first.take() } else { None };
            if [message, held].into_iter().flatten().any(|it| server.send(it).is_err()) {
                return;
            }
        }
    });
    let url = format!("ws://{}/", server.address());
    let arguments = "--connections 1 --duration 1s --closed --in-flight 2 --answer-id /id";
    let (report, _) = load(&url, arguments, Some(r#"{"id":{{seq}}}"#));
    assert_clean(&report, "held back");
    let [median, max] =
        ["p50_ns", "max_ns"].map(|name| number(&report, &format!("/latency/service/{name}")));
    // Twenty answers of 5 ms each passed before it.
    assert!(max >= 99e6 && median >= 5e6, "{median} {max}");
    assert_eq!(total(&report, "messages_sent"), total(&report, "messages_received"));
}

/// Answers each message, and sends this after it.
fn answer_and(server: &mut WebSocket<TcpStream>, more: fn(&Message) -> Vec<Message>) {
    while let Ok(message) = next(server) {
        let Some(message) = message else { continue };
        let more = more(&message);
        if [vec![message], more].concat().into_iter().any(|it| server.send(it).is_err()) {
            return;
        }
    }
}

#[test]
fn what_answers_none_is_pushed() {
    let server = Tungstenite::serving(|mut server| {
        answer_and(&mut server, |_| {
            ["[]", r#"{"id":"nobody"}"#, r#"{"id":null}"#, r#"{"id":"0"}"#, "0"]
                .map(Message::text)
                .to_vec()
        });
    });
    let url = format!("ws://{}/", server.address());
    let arguments = "--connections 2 --duration 300ms --rate 300 --answer-id /id";
    let (report, _) = load(&url, arguments, Some(r#"{"id":{{seq}}}"#));
    assert_clean(&report, "pushed");
    let [sent, received, pushed] =
        ["messages_sent", "messages_received", "pushed"].map(|name| total(&report, name));
    let answers = number(&report, "/latency/response/count");
    assert!(sent > 10.0 && answers == sent && received == sent + pushed, "{}", report["totals"]);
    // But for those of the last answer, and those that come when the time is over.
    assert!(pushed > 0.0 && pushed <= 5.0 * sent, "{}", report["totals"]);
}

#[test]
fn answers_that_must_not_come_are_mismatches() {
    let twice = Tungstenite::serving(|mut server| {
        answer_and(&mut server, |message| vec![message.clone()]);
    });
    let broken = Tungstenite::serving(|mut server| {
        answer_and(&mut server, |_| {
            vec![Message::text(r#"{"id":1"#), Message::binary(&b"\xff\xfe"[..])]
        });
    });
    for (server, what) in [(&twice, "answered twice"), (&broken, "is not JSON")] {
        let url = format!("ws://{}/", server.address());
        let arguments = "--connections 2 --duration 300ms --rate 300 --answer-id /id";
        let (report, code) = load(&url, arguments, Some(r#"{"id":{{seq}}}"#));
        assert!(matches!(code, 1 | 4), "{code}");
        let sent = total(&report, "messages_sent");
        assert_eq!(number(&report, "/latency/response/count"), sent, "{what}");
        let mismatches = total(&report, "mismatches");
        assert!(mismatches > sent / 2.0, "{what}: {mismatches} of {sent}");
        let error = &report["errors"][0];
        assert!(error["what"].as_str().is_some_and(|it| it.contains(what)), "{error}");
        assert_eq!(number(error, "/count"), mismatches, "{what}");
    }
}

#[test]
fn messages_that_cannot_be_told_apart_are_not_sent() {
    // Each connection has at most two under way, though three are wanted.
    let server = Tungstenite::serving(|mut server| answer_and(&mut server, |_| Vec::new()));
    let url = format!("ws://{}/", server.address());
    let arguments = "--connections 2 --duration 300ms --closed --in-flight 3 --answer-id /id";
    let (report, code) = load(&url, arguments, Some(r#"{"id":{{rand 1 2}}}"#));
    assert!(matches!(code, 1 | 4), "{code}");
    let error = report["errors"][0]["what"].as_str().expect("an error");
    assert!(error.contains("the same at --answer-id") && error.contains("not sent"), "{error}");
    let [sent, received] = ["messages_sent", "messages_received"].map(|it| total(&report, it));
    assert!(sent > 10.0 && sent == received, "{}", report["totals"]);
}

#[test]
fn what_cannot_work_is_told_before_the_run() {
    for (arguments, template, what) in [
        ("--answer-id /id", r#"{"jd":{{seq}}}"#, "has no string or number at `/id`"),
        ("--answer-id /id", r#"{"id":7}"#, "all messages have the same there"),
        ("--answer-id id", r#"{"id":7}"#, "is no JSON pointer"),
        ("--answer-id /id --scenario fanout", r#"{"id":{{seq}}}"#, "fanout has none of"),
        ("--push-time /t", r#"{"t":{{now_ms}}}"#, "says nothing in --scenario echo"),
        ("--push-time /t --scenario fanout", "{{seq}} fish", "looks into JSON"),
        ("--push-time t --scenario push", "", "is no JSON pointer"),
        ("--push-clock same", "", "--push-time"),
    ] {
        let said = refusal(arguments, template);
        assert!(said.contains(what), "{arguments}: {said}");
    }
}

/// Nanoseconds since 1970.
fn unix_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than that");
    now.as_nanos() as u64
}

/// Pushes what `message` makes of the time, again and again.
fn push(server: &mut WebSocket<TcpStream>, message: fn(u64) -> String) {
    let moment = Some(Duration::from_millis(1));
    server.get_ref().set_read_timeout(moment).expect("it is a socket");
    // A ping of the client is answered by reading.
    while next(server).is_ok() {
        if server.send(Message::text(message(unix_ns()))).is_err() {
            return;
        }
    }
}

#[test]
fn pushed_messages_are_as_old_as_the_time_inside_them() {
    const OLD_NS: u64 = 10_000_000_000;
    let server = Tungstenite::serving(|mut server| {
        push(&mut server, |now_ns| {
            let ns = now_ns - OLD_NS;
            let (s, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
            let mut text = format!(r#"{{"t":[{s},{},{},{ns}],"#, ns / 1_000_000, ns / 1_000);
            let _ = write!(text, r#""a/b":{{"~":{s}.{rest:09}}},"text":"{}"}}"#, ns / 1_000);
            text
        });
    });
    let url = format!("ws://{}/", server.address());
    // With what it may be older for being cut off.
    for (time, cut_ns) in [
        ("/t/0:s", 1e9),
        ("/t/1", 1e6),
        ("/t/1:ms", 1e6),
        ("/t/2:us", 1e3),
        ("/t/3:ns", 0.0),
        ("/a~1b/~0:s", 0.0),
        ("/text:us", 1e3),
    ] {
        let arguments =
            format!("--scenario push --connections 2 --duration 300ms --push-time {time}");
        let (report, _) = load(&url, &arguments, None);
        assert_clean(&report, time);
        let response = &report["latency"]["response"];
        let times = &report["push_times"];
        let received = total(&report, "messages_received");
        assert!(received > 0.0, "{received}");
        assert_eq!(number(times, "/timed"), number(response, "/count"), "{times}");
        assert_eq!((&times["untimed"], &times["future"]), (&json!(0), &json!(0)), "{times}");
        assert_eq!((&times["estimated"], &times["offset_ns"]), (&json!(false), &json!(0)));
        // A histogram has three digits.
        let min = number(response, "/min_ns");
        assert!(min >= OLD_NS as f64 * 0.998, "{time}: {response}");
        assert!(min < OLD_NS as f64 * 1.002 + cut_ns + 5e9, "{time}: {response}");
    }
}

#[test]
fn a_date_is_a_time_too() {
    let server = Tungstenite::serving(|mut server| {
        push(&mut server, |_| r#"{"at":"2000-01-01T01:00:00.5+01:00"}"#.to_owned());
    });
    let url = format!("ws://{}/", server.address());
    let before_ns = unix_ns();
    let (report, _) = load(
        &url,
        "--scenario push --connections 1 --duration 300ms --push-time /at --push-clock estimate",
        None,
    );
    let after_ns = unix_ns();
    let offset_ns = number(&report, "/push_times/offset_ns");
    let expected = [before_ns, after_ns].map(|now_ns| now_ns as f64 - 946_684_800.5e9);
    assert!(offset_ns > expected[0] - 1e9 && offset_ns < expected[1], "{offset_ns} {expected:?}");
    assert!(number(&report, "/push_times/timed") > 0.0, "{}", report["push_times"]);
}

/// The run has failed, and says why.
fn assert_useless(report: &Value, code: i32, why: &str) {
    assert!(matches!(code, 1 | 4), "{code}");
    let reasons = report["verdict"]["reasons"].to_string();
    assert!(reasons.contains(why), "{reasons}");
}

#[test]
fn another_machines_clock_is_estimated() {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let server = Tungstenite::serving(|mut server| {
        push(&mut server, |now_ns| format!(r#"{{"t":{}}}"#, now_ns + HOUR_NS));
    });
    let url = format!("ws://{}/", server.address());
    let run = "--scenario push --connections 3 --duration 300ms --push-time /t:ns";
    let (report, code) = load(&url, run, None);
    let times = &report["push_times"];
    assert_eq!(number(times, "/timed"), 0.0, "{times}");
    assert_useless(&report, code, "come from the future");
    assert_eq!(number(times, "/future"), total(&report, "messages_received"), "{times}");
    assert!(report["latency"].get("response").is_none());
    // Read in the wrong unit times are long ago,
    let ago = Tungstenite::serving(|mut server| {
        push(&mut server, |now_ns| format!(r#"{{"t":{}}}"#, now_ns / 1_000_000));
    });
    let (report, code) = load(&format!("ws://{}/", ago.address()), run, None);
    assert_useless(&report, code, "are an hour old");
    // or no times at all.
    let (report, code) = load(&url, &run.replace("/t:ns", "/t:s"), None);
    assert_useless(&report, code, "no time at /t:s");

    let (report, _) = load(&url, &format!("{run} --warm-up 1s --push-clock estimate"), None);
    let times = &report["push_times"];
    let offset_ns = number(times, "/offset_ns");
    assert!((offset_ns + HOUR_NS as f64).abs() < 60e9, "{times}");
    assert_eq!(times["estimated"], json!(true));
    let round_trip_ns = number(times, "/round_trip_ns");
    let [timed, future] = ["/timed", "/future"].map(|name| number(times, name));
    assert!(timed > 0.0 && timed + future == total(&report, "messages_received"), "{times}");
    let min_ns = number(&report, "/latency/response/min_ns");
    assert!(round_trip_ns > 0.0 && min_ns < 60e9, "{times} {min_ns}");
}

#[test]
fn messages_without_a_time_are_counted() {
    let server = Tungstenite::serving(|mut server| {
        push(&mut server, |now_ns| match now_ns % 4 {
            0 => r#"{"t":"soon"}"#.to_owned(),
            1 => "{".to_owned(),
            2 => r#"{"u":1}"#.to_owned(),
            _ => format!(r#"{{"t":{}}}"#, now_ns / 1_000_000),
        });
    });
    let url = format!("ws://{}/", server.address());
    let arguments = "--scenario push --connections 2 --duration 500ms --push-time /t";
    let (report, _) = load(&url, arguments, None);
    assert_clean(&report, "untimed");
    let times = &report["push_times"];
    let [timed, untimed] = ["/timed", "/untimed"].map(|name| number(times, name));
    assert!(untimed > timed && timed > 0.0, "{times}");
}

#[test]
fn subscribers_measure_by_the_time_that_was_published() {
    let server = Server::start(&["--shards", "1", "--app", "broadcast"]);
    let url = format!("ws://{}/", server.address);
    let arguments = "--scenario fanout --publishers 2 --connections 10 --rate 50 --duration 1s \
                     --push-time /at/0";
    let (report, _) = load(&url, arguments, Some(r#"{"at":[{{now_ms}}],"text":"{{fill 50}}"}"#));
    assert_clean(&report, "fanout");
    let fanout = &report["fanout"];
    let published = number(fanout, "/published");
    assert!(published >= 25.0, "{fanout}");
    assert!(fanout.get("gaps").is_none() && fanout.get("skew").is_none(), "{fanout}");
    // A time of milliseconds may lie before the measurement begins, and that of one that left late
    // behind its end.
    let delivered = number(fanout, "/delivered");
    assert!(delivered >= 5.0 * published && delivered <= 10.0 * published, "{fanout}");
    assert_eq!(number(&report, "/push_times/timed"), delivered, "{fanout}");
    assert!(number(&report, "/latency/response/p50_ns") < 60e9);
}
