//! The command line of `sockeye load`, and the plan that it amounts to.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::{Args, ValueEnum};
use sockeye_codec::deflate::DeflateConfig;
use sockeye_codec::handshake::{ClientRequest, WsUrl};

use super::clock::NS_PER_S;
use super::connector::{ConnectorOptions, Sources};
use super::inside::InsideOptions;
use super::pace::Arrivals;
use super::payload::{Payload, PayloadOptions};
use super::plan::{Plan, Scenario, Slow};
use super::preflight::Limits;
use super::report::{LoadKind, PlanInfo, Stage};
use super::run::Setup;
use super::script::Script;
use super::target::{Target, TargetOptions};
use super::tls::{ClientTls, TlsOptions};
use super::units::{
    parse_bytes, parse_length, parse_rate, parse_rate_above_zero, parse_share, parse_time,
};

/// The rate where none is given.
const RATE: f64 = 1000.0;
const FANOUT_RATE: f64 = 10.0;
const STORM_RATE: f64 = 100.0;
/// Connections that one thread is good for before another one is started.
const CONNECTIONS_PER_THREAD: usize = 50;
const SECOND: &str = "1s";

/// How the bytes move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    /// epoll
    Epoll,
    /// io_uring; an error where it is not to be had
    IoUring,
}

/// What is measured, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Scenario")]
pub(crate) struct LoadOptions {
    /// What the connections do
    #[arg(long, value_enum, default_value_t = Scenario::Echo)]
    pub(crate) scenario: Scenario,
    /// A scenario of your own, in TOML
    ///
    /// It says what each connection sends and expects. Connections go through it at their own pace
    /// (a closed loop), so there is no --rate.
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["scenario", "rate", "ramp", "steps", "closed"])]
    pub(crate) file: Option<PathBuf>,
    /// How many connections; in a storm the most at a time
    #[arg(long, short, value_name = "N", default_value = "100")]
    pub(crate) connections: NonZeroU32,
    /// How long to measure, such as 500ms, 10s or 2m
    #[arg(long, short, value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = parse_duration_ns)]
    pub(crate) duration: u64,
    /// How long to load before that; it does not count
    #[arg(long, value_name = "TIME", default_value = SECOND, value_parser = parse_duration_ns)]
    pub(crate) warm_up: u64,
    #[command(flatten)]
    pub(crate) rate: RateOptions,
    #[command(flatten)]
    pub(crate) payload: PayloadOptions,
    #[command(flatten)]
    pub(crate) inside: InsideOptions,
    #[command(flatten)]
    pub(crate) connecting: ConnectingOptions,
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    #[command(flatten)]
    pub(crate) sockets: ConnectorOptions,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
    #[command(flatten)]
    pub(crate) request: RequestOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// When messages leave.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct RateOptions {
    /// Messages a second, such as 500 or 10k [default: 1k, fanout 10, storm 100]
    ///
    /// Of all connections together, and whatever the server does. In a storm it is connections a
    /// second.
    #[arg(long, short, value_name = "RATE", value_parser = parse_rate_above_zero)]
    #[arg(conflicts_with_all = ["ramp", "steps", "closed"])]
    pub(crate) rate: Option<f64>,
    /// A rate that grows or falls evenly over --duration, such as 1k:10k
    #[arg(long, value_name = "FROM:TO", value_parser = parse_ramp)]
    #[arg(conflicts_with_all = ["steps", "closed"])]
    pub(crate) ramp: Option<(f64, f64)>,
    /// Rates one after the other, such as 1k,2k,5k
    ///
    /// Each for an equal part of --duration.
    #[arg(long, value_name = "RATE,..", value_delimiter = ',', value_parser = parse_rate)]
    #[arg(conflicts_with = "closed")]
    pub(crate) steps: Vec<f64>,
    /// Random gaps between messages, as from independent senders
    #[arg(long, conflicts_with_all = ["closed", "burst"])]
    pub(crate) poisson: bool,
    /// Messages that leave at once, with gaps so many times longer
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "closed")]
    pub(crate) burst: NonZeroU32,
    /// Closed loop: the next message leaves when one was answered
    ///
    /// For throughput. Percentiles hide stalls then, because nothing is sent while the server
    /// stands still.
    #[arg(long)]
    pub(crate) closed: bool,
    /// Messages under way on each connection of a closed loop
    #[arg(long, value_name = "N", default_value = "1", requires = "closed")]
    pub(crate) in_flight: NonZeroU32,
    /// Connections that publish (fanout)
    ///
    /// Besides those of --connections, which subscribe.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) publishers: NonZeroU32,
    /// A share of the connections reads slowly [default: slow 5%:10kB/s, else none]
    #[arg(long, value_name = "SHARE:RATE", value_parser = parse_slow)]
    pub(crate) slow: Option<Slow>,
    /// How often each connection sends a ping [default: idle 10s, else never]
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ns)]
    pub(crate) ping_every: Option<u64>,
}

