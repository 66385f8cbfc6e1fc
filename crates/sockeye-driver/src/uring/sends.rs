//! What goes out: sends that leave together, in the call that also waits. They never wait in the
//! kernel themselves, so when the call returns each is done or has said that it is not.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::time::Duration;

use bytes::Bytes;
use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};

use super::completion::{Completion, Op, plain_number};
use super::ring::Ring;
use crate::outbuf::Block;
use crate::slots::ConnId;
use crate::sockets::Deferral;

/// `IORING_SEND_ZC_REPORT_USAGE`: the kernel is to say whether it copied after all.
const REPORT_USAGE: u16 = 1 << 3;
/// `IORING_NOTIF_USAGE_ZC_COPIED`: it did.
const COPIED: i32 = i32::MIN;
/// After so many copies in a row a connection's sends are copied from the start, which is cheaper.
const COPIES_MAX: u8 = 3;

/// A send that the kernel did not do, or not whole.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) id: ConnId,
    pub(super) block: Block,
    pub(super) sent: io::Result<usize>,
}

/// Memory that the kernel may read from after the send is done.
#[derive(Debug)]
struct Lent {
    id: ConnId,
    bytes: Bytes,
}

/// Sends without a copy, where they are asked for.
#[derive(Debug, Default)]
pub(super) struct ZeroCopy {
    /// From so many bytes on; `None`: never.
    bytes_min: Option<usize>,
    /// What is lent, by the number of its send.
    lent: Vec<Option<Lent>>,
    free: Vec<usize>,
    /// How often in a row the kernel copied what a connection sent, where it did.
    copies: HashMap<ConnId, u8>,
    pub(super) sends: u64,
    pub(super) copied: u64,
}

impl ZeroCopy {
    /// From so many bytes on.
    pub(super) fn from(bytes_min: Option<usize>) -> Self {
        Self { bytes_min, ..Self::default() }
    }

    /// Whether a send of so many bytes is to be done without a copy.
    pub(super) fn is_for(&self, id: ConnId, len: usize) -> bool {
        self.bytes_min.is_some_and(|min| len >= min)
            && self.copies.get(&id).is_none_or(|copies| *copies < COPIES_MAX)
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, id: ConnId) {
        if !self.copies.is_empty() {
            self.copies.remove(&id);
        }
    }

    fn lend(&mut self, id: ConnId, bytes: Bytes) -> usize {
        self.sends += 1;
        let at = self.free.pop().unwrap_or(self.lent.len());
        if at == self.lent.len() {
            self.lent.push(None);
        }
        self.lent[at] = Some(Lent { id, bytes });
        at
    }

    /// The send is done, or the kernel has let go of the memory. Returns what was not sent.
    fn handle(&mut self, completion: Completion) -> Option<Unsent> {
        let at = completion.value();
        let lent = self.lent.get(at)?.as_ref()?;
        let id = lent.id;
        let unsent = if cqueue::notif(completion.flags) {
            let copied = completion.result & COPIED != 0;
            self.copied += u64::from(copied);
            if copied {
                *self.copies.entry(id).or_default() += 1;
            } else {
                self.copies.remove(&id);
            }
            None
        } else {
            let mut sent = completion.outcome();
            if is_unsupported(&sent) {
                // A Unix socket, say: it waits for room, and goes with a copy.
                self.copies.insert(id, COPIES_MAX);
                sent = Ok(0);
            }
            let whole = matches!(sent, Ok(sent) if sent == lent.bytes.len());
            (!whole).then(|| Unsent { id, block: Block::Shared(lent.bytes.clone()), sent })
        };
        if !cqueue::more(completion.flags) {
            self.lent[at] = None;
            self.free.push(at);
        }
        unsent
    }

    /// Gives up what the kernel may still read.
    pub(super) fn abandon(&mut self) {
        self.lent.drain(..).for_each(mem::forget);
    }
}

/// Not every kind of socket can send without a copy.
fn is_unsupported(sent: &io::Result<usize>) -> bool {
    matches!(sent, Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP))
}

