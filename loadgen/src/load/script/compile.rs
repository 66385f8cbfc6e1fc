//! From the file as it is written to steps that can be taken: everything that can be wrong with a
//! script is found here, and not while it runs.

mod expect;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sockeye_codec::CloseCode;
use sockeye_codec::handshake::is_token;
use toml::Spanned;

use super::super::payload::{Kind, LineOrder, Lines, Names, Template};
use super::matcher::Matcher;
use super::pause::{Pause, duration_ns};
use super::raw::{
    RawClose, RawConnect, RawData, RawKind, RawLoop, RawOrder, RawReply, RawScript, RawStep,
};
use super::{Connect, DATA_BYTES_MAX, DEPTH_MAX, Reply, STEPS_MAX, Script, Step, Turns, read};

type Result<T> = std::result::Result<T, String>;

/// A times loop has at most so many turns.
const TIMES_MAX: u64 = 1_000_000_000;
/// A close frame has 125 bytes, and two are the code.
const REASON_BYTES_MAX: usize = 123;

const ACTIONS: &str = "send, send_file, send_hex, send_base64, expect, expect_exact, expect_json, \
                       expect_bytes, expect_any, think, ping, close or loop";

/// Reads and checks a script.
pub(super) fn script(text: &str, folder: &Path) -> Result<Script> {
    let raw: RawScript = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line(text, &span));
        format!("line {line}: {}", error.message().trim().replace('\n', "; "))
    })?;
    if raw.step.is_empty() {
        return Err("line 1: there are no steps; write [[step]] and below it send = \"..\"".into());
    }
    let mut compiler = Compiler {
        text,
        folder,
        names: Names { lines: Vec::new(), variables: saved_names(&raw.step) },
        classes: Vec::new(),
        steps: Vec::new(),
        depth: 0,
        has_sent: false,
    };
    compiler.read_data(raw.data)?;
    let connect = compiler.connect(raw.connect)?;
    let replies = raw.reply.into_iter().map(|reply| compiler.reply(reply));
    let replies = replies.collect::<Result<_>>()?;
    compiler.steps(raw.step, 0)?;
    let Compiler { names, classes, steps, depth, .. } = compiler;
    Ok(Script {
        name: raw.name,
        connect,
        classes,
        steps,
        replies,
        strict: raw.strict,
        depth,
        variables: names.variables.len(),
    })
}

