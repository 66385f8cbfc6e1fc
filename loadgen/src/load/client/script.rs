//! What a script has a connection do.

use std::mem;

use sockeye_codec::CloseCode;

use super::super::failure::Failure;
use super::super::payload;
use super::super::report::LoadKind;
use super::super::script::Action;
use super::super::scripted::Due;
use super::{Client, Hands, Next, Shared, Stage};

impl Client {
    /// In a closed loop the next message leaves when one was answered; a script says itself.
    pub(super) fn follow_up(
        &mut self,
        shared: &mut Shared,
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        if let Some(scripted) = self.extra.as_mut().and_then(|extra| extra.scripted.as_mut()) {
            if let Some(what) = scripted.wrong.take() {
                return Err(Failure::Script(what));
            }
            return match mem::replace(&mut scripted.due, Due::Nothing) {
                Due::Nothing => Ok(Next::Nothing),
                Due::Step => self.step(shared, out),
                Due::Reply(kind) => {
                    let flight = self.flight(shared, shared.now_ns, kind == payload::Kind::Text);
                    self.encode(shared, &flight, out)?;
                    Ok(Next::Nothing)
                }
            };
        }
        let Shared { plan, hands, .. } = &*shared;
        let is_closed_loop = plan.load == LoadKind::Closed && hands.running;
        if !is_closed_loop || !self.is_open() || !plan.scenario.is_answered() {
            return Ok(Next::Nothing);
        }
        let (now_ns, in_flight) = (shared.now_ns, plan.in_flight);
        // One that cannot be sent is not tried again.
        for _ in self.in_flight()..in_flight {
            self.send_plain(shared, now_ns, out)?;
        }
        Ok(Next::Nothing)
    }

    /// Begins the script.
    pub(crate) fn follow_script(
        &mut self,
        shared: &mut Shared,
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        self.sealed(shared, out, Self::step)
    }

    /// A time that the script has set has come.
    pub(crate) fn wake(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<Next, Failure> {
        let scripted = self.extra.as_mut().and_then(|extra| extra.scripted.as_mut());
        let (Some(scripted), Some(script)) = (scripted, &shared.plan.script) else {
            return Ok(Next::Nothing);
        };
        if scripted.wake(script, shared.now_ns).map_err(Failure::Script)? {
            self.follow_script(shared, out)
        } else {
            Ok(Next::Nothing)
        }
    }

    /// When the script wants to be woken, told once.
    pub(crate) fn take_timer(&mut self) -> Option<u64> {
        self.extra.as_mut()?.scripted.as_mut()?.take_timer()
    }

    /// What is next in the script, until it waits.
    pub(super) fn step(&mut self, shared: &mut Shared, out: &mut Vec<u8>) -> Result<Next, Failure> {
        let Some(script) = shared.plan.script.clone() else { return Ok(Next::Nothing) };
        while self.is_open() {
            let scripted = self.extra.as_mut().and_then(|extra| extra.scripted.as_mut());
            let Some(scripted) = scripted else { break };
            let moment = shared.hands.moment(self.number, shared.now_ns);
            let Hands { generator, message, .. } = &mut shared.hands;
            message.clear();
            match scripted.runner.next(&script, moment, generator, message) {
                Action::Send { kind } => {
                    scripted.sent_ns = shared.now_ns;
                    let flight = self.flight(shared, shared.now_ns, kind == payload::Kind::Text);
                    self.encode(shared, &flight, out)?;
                }
                Action::Expect { until_ns } => {
                    scripted.expect(until_ns);
                    break;
                }
                Action::Think { ns } => {
                    scripted.think(shared.now_ns + ns);
                    break;
                }
                Action::Ping => {
                    let key = shared.codec.next_masking_key();
                    self.connection.ping(b"", key, out)?;
                }
                Action::Close { code, reason } => {
                    return self.finish(shared, CloseCode(code), reason, out);
                }
                Action::Done => return self.finish(shared, CloseCode::NORMAL, "", out),
            }
        }
        Ok(Next::Nothing)
    }

    /// The script is at its end.
    pub(super) fn finish(
        &mut self,
        shared: &mut Shared,
        code: CloseCode,
        reason: &str,
        out: &mut Vec<u8>,
    ) -> Result<Next, Failure> {
        let key = shared.codec.next_masking_key();
        self.connection.close(code, reason, key, out)?;
        self.stage = Stage::Closing;
        Ok(Next::Finished)
    }
}
