//! One thread of a run: a driver, a fleet, and the time at which something is due.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use sockeye_driver::{Driver, Epoll, Uring};

use super::clock::{NS_PER_S, thread_cpu_ns};
use super::fleet::Fleet;
use super::pace::Pace;
use super::plan::Scenario;
use super::record::{Part, Record};
use super::tally::Tally;

/// A thread wakes this long before a message is due, and asks again and again until it is: the
/// kernel is late by as much.
const SPIN_NS: u64 = 50_000;
/// While nothing is due the thread looks this often whether it is to start or to stop.
const LOOK_NS: u64 = 20_000_000;
/// Subscribers that have got nothing for so long will get nothing more.
const SILENCE_NS: u64 = NS_PER_S / 4;

/// A driver that can be waited for to the nanosecond.
pub(crate) trait Waits: Driver {
    /// Waits until something happens or that time has come, and tells the fleet all that has.
    fn turn_until(&mut self, until_ns: u64, fleet: &mut Fleet) -> io::Result<()>;
}

impl Waits for Epoll {
    /// mio's timeout has milliseconds, so the wait is for the descriptor.
    fn turn_until(&mut self, until_ns: u64, fleet: &mut Fleet) -> io::Result<()> {
        let left_ns = until_ns.saturating_sub(fleet.tick());
        if left_ns > 0 && self.next_deadline().is_none() {
            let timeout = Timespec {
                tv_sec: (left_ns / NS_PER_S) as i64,
                tv_nsec: (left_ns % NS_PER_S) as i64,
            };
            let mut polled = [PollFd::new(&*self, PollFlags::IN)];
            match poll(&mut polled, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let now = fleet.shared.clock.instant(0);
        self.turn(Some(now), fleet)
    }
}

impl Waits for Uring {
    fn turn_until(&mut self, until_ns: u64, fleet: &mut Fleet) -> io::Result<()> {
        let until = fleet.shared.clock.instant(until_ns);
        self.turn(Some(until), fleet)
    }
}

/// What the threads of a run and the one that watches them share.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// When the first message is due; 0 until that is known.
    pub(crate) start_ns: AtomicU64,
    /// Enough: a signal, or somebody at the screen.
    pub(crate) stop: Arc<AtomicBool>,
    /// This run cannot go on, or there is nothing to load.
    pub(crate) give_up: AtomicBool,
}

/// What a thread reports.
pub(crate) enum News {
    /// Its connections were opened, or came to nothing.
    Assembled,
    /// All that it has counted so far.
    Tally { thread: usize, tally: Box<Tally> },
    /// A window is over.
    Part { window: usize, part: Box<Part> },
    /// It is done.
    Done(Box<Ended>),
    /// It cannot go on.
    Failed(String),
}

/// A thread's end.
pub(crate) struct Ended {
    pub(crate) record: Record,
    pub(crate) agreed: Option<String>,
    pub(crate) tls: Option<String>,
    /// User and system time of the measurement,
    pub(crate) cpu_ns: u64,
    /// and how much of that was spent with nothing to do but to look again.
    pub(crate) spun_ns: u64,
    pub(crate) completion_overflows: u64,
}

/// One thread.
pub(crate) struct Worker<D> {
    pub(crate) driver: D,
    pub(crate) fleet: Fleet,
    pub(crate) pace: Pace,
    pub(crate) control: Arc<Control>,
    pub(crate) news: Sender<News>,
    /// CPU time spent with nothing to do but to look again,
    spun_ns: u64,
    /// and all CPU time when that began.
    spins_since_ns: Option<u64>,
    /// The same, and all CPU time, when the window began.
    window_spun_ns: u64,
    window_cpu_ns: u64,
    window: usize,
    /// Which of the run's threads it is.
    number: usize,
    /// When to tell the tally while there are no windows.
    tally_next_ns: u64,
}

impl<D: Waits> Worker<D> {
    pub(crate) fn new(
        driver: D,
        fleet: Fleet,
        pace: Pace,
        control: Arc<Control>,
        news: Sender<News>,
        number: usize,
    ) -> Self {
        Self {
            driver,
            fleet,
            pace,
            control,
            news,
            spun_ns: 0,
            spins_since_ns: None,
            window_spun_ns: 0,
            window_cpu_ns: 0,
            window: 0,
            number,
            tally_next_ns: 0,
        }
    }