/// How connections come and go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connections")]
pub(crate) struct ConnectingOptions {
    /// Connections opened in a second at most [default: as fast as the server takes them]
    #[arg(long, value_name = "RATE", value_parser = parse_rate_above_zero)]
    pub(crate) connect_rate: Option<f64>,
    /// Handshakes under way at a time
    #[arg(long, value_name = "N", default_value = "256")]
    pub(crate) connect_pending: NonZeroU32,
    /// How long a connection may take to open
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration_ns)]
    pub(crate) connect_timeout: u64,
    /// Close connections at about this age and open others (churn)
    ///
    /// Without it those of a storm are closed at once, and others never.
    /// Ages are spread from half to one and a half times this, so that not all end together.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ns)]
    pub(crate) lifetime: Option<u64>,
    /// Open lost connections again, after 200 to 300 ms
    #[arg(long)]
    pub(crate) reconnect: bool,
}

/// What the upgrade asks for.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestOptions {
    /// Offer a subprotocol; may be repeated, the best first
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,
    /// A header of the request, such as "Authorization: Bearer 123"; may be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(crate) header: Vec<(String, String)>,
    /// A cookie; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) cookie: Vec<String>,
    /// The Origin that a browser would send
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Offer permessage-deflate (RFC 7692)
    #[arg(long)]
    pub(crate) deflate: bool,
    /// Ask that neither side keeps context between messages
    #[arg(long, requires = "deflate")]
    pub(crate) deflate_no_takeover: bool,
    /// The base-2 logarithm of the largest window to agree on, 8 to 15
    #[arg(long, value_name = "BITS", requires = "deflate", default_value_t = 15)]
    #[arg(value_parser = clap::value_parser!(u8).range(8..=15))]
    pub(crate) deflate_window: u8,
    /// Messages shorter than this leave uncompressed
    #[arg(long, value_name = "BYTES", requires = "deflate", default_value = "0")]
    #[arg(value_parser = parse_length)]
    pub(crate) deflate_min: usize,
}

/// The client itself.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Client")]
pub(crate) struct ClientOptions {
    /// Threads that send
    ///
    /// Each has connections of its own. Without it there is one for 50 connections, and at most
    /// one for each processor but one.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// How the bytes move
    #[arg(long, value_enum, default_value_t = BackendName::Epoll)]
    pub(crate) backend: BackendName,
    /// Do not compare what comes back with what was sent
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Sleep until a message is due: less CPU, more lag
    ///
    /// Else a thread asks again and again during the last 50 us before a message is due.
    #[arg(long)]
    pub(crate) no_spin: bool,
    /// How long to wait for the last answers
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration_ns)]
    pub(crate) drain: u64,
    /// Messages longer than this are errors
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_bytes)]
    pub(crate) message_max: u64,
    /// The seed of all random choices: the same seed, the same load
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long a window of the series is: of plots, --csv and --ndjson
    #[arg(long, value_name = "TIME", default_value = SECOND, value_parser = parse_window)]
    pub(crate) window: u64,
    /// Watch the server's process on this machine: its CPU and memory
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
}

impl LoadOptions {
    /// All that a run against this URL needs.
    pub(crate) fn setup(&self, url: &str) -> Result<Setup, String> {
        let target = Target::resolve(url, &self.target)?;
        let plan = self.plan(&target)?;
        let ports = Limits::read().ports_per_source();
        let sources =
            Sources::choose(&self.sockets, target.place(), plan.connections as u64, ports)?;
        let is_secure = target.url().is_secure();
        let tls = is_secure.then(|| ClientTls::new(&self.tls, target.url().host())).transpose()?;
        let payload = self.payload.payload()?;
        self.inside.check(&payload, &plan)?;
        Ok(Setup {
            info: self.info(url, &plan, &payload),
            plan: Arc::new(plan),
            payload: Arc::new(payload),
            target,
            sockets: self.sockets.clone(),
            sources,
            tls: tls.map(Arc::new),
            backend: self.client.backend,
            server_pid: self.client.server_pid,
            tallies: false,
        })
    }

