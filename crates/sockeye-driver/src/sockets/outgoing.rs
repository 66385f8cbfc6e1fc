//! Bytes on their way out, as callers have them.

use std::io::IoSlice;

use bytes::Bytes;

use crate::outbuf::{Block, Outbuf};

/// What a connection is to send.
pub enum Outgoing<'a> {
    /// May be swapped for an empty one.
    Block(&'a mut Vec<u8>),
    Borrowed(&'a [u8]),
    Parts(&'a [IoSlice<'a>]),
    Shared(&'a Bytes),
    /// What was taken over before.
    Deferred(&'a Block),
}

impl Outgoing<'_> {
    /// What is in one piece; or else the pieces.
    #[inline]
    pub(crate) fn in_one(&self) -> Result<&[u8], &[IoSlice<'_>]> {
        match self {
            Self::Block(bytes) => Ok(bytes),
            Self::Borrowed(bytes) => Ok(bytes),
            Self::Parts(parts) => Err(parts),
            Self::Shared(bytes) => Ok(bytes),
            Self::Deferred(block) => Ok(block.bytes()),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self.in_one() {
            Ok(bytes) => bytes.len(),
            Err(parts) => parts.iter().map(|part| part.len()).sum(),
        }
    }

    pub(crate) fn copy_to(&self, to: &mut Vec<u8>) {
        match self.in_one() {
            Ok(bytes) => to.extend_from_slice(bytes),
            Err(parts) => parts.iter().for_each(|part| to.extend_from_slice(part)),
        }
    }

    /// Puts what comes after the first `sent` bytes behind what waits.
    pub(super) fn queue(&self, backlog: &mut Outbuf, sent: usize) {
        match self {
            Self::Shared(bytes) => backlog.push_shared((*bytes).clone(), sent),
            Self::Deferred(Block::Shared(bytes)) => backlog.push_shared(bytes.clone(), sent),
            bytes => match bytes.in_one() {
                Ok(bytes) => backlog.push(&bytes[sent..]),
                Err(parts) => backlog.push_parts(parts, sent),
            },
        }
    }
}
