//! How long pushed messages were on their way, by a time that stands in them (`--push-time`). It is
//! the sender's clock that told it, which may be another machine's.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use clap::ValueEnum;

use super::json::Pointer;
use super::payload::Payload;
use super::plan::{Plan, Scenario};
use super::report::PushTimes;
use super::rfc3339;

/// What numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    S,
    Ms,
    Us,
    Ns,
}

impl Unit {
    const ALL: [(&'static str, Self); 4] =
        [("s", Self::S), ("ms", Self::Ms), ("us", Self::Us), ("ns", Self::Ns)];

    const fn ns(self) -> i64 {
        match self {
            Self::S => 1_000_000_000,
            Self::Ms => 1_000_000,
            Self::Us => 1_000,
            Self::Ns => 1,
        }
    }
}

/// Whose clock the times are of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PushClock {
    /// same, where the server is reached by loopback or a Unix socket, and in fanout; else estimate
    #[default]
    Auto,
    /// it is this machine's, or one that is kept equal
    Same,
    /// what it is ahead or behind is estimated from the messages and pings before the measurement
    Estimate,
}

/// Where the time stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PushTime {
    pointer: Pointer,
    unit: Unit,
}

impl PushTime {
    /// The time in a message, in nanoseconds since 1970; `None` where there is none.
    pub(crate) fn of(&self, message: &[u8]) -> Option<i64> {
        let json = self.pointer.find(message).ok()??;
        let Some(text) = json.strip_prefix('"') else { return self.number(json) };
        // A date has nothing that would be escaped.
        let text = text.strip_suffix('"')?;
        rfc3339::parse_unix_ns(text).or_else(|| self.number(text))
    }

    /// Exactly, to the nanosecond.
    fn number(&self, text: &str) -> Option<i64> {
        let unit_ns = self.unit.ns();
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_plain = [whole, fraction]
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_plain {
            // With an exponent, such as 1.7e9.
            let ns = text.parse::<f64>().ok()? * unit_ns as f64;
            let has_exponent = text.contains(['e', 'E']) && ns.abs() < i64::MAX as f64;
            return has_exponent.then_some(ns as i64);
        }
        let kept = &fraction[..fraction.len().min(9)];
        let billionths = kept.parse::<i64>().ok()? * 10_i64.pow(9 - kept.len() as u32);
        let whole_ns = whole.parse::<i64>().ok()?.checked_mul(unit_ns)?;
        // Both factors are below 2^30.
        let part_ns = billionths * unit_ns / 1_000_000_000;
        Some(sign * whole_ns.checked_add(part_ns)?)
    }

    /// Whether messages will have times, as far as that is known ahead.
    pub(crate) fn check(&self, payload: &Payload, plan: &Plan) -> Result<(), String> {
        match plan.scenario {
            Scenario::Push => return Ok(()),
            Scenario::Fanout => {}
            _ => {
                let name = plan.scenario.name();
                return Err(format!(
                    "--push-time says nothing in --scenario {name}: use push or fanout"
                ));
            }
        }
        let mut count = 0_u64;
        payload.preview(|message| {
            count += 1;
            // The server may put what is published into something of its own, with a time.
            if self.pointer.find(message).is_ok() { Ok(()) } else { Err(NOT_JSON.to_owned()) }
        })?;
        if count == 0 { Err(NOT_JSON.to_owned()) } else { Ok(()) }
    }
}

const NOT_JSON: &str = "--push-time looks into JSON: publish messages that are, as in --message \
                        '{\"time\":{{now_ms}}}'";

impl FromStr for PushTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = |name| Unit::ALL.iter().find(|(known, _)| *known == name).map(|(_, unit)| *unit);
        let split = text.rsplit_once(':').and_then(|(pointer, name)| Some((pointer, unit(name)?)));
        let (pointer, unit) = split.unwrap_or((text, Unit::Ms));
        Ok(Self { pointer: pointer.parse()?, unit })
    }
}

impl fmt::Display for PushTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Unit::ALL[self.unit as usize];
        write!(f, "{}:{name}", self.pointer)
    }
}

/// A message's times, compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// It was so long on its way.
    Ns(u64),
    /// It comes from the future: the clocks differ, or differ by something else than was thought.
    Future,
}

