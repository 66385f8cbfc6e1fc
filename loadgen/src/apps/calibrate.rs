//! `serve --app calibrate`: an echo that is unresponsive on a known schedule, so that what a load
//! tool reports can be held against what it must report (`docs/CALIBRATION.md`).
//!
//! The schedule begins with the first message after a time without connections, and is begun anew
//! when all of them are gone: each run of a load tool meets the same one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use sockeye::{Closed, Ctx, Handler, Message, ShardCtx};

use super::App;
use crate::load::units::{parse_time, seconds};

const STALL: Duration = Duration::from_millis(100);
const STALL_EVERY: Duration = Duration::from_secs(1);
/// A stall holds up all that the server does, its end at a signal too.
const STALL_MAX: Duration = Duration::from_secs(60);
const STALL_EVERY_MAX: Duration = Duration::from_secs(3600);

/// Options of `--app calibrate`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Calibration")]
pub(crate) struct CalibrateOptions {
    /// With --app calibrate: how long nothing is answered, such as 250us, 100ms or 2s [default:
    /// 100ms]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    stall: Option<Duration>,
    /// How often that begins, the first time with the first message of a run [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    stall_every: Option<Duration>,
}

impl CalibrateOptions {
    /// The schedule. It is an error to ask for one of another application.
    pub(crate) fn schedule(&self, app: App) -> Result<Schedule, String> {
        let given = self.stall.is_some() || self.stall_every.is_some();
        if given && app != App::Calibrate {
            return Err("--stall and --stall-every need --app calibrate".into());
        }
        Schedule::new(self.stall.unwrap_or(STALL), self.stall_every.unwrap_or(STALL_EVERY))
    }
}

/// When nothing is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    stall: Duration,
    every: Duration,
}

impl Schedule {
    fn new(stall: Duration, every: Duration) -> Result<Self, String> {
        if stall > STALL_MAX {
            return Err(format!("--stall is at most {}", seconds(STALL_MAX.as_secs_f64())));
        }
        if every > STALL_EVERY_MAX {
            let most = seconds(STALL_EVERY_MAX.as_secs_f64());
            return Err(format!("--stall-every is at most {most}"));
        }
        if stall >= every {
            // As they would be typed.
            return Err(format!("--stall ({stall:?}) must be less than --stall-every ({every:?})"));
        }
        Ok(Self { stall, every })
    }

    /// How long a message waits that is looked at so long after the first one.
    fn wait(&self, elapsed: Duration) -> Option<Duration> {
        let phase_ns = elapsed.as_nanos() % self.every.as_nanos();
        // Shorter than `every`, which fits.
        let phase = Duration::from_nanos(phase_ns as u64);
        self.stall.checked_sub(phase).filter(|left| !left.is_zero())
    }
}

/// From the first message to the end of the last connection.
#[derive(Debug, Default)]
struct Run {
    connections: usize,
    origin: Option<Instant>,
    /// Times that a shard has slept, and the longest that one has overslept.
    stalls: u64,
    late_max: Duration,
}

/// What all shards share: they are unresponsive at the same time.
#[derive(Debug)]
pub(crate) struct Shared {
    schedule: Schedule,
    run: Mutex<Run>,
}

impl Shared {
    /// No run yet.
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self { schedule, run: Mutex::default() }
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        // Nothing that is done with it can leave it half done.
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) {
        self.run().connections += 1;
    }

    /// Until when a message waits that is looked at now.
    fn silent_until(&self, now: Instant) -> Option<Instant> {
        let origin = *self.run().origin.get_or_insert(now);
        // Another shard's clock may have been read before the origin was.
        let wait = self.schedule.wait(now.saturating_duration_since(origin))?;
        Some(now + wait)
    }

    fn slept(&self, late: Duration) {
        let mut run = self.run();
        run.stalls += 1;
        run.late_max = run.late_max.max(late);
    }

    /// Returns the run if this was its last connection. One without messages was none: somebody has
    /// looked whether there is a server.
    fn closed(&self) -> Option<Run> {
        let mut run = self.run();
        run.connections = run.connections.saturating_sub(1);
        let over = (run.connections == 0).then(|| std::mem::take(&mut *run));
        over.filter(|run| run.origin.is_some())
    }
}

/// Each message comes back, but not while the schedule says that nothing does.
#[derive(Debug)]
pub(crate) struct Calibrate {
    shared: Arc<Shared>,
}

