//! Stages and their time limits: when a connection is looked at, and what is due then.

use std::time::Instant;

use sockeye_codec::CloseCode;
use sockeye_driver::{Close, ConnId, Tx};

use super::Engine;
use crate::config::Config;
use crate::handler::Handler;
use crate::session::{Cause, Stage, flag};
use crate::timers::{Tick, ticks};
use crate::upgrade;

/// The time of this turn, and the configured times, in ticks. 0: never.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) turn: Instant,
    pub(super) now: Tick,
    pub(super) handshake: Tick,
    ping: Tick,
    idle: Tick,
    close: Tick,
    context: Tick,
}

impl Times {
    pub(super) fn new(config: &Config, turn: Instant) -> Self {
        let or_never = |ms| if ms == 0 { 0 } else { ticks(ms) };
        Self {
            turn,
            now: 0,
            handshake: ticks(config.handshake_timeout_ms),
            ping: or_never(config.ping_interval_ms),
            idle: or_never(config.idle_timeout_ms),
            close: ticks(config.close_timeout_ms),
            context: or_never(config.deflate_idle_ms),
        }
    }
}

impl<H: Handler> Engine<H> {
    /// Has the connection looked at, at this tick; what was arranged for it before no longer
    /// counts.
    pub(super) fn arm(&mut self, id: ConnId, tick: Tick) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.link.timer_tick = self.wheel.insert(id, tick);
        }
    }

    /// A new stage, with its time limit.
    pub(super) fn enter(&mut self, id: ConnId, stage: Stage) {
        let Times { now, close, .. } = self.times;
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.link.stage = stage;
        session.link.stage_tick = now;
        match stage {
            Stage::Closing | Stage::Ending => self.arm(id, now + close),
            Stage::Open => {
                // The handshake's entry in the wheel does where it comes early enough.
                if let Some(due) = self.open_deadline(id)
                    && !self
                        .sessions
                        .get(id)
                        .is_some_and(|session| (now + 1..=due).contains(&session.link.timer_tick))
                {
                    self.arm(id, due);
                }
            }
            Stage::Handshake => {}
        }
    }

    /// When an open connection has to be looked at.
    fn open_deadline(&self, id: ConnId) -> Option<Tick> {
        let link = &self.sessions.get(id)?.link;
        let ping = link.received_tick.max(link.stage_tick) + self.times.ping;
        let idle = link.received_tick + self.times.idle;
        let alive = match (self.times.ping, self.times.idle) {
            (0, 0) => None,
            (0, _) => Some(idle),
            (_, 0) => Some(ping),
            _ => Some(ping.min(idle)),
        };
        if !link.is(flag::DEFLATE) || self.times.context == 0 {
            return alive;
        }
        let parked = link.context_tick().map(|used| used + self.times.context);
        alive.into_iter().chain(parked).min()
    }

    /// Contexts that were begun in this turn are to be looked at when they may be idle.
    pub(super) fn watch_contexts(&mut self) {
        while let Some(id) = self.core.compressing.contexts.pop() {
            let Some(due) = self.open_deadline(id) else { continue };
            let Some(session) = self.sessions.get(id) else { continue };
            let awaited = self.times.now + 1..=due;
            if session.link.stage == Stage::Open && !awaited.contains(&session.link.timer_tick) {
                self.arm(id, due);
            }
        }
    }

    pub(super) fn handle_timer<T: Tx>(&mut self, tx: &mut T, id: ConnId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let link = &mut session.link;
        let Times { now, handshake, ping, idle, close, context, .. } = self.times;
        match link.stage {
            Stage::Handshake if now >= link.stage_tick + handshake => {
                let mut out = tx.out(id);
                upgrade::time_out(&mut out);
                tx.flush(id, out);
                self.core.stats.rejected += 1;
                self.enter(id, Stage::Ending);
                tx.close(id, Close::Graceful);
            }
            Stage::Handshake => {
                let due = link.stage_tick + handshake;
                self.arm(id, due);
            }
            Stage::Open => {
                if idle != 0 && now >= link.received_tick + idle {
                    self.close(tx, id, Cause::Idle, CloseCode::GOING_AWAY, "idle timeout");
                    return;
                }
                if ping != 0 && now >= link.received_tick.max(link.stage_tick) + ping {
                    link.stage_tick = now;
                    let mut out = tx.out(id);
                    // Refused only where a close frame has left, and then there is no ping to send.
                    let _ = link.connection.ping(&[], None, &mut out);
                    if tx.flush(id, out) > self.core.config.backlog_bytes_max {
                        return self.overflow(tx, id);
                    }
                }
                if context != 0 && link.context_tick().is_some_and(|used| now >= used + context) {
                    link.park_context();
                    self.core.stats.contexts_parked += 1;
                }
                if let Some(due) = self.open_deadline(id) {
                    self.arm(id, due);
                }
            }
            Stage::Closing | Stage::Ending if now >= link.stage_tick + close => self.abort(tx, id),
            Stage::Closing | Stage::Ending => {
                let due = link.stage_tick + close;
                self.arm(id, due);
            }
        }
    }
}