/// The line of a place in the text, from 1.
fn line(text: &str, span: &Range<usize>) -> usize {
    let before = &text.as_bytes()[..span.start.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// All names that values are saved as: a template may stand before what saves it, in a loop.
fn saved_names(steps: &[Spanned<RawStep>]) -> Vec<String> {
    let mut names = Vec::new();
    for step in steps {
        let step = step.get_ref();
        let conditions = step.expect_json.as_ref().map_or(&[][..], |json| &json.get_ref().0);
        for name in conditions.iter().filter_map(|condition| condition.save.as_ref()) {
            if !names.contains(name.get_ref()) {
                names.push(name.get_ref().clone());
            }
        }
        if let Some(repeat) = &step.repeat {
            for name in saved_names(&repeat.get_ref().steps) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    names
}

struct Compiler<'a> {
    text: &'a str,
    folder: &'a Path,
    names: Names,
    classes: Vec<String>,
    steps: Vec<Step>,
    depth: usize,
    /// A step before has sent something, so there is a time to count from.
    has_sent: bool,
}

impl Compiler<'_> {
    /// Says on which line something is wrong.
    fn at(&self, span: &Range<usize>, what: impl AsRef<str>) -> String {
        format!("line {}: {}", line(self.text, span), what.as_ref())
    }

    fn read_file(&self, file: &Spanned<String>) -> Result<String> {
        let path = self.folder.join(file.get_ref());
        let text = read(&path, DATA_BYTES_MAX);
        text.map_err(|what| self.at(&file.span(), format!("{}: {what}", path.display())))
    }

    fn read_data(&mut self, data: BTreeMap<String, RawData>) -> Result<()> {
        for (name, RawData { file, order }) in data {
            let order = match order {
                RawOrder::Turn => LineOrder::Turn,
                RawOrder::Random => LineOrder::Random,
                RawOrder::Connection => LineOrder::Connection,
            };
            let lines = Lines::new(self.read_file(&file)?, order);
            let lines = lines
                .map_err(|what| self.at(&file.span(), format!("{}: {what}", file.get_ref())))?;
            self.names.lines.push((name, Arc::new(lines)));
        }
        Ok(())
    }

    fn template(&self, text: &Spanned<String>) -> Result<Template> {
        let template = Template::parse(text.get_ref(), &self.names);
        template.map_err(|what| self.at(&text.span(), what))
    }

    fn connect(&self, raw: RawConnect) -> Result<Connect> {
        if let Some(path) = raw.path.as_ref().filter(|path| !path.get_ref().starts_with('/')) {
            return Err(self.at(&path.span(), "a path begins with a slash"));
        }
        let mut headers = Vec::new();
        for (name, value) in raw.headers {
            let what = match &*name.to_ascii_lowercase() {
                _ if !is_token(name.as_bytes()) => "is no name of a header",
                "host" | "upgrade" | "connection" => "is not for a script to say",
                lower if lower.starts_with("sec-websocket-") => {
                    "is not for a script to say; there is subprotocols = [..]"
                }
                _ if value.get_ref().contains(|c: char| c.is_control() && c != '\t') => {
                    "has a value with control characters"
                }
                _ => {
                    headers.push((name, self.template(&value)?));
                    continue;
                }
            };
            return Err(self.at(&value.span(), format!("`{name}` {what}")));
        }
        let is_wrong = |name: &&Spanned<String>| !is_token(name.get_ref().as_bytes());
        if let Some(name) = raw.subprotocols.iter().find(is_wrong) {
            let what = format!("`{}` is no name of a subprotocol", name.get_ref());
            return Err(self.at(&name.span(), what));
        }
        let path = raw.path.as_ref().map(|path| self.template(path)).transpose()?;
        let subprotocols = raw.subprotocols.into_iter().map(Spanned::into_inner).collect();
        Ok(Connect { path, headers, subprotocols })
    }

    fn reply(&mut self, reply: Spanned<RawReply>) -> Result<Reply> {
        let span = reply.span();
        let RawReply { expect, expect_exact, expect_json, send, kind } = reply.into_inner();
        let matcher = match (expect, expect_exact, expect_json) {
            (Some(text), None, None) => Matcher::Contains(self.needle(&text)?),
            (None, Some(text), None) => Matcher::Exact(self.needle(&text)?),
            (None, None, Some(json)) => {
                let saves = json.get_ref().0.iter().find_map(|one| one.save.as_ref());
                if let Some(save) = saves {
                    return Err(self.at(&save.span(), "a reply saves nothing; make it a step"));
                }
                self.json(json)?
            }
            _ => {
                let what = "a reply has one of expect, expect_exact or expect_json";
                return Err(self.at(&span, what));
            }
        };
        let kind = self::kind(kind.unwrap_or_default());
        Ok(Reply { matcher, kind, template: self.template(&send)? })
    }

    fn steps(&mut self, steps: Vec<Spanned<RawStep>>, depth: usize) -> Result<()> {
        let last = steps.len().saturating_sub(1);
        for (n, step) in steps.into_iter().enumerate() {
            let span = step.span();
            if self.steps.len() >= STEPS_MAX {
                return Err(self.at(&span, "more than 10,000 steps; make a loop of them"));
            }
            let close = step.get_ref().close.as_ref();
            if let Some(close) = close.filter(|_| n != last || depth > 0) {
                let what = "close is the end: it must be the last step, and in no loop";
                return Err(self.at(&close.span(), what));
            }
            self.step(step.into_inner(), &span, depth)?;
        }
        Ok(())
    }

    fn step(&mut self, raw: RawStep, span: &Range<usize>, depth: usize) -> Result<()> {
        let action = self.only_action(&raw, span)?;
        self.check_company(&raw, action)?;
        if action.starts_with("send") {
            return self.send(raw);
        }
        if action.starts_with("expect") {
            return self.expect(raw, span);
        }
        if let Some(think) = raw.think {
            let pause = Pause::parse(think.get_ref());
            let pause = pause.map_err(|what| self.at(&think.span(), what))?;
            self.steps.push(Step::Think(pause));
        } else if let Some(close) = raw.close {
            self.close(close)?;
        } else if let Some(repeat) = raw.repeat {
            self.repeat(repeat, depth)?;
        } else if let Some(ping) = raw.ping {
            self.must_be_true(&ping, "ping")?;
            self.steps.push(Step::Ping);
        }
        Ok(())
    }

    /// The one thing that a step does.
    fn only_action(&self, raw: &RawStep, span: &Range<usize>) -> Result<&'static str> {
        let given = [
            ("send", raw.send.is_some()),
            ("send_file", raw.send_file.is_some()),
            ("send_hex", raw.send_hex.is_some()),
            ("send_base64", raw.send_base64.is_some()),
            ("expect", raw.expect.is_some()),
            ("expect_exact", raw.expect_exact.is_some()),
            ("expect_json", raw.expect_json.is_some()),
            ("expect_bytes", raw.expect_bytes.is_some()),
            ("expect_any", raw.expect_any.is_some()),
            ("think", raw.think.is_some()),
            ("ping", raw.ping.is_some()),
            ("close", raw.close.is_some()),
            ("loop", raw.repeat.is_some()),
        ];
        let mut given = given.iter().filter(|(_, is)| *is).map(|(name, _)| *name);
        match (given.next(), given.next()) {
            (Some(action), None) => Ok(action),
            (Some(one), Some(two)) => {
                let what = format!("this step has {one} and {two}; make two steps of it");
                Err(self.at(span, what))
            }
            _ => Err(self.at(span, format!("this step does nothing; give it {ACTIONS}"))),
        }
    }

    /// `kind`, `timeout` and `measure` stand where they mean something.
    fn check_company(&self, raw: &RawStep, action: &str) -> Result<()> {
        let alone = |name: &str, span: Option<Range<usize>>, with: &str| match span {
            Some(span) if !action.starts_with(with) => {
                let what = format!("{name} belongs to {with}, and this step is {action}");
                Err(self.at(&span, what))
            }
            _ => Ok(()),
        };
        alone("kind", raw.kind.as_ref().map(Spanned::span), "send")?;
        alone("timeout", raw.timeout.as_ref().map(Spanned::span), "expect")?;
        alone("measure", raw.measure.as_ref().map(Spanned::span), "expect")
    }

    fn must_be_true(&self, value: &Spanned<bool>, name: &str) -> Result<()> {
        if *value.get_ref() {
            return Ok(());
        }
        Err(self.at(&value.span(), format!("write {name} = true, or leave the step out")))
    }

    fn send(&mut self, raw: RawStep) -> Result<()> {
        let kind = raw.kind.map(|kind| self::kind(kind.into_inner()));
        let (template, usual) = if let Some(text) = &raw.send {
            (self.template(text)?, Kind::Text)
        } else if let Some(file) = &raw.send_file {
            let text = self.read_file(file)?;
            // An editor's newline at the end of the file is no part of the message.
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let template = Template::parse(text, &self.names)
                .map_err(|what| self.at(&file.span(), format!("{}: {what}", file.get_ref())))?;
            (template, Kind::Text)
        } else {
            let (bytes, span) = match (&raw.send_hex, &raw.send_base64) {
                (Some(hex), _) => (self.hex(hex)?, hex.span()),
                (None, Some(text)) => {
                    let bytes = STANDARD.decode(text.get_ref());
                    let what = |error| format!("this is no base64: {error}");
                    let bytes = bytes.map_err(|error| self.at(&text.span(), what(error)))?;
                    (bytes, text.span())
                }
                (None, None) => unreachable!("a step that sends has something to send"),
            };
            if kind == Some(Kind::Text) && std::str::from_utf8(&bytes).is_err() {
                return Err(self.at(&span, "text must be UTF-8, and these bytes are not"));
            }
            (Template::literal(bytes), Kind::Binary)
        };
        self.has_sent = true;
        self.steps.push(Step::Send { kind: kind.unwrap_or(usual), template });
        Ok(())
    }

    fn hex(&self, text: &Spanned<String>) -> Result<Vec<u8>> {
        let digits = text.get_ref().chars().filter(|c| !c.is_whitespace());
        let digits: Option<Vec<_>> = digits.map(|c| c.to_digit(16)).collect();
        let pairs = digits.filter(|digits| digits.len() % 2 == 0).ok_or_else(|| {
            self.at(&text.span(), "this is no hex: two digits for a byte, such as \"00ff\"")
        })?;
        Ok(pairs.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
    }

    fn duration(&self, text: &Spanned<String>) -> Result<u64> {
        let at = |what: String| self.at(&text.span(), what);
        match duration_ns(text.get_ref()).map_err(at)? {
            0 => Err(at("it must be longer than nothing".to_owned())),
            ns => Ok(ns),
        }
    }

    fn close(&mut self, close: Spanned<RawClose>) -> Result<()> {
        let span = close.span();
        let RawClose { code, reason } = close.into_inner();
        let code = code.unwrap_or(1000);
        if !CloseCode(code).may_be_sent() {
            let what = format!(
                "{code} may not stand in a close frame; take 1000, or 3000 to 4999 (RFC 6455 \
                 section 7.4)"
            );
            return Err(self.at(&span, what));
        }
        if reason.len() > REASON_BYTES_MAX {
            let what = format!("the reason has {} bytes, and 123 is the limit", reason.len());
            return Err(self.at(&span, what));
        }
        self.steps.push(Step::Close { code, reason: reason.into() });
        Ok(())
    }

    fn repeat(&mut self, repeat: Spanned<RawLoop>, depth: usize) -> Result<()> {
        let span = repeat.span();
        let RawLoop { times, duration, forever, steps } = repeat.into_inner();
        if depth == DEPTH_MAX {
            return Err(self.at(&span, "loops are nested more than 8 deep"));
        }
        if steps.is_empty() {
            return Err(self.at(&span, "the loop is empty; give it steps = [ { send = \"..\" } ]"));
        }
        let turns = match (times, &duration, forever) {
            (Some(times @ 1..=TIMES_MAX), None, None) => Turns::Times(times),
            (Some(_), None, None) => {
                return Err(self.at(&span, "times is from 1 to 1,000,000,000"));
            }
            (None, Some(text), None) => Turns::ForNs(self.duration(text)?),
            (None, None, Some(true)) => Turns::Forever,
            _ => {
                let what = "a loop has one of times = 10, for = \"30s\" or forever = true";
                return Err(self.at(&span, what));
            }
        };
        self.depth = self.depth.max(depth + 1);
        let begin = self.steps.len();
        self.steps.push(Step::Begin { depth, turns });
        self.steps(steps, depth + 1)?;
        let waits = |step: &Step| match step {
            Step::Expect { .. } => true,
            Step::Think(pause) => !pause.is_zero(),
            _ => false,
        };
        if !matches!(turns, Turns::Times(_)) && !self.steps[begin..].iter().any(waits) {
            let what = "this loop would send without a pause; add an expect or a think to it";
            return Err(self.at(&span, what));
        }
        self.steps.push(Step::End { depth, begin });
        Ok(())
    }
}

const fn kind(raw: RawKind) -> Kind {
    match raw {
        RawKind::Text => Kind::Text,
        RawKind::Binary => Kind::Binary,
    }
}
