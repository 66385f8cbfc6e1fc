//! One connection of the client: what it asks, and what has come of the answers.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use sockeye_benches::frames;
use sockeye_benches::tls::{ClientSession, Records};

const RECEIVE_BYTES: usize = 512 << 10;

/// What all connections send and get, and the memory that they share.
pub(crate) struct Shared {
    /// Whole frames: what one write sends.
    pub(crate) question: Vec<u8>,
    /// The answer to it.
    pub(crate) answer: Vec<u8>,
    /// Compare every answer.
    pub(crate) verify: bool,
    buffer: Vec<u8>,
    records: Records,
}

impl Shared {
    pub(crate) fn new(question: Vec<u8>, answer: Vec<u8>, verify: bool) -> Self {
        let (buffer, records) = (vec![0; RECEIVE_BYTES], Records::default());
        Self { question, answer, verify, buffer, records }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// The TLS handshake goes on.
    Securing,
    /// The request has left.
    Opening,
    Open,
}

/// What has come so far.
#[derive(Debug)]
struct Inbox {
    stage: Stage,
    /// Bytes of the answer under way.
    received: usize,
}

/// What one receive has brought.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct News {
    /// The connection has opened.
    pub(crate) opened: bool,
    /// Writes whose answer is whole.
    pub(crate) answered: usize,
}

impl Inbox {
    fn take(
        &mut self,
        mut bytes: &[u8],
        (answer, verify): (&[u8], bool),
        news: &mut News,
    ) -> Result<(), &'static str> {
        if self.stage != Stage::Open {
            // The server's 101, which must come in one piece.
            let head = frames::head_len(bytes).filter(|_| bytes.starts_with(b"HTTP/1.1 101 "));
            bytes = &bytes[head.ok_or("the server did not accept the handshake")?..];
            self.stage = Stage::Open;
            news.opened = true;
        }
        while !bytes.is_empty() {
            let expected = &answer[self.received..];
            let (part, rest) = bytes.split_at(expected.len().min(bytes.len()));
            if verify && part != &expected[..part.len()] {
                return Err("an answer is not what was sent");
            }
            bytes = rest;
            self.received += part.len();
            if self.received == answer.len() {
                self.received = 0;
                news.answered += 1;
            }
        }
        Ok(())
    }
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    session: Option<Box<ClientSession>>,
    inbox: Inbox,
    /// Writes to be made, and, without TLS, the bytes of the first that have left.
    to_write: usize,
    written: usize,
    /// Records that the kernel has not taken.
    unsent: Vec<u8>,
}

impl Connection {
    /// On a socket that connects.
    pub(crate) const fn new(stream: TcpStream, session: Option<Box<ClientSession>>) -> Self {
        let inbox = Inbox { stage: Stage::Connecting, received: 0 };
        Self { stream, session, inbox, to_write: 0, written: 0, unsent: Vec::new() }
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.inbox.stage == Stage::Connecting
    }

    /// Whether it goes on with the TLS session of an earlier one.
    pub(crate) fn is_resumed(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_resumed())
    }

    /// TCP is connected: the first bytes go out in one piece.
    pub(crate) fn begin(&mut self, shared: &mut Shared) -> Result<(), Box<dyn Error>> {
        match &mut self.session {
            None => {
                self.inbox.stage = Stage::Opening;
                self.stream.write_all(frames::REQUEST)?;
            }
            Some(session) => {
                self.inbox.stage = Stage::Securing;
                session.receive(&mut [], &mut shared.records, |_| {})?;
                self.send(&mut shared.records)?;
            }
        }
        Ok(())
    }

    /// So many writes more, as soon as the kernel has room.
    pub(crate) fn ask(&mut self, writes: usize, shared: &mut Shared) -> Result<(), Box<dyn Error>> {
        self.to_write += writes;
        self.write(shared)
    }

    /// Writes what is to be written.
    pub(crate) fn write(&mut self, shared: &mut Shared) -> Result<(), Box<dyn Error>> {
        if self.session.is_some() {
            return self.write_records(shared);
        }
        while self.to_write > 0 {
            match self.stream.write(&shared.question[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if self.written == shared.question.len() {
                self.written = 0;
                self.to_write -= 1;
            }
        }
        Ok(())
    }

    fn write_records(&mut self, shared: &mut Shared) -> Result<(), Box<dyn Error>> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        if self.to_write == 0 {
            return Ok(());
        }
        for _ in 0..self.to_write {
            session.seal(&shared.question, &mut shared.records)?;
        }
        self.to_write = 0;
        Ok(self.send(&mut shared.records)?)
    }

    /// Sends records; what the kernel does not take waits.
    fn send(&mut self, records: &mut Records) -> io::Result<()> {
        let bytes = records.bytes();
        let mut sent = 0;
        if self.unsent.is_empty() && !bytes.is_empty() {
            sent = match self.stream.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                result => result?,
            };
        }
        self.unsent.extend_from_slice(&bytes[sent..]);
        records.clear();
        Ok(())
    }

    /// Takes what has come, at most one buffer full. Returns whether there may be more.
    pub(crate) fn receive(
        &mut self,
        shared: &mut Shared,
        news: &mut News,
    ) -> Result<bool, Box<dyn Error>> {
        let len = match self.stream.read(&mut shared.buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let Self { session, inbox, .. } = self;
        let Shared { answer, verify, buffer, records, .. } = shared;
        let expected = (answer.as_slice(), *verify);
        let bytes = &mut buffer[..len];
        let Some(session) = session else {
            inbox.take(bytes, expected, news)?;
            return Ok(len == RECEIVE_BYTES);
        };
        let mut taken = Ok(());
        session.receive(bytes, records, |plain| {
            if taken.is_ok() {
                taken = inbox.take(plain, expected, news);
            }
        })?;
        taken?;
        if session.has_ended() {
            return Err("the server has ended a connection".into());
        }
        if inbox.stage == Stage::Securing && session.is_open() {
            // The request leaves with the end of the handshake.
            inbox.stage = Stage::Opening;
            session.seal(frames::REQUEST, records)?;
        }
        self.send(records)?;
        Ok(len == RECEIVE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pieces: &[&[u8]], verify: bool) -> Result<News, &'static str> {
        let mut inbox = Inbox { stage: Stage::Opening, received: 0 };
        let mut news = News::default();
        for piece in pieces {
            inbox.take(piece, (b"answer", verify), &mut news)?;
        }
        Ok(news)
    }

    #[test]
    fn answers_come_in_any_pieces() {
        let opened = News { opened: true, answered: 0 };
        assert_eq!(taken(&[frames::ANSWER], true), Ok(opened));
        let pieces: &[&[u8]] = &[frames::ANSWER, b"answe", b"ranswer", b"answeranswera"];
        assert_eq!(taken(pieces, true), Ok(News { opened: true, answered: 4 }));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(taken(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], true).is_err());
        assert!(taken(&[&frames::ANSWER[..20]], true).is_err());
        assert!(taken(&[frames::ANSWER, b"answeransweX"], true).is_err());
        assert!(taken(&[frames::ANSWER, b"answeransweX"], false).is_ok());
    }
}
