//! A run: threads that load, one that watches them, and the report of it all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sockeye_codec::deflate::{Compressor, Inflater};
use sockeye_codec::{Codec, Limits};
use sockeye_driver::{Config, Epoll, Uring};

use super::client::{Hands, Shared};
use super::clock::{Clock, NS_PER_S};
use super::connector::{Connector, ConnectorOptions, Sources};
use super::distribution::Distribution;
use super::fleet::{Dialer, Fleet, Gauge};
use super::options::BackendName;
use super::pace::Pace;
use super::payload::{Generator, Payload};
use super::plan::Plan;
use super::push_time::SenderClock;
use super::record::{Occurrences, Part, Record, add_errors};
use super::report::{
    ErrorCount, Latency, Live, LoadKind, Observer, Phase, PlanInfo, PushTimes, ServerUsage, Totals,
    Window,
};
use super::series::Series;
use super::server_watch::ServerWatch;
use super::tally::Tally;
use super::target::Target;
use super::tls::ClientTls;
use super::worker::{Control, Ended, News, Worker};

/// Between all connections being open and the first message: every thread has noticed by then.
const HEAD_START_NS: u64 = 50_000_000;
/// What a driver of the load receives at a time.
const RECEIVE_BYTES: usize = (256 + 4) << 10;

/// All that a run needs.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) plan: Arc<Plan>,
    pub(crate) payload: Arc<Payload>,
    pub(crate) target: Target,
    pub(crate) sockets: ConnectorOptions,
    pub(crate) sources: Sources,
    pub(crate) tls: Option<Arc<ClientTls>>,
    pub(crate) backend: BackendName,
    pub(crate) info: PlanInfo,
    pub(crate) server_pid: Option<u32>,
    /// Whether all is counted from the very beginning, besides what is measured.
    pub(crate) tallies: bool,
}

/// What was measured, before it is judged.
pub(crate) struct Measured {
    pub(crate) record: Record,
    pub(crate) series: Vec<Window>,
    pub(crate) errors: Vec<ErrorCount>,
    pub(crate) agreed: Option<String>,
    pub(crate) tls: Option<String>,
    pub(crate) server: Option<ServerUsage>,
    /// What is known of the clock of `--push-time`.
    pub(crate) push_times: Option<PushTimes>,
    pub(crate) started_unix_ms: u64,
    /// User and system time of all threads in the measurement.
    pub(crate) cpu_ns: u64,
    /// Of the busiest thread.
    pub(crate) busy_share: f64,
    pub(crate) measured_ns: u64,
    pub(crate) completion_overflows: u64,
}

/// Runs it. `control` may stop it from another thread.
pub(crate) fn run(
    setup: &Setup,
    control: &Arc<Control>,
    observers: &mut [&mut dyn Observer],
) -> Result<Measured, String> {
    let server = setup.server_pid.map(ServerWatch::new).transpose()?;
    let clock = Clock::new();
    let begun_ns = clock.now_ns();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Read between two readings of the other clock.
    let unix_ahead_ns = (wall.as_nanos() as u64).saturating_sub(begun_ns.midpoint(clock.now_ns()));
    let sender_clock = Arc::new(SenderClock::new(setup.plan.is_same_clock));
    let gauge = Arc::new(Gauge::default());
    let (news, heard) = mpsc::channel();
    control.start_ns.store(0, Ordering::Release);
    control.give_up.store(false, Ordering::Relaxed);
    let mut threads = Vec::new();
    for number in 0..setup.plan.threads {
        let (gauge, sender_clock) = (Arc::clone(&gauge), Arc::clone(&sender_clock));
        let start = Start { number, clock, unix_ahead_ns, gauge, sender_clock };
        let (setup, control, news) = (setup.clone(), Arc::clone(control), news.clone());
        let thread = thread::Builder::new()
            .name(format!("load-{number}"))
            .spawn(move || start.work(&setup, control, &news))
            .map_err(|error| format!("a thread cannot be started: {error}"))?;
        threads.push(thread);
    }
    drop(news);
    let mut watch = Watch::new(setup, clock, Arc::clone(&gauge), server);
    let result = watch.until_done(&heard, control, observers);
    if result.is_err() {
        control.give_up.store(true, Ordering::Relaxed);
    }
    for thread in threads {
        // A panic has been reported already, and its news never came.
        let _ = thread.join();
    }
    result?;
    let push_times = setup.plan.push_time.as_ref().map(|time| sender_clock.describe(time));
    Ok(Measured { push_times, ..watch.measured(wall.as_millis() as u64) })
}