    /// The same, for the report.
    fn info(&self, url: &str, plan: &Plan, payload: &Payload) -> PlanInfo {
        let seconds = |ns: u64| ns as f64 / NS_PER_S as f64;
        let backend = match self.client.backend {
            BackendName::Epoll => "epoll",
            BackendName::IoUring => "io_uring",
        };
        PlanInfo {
            scenario: plan.scenario.name().into(),
            url: url.into(),
            connections: plan.connections as u32,
            threads: plan.threads as u32,
            duration_s: seconds(plan.duration_ns),
            warm_up_s: seconds(plan.warm_up_ns),
            load: plan.load,
            stages: plan.stages.clone(),
            poisson: plan.arrivals == Arrivals::Poisson,
            payload: match plan.scenario {
                Scenario::Echo | Scenario::Slow | Scenario::Fanout => payload.describe(),
                Scenario::Push | Scenario::Idle | Scenario::Storm => "none".into(),
                Scenario::File => {
                    plan.script.as_ref().map_or_else(String::new, |script| script.name.clone())
                }
            },
            verify: plan.verify,
            answer_id: plan.answer_id.as_ref().map(ToString::to_string),
            backend: backend.into(),
            seed: plan.seed,
        }
    }

    /// What is to be done to this server.
    fn plan(&self, target: &Target) -> Result<Plan, String> {
        let url = target.url();
        let rate = &self.rate;
        let script = self.file.as_ref().map(|path| Script::load(path)).transpose()?;
        let scenario = if script.is_some() { Scenario::File } else { self.scenario };
        let load = scenario.load(rate.closed);
        if self.duration == 0 {
            return Err("--duration must be longer than nothing".into());
        }
        self.check(load)?;
        let publishers = rate.publishers.get() as usize;
        let subscribers = self.connections.get() as usize;
        let connections =
            if scenario == Scenario::Fanout { publishers + subscribers } else { subscribers };
        let default_slow = Slow { share: 0.05, bytes_per_s: 10_000 };
        let slow = rate.slow.or((scenario == Scenario::Slow).then_some(default_slow));
        let inside = &self.inside;
        let is_same_clock = inside.is_same_clock(scenario, target);
        let pings = scenario == Scenario::Idle || !is_same_clock;
        let default_ping = pings.then_some(10 * NS_PER_S);
        Ok(Plan {
            scenario,
            load,
            connections,
            threads: self.threads(connections),
            in_flight: rate.in_flight.get() as usize,
            stages: if load == LoadKind::Open { self.stages() } else { Vec::new() },
            arrivals: if rate.poisson {
                Arrivals::Poisson
            } else {
                Arrivals::Regular { burst: rate.burst.get() }
            },
            warm_up_ns: self.warm_up,
            duration_ns: self.duration,
            drain_ns: self.client.drain,
            window_ns: self.client.window,
            connect_per_s: self.connecting.connect_rate,
            pending_max: self.connecting.connect_pending.get() as usize,
            connect_timeout_ns: self.connecting.connect_timeout,
            lifetime_ns: self.connecting.lifetime,
            reconnects: self.connecting.reconnect,
            publishers,
            slow,
            ping_every_ns: rate.ping_every.or(default_ping).filter(|every_ns| *every_ns > 0),
            verify: !self.client.no_verify,
            answer_id: inside.answer_id.clone(),
            push_time: inside.push_time.clone(),
            is_same_clock,
            spin: !self.client.no_spin,
            seed: self.client.seed,
            request: self.request.request(url, script.as_ref())?,
            proxy_request: self.target.proxy_request(url),
            script: script.map(Arc::new),
            deflate: self.request.deflate(),
            message_bytes_max: self.client.message_max,
            flights_max: 1 << 16,
        })
    }

    fn check(&self, load: LoadKind) -> Result<(), String> {
        let (scenario, rate) = (self.scenario, &self.rate);
        let name = scenario.name();
        if load == LoadKind::Receive
            && (rate.rate.is_some() || rate.ramp.is_some() || !rate.steps.is_empty() || rate.closed)
        {
            return Err(format!(
                "--scenario {name} sends nothing: leave out --rate, --ramp, --steps and --closed"
            ));
        }
        if rate.closed && !scenario.is_answered() {
            return Err(format!(
                "--closed needs answers, which --scenario {name} has none of: use echo or slow"
            ));
        }
        if rate.slow.is_some() && matches!(scenario, Scenario::Idle | Scenario::Storm) {
            return Err(format!(
                "--slow says nothing in --scenario {name}: use slow, fanout or push"
            ));
        }
        Ok(())
    }

