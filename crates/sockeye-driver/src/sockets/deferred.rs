//! Sends that were put off to leave together, and the blocks that they use in turn.

use std::mem;

use super::Outgoing;
use crate::outbuf::Block;
use crate::slots::ConnId;

/// A connection's deferred bytes grow no longer than this; what is longer is sent at once, without
/// a copy.
pub(crate) const DEFERRED_BYTES_MAX: usize = 16 << 10;
/// Blocks kept for later sends.
const SPARE_BLOCKS_MAX: usize = 1024;

/// A send that waits to leave with others. `by` is what the backend sends it by, where that is not
/// the connection.
#[derive(Debug)]
pub(crate) struct Deferral<B> {
    pub(crate) id: ConnId,
    pub(crate) by: B,
    /// `None`: it was taken back.
    pub(crate) block: Option<Block>,
}

/// The sends of all connections. A connection remembers the place of its own: counted from 1, and 0
/// if nothing is deferred for it.
#[derive(Debug)]
pub(crate) struct Deferred<B = ()> {
    sends: Vec<Deferral<B>>,
    spare: Vec<Vec<u8>>,
}

impl<B> Default for Deferred<B> {
    fn default() -> Self {
        Self { sends: Vec::new(), spare: Vec::new() }
    }
}

impl<B> Deferred<B> {
    pub(crate) const fn len(&self) -> usize {
        self.sends.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    fn block(&mut self, place: usize) -> &mut Option<Block> {
        &mut self.sends[place - 1].block
    }

    /// The bytes at a place.
    pub(crate) fn len_at(&self, place: usize) -> usize {
        let send = place.checked_sub(1).map(|at| &self.sends[at]);
        send.and_then(|send| send.block.as_ref()).map_or(0, |block| block.bytes().len())
    }

    /// Puts bytes behind those at a place, or into a new one. Returns where they are.
    pub(crate) fn push(
        &mut self,
        place: usize,
        id: ConnId,
        by: B,
        bytes: &mut Outgoing<'_>,
    ) -> usize {
        if self.len_at(place) > 0 {
            self.append(place, bytes);
            return place;
        }
        let block = match bytes {
            Outgoing::Block(bytes) => Block::Owned(mem::replace(bytes, self.empty())),
            Outgoing::Shared(bytes) => Block::Shared((*bytes).clone()),
            bytes => {
                let mut own = self.empty();
                bytes.copy_to(&mut own);
                Block::Owned(own)
            }
        };
        self.sends.push(Deferral { id, by, block: Some(block) });
        self.sends.len()
    }

    /// Puts bytes behind those of a block; one that is shared becomes our own.
    fn append(&mut self, place: usize, bytes: &Outgoing<'_>) {
        if let Some(Block::Shared(shared)) = self.block(place) {
            let shared = shared.clone();
            let mut own = self.empty();
            own.extend_from_slice(&shared);
            *self.block(place) = Some(Block::Owned(own));
        }
        if let Some(Block::Owned(own)) = self.block(place) {
            bytes.copy_to(own);
        }
    }

    /// Takes back what is at a place.
    pub(crate) fn take(&mut self, place: usize) -> Option<Block> {
        let at = place.checked_sub(1)?;
        self.sends.get_mut(at)?.block.take()
    }

    /// Whose a send is, by its number from 0.
    pub(crate) fn id_at(&self, at: usize) -> ConnId {
        self.sends[at].id
    }

    /// All have been sent.
    pub(crate) fn clear(&mut self) {
        self.sends.clear();
    }

    /// All that waits, to be sent; what is deferred from now on is the next batch's. `done` is an
    /// earlier batch, for its memory.
    pub(crate) fn take_all(&mut self, mut done: Vec<Deferral<B>>) -> Vec<Deferral<B>> {
        done.clear();
        mem::replace(&mut self.sends, done)
    }

    fn empty(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// A block that was sent serves again.
    pub(crate) fn reuse(&mut self, block: Block) {
        if let Block::Owned(mut bytes) = block
            && self.spare.len() < SPARE_BLOCKS_MAX
            && bytes.capacity() <= 2 * DEFERRED_BYTES_MAX
        {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}