/// What a thread begins with.
struct Start {
    number: usize,
    clock: Clock,
    unix_ahead_ns: u64,
    gauge: Arc<Gauge>,
    sender_clock: Arc<SenderClock>,
}

impl Start {
    fn work(self, setup: &Setup, control: Arc<Control>, news: &Sender<News>) {
        let result = self.fleet(setup).and_then(|(fleet, pace)| {
            let config = Config { receive_buffer_bytes: RECEIVE_BYTES, ..Config::default() };
            let news = news.clone();
            match setup.backend {
                BackendName::IoUring => {
                    let driver = Uring::new(config).map_err(|error| error.to_string())?;
                    Worker::new(driver, fleet, pace, control, news, self.number).run();
                }
                BackendName::Epoll => {
                    let driver = Epoll::new(config).map_err(|error| error.to_string())?;
                    Worker::new(driver, fleet, pace, control, news, self.number).run();
                }
            }
            Ok(())
        });
        if let Err(error) = result {
            let _ = news.send(News::Failed(error));
        }
    }

    fn fleet(&self, setup: &Setup) -> Result<(Fleet, Pace), String> {
        let plan = &setup.plan;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
        let limits = Limits {
            message_bytes_max: plan.message_bytes_max,
            frame_bytes_max: plan.message_bytes_max,
            ..Limits::default()
        };
        let shared = Shared {
            plan: Arc::clone(plan),
            clock: self.clock,
            now_ns: self.clock.now_ns(),
            codec: Codec::client(limits, seed),
            inflater: Inflater::new(&limits),
            hands: Hands {
                record: Record {
                    from_ns: u64::MAX,
                    until_ns: u64::MAX,
                    tally: setup.tallies.then(Box::default),
                    ..Record::default()
                },
                payload: Arc::clone(&setup.payload),
                unix_ahead_ns: self.unix_ahead_ns,
                sender_clock: Arc::clone(&self.sender_clock),
                generator: Generator::new(plan.seed, self.number as u64, plan.threads as u64),
                message: Vec::new(),
                compressor: plan.deflate.as_ref().map(Compressor::new),
                running: false,
                over: false,
                agreed: None,
                tls: None,
            },
            plain_in: Vec::new(),
            plain_out: Vec::new(),
        };
        let place = setup.target.place();
        let first = self.number as u64 * (setup.sources.count() / plan.threads as u64);
        let dialer = Dialer {
            connector: Connector::new(place.clone(), setup.sources.clone(), &setup.sockets, first),
            place: place.clone(),
            tls: setup.tls.clone(),
        };
        let pace = Pace::new(&plan.schedule(), plan.arrivals, self.number, plan.threads, plan.seed);
        Ok((Fleet::new(shared, dialer, Arc::clone(&self.gauge), self.number), pace))
    }
}

/// What the watching thread knows.
struct Watch<'a> {
    setup: &'a Setup,
    clock: Clock,
    gauge: Arc<Gauge>,
    server: Option<ServerWatch>,
    begun_ns: u64,
    start_ns: u64,
    /// Windows while connections are opened.
    connecting: Vec<Window>,
    series: Series,
    totals: Totals,
    headline: Distribution,
    ended: Vec<Ended>,
    assembled: usize,
    /// When the measurement begins, and when it ends, as long as they are to come.
    looks: Vec<u64>,
    looked_ns: u64,
    /// Of each thread, as it has last told.
    tallies: Vec<Tally>,
    /// As far as windows have told of them.
    errors: BTreeMap<Cow<'static, str>, Occurrences>,
}

impl<'a> Watch<'a> {
    fn new(setup: &'a Setup, clock: Clock, gauge: Arc<Gauge>, server: Option<ServerWatch>) -> Self {
        Self {
            setup,
            clock,
            gauge,
            server,
            begun_ns: clock.now_ns(),
            start_ns: 0,
            connecting: Vec::new(),
            series: Series::new(Arc::clone(&setup.plan)),
            totals: Totals::default(),
            headline: Distribution::default(),
            ended: Vec::new(),
            assembled: 0,
            looks: Vec::new(),
            looked_ns: clock.now_ns(),
            tallies: vec![Tally::default(); setup.plan.threads],
            errors: BTreeMap::new(),
        }
    }

