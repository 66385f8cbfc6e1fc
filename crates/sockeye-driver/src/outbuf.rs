//! What the kernel did not take yet: a queue of blocks, some of them shared with other connections.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

/// Shared bytes shorter than this are copied behind what waits already: a reference costs more.
const SHARE_BYTES_MIN: usize = 2 << 10;
/// A block of copied bytes is closed when it has grown to this.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks in one call.
const PARTS_MAX: usize = 64;

/// Bytes of our own, or shared with other connections.
#[derive(Debug)]
pub enum Block {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Block {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// The backlog of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbuf {
    blocks: VecDeque<Block>,
    /// Bytes of the first block that are gone.
    sent: usize,
    len: usize,
}

impl Outbuf {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        if let Some(Block::Owned(block)) = self.blocks.back_mut()
            && block.len() < BLOCK_BYTES
        {
            block.extend_from_slice(bytes);
        } else {
            self.blocks.push_back(Block::Owned(bytes.to_vec()));
        }
    }

    /// Appends `parts` without their first `skip` bytes.
    pub(crate) fn push_parts(&mut self, parts: &[IoSlice<'_>], mut skip: usize) {
        for part in parts {
            self.push(&part[skip.min(part.len())..]);
            skip = skip.saturating_sub(part.len());
        }
    }

    pub(crate) fn push_shared(&mut self, mut bytes: Bytes, skip: usize) {
        bytes.advance(skip);
        if bytes.len() < SHARE_BYTES_MIN {
            self.push(&bytes);
        } else {
            self.len += bytes.len();
            self.blocks.push_back(Block::Shared(bytes));
        }
    }

    /// Writes until all is gone or the kernel takes no more, which is not an error.
    pub(crate) fn write_to(
        &mut self,
        mut send_parts: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !self.is_empty() {
            let mut parts = [IoSlice::new(&[]); PARTS_MAX];
            let mut skip = self.sent;
            for (part, block) in parts.iter_mut().zip(&self.blocks) {
                *part = IoSlice::new(&block.bytes()[skip..]);
                skip = 0;
            }
            let count = self.blocks.len().min(PARTS_MAX);
            match send_parts(&parts[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, sent: usize) {
        self.len -= sent;
        self.sent += sent;
        while let Some(first) = self.blocks.front()
            && self.sent >= first.bytes().len()
        {
            self.sent -= first.bytes().len();
            self.blocks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a given number of bytes at each call, then would block.
    struct Socket {
        took: Vec<u8>,
        room: VecDeque<usize>,
    }

    impl Socket {
        fn send_parts(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
            let Some(room) = self.room.pop_front() else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            let take = room.min(all.len());
            self.took.extend_from_slice(&all[..take]);
            Ok(take)
        }
    }

    #[test]
    fn every_partial_write_goes_on_where_the_last_one_ended() {
        for step in [1, 2, 3, 7, 1_000, 5_000, 100_000] {
            let mut out = Outbuf::default();
            let mut expected = Vec::new();
            let shared = Bytes::from(vec![7; 5_000]);
            out.push(b"head");
            expected.extend_from_slice(b"head");
            out.push_shared(shared.clone(), 0);
            expected.extend_from_slice(&shared);
            out.push_shared(Bytes::from_static(b"small and shared"), 6);
            expected.extend_from_slice(b"and shared");
            out.push_parts(&[IoSlice::new(b"abc"), IoSlice::new(b"defg"), IoSlice::new(b"h")], 5);
            expected.extend_from_slice(b"fgh");
            let mut socket = Socket { took: Vec::new(), room: VecDeque::new() };
            while !out.is_empty() {
                assert_eq!(out.len(), expected.len() - socket.took.len());
                socket.room.push_back(step);
                out.write_to(|parts| socket.send_parts(parts)).unwrap();
            }
            assert_eq!(socket.took, expected);
        }
    }

    #[test]
    fn shared_bytes_are_not_copied_and_small_ones_are() {
        let mut out = Outbuf::default();
        let shared = Bytes::from(vec![1; SHARE_BYTES_MIN]);
        out.push_shared(shared.clone(), 0);
        assert!(
            matches!(&out.blocks[0], Block::Shared(bytes) if bytes.as_ptr() == shared.as_ptr())
        );
        out.push_shared(shared.clone(), 1);
        assert!(matches!(&out.blocks[1], Block::Owned(_)));
    }

    #[test]
    fn more_blocks_than_one_call_takes() {
        let mut out = Outbuf::default();
        for n in 0..200_u8 {
            out.push_shared(Bytes::from(vec![n; SHARE_BYTES_MIN]), 0);
        }
        let mut socket = Socket { took: Vec::new(), room: [usize::MAX; 4].into() };
        out.write_to(|parts| socket.send_parts(parts)).unwrap();
        assert!(out.is_empty());
        assert_eq!(socket.took.len(), 200 * SHARE_BYTES_MIN);
        assert_eq!(socket.took.last(), Some(&199));
    }
}
