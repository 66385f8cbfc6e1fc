//! Bytes on their way out, as callers have them.

use std::io::IoSlice;

use bytes::Bytes;

use crate::outbuf::{Block, Outbuf};

/// What a connection is to send.
pub enum Outgoing<'a> {
    /// May be swapped for an empty one.
    Block(&'a mut Vec<u8>),
    Parts(&'a [IoSlice<'a>]),
    Shared(&'a Bytes),
    /// What was taken over before.
    Deferred(&'a Block),
}

impl Outgoing<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Block(bytes) => bytes.len(),
            Self::Parts(parts) => parts.iter().map(|part| part.len()).sum(),
            Self::Shared(bytes) => bytes.len(),
            Self::Deferred(block) => block.bytes().len(),
        }
    }

    pub(crate) fn copy_to(&self, to: &mut Vec<u8>) {
        match self {
            Self::Block(bytes) => to.extend_from_slice(bytes),
            Self::Parts(parts) => parts.iter().for_each(|part| to.extend_from_slice(part)),
            Self::Shared(bytes) => to.extend_from_slice(bytes),
            Self::Deferred(block) => to.extend_from_slice(block.bytes()),
        }
    }

    pub(super) fn queue(&self, backlog: &mut Outbuf, sent: usize) {
        match self {
            Self::Block(bytes) => backlog.push(&bytes[sent..]),
            Self::Parts(parts) => backlog.push_parts(parts, sent),
            Self::Shared(bytes) => backlog.push_shared((*bytes).clone(), sent),
            Self::Deferred(Block::Shared(bytes)) => backlog.push_shared(bytes.clone(), sent),
            Self::Deferred(Block::Owned(bytes)) => backlog.push(&bytes[sent..]),
        }
    }
}