    fn until_done(
        &mut self,
        heard: &Receiver<News>,
        control: &Control,
        observers: &mut [&mut dyn Observer],
    ) -> Result<(), String> {
        let threads = self.setup.plan.threads;
        while self.ended.len() < threads {
            match heard.recv_timeout(self.patience()) {
                Ok(News::Assembled) => {
                    self.assembled += 1;
                    if self.assembled == threads {
                        self.start(control);
                    }
                }
                Ok(News::Tally { thread, tally }) => self.tallies[thread] = *tally,
                Ok(News::Part { window, part }) => self.add(window, *part, observers)?,
                Ok(News::Done(ended)) => self.ended.push(*ended),
                Ok(News::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => self.look(observers)?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("a thread has ended without a word: this is a bug".into());
                }
            }
        }
        self.tallies = self.ended.iter().filter_map(|ended| ended.record.tally()).collect();
        self.tell(observers, |observer, live| observer.end(live))
    }

    /// All connections were tried: the first message is due in a moment.
    fn start(&mut self, control: &Control) {
        let is_storm = self.setup.plan.scenario == super::plan::Scenario::Storm;
        if self.gauge.open.load(Ordering::Relaxed) == 0 && !is_storm {
            // Nothing to load: the errors say why.
            control.give_up.store(true, Ordering::Relaxed);
            return;
        }
        if let Some(server) = &mut self.server {
            server.all_open(self.gauge.open.load(Ordering::Relaxed));
        }
        self.start_ns = self.clock.now_ns() + HEAD_START_NS;
        control.start_ns.store(self.start_ns, Ordering::Release);
        let from_ns = self.start_ns + self.setup.plan.warm_up_ns;
        self.looks = vec![from_ns, from_ns + self.setup.plan.duration_ns];
    }

    fn add(
        &mut self,
        at: usize,
        part: Part,
        observers: &mut [&mut dyn Observer],
    ) -> Result<(), String> {
        if self.start_ns == 0 {
            return Ok(());
        }
        let elapsed_ns = self.clock.now_ns().saturating_sub(self.start_ns);
        let before = self.series.windows.len();
        let Some(sum) = self.series.add(at, part, elapsed_ns) else { return Ok(()) };
        let Some(window) = self.series.windows.get_mut(before) else { return Ok(()) };
        if let Some(server) = &mut self.server {
            server.window(window);
        }
        if window.phase != Phase::WarmUp {
            self.totals.messages_sent += sum.sent;
            self.totals.messages_received += sum.received;
            self.headline.add(&sum.headline);
        }
        add_errors(&mut self.errors, sum.kinds);
        self.tell(observers, |observer, live| observer.window(live))
    }

    /// Until something is to be looked at that no thread tells.
    fn patience(&self) -> Duration {
        let next_ns = match self.looks.first() {
            Some(at_ns) => *at_ns,
            None if self.start_ns == 0 => self.looked_ns + self.setup.plan.window_ns,
            None => return Duration::from_secs(1),
        };
        Duration::from_nanos(next_ns.saturating_sub(self.clock.now_ns()).max(1))
    }

    /// A moment has come: the measurement begins or ends, or a while of connecting is over.
    fn look(&mut self, observers: &mut [&mut dyn Observer]) -> Result<(), String> {
        let now_ns = self.clock.now_ns();
        if self.looks.first().is_some_and(|at_ns| now_ns >= *at_ns) {
            self.looks.remove(0);
            if let Some(server) = &mut self.server {
                if self.looks.is_empty() { server.end() } else { server.begin() }
            }
        }
        if self.start_ns > 0 || now_ns < self.looked_ns + self.setup.plan.window_ns {
            return Ok(());
        }
        self.looked_ns = now_ns;
        let [at_s, seconds] = [
            self.connecting.last().map_or(0.0, |window| window.at_s + window.seconds),
            (now_ns - self.begun_ns) as f64 / NS_PER_S as f64,
        ];
        self.connecting.push(Window {
            at_s,
            seconds: seconds - at_s,
            open: self.gauge.open.load(Ordering::Relaxed),
            errors: self.gauge.failed.load(Ordering::Relaxed),
            ..Window::default()
        });
        self.tell(observers, |observer, live| observer.window(live))
    }

