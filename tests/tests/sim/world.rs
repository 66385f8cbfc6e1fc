//! One run: shards, clients and the network between them, turned by hand until all is over.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye::sim::{self, Faults, Random, SimDriver, SimNet, SimShard};
use sockeye::{CloseCode, Config, Handle, Refused};
use sockeye_driver::{Close, Driver, Tx};

use crate::client::{Client, Clients, Kind, Stage};
use crate::keeper::{Keeper, last_number, topic_name};
use crate::ledger::{Ended, Ledger, NOBODY, Serial, Stream, Tally};
use crate::payload;
use crate::scenario::{Action, Command, Deed, End, Scenario};

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1)), 80);
/// The source of what the test itself sends.
const OUTSIDE: usize = 99;
/// A run that has not ended by then turns in circles.
const STEPS_MAX: usize = 2_000_000;

/// Why a run failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) trace: String,
}

pub(crate) struct World {
    net: SimNet,
    random: Random,
    scenario: Scenario,
    ledger: Rc<RefCell<Ledger>>,
    handle: Handle,
    /// `None`: it is done.
    shards: Vec<Option<SimShard<Keeper>>>,
    clients: Clients,
    driver: SimDriver,
    actions: std::vec::IntoIter<(Instant, Action)>,
    /// When clients go on reading.
    resumes: BTreeSet<(Instant, Serial)>,
    shut_down: bool,
    steps: usize,
}

/// Runs a seed: a number that is the same each time, and what happened how often.
pub(crate) fn run(seed: u64, tracing: bool) -> Result<(u64, Tally), Failure> {
    let mut world = World::new(seed, tracing);
    let result = world.run();
    let ledger = world.ledger.borrow();
    match result {
        Ok(()) => Ok((ledger.digest(), ledger.tally.clone())),
        Err(what) => Err(Failure { what, trace: ledger.trace() }),
    }
}

/// Something that can go on.
#[derive(Clone, Copy)]
enum Turn {
    Shard(usize),
    Clients,
    Action,
    Resume,
}

