//! What the kernel says has happened, and the number by which we know what it is about.

use std::io;

use crate::slots::ConnId;

/// What a completion is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    Receive,
    Readable,
    Room,
    Send,
    Listener,
    Waker,
    Cancel,
}

const OPS: [Op; 7] =
    [Op::Receive, Op::Readable, Op::Room, Op::Send, Op::Listener, Op::Waker, Op::Cancel];
/// Bits of a connection's number in a completion; its generation has 32, the operation the rest.
const INDEX_BITS: u32 = 28;
/// More connections than this do not fit into a completion's number.
pub(super) const CONNECTIONS_MAX: usize = 1 << INDEX_BITS;

/// Operation and connection as the number that goes through the kernel.
pub(super) fn number(op: Op, id: ConnId) -> u64 {
    let bits = id.to_bits();
    let (generation, index) = (bits >> 32, bits & u64::from(u32::MAX));
    (op as u64) << 60 | generation << INDEX_BITS | index
}

pub(super) fn plain_number(op: Op, value: usize) -> u64 {
    (op as u64) << 60 | value as u64
}

/// A completion, out of the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completion {
    pub(super) number: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

impl Completion {
    pub(super) fn op(self) -> Op {
        OPS[(self.number >> 60) as usize % OPS.len()]
    }

    pub(super) fn id(self) -> ConnId {
        let index = self.number & ((1 << INDEX_BITS) - 1);
        let generation = self.number >> INDEX_BITS & u64::from(u32::MAX);
        ConnId::from_bits(generation << 32 | index)
    }

    /// How many bytes a receive has brought.
    pub(super) fn received_bytes(self) -> usize {
        if self.op() == Op::Receive { self.outcome().unwrap_or(0) } else { 0 }
    }

    /// What it came to, as a system call would say it.
    pub(super) fn outcome(self) -> io::Result<usize> {
        usize::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }
}