    fn tell(
        &mut self,
        observers: &mut [&mut dyn Observer],
        tell: impl Fn(&mut dyn Observer, &Live<'_>) -> io::Result<()>,
    ) -> Result<(), String> {
        let series = if self.start_ns == 0 { &self.connecting } else { &self.series.windows };
        let headline = Some(self.headline.clone()).filter(|headline| !headline.is_empty());
        let latency = match self.setup.plan.load {
            LoadKind::Closed => Latency { service: headline, ..Latency::default() },
            _ => Latency { response: headline, ..Latency::default() },
        };
        self.totals.connections_opened = self.gauge.open.load(Ordering::Relaxed);
        self.totals.connections_failed = self.gauge.failed.load(Ordering::Relaxed);
        let open = self.totals.connections_opened;
        self.totals.connections_peak = self.totals.connections_peak.max(open);
        let errors = error_counts(self.errors.clone(), self.begun_ns);
        let usage = self.server.as_ref().map(|server| server.usage(self.totals.messages_received));
        let mut tally = Tally::default();
        self.tallies.iter().for_each(|of_thread| tally.add(of_thread));
        let live = Live {
            plan: &self.setup.info,
            phase: series.last().map_or(Phase::Connecting, |window| window.phase),
            elapsed_s: (self.clock.now_ns() - self.begun_ns) as f64 / NS_PER_S as f64,
            series,
            totals: &self.totals,
            latency: &latency,
            errors: &errors,
            closes: &[],
            server: usage.as_ref(),
            open,
            tally: self.setup.tallies.then_some(&tally),
        };
        for observer in observers {
            let told = tell(&mut **observer, &live);
            told.map_err(|error| format!("the progress cannot be shown: {error}"))?;
        }
        Ok(())
    }

    fn measured(mut self, started_unix_ms: u64) -> Measured {
        let plan = &self.setup.plan;
        let mut sum = Record::default();
        let (mut cpu_ns, mut busiest, mut overflows) = (0, 0.0_f64, 0);
        let (mut agreed, mut tls) = (None, None);
        let (mut from_ns, mut until_ns) = (0, u64::MAX);
        for ended in self.ended.drain(..) {
            from_ns = ended.record.from_ns.max(from_ns);
            until_ns = ended.record.until_ns.min(until_ns);
            let measured_ns = until_ns.saturating_sub(from_ns).max(1);
            cpu_ns += ended.cpu_ns;
            let busy_ns = ended.cpu_ns.saturating_sub(ended.spun_ns);
            busiest = busiest.max(busy_ns as f64 / measured_ns as f64);
            overflows += ended.completion_overflows;
            agreed = agreed.or(ended.agreed);
            tls = tls.or(ended.tls);
            sum.add(ended.record);
        }
        let measured_ns = until_ns.saturating_sub(from_ns).min(plan.duration_ns);
        let ahead_s = self.start_ns.saturating_sub(self.begun_ns) as f64 / NS_PER_S as f64;
        for window in &mut self.connecting {
            window.at_s -= ahead_s;
        }
        let errors = error_counts(std::mem::take(&mut sum.errors), self.begun_ns);
        let messages = sum.totals.messages_received;
        let mut series = self.connecting;
        series.append(&mut self.series.windows);
        Measured {
            errors,
            agreed,
            tls,
            push_times: None,
            server: self.server.map(|server| server.usage(messages)),
            started_unix_ms,
            cpu_ns,
            busy_share: busiest.min(1.0),
            measured_ns,
            completion_overflows: overflows,
            record: sum,
            series,
        }
    }
}

/// The most frequent first.
fn error_counts(
    errors: BTreeMap<Cow<'static, str>, Occurrences>,
    begun_ns: u64,
) -> Vec<ErrorCount> {
    let mut counts: Vec<_> = errors
        .into_iter()
        .map(|(what, Occurrences { count, first_ns })| ErrorCount {
            what: what.into_owned(),
            count,
            first_at_s: first_ns.saturating_sub(begun_ns) as f64 / NS_PER_S as f64,
        })
        .collect();
    counts.sort_by_key(|error| std::cmp::Reverse(error.count));
    counts
}
