//! Connections in: a multishot accept takes them out of the listener's queue, without a call of
//! ours, and puts them into one here, from which they are accepted as from any listener.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use io_uring::types::Fd;
use io_uring::{cqueue, opcode};

use super::completion::{Completion, Op, plain_number};
use super::ring::Ring;
use super::{Uring, UringTx};
use crate::sockets::{Accept, TcpListener, TcpStream};

/// A listener, and those who have come and were not looked at.
#[derive(Debug)]
pub struct RingListener {
    socket: TcpListener,
    /// In order. An error is as accept(2) would tell it.
    arrivals: RefCell<VecDeque<io::Result<OwnedFd>>>,
    /// A multishot accept is under way.
    armed: bool,
    /// Which of the driver's listeners this is.
    number: usize,
}

impl RingListener {
    pub(super) fn new(listener: std::net::TcpListener, number: usize) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpListener::from_std(listener),
            arrivals: RefCell::default(),
            armed: false,
            number,
        })
    }

    fn waiting(&self) -> usize {
        self.arrivals.borrow().len()
    }
}

impl AsFd for RingListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Accept for RingListener {
    type Socket = TcpStream;

    fn accept(&self) -> io::Result<TcpStream> {
        let Some(arrival) = self.arrivals.borrow_mut().pop_front() else {
            return Err(ErrorKind::WouldBlock.into());
        };
        Ok(TcpStream::from_std(std::net::TcpStream::from(arrival?)))
    }
}

impl Uring {
    /// Accepts again, where that has ended and all who came have been looked at.
    pub(super) fn arm_listener(&mut self) -> io::Result<()> {
        if !self.has_idle_listener() {
            return Ok(());
        }
        let UringTx { listener, port, .. } = &mut self.tx;
        listener.as_mut().map_or(Ok(()), |listener| port.accept(&mut listener.socket))
    }

    /// Nobody has come, and nobody would be told of.
    pub(super) fn has_idle_listener(&self) -> bool {
        self.tx.listener.as_ref().is_some_and(|listener| {
            let RingListener { armed, .. } = listener.socket;
            !armed && listener.socket.waiting() == 0 && !listener.is_left_alone(self.tx.now)
        })
    }

    pub(super) fn handle_accepted(&mut self, completion: Completion) {
        let arrival = match completion.outcome() {
            // SAFETY: the kernel has just made this descriptor for us, and names it once.
            Ok(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
            Err(error) => Err(error),
        };
        let UringTx { listener, port, config, .. } = &mut self.tx;
        let Some(listener) = listener else { return };
        let socket = &mut listener.socket;
        if socket.number != completion.value() {
            return; // of one before: who came is turned away, as from its queue
        }
        socket.armed = cqueue::more(completion.flags);
        if !matches!(&arrival, Err(error) if error.raw_os_error() == Some(libc::ECANCELED)) {
            socket.arrivals.borrow_mut().push_back(arrival);
        }
        if socket.armed && socket.waiting() == config.accept_budget.max(1) {
            // More than a turn takes: the others wait where they are.
            port.cancel(plain_number(Op::Accept, socket.number));
        }
        self.tx.handle_listener_ready();
    }
}

impl Ring {
    /// Accepts, again and again. What comes is as the listener is: without delay, if that is.
    fn accept(&mut self, listener: &mut RingListener) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(listener.socket.as_raw_fd()))
            .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
            .build();
        self.push(&entry.user_data(plain_number(Op::Accept, listener.number)))?;
        listener.armed = true;
        Ok(())
    }
}

/// Closes what an accept brought that nobody will look at.
pub(super) fn turn_away(completion: Completion) {
    if completion.op() == Op::Accept
        && let Ok(fd) = completion.outcome()
    {
        // SAFETY: as above.
        drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    }
}