/// What is known of the sender's clock. One for all threads of a run.
///
/// What our clock shows when a message comes, less the time in it, is what it took plus what the
/// clocks differ by. The fastest way there takes half of the fastest way there and back: so the
/// smallest difference, less half the smallest round trip of a ping, is what the clocks differ by.
/// It must not change while times are recorded, so it is settled with the first message of the
/// measurement, from all that came before.
#[derive(Debug)]
pub(crate) struct SenderClock {
    is_same: bool,
    least_difference_ns: AtomicI64,
    least_round_trip_ns: AtomicU64,
    settled: OnceLock<i64>,
}

impl SenderClock {
    pub(crate) const fn new(is_same: bool) -> Self {
        Self {
            is_same,
            least_difference_ns: AtomicI64::new(i64::MAX),
            least_round_trip_ns: AtomicU64::new(u64::MAX),
            settled: OnceLock::new(),
        }
    }

    /// A pong has come.
    pub(crate) fn round_trip(&self, ns: u64) {
        if !self.is_same && self.settled.get().is_none() {
            self.least_round_trip_ns.fetch_min(ns, Ordering::Relaxed);
        }
    }

    /// How old a message is that comes now and was made then, both in nanoseconds since 1970.
    pub(crate) fn age(&self, now_ns: i64, made_ns: i64, is_measured: bool) -> Age {
        let difference_ns = now_ns.saturating_sub(made_ns);
        let offset_ns = self.offset(difference_ns, is_measured);
        u64::try_from(difference_ns.saturating_sub(offset_ns)).map_or(Age::Future, Age::Ns)
    }

    fn offset(&self, difference_ns: i64, is_measured: bool) -> i64 {
        if self.is_same {
            return 0;
        }
        if let Some(settled_ns) = self.settled.get() {
            return *settled_ns;
        }
        self.least_difference_ns.fetch_min(difference_ns, Ordering::Relaxed);
        if is_measured { *self.settled.get_or_init(|| self.estimate()) } else { self.estimate() }
    }

    fn estimate(&self) -> i64 {
        let least_ns = self.least_difference_ns.load(Ordering::Relaxed);
        let one_way_ns = self.least_round_trip().unwrap_or(0) / 2;
        least_ns.saturating_sub_unsigned(one_way_ns)
    }

    fn least_round_trip(&self) -> Option<u64> {
        let ns = self.least_round_trip_ns.load(Ordering::Relaxed);
        (ns < u64::MAX).then_some(ns)
    }