    /// Runs to the end, and says how it went.
    pub(crate) fn run(mut self) {
        // The kernel may wake a thread later than it asked for, to save power: by 50 us, unless
        // it is told. If it does not listen the lag shows it.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let news = self.news.clone();
        let last = match self.all() {
            Ok(ended) => News::Done(Box::new(ended)),
            Err(error) => News::Failed(format!("the driver failed: {error}")),
        };
        // Nobody listens any more: the run was given up.
        let _ = news.send(last);
    }

    fn all(&mut self) -> io::Result<Ended> {
        let start_ns = self.assemble()?;
        let plan = Arc::clone(&self.fleet.shared.plan);
        let from_ns = start_ns + plan.warm_up_ns;
        let until_ns = from_ns + plan.duration_ns;
        let record = &mut self.fleet.shared.hands.record;
        (record.from_ns, record.until_ns) = (from_ns, until_ns);
        record.part = Part::default();
        let mut measured = (0, 0);
        while !self.stops() && self.fleet.tick() < start_ns {
            self.driver.turn_until(start_ns, &mut self.fleet)?;
        }
        if !self.stops() {
            self.window_cpu_ns = thread_cpu_ns();
            self.window_spun_ns = self.spun_ns;
            self.fleet.start_closed_loop(self.driver.tx());
            let before = self.load(start_ns, from_ns)?;
            let after = self.load(start_ns, until_ns)?;
            if !self.stops() && !self.fleet.is_lost() {
                self.count_missed(start_ns, until_ns);
            }
            measured = (after.0 - before.0, after.1 - before.1);
            self.fleet.shared.hands.running = false;
            self.drain(start_ns, until_ns + plan.drain_ns)?;
        }
        // What was cut short was measured until now.
        let now_ns = self.fleet.tick();
        self.fleet.shared.hands.record.until_ns = until_ns.min(now_ns);
        self.send_part();
        self.close()?;
        Ok(Ended {
            record: std::mem::take(&mut self.fleet.shared.hands.record),
            agreed: self.fleet.shared.hands.agreed.take(),
            tls: self.fleet.shared.hands.tls.take(),
            cpu_ns: measured.0,
            spun_ns: measured.1,
            completion_overflows: self.driver.counters().completion_overflows,
        })
    }

    fn stops(&self) -> bool {
        let Control { stop, give_up, .. } = &*self.control;
        stop.load(Ordering::Relaxed) || give_up.load(Ordering::Relaxed)
    }

    /// Opens the connections, and waits until those of all threads are. Returns when the first
    /// message is due.
    fn assemble(&mut self) -> io::Result<u64> {
        let mut has_told = false;
        loop {
            self.fleet.work(self.driver.tx());
            let start_ns = self.control.start_ns.load(Ordering::Acquire);
            if start_ns > 0 || self.stops() {
                self.fleet.shrink();
                return Ok(start_ns.max(self.fleet.tick()));
            }
            if !has_told && self.fleet.is_assembled() {
                has_told = true;
                let _ = self.news.send(News::Assembled);
            }
            let now_ns = self.fleet.tick();
            if now_ns >= self.tally_next_ns {
                self.tally_next_ns = now_ns + self.fleet.shared.plan.window_ns;
                self.send_tally();
            }
            let next_ns = self.fleet.next_ns().unwrap_or(u64::MAX).min(now_ns + LOOK_NS);
            self.driver.turn_until(next_ns, &mut self.fleet)?;
        }
    }

    /// Sends and receives until then. Returns the CPU time so far, and what of it was spun away.
    fn load(&mut self, start_ns: u64, until_ns: u64) -> io::Result<(u64, u64)> {
        loop {
            if self.pace.peek().is_some_and(|due_ns| start_ns + due_ns <= self.fleet.now_ns()) {
                self.stop_spinning(0);
            }
            self.fleet.send_due(self.driver.tx(), &mut self.pace, start_ns);
            self.fleet.work(self.driver.tx());
            let now_ns = self.fleet.tick();
            self.roll(start_ns, now_ns);
            if now_ns >= until_ns || self.stops() || self.fleet.is_lost() {
                self.stop_spinning(0);
                return Ok((thread_cpu_ns(), self.spun_ns));
            }
            self.wait(start_ns, until_ns, now_ns)?;
        }
    }