impl Calibrate {
    /// That of one shard of those that share `shared`.
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Handler for Calibrate {
    type Session = ();

    fn open(&mut self, _ctx: &mut Ctx<'_, Self>) {
        self.shared.opened();
    }

    fn message(&mut self, ctx: &mut Ctx<'_, Self>, message: Message<'_>) {
        if let Some(until) = self.shared.silent_until(Instant::now()) {
            // What no other handler may do: everything on this shard waits, as it would for a
            // garbage collection or a slow disk. The kernel wakes us a timer's slack late, about
            // 50 us, and never early.
            thread::sleep(until.saturating_duration_since(Instant::now()));
            self.shared.slept(until.elapsed());
        }
        // A connection whose peer does not read is closed by the engine.
        let _ = ctx.send(message);
    }

    fn closed(&mut self, _shard: &mut ShardCtx<'_>, (): (), _why: Closed) {
        if let Some(Run { stalls, late_max, .. }) = self.shared.closed() {
            let late_max_us = late_max.as_micros() as u64;
            tracing::info!(stalls, late_max_us, "all connections are gone: the run is over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_beginning_of_each_stretch_is_silent_to_its_end() {
        let schedule = Schedule::new(100 * MS, 1000 * MS).unwrap();
        let one_ns = Duration::from_nanos(1);
        for start in [0, 1, 2, 3_599] {
            let start = start * 1000 * MS;
            assert_eq!(schedule.wait(start), Some(100 * MS));
            assert_eq!(schedule.wait(start + 30 * MS), Some(70 * MS));
            assert_eq!(schedule.wait(start + 100 * MS - one_ns), Some(one_ns));
            assert_eq!(schedule.wait(start + 100 * MS), None);
            assert_eq!(schedule.wait(start + 1000 * MS - one_ns), None);
        }
    }

    #[test]
    fn a_run_begins_with_its_first_message_and_ends_with_its_last_connection() {
        let shared = Shared::new(Schedule::new(100 * MS, 1000 * MS).unwrap());
        let base = Instant::now();
        shared.opened();
        shared.opened();
        assert_eq!(shared.silent_until(base + 5 * MS), Some(base + 105 * MS));
        assert_eq!(shared.silent_until(base + 105 * MS), None);
        assert_eq!(shared.silent_until(base + 1006 * MS), Some(base + 1105 * MS));
        shared.slept(MS);
        shared.slept(2 * MS);
        assert!(shared.closed().is_none());
        let run = shared.closed().unwrap();
        assert_eq!((run.stalls, run.late_max), (2, 2 * MS));
        // Where there would be none of the first run's.
        shared.opened();
        assert_eq!(shared.silent_until(base + 1500 * MS), Some(base + 1600 * MS));
        assert_eq!(shared.closed().unwrap().stalls, 0);
        shared.opened();
        assert!(shared.closed().is_none());
    }

    #[test]
    fn a_schedule_is_a_part_of_its_stretch() {
        assert!(Schedule::new(999 * MS, 1000 * MS).is_ok());
        assert!(Schedule::new(Duration::ZERO, MS).unwrap().wait(Duration::ZERO).is_none());
        for (stall, every) in [(1000, 1000), (0, 0), (61_000, 90_000), (1, 3_600_001)] {
            assert!(Schedule::new(stall * MS, every * MS).is_err(), "{stall} of {every}");
        }
    }

    #[test]
    fn times_are_written_as_they_are_for_the_load() {
        #[derive(Debug, clap::Parser)]
        struct Cli {
            #[command(flatten)]
            options: CalibrateOptions,
        }
        let schedule = |stall: &str, every: &str| {
            let line = ["serve", "--stall", stall, "--stall-every", every];
            let cli = <Cli as clap::Parser>::try_parse_from(line).map_err(|it| it.to_string())?;
            cli.options.schedule(App::Calibrate)
        };
        let expected = Schedule { stall: MS / 4, every: 90_000 * MS };
        for (stall, every) in [("250us", "90s"), ("0.25ms", "1.5m"), ("250000ns", "0.025h")] {
            assert_eq!(schedule(stall, every), Ok(expected), "{stall} {every}");
        }
        for (stall, every, what) in [
            ("100", "1s", "no unit"),
            ("", "1s", "does not begin with a number"),
            ("2m", "3m", "at most 60 s"),
            ("1s", "2h", "at most 3600 s"),
            ("0", "0", "--stall (0ns) must be less than --stall-every (0ns)"),
        ] {
            let error = schedule(stall, every).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn only_this_application_has_a_schedule() {
        let with = |stall: Option<u32>, every: Option<u32>| CalibrateOptions {
            stall: stall.map(|ms| ms * MS),
            stall_every: every.map(|ms| ms * MS),
        };
        let usual = Schedule { stall: STALL, every: STALL_EVERY };
        assert_eq!(with(None, None).schedule(App::Calibrate), Ok(usual));
        assert_eq!(with(None, None).schedule(App::Echo), Ok(usual));
        assert!(with(Some(1), None).schedule(App::Echo).is_err());
        assert!(with(None, Some(1)).schedule(App::Chat).is_err());
        let other = Schedule { stall: MS, every: 2 * MS };
        assert_eq!(with(Some(1), Some(2)).schedule(App::Calibrate), Ok(other));
        assert!(with(Some(2), Some(1)).schedule(App::Calibrate).is_err());
    }
}