    /// For the report: `offset_ns` and `round_trip_ns` as far as anything is known of them.
    pub(crate) fn describe(&self, time: &PushTime) -> PushTimes {
        PushTimes {
            pointer: time.to_string(),
            estimated: !self.is_same,
            offset_ns: if self.is_same { 0 } else { self.settled.get().copied().unwrap_or(0) },
            round_trip_ns: self.least_round_trip().filter(|_| !self.is_same),
            ..PushTimes::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::{Names, Size, Template};
    use super::super::plan::tests::plan;
    use super::*;

    fn time(option: &str, message: &str) -> Option<i64> {
        option.parse::<PushTime>().unwrap().of(message.as_bytes())
    }

    #[test]
    fn times_are_read_in_each_unit() {
        const NS: i64 = 1_772_366_400_123_456_789;
        for (option, message, expected) in [
            ("/t:s", r#"{"t":1772366400}"#, NS - 123_456_789),
            ("/t:s", r#"{"t":1772366400.123456789}"#, NS),
            ("/t:s", r#"{"t":1772366400.1234567899999}"#, NS),
            ("/t:ms", r#"{"t":1772366400123}"#, NS - 456_789),
            ("/t", r#"{"t":1772366400123.456789}"#, NS),
            ("/t:us", r#"{"t":1772366400123456}"#, NS - 789),
            ("/t:us", r#"{"t":1772366400123456.7899}"#, NS),
            ("/t:ns", r#"{"t":1772366400123456789}"#, NS),
            ("/t:ns", r#"{"t":1772366400123456789.9}"#, NS),
            ("/t", r#"{"t":"1772366400123"}"#, NS - 456_789),
            ("/t", r#"{"t":"2026-03-01T12:00:00.123456789Z"}"#, NS),
            ("/t:ns", r#"{"t":"2026-03-01T13:00:00.123456789+01:00"}"#, NS),
            ("/t:s", r#"{"t":1.5e9}"#, 1_500_000_000_000_000_000),
            ("/t:s", r#"{"t":-1.5}"#, -1_500_000_000),
            ("/t", r#"{"t":0}"#, 0),
            ("/a~1b/1/~0:us", r#"{"a/b":[0,{"~":7}]}"#, 7_000),
            ("/a:b", r#"{"a:b":3}"#, 3_000_000),
            ("/a:s:ms", r#"{"a:s":3}"#, 3_000_000),
            (":s", "3", 3_000_000_000),
            ("", "3", 3_000_000),
        ] {
            assert_eq!(time(option, message), Some(expected), "{option} in {message}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for message in [
            "",
            "{",
            "{}",
            r#"{"t":null}"#,
            r#"{"t":true}"#,
            r#"{"t":[1]}"#,
            r#"{"t":{}}"#,
            r#"{"t":"soon"}"#,
            r#"{"t":""}"#,
            r#"{"t":"1."}"#,
            r#"{"t":"inf"}"#,
            r#"{"t":"-"}"#,
            r#"{"t":1e300}"#,
            r#"{"t":9999999999999999}"#,
            r#"{"t":99999999999999999999999999}"#,
            r#"{"t":"\ud800"}"#,
            "\"",
        ] {
            assert_eq!(time("/t:s", message), None, "{message}");
        }
        assert_eq!("t".parse::<PushTime>().unwrap_err().split(' ').next(), Some("`t`"));
        for text in ["/t:s", "/t:ms", "/t:us", "/t:ns"] {
            assert_eq!(text.parse::<PushTime>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_clock_that_is_the_same_has_no_offset() {
        let clock = SenderClock::new(true);
        clock.round_trip(10);
        assert_eq!(clock.age(1_000, 900, false), Age::Ns(100));
        assert_eq!(clock.age(1_000, 1_000, true), Age::Ns(0));
        assert_eq!(clock.age(1_000, 1_001, true), Age::Future);
        assert_eq!(clock.age(i64::MAX, i64::MIN, true), Age::Ns(i64::MAX as u64));
        assert_eq!(clock.age(i64::MIN, i64::MAX, true), Age::Future);
        let told = clock.describe(&"/t".parse().unwrap());
        assert_eq!((told.estimated, told.offset_ns, told.round_trip_ns), (false, 0, None));
    }

    #[test]
    fn another_clock_is_estimated_before_anything_is_measured() {
        // The sender's clock is an hour ahead; the way takes 1 ms or more, and 2 ms there and back.
        const HOUR: i64 = 3_600_000_000_000;
        let clock = SenderClock::new(false);
        let age = |way_ns: i64, is_measured| clock.age(way_ns, HOUR, is_measured);
        assert_eq!(age(5_000_000, false), Age::Ns(0), "nothing else is known");
        clock.round_trip(3_000_000);
        clock.round_trip(2_000_000);
        assert_eq!(age(1_000_000, false), Age::Ns(1_000_000));
        assert_eq!(age(4_000_000, true), Age::Ns(4_000_000));
        // What comes now changes nothing any more.
        clock.round_trip(1_000);
        assert_eq!(age(500_000, true), Age::Ns(500_000));
        assert_eq!(age(-1, true), Age::Future);
        assert_eq!(age(1_000_000, true), Age::Ns(1_000_000));
        let told = clock.describe(&"/t".parse().unwrap());
        assert_eq!((told.estimated, told.offset_ns), (true, -HOUR));
        assert_eq!(told.round_trip_ns, Some(2_000_000));
    }

    #[test]
    fn an_estimate_can_begin_with_the_measurement() {
        let clock = SenderClock::new(false);
        assert_eq!(clock.age(1_000, 400, true), Age::Ns(0));
        assert_eq!(clock.age(1_000, 401, true), Age::Future);
        assert_eq!(clock.age(1_000, 300, true), Age::Ns(100));
    }

    #[test]
    fn what_has_no_times_is_known_before_the_run() {
        let template = |text| Payload::template(Template::parse(text, &Names::default()).unwrap());
        let time: PushTime = "/t".parse().unwrap();
        let sized = Payload::sized(Size::Fixed(32));
        let [push, fanout] =
            [Scenario::Push, Scenario::Fanout].map(|scenario| Plan { scenario, ..plan() });
        assert_eq!(time.check(&sized, &push), Ok(()));
        assert_eq!(time.check(&template(r#"{"t":{{now_ms}}}"#), &fanout), Ok(()));
        assert_eq!(time.check(&sized, &fanout), Err(NOT_JSON.into()));
        assert_eq!(time.check(&template("hello"), &fanout), Err(NOT_JSON.into()));
        assert!(time.check(&sized, &plan()).unwrap_err().contains("in --scenario echo"));
    }
}