    /// Waits for what comes next.
    fn wait(&mut self, start_ns: u64, until_ns: u64, now_ns: u64) -> io::Result<()> {
        let due_ns = self.pace.peek().map_or(u64::MAX, |due_ns| start_ns + due_ns);
        let next_ns = self.fleet.next_ns().unwrap_or(u64::MAX);
        let next_ns = next_ns.min(until_ns).min(self.window_end(start_ns)).min(now_ns + LOOK_NS);
        if !self.fleet.shared.plan.spin || due_ns > next_ns.saturating_add(SPIN_NS) {
            self.stop_spinning(0);
            return self.driver.turn_until(next_ns.min(due_ns), &mut self.fleet);
        }
        if due_ns > now_ns + SPIN_NS {
            self.stop_spinning(0);
            return self.driver.turn_until(due_ns - SPIN_NS, &mut self.fleet);
        }
        let received = self.fleet.shared.hands.record.part.received;
        self.spins_since_ns.get_or_insert_with(thread_cpu_ns);
        self.driver.turn_until(0, &mut self.fleet)?;
        let turn_ns = self.fleet.tick() - now_ns;
        if self.fleet.shared.hands.record.part.received != received {
            self.stop_spinning(turn_ns);
        }
        Ok(())
    }

    /// There is something to do: the last turn that took so long was work already.
    fn stop_spinning(&mut self, turn_ns: u64) {
        if let Some(since_ns) = self.spins_since_ns.take() {
            self.spun_ns += (thread_cpu_ns() - since_ns).saturating_sub(turn_ns);
        }
    }

    /// What was due and has not left.
    fn count_missed(&mut self, start_ns: u64, until_ns: u64) {
        while self.pace.peek().is_some_and(|due_ns| start_ns + due_ns < until_ns) {
            self.pace.advance();
            self.fleet.shared.hands.record.missed += 1;
        }
    }

    /// Waits for the last answers.
    fn drain(&mut self, start_ns: u64, until_ns: u64) -> io::Result<()> {
        let scenario = self.fleet.shared.plan.scenario;
        if matches!(scenario, Scenario::Push | Scenario::Idle) {
            return Ok(());
        }
        // When all subscribers have all is not known: a moment of silence is the end.
        let silence_ns = if scenario == Scenario::Fanout { SILENCE_NS } else { 0 };
        let mut last_ns = self.fleet.tick();
        while !self.stops() {
            let now_ns = self.fleet.tick();
            self.roll(start_ns, now_ns);
            let is_over = self.fleet.in_flight() == 0 && now_ns >= last_ns + silence_ns;
            if is_over || now_ns >= until_ns {
                break;
            }
            self.fleet.work(self.driver.tx());
            let received = self.fleet.shared.hands.record.part.received;
            let next_ns = until_ns.min(now_ns + LOOK_NS);
            self.driver.turn_until(next_ns, &mut self.fleet)?;
            if self.fleet.shared.hands.record.part.received != received {
                last_ns = self.fleet.tick();
            }
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.fleet.close_all(self.driver.tx());
        let until_ns = self.fleet.tick() + 2 * NS_PER_S;
        while !self.fleet.is_empty() {
            let now_ns = self.fleet.tick();
            if now_ns >= until_ns {
                self.fleet.abort_all(self.driver.tx());
                break;
            }
            self.fleet.work(self.driver.tx());
            self.driver.turn_until(until_ns.min(now_ns + LOOK_NS), &mut self.fleet)?;
        }
        Ok(())
    }

    fn window_end(&self, start_ns: u64) -> u64 {
        start_ns + (self.window as u64 + 1) * self.fleet.shared.plan.window_ns
    }

    /// Reports the windows that are over.
    fn roll(&mut self, start_ns: u64, now_ns: u64) {
        while now_ns >= self.window_end(start_ns) {
            self.send_part();
        }
    }

    fn send_tally(&self) {
        if let Some(tally) = self.fleet.shared.hands.record.tally() {
            let _ = self.news.send(News::Tally { thread: self.number, tally: Box::new(tally) });
        }
    }

    fn send_part(&mut self) {
        self.send_tally();
        let (cpu_ns, spun_ns) = (thread_cpu_ns(), self.spun_ns);
        let mut part = std::mem::take(&mut self.fleet.shared.hands.record.part);
        let spun_in_window_ns = spun_ns - self.window_spun_ns;
        part.busy_ns = (cpu_ns - self.window_cpu_ns).saturating_sub(spun_in_window_ns);
        part.open = self.fleet.open();
        let _ = self.news.send(News::Part { window: self.window, part: Box::new(part) });
        (self.window_cpu_ns, self.window_spun_ns) = (cpu_ns, spun_ns);
        self.window += 1;
    }
}