    /// The target rate over time.
    fn stages(&self) -> Vec<Stage> {
        let rate = &self.rate;
        let seconds = self.duration as f64 / NS_PER_S as f64;
        let constant = |per_s, seconds| Stage { from_per_s: per_s, to_per_s: per_s, seconds };
        if let Some((from_per_s, to_per_s)) = rate.ramp {
            return vec![Stage { from_per_s, to_per_s, seconds }];
        }
        if !rate.steps.is_empty() {
            let each = seconds / rate.steps.len() as f64;
            return rate.steps.iter().map(|per_s| constant(*per_s, each)).collect();
        }
        let default = match self.scenario {
            Scenario::Fanout => FANOUT_RATE,
            Scenario::Storm => STORM_RATE,
            _ => RATE,
        };
        vec![constant(rate.rate.unwrap_or(default), seconds)]
    }

    fn threads(&self, connections: usize) -> usize {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let useful = connections.div_ceil(CONNECTIONS_PER_THREAD);
        // One processor is left to the server, which often is here.
        let default = processors.saturating_sub(1).max(1).min(useful);
        self.client.threads.map_or(default, NonZeroUsize::get).min(connections)
    }
}

impl RequestOptions {
    fn request(&self, url: &WsUrl, script: Option<&Script>) -> Result<ClientRequest, String> {
        let mut request = ClientRequest::for_url(url);
        let by_script = script.iter().flat_map(|script| &script.connect.subprotocols);
        for name in self.subprotocol.iter().chain(by_script) {
            request = request.subprotocol(name);
        }
        if let Some(origin) = &self.origin {
            request = request.origin(origin);
        }
        for (name, value) in &self.header {
            request = request.header(name, value);
        }
        if !self.cookie.is_empty() {
            request = request.header("Cookie", self.cookie.join("; "));
        }
        if let Some(config) = self.deflate() {
            request = request.deflate(config);
        }
        // Found out now, not on ten thousand connections.
        let key = sockeye_codec::handshake::Key::new([0; 16]);
        let written = request.write(&mut Vec::new(), &key);
        written.map_err(|error| format!("the request cannot be sent: {error}"))?;
        Ok(request)
    }

    fn deflate(&self) -> Option<DeflateConfig> {
        self.deflate.then_some(DeflateConfig {
            server_context_takeover: !self.deflate_no_takeover,
            client_context_takeover: !self.deflate_no_takeover,
            server_max_window_bits: self.deflate_window,
            client_max_window_bits: self.deflate_window,
            level: 6,
            memory_level: 8,
            compress_bytes_min: self.deflate_min,
        })
    }
}

fn parse_duration_ns(text: &str) -> Result<u64, String> {
    let ns = parse_time(text)?.as_nanos();
    u64::try_from(ns).map_err(|_| "that is longer than 500 years".into())
}

fn parse_bytes_per_s(text: &str) -> Result<u64, String> {
    parse_bytes(text.strip_suffix("/s").unwrap_or(text))
}

fn parse_ramp(text: &str) -> Result<(f64, f64), String> {
    let (from, to) = text.split_once(':').ok_or("give two rates, such as 1k:10k")?;
    let (from, to) = (parse_rate(from)?, parse_rate(to)?);
    if from <= 0.0 && to <= 0.0 {
        return Err("one of the rates must be above 0".into());
    }
    Ok((from, to))
}

fn parse_slow(text: &str) -> Result<Slow, String> {
    let (share, rate) = text.split_once(':').ok_or("give SHARE:RATE, such as 5%:10kB/s")?;
    let share = parse_share(share)?;
    if !(share > 0.0 && share < 1.0) {
        return Err("the share must be above 0 % and below 100 %".into());
    }
    Ok(Slow { share, bytes_per_s: parse_bytes_per_s(rate)?.max(1) })
}

pub(super) fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("give NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn parse_window(text: &str) -> Result<u64, String> {
    let ns = parse_duration_ns(text)?;
    if ns < NS_PER_S / 10 { Err("a window has at least 100ms".into()) } else { Ok(ns) }
}