impl Ring {
    /// Sends what was deferred, then waits for something to happen: `happened` gets it. Sends that
    /// were not done come back in `unsent`. None is under way when this returns.
    pub(super) fn turn(
        &mut self,
        timeout: Option<Duration>,
        happened: &mut Vec<Completion>,
        unsent: &mut Vec<Unsent>,
    ) -> io::Result<()> {
        if let Some(events) = self.events.get() {
            // What it told is looked at now.
            let _ = rustix::io::read(events, &mut [0_u8; 8]);
        }
        self.exchange(|ring| ring.wait(timeout), happened, unsent)
    }

    /// Sends what was deferred, and does not wait.
    pub(super) fn send(
        &mut self,
        happened: &mut Vec<Completion>,
        unsent: &mut Vec<Unsent>,
    ) -> io::Result<()> {
        self.exchange(Self::submit, happened, unsent)
    }

    fn exchange(
        &mut self,
        enter: impl FnOnce(&mut Self) -> io::Result<()>,
        happened: &mut Vec<Completion>,
        unsent: &mut Vec<Unsent>,
    ) -> io::Result<()> {
        let mut sends = self.deferred.take_all(mem::take(&mut self.sent));
        let result = self.send_and_enter(&mut sends, enter, happened, unsent);
        if result.is_err() {
            // The kernel may still read them: nobody else gets this memory.
            mem::forget(sends);
            return result;
        }
        for send in &mut sends {
            // No completion: it went out whole.
            if let Some(block) = send.block.take() {
                self.deferred.reuse(block);
            }
        }
        self.sent = sends;
        Ok(())
    }

    fn send_and_enter(
        &mut self,
        sends: &mut [Deferral<RawFd>],
        enter: impl FnOnce(&mut Self) -> io::Result<()>,
        happened: &mut Vec<Completion>,
        unsent: &mut Vec<Unsent>,
    ) -> io::Result<()> {
        for (at, send) in sends.iter_mut().enumerate() {
            let Some(block) = &send.block else { continue };
            if self.zero_copy.is_for(send.id, block.bytes().len()) {
                self.push_zero_copy(send)?;
                continue;
            }
            let bytes = block.bytes();
            let entry = opcode::Send::new(Fd(send.by), bytes.as_ptr(), bytes.len() as u32)
                // Whole or not, it is done when the call returns; only one that is not whole, which
                // counts as a failure, says so.
                .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS);
            self.push(&entry.user_data(plain_number(Op::Send, at)))?;
        }
        enter(self)?;
        self.reap(sends, happened, unsent);
        while !self.is_submitted() {
            // The call ended before it had taken all.
            self.submit()?;
            self.reap(sends, happened, unsent);
        }
        Ok(())
    }

    fn push_zero_copy(&mut self, send: &mut Deferral<RawFd>) -> io::Result<()> {
        let bytes = match send.block.take() {
            Some(Block::Owned(bytes)) => Bytes::from(bytes),
            Some(Block::Shared(bytes)) => bytes,
            None => return Ok(()),
        };
        let entry = opcode::SendZc::new(Fd(send.by), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .zc_flags(REPORT_USAGE)
            .build();
        let at = self.zero_copy.lend(send.id, bytes);
        self.push(&entry.user_data(plain_number(Op::SendZeroCopy, at)))
    }

    /// Takes all completions out of the ring.
    fn reap(
        &mut self,
        sends: &mut [Deferral<RawFd>],
        happened: &mut Vec<Completion>,
        unsent: &mut Vec<Unsent>,
    ) {
        if self.queues.submissions.cq_overflow() {
            self.overflows += 1;
            tracing::debug!(count = self.overflows, "more completions than the ring has room for");
        }
        for entry in &mut self.queues.completions {
            let completion = Completion {
                number: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            };
            match completion.op() {
                Op::Send => {
                    if let Some(send) = sends.get_mut(completion.value())
                        && let Some(block) = send.block.take()
                    {
                        unsent.push(Unsent { id: send.id, block, sent: completion.outcome() });
                    }
                }
                Op::SendZeroCopy => unsent.extend(self.zero_copy.handle(completion)),
                _ => happened.push(completion),
            }
        }
    }

    /// The connections whose sends are done: their next bytes are deferred anew.
    pub(super) fn sent(&self) -> impl Iterator<Item = ConnId> {
        self.sent.iter().map(|send| send.id)
    }
}
