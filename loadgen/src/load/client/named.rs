//! Answers that come in any order: each is told by a value inside it (`--answer-id`).

use sockeye_codec::Message;

use super::super::answers::{AnswerId, Told};
use super::super::failure::Failure;
use super::super::flights::Flight;
use super::super::plan::Plan;
use super::super::record::{Kind, PayloadBytes};
use super::super::report::LoadKind;
use super::{Client, Hands, Shared};

impl Client {
    /// Sends the message that was made, if its answer can be told.
    pub(super) fn send_named(
        &mut self,
        shared: &mut Shared,
        flight: Flight,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let Hands { record, message, .. } = &mut shared.hands;
        let id = shared.plan.answer_id.as_ref().and_then(|id| id.of_sent(message));
        let Some(id) = id else {
            let what = "a message has nothing at --answer-id that names it, and was not sent";
            record.error(what, shared.now_ns);
            return Ok(());
        };
        if self.answers().is_under_way(id) {
            let what = "a message has the same at --answer-id as one that waits for its answer, \
                        and was not sent";
            record.error(what, shared.now_ns);
            return Ok(());
        }
        self.encode(shared, &flight, out)?;
        self.answers().depart(id, flight);
        Ok(())
    }

    /// A message has come.
    pub(super) fn take_named(
        &mut self,
        plan: &Plan,
        id: &AnswerId,
        hands: &mut Hands,
        now_ns: u64,
        (message, bytes): (Message<'_>, PayloadBytes),
    ) {
        let record = &mut hands.record;
        let is_slow = self.is_slow;
        let told = match id.of_received(message.as_bytes()) {
            Ok(Some(id)) => self.answers().arrive(id),
            Ok(None) => Told::Push,
            Err(_) => {
                let what = "a message came that is not JSON: --answer-id cannot look into it";
                return record.wrong(what, bytes, now_ns, is_slow);
            }
        };
        match told {
            Told::Answer(flight) => {
                self.note_first(record, flight.sent_ns, now_ns);
                let of = Kind { is_slow, is_open_loop: plan.load == LoadKind::Open };
                record.answered(&flight, bytes, now_ns, of);
            }
            Told::Again => {
                let what = "a message was answered twice: the same came again at --answer-id";
                record.wrong(what, bytes, now_ns, is_slow);
            }
            Told::Push => record.unasked(bytes, now_ns, is_slow),
        }
    }
}