impl World {
    fn new(seed: u64, tracing: bool) -> Self {
        let mut random = Random::new(seed ^ 0x50C4_E7E5);
        let scenario = Scenario::new(&mut random);
        let net = SimNet::new(seed, scenario.faults.clone());
        let begun = net.now();
        let ledger = Rc::new(RefCell::new(Ledger::new(begun, tracing)));
        let config = &scenario.config;
        let keeper = |shard| Keeper {
            ledger: Rc::clone(&ledger),
            shard,
            backlog_bytes_max: config.backlog_bytes_max,
            backlog_low_bytes: config.backlog_low_bytes,
            message_bytes_max: config.message_bytes_max,
            has_roomy_turns: config.publish_bytes_per_turn_max > 1 << 20,
            deferred_bytes_max: if scenario.faults.deferred_sends > 0 { 16 << 10 } else { 0 },
        };
        let (handle, shards) =
            sim::build(&net, ADDRESS, config.clone(), scenario.shards, keeper).unwrap();
        let actions: Vec<_> =
            scenario.actions.iter().map(|(at, action)| (begun + *at, *action)).collect();
        let client_config = sockeye_driver::Config {
            receive_buffer_bytes: 4 << 10,
            ..sockeye_driver::Config::default()
        };
        Self {
            driver: SimDriver::new(&net, client_config),
            net,
            random,
            clients: Clients::new(Rc::clone(&ledger)),
            ledger,
            handle,
            shards: shards.into_iter().map(Some).collect(),
            actions: actions.into_iter(),
            resumes: BTreeSet::new(),
            shut_down: false,
            steps: 0,
            scenario,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        while let Some((at, _)) = self.actions.as_slice().last()
            && *at >= self.net.now()
            && !self.actions.as_slice().is_empty()
        {
            let at = *at;
            self.run_until(at + Duration::from_micros(1), |_| false)?;
        }
        match self.scenario.end {
            End::Shutdown => {}
            End::RestAndShutdown => self.rest()?,
            End::RestAndClose => {
                self.rest()?;
                self.close_all()?;
            }
        }
        self.shut_down()?;
        self.check_end()
    }

    fn config(&self) -> &Config {
        &self.scenario.config
    }

    fn failure(&self) -> Result<(), String> {
        self.ledger.borrow().failure.clone().map_or(Ok(()), Err)
    }

    fn require(&self, holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
        self.ledger.borrow_mut().check(holds, what);
        self.failure()
    }

    /// Lets everything go on, until the time or until `done`.
    fn run_until(&mut self, until: Instant, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        while !done(self) {
            self.steps += 1;
            self.require(self.steps < STEPS_MAX, || "it does not come to an end".into())?;
            let now = self.net.now();
            let due: Vec<_> = self.turns().collect();
            let ready: Vec<_> =
                due.iter().filter(|turn| turn.0 <= now).map(|turn| turn.1).collect();
            match self.random.pick(&ready) {
                Some(turn) => self.take(*turn)?,
                None => {
                    let next = due.iter().map(|turn| turn.0).min().unwrap_or(until).min(until);
                    self.net.advance_to(next);
                    self.ledger.borrow_mut().set_time(next);
                    if next >= until {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// What can go on, and when.
    fn turns(&self) -> impl Iterator<Item = (Instant, Turn)> {
        let shards = self.shards.iter().enumerate().filter_map(|(number, shard)| {
            Some((shard.as_ref()?.next_deadline()?, Turn::Shard(number)))
        });
        let clients = self.driver.next_deadline().map(|at| (at, Turn::Clients));
        let action = self.actions.as_slice().first().map(|(at, _)| (*at, Turn::Action));
        let resume = self.resumes.first().map(|(at, _)| (*at, Turn::Resume));
        shards.chain(clients).chain(action).chain(resume)
    }

    fn take(&mut self, turn: Turn) -> Result<(), String> {
        let now = self.net.now();
        match turn {
            Turn::Shard(number) => self.turn_shard(number)?,
            Turn::Clients => {
                let result = self.driver.turn(Some(now), &mut self.clients);
                result.map_err(|error| error.to_string())?;
            }
            Turn::Action => {
                if let Some((_, action)) = self.actions.next() {
                    self.act(action);
                }
            }
            Turn::Resume => {
                if let Some((_, serial)) = self.resumes.pop_first() {
                    self.resume(serial);
                }
            }
        }
        self.failure()
    }

    fn turn_shard(&mut self, number: usize) -> Result<(), String> {
        let Some(shard) = &mut self.shards[number] else { return Ok(()) };
        self.ledger.borrow_mut().begin_turn();
        shard.turn(Some(self.net.now())).map_err(|error| error.to_string())?;
        let census = shard.census();
        let is_done = shard.is_done();
        let config = &self.scenario.config;
        self.ledger.borrow_mut().is_lossy |= self.handle.stats().publications_refused > 0;
        let held = census.backlog_bytes_max;
        let held_max = config.backlog_bytes_max
            + config.publish_bytes_per_turn_max
            + config.message_bytes_max
            + (64 << 10);
        let holds = census.is_consistent
            && census.connections <= config.connections_per_shard_max
            && census.connections == census.sessions
            && census.open_backlog_bytes_max <= config.backlog_bytes_max
            && held <= held_max
            && census.subscriptions <= census.sessions * config.subscriptions_per_connection_max
            && census.timers <= 40 * (self.clients.all.len() + 1);
        self.require(holds, || format!("shard {number}: {census:?}"))?;
        if is_done {
            let is_empty = census.sessions + census.topics + census.subscriptions == 0;
            let is_empty = is_empty && census.backlog_bytes + census.undelivered == 0;
            self.require(is_empty, || format!("shard {number} is done with {census:?}"))?;
            self.shards[number] = None;
        }
        Ok(())
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect(kind) => {
                let id = self.driver.tx().connect(ADDRESS).expect("the simulator has no limit");
                let address = self.driver.local_addr(id).expect("it was just made");
                let serial = self.clients.add(id, address, kind);
                let mut ledger = self.ledger.borrow_mut();
                ledger.people.push(Default::default());
                ledger.note(serial as u64, || format!("client {serial} connects: {kind:?}"));
                drop(ledger);
                self.clients.request(self.driver.tx(), serial);
            }
            Action::Client(any, deed) => {
                let can = |client: &Client| client.stage == Stage::Open && !client.is_guilty;
                let all = self.clients.all.iter().enumerate();
                let able: Vec<_> = all.filter(|(_, client)| can(client)).map(|(n, _)| n).collect();
                if !able.is_empty() {
                    self.do_deed(able[any % able.len()], deed);
                }
            }
            Action::Outside(command) => self.command(command),
        }
    }

    fn do_deed(&mut self, serial: Serial, deed: Deed) {
        self.ledger.borrow_mut().note(serial as u64, || format!("client {serial}: {deed:?}"));
        let turn_max = self.config().publish_bytes_per_turn_max as u64 / 2;
        let people = self.clients.all.len() as u64;
        let tx = self.driver.tx();
        let (order, len) = match deed {
            Deed::Echo(len) => (("echo", 0, 0), len),
            Deed::Flood(count, len) => (("flood", count, len), 0),
            Deed::Brim(more) => (("brim", more, 0), 0),
            Deed::Subscribe(topic) => (("subscribe", topic, 0), 0),
            Deed::Unsubscribe(topic) => (("unsubscribe", topic, 0), 0),
            Deed::Publish(topic, len) => (("publish", topic, len), 0),
            Deed::PublishToOthers(topic, len) => (("publish_to_others", topic, len), 0),
            Deed::SendTo(any, len) => (("send_to", any % people, len.min(turn_max)), 0),
            Deed::AskForPing => (("ping", 0, 0), 0),
            Deed::AskForPause => (("pause", 0, 0), 0),
            Deed::AskForClose(code) => (("close", code, 0), 0),
            Deed::AskForPanic => (("panic", 0, 0), 0),
            Deed::Ping(len) => return self.clients.ping(tx, serial, &vec![b'p'; len]),
            Deed::Pause(time) => return self.pause(serial, time),
            Deed::CloseAndLinger => {
                self.clients.close(tx, serial, 1000);
                return self.pause(serial, Duration::from_secs(60));
            }
            Deed::Close(code) => return self.clients.close(tx, serial, code),
            Deed::Abort => return self.clients.leave(tx, serial, Close::Abort),
            Deed::Finish => return self.clients.leave(tx, serial, Close::Graceful),
            Deed::Violate(how) => {
                // A reserved opcode; a frame without a mask; a continuation of nothing.
                let bytes: &[u8] = match how {
                    0 => &[0x83, 0x80, 0, 0, 0, 0],
                    1 => &[0x81, 0x01, b'x'],
                    _ => &[0x80, 0x80, 0, 0, 0, 0],
                };
                return self.clients.violate(tx, serial, bytes);
            }
            Deed::TooLong => {
                let len = (self.scenario.config.message_bytes_max as u32 + 1).to_be_bytes();
                let header = [&[0x82, 0xFF, 0, 0, 0, 0][..], &len, &[1, 2, 3, 4]].concat();
                return self.clients.violate(tx, serial, &header);
            }
        };
        self.clients.order(tx, serial, order, len, &mut self.random);
    }

    fn pause(&mut self, serial: Serial, time: Duration) {
        self.clients.pause(self.driver.tx(), serial, true);
        self.resumes.insert((self.net.now() + time, serial));
    }

    fn resume(&mut self, serial: Serial) {
        if self.clients.all[serial].is_paused {
            self.ledger.borrow_mut().note(serial as u64, || format!("client {serial} reads on"));
            self.clients.pause(self.driver.tx(), serial, false);
        }
    }

    fn command(&mut self, command: Command) {
        let mut ledger = self.ledger.borrow_mut();
        ledger.note(OUTSIDE as u64, || format!("outside: {command:?}"));
        let turn_max = self.scenario.config.publish_bytes_per_turn_max / 2;
        let remote_of = |ledger: &Ledger, any: usize| {
            let serial = any % ledger.people.len().max(1);
            Some((serial, ledger.people.get(serial)?.remote.clone()?))
        };
        match command {
            Command::Publish(topic, len) => {
                let stream = Stream { topic, source: OUTSIDE, except: NOBODY };
                let line = ledger.publication(stream);
                let text = payload::write(&line, last_number(&line), len.min(turn_max));
                let result = self.handle.publish(&topic_name(topic), &text);
                ledger.is_lossy |= result == Err(Refused::Mailbox);
                ledger.take_publication(stream);
            }
            Command::SendTo(any, len) => {
                let Some((serial, remote)) = remote_of(&ledger, any) else { return };
                let line = ledger.direct("T", OUTSIDE, serial, 0);
                let text = payload::write(&line, last_number(&line), len.min(turn_max));
                if remote.send(&text).is_ok() {
                    ledger.take_direct(OUTSIDE, serial);
                }
            }
            Command::Close(any) => {
                if let Some((_, remote)) = remote_of(&ledger, any) {
                    // One that is closing already says so.
                    let _ = remote.close(CloseCode(4001), "from outside");
                }
            }
        }
    }

    /// The network is well again and everybody reads; in the end nothing is under way.
    fn rest(&mut self) -> Result<(), String> {
        self.net.set_faults(Faults { latency_us: (0, 10), ..Faults::default() });
        while let Some((_, serial)) = self.resumes.pop_first() {
            self.resume(serial);
        }
        self.run_until(self.net.now() + Duration::from_secs(3), |_| false)?;
        for (serial, client) in self.clients.all.iter().enumerate() {
            let mut ledger = self.ledger.borrow_mut();
            let ended = ledger.people[serial].ended;
            if client.stage == Stage::Open && !client.is_guilty && ended.is_none() {
                ledger.check_settled(serial, client.orders);
            }
        }
        self.failure()
    }

    /// Everybody leaves, those who waited to be let in too; the shards have nothing left.
    fn close_all(&mut self) -> Result<(), String> {
        let patience = Duration::from_millis(2 * u64::from(self.config().close_timeout_ms) + 1_000);
        for _ in 0..60 {
            for serial in 0..self.clients.all.len() {
                let client = &self.clients.all[serial];
                if client.stage == Stage::Open && !client.is_guilty {
                    self.clients.close(self.driver.tx(), serial, 1000);
                }
            }
            self.run_until(self.net.now() + patience, |_| false)?;
            if self.clients.all.iter().all(|client| client.stage == Stage::Gone) {
                break;
            }
        }
        // Once round the wheel.
        self.run_until(self.net.now() + Duration::from_secs(65), |_| false)?;
        for number in 0..self.shards.len() {
            let Some(shard) = &mut self.shards[number] else { continue };
            let census = shard.census();
            let empty = sim::Census { is_consistent: true, ..sim::Census::default() };
            self.require(census == empty, || format!("all are gone, but {number} has {census:?}"))?;
        }
        Ok(())
    }

    fn shut_down(&mut self) -> Result<(), String> {
        self.ledger.borrow_mut().note(3, || "shutdown".into());
        self.handle.shutdown();
        self.shut_down = true;
        let most = Duration::from_millis(2 * u64::from(self.config().close_timeout_ms) + 1_000);
        let all_done = |world: &Self| world.shards.iter().all(Option::is_none);
        self.run_until(self.net.now() + most, all_done)?;
        self.require(all_done(self), || "shards are not done after a shutdown".into())?;
        // The clients find out.
        self.net.set_faults(Faults::default());
        for serial in 0..self.clients.all.len() {
            self.resume(serial);
        }
        self.run_until(self.net.now() + Duration::from_secs(3), |_| false)?;
        let load = self.driver.load();
        self.require(load == (0, 0), || format!("clients are left: {load:?}"))
    }

    fn check_end(&self) -> Result<(), String> {
        for (serial, client) in self.clients.all.iter().enumerate() {
            let what = self.unexplained(serial, client);
            self.require(what.is_none(), || format!("{serial}: {what:?}: {client:?}"))?;
        }
        let stats = self.handle.stats();
        let ledger = self.ledger.borrow();
        let (opened, closed, panics) = (ledger.opened, ledger.closed, ledger.panics);
        drop(ledger);
        self.require(opened == closed, || format!("{opened} opened, {closed} closed"))?;
        let agrees = (stats.opened, stats.open, stats.connections, stats.panics)
            == (opened, 0, 0, panics)
            && stats.accepted >= opened;
        self.require(agrees, || format!("{stats:?}, but {opened} opened, {panics} panics"))
    }

    /// What is wrong with the way in which a connection has ended.
    fn unexplained(&self, serial: Serial, client: &Client) -> Option<&'static str> {
        let ledger = self.ledger.borrow();
        let person = &ledger.people[serial];
        let was_reset = self.net.was_reset(client.address);
        if person.remote.is_some() && person.ended.is_none() {
            return Some("`closed` was never called");
        }
        if person.ended == Some(Ended::Lost) && !was_reset && !client.is_guilty {
            return Some("the server has lost it, and nobody has cut it");
        }
        if let (Some(code), Some(_)) = (client.close_code, person.ended) {
            return (code != person.code).then_some("the codes differ");
        }
        let never_opened = person.remote.is_none();
        let explained = client.close_code.is_some()
            || client.is_guilty
            || was_reset
            || client.was_refused && (self.scenario.faults.refused_connects > 0 || self.shut_down)
            || client.status == Some(403)
            || client.status == Some(408) && (client.kind == Kind::Mute || !self.scenario.is_fair)
            || never_opened && self.shut_down
            || !self.scenario.is_fair && !never_opened && person.ended != Some(Ended::Lost);
        (!explained).then_some("it ended without a reason")
    }
}
