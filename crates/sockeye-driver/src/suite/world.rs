//! Where drivers and their peers meet: the system's sockets, or the simulator's network. All that
//! the suite asks for beside a driver.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::rig::Rig;
use crate::{Config, Driver};

/// A place where connections are made. Clones are the same place.
pub(crate) trait World: Clone + fmt::Debug {
    /// What is tested.
    type Driver: Driver;
    /// A peer's end of a connection.
    type Stream: Stream;
    /// What peers accept from.
    type Listener;
    /// Keeps an address for itself.
    type Reserved;
    /// Keeps connections from being accepted.
    type Starved;

    /// Nothing takes this long: a test that waits longer has failed.
    const PATIENCE: Duration;

    /// A driver without a listener.
    fn driver(&self, config: Config) -> Self::Driver;

    /// The time that the drivers go by.
    fn now(&self) -> Instant;

    /// A listener for a driver, at an address of its own.
    fn bind(&self) -> (<Self::Driver as Driver>::Listener, SocketAddr);

    /// The same, of as foreign a make as there is.
    fn bind_otherwise(&self) -> (<Self::Driver as Driver>::Listener, SocketAddr);

    /// A listener for peers.
    fn listen(&self) -> (Self::Listener, SocketAddr);

    /// The next one who has connected, or is about to.
    fn accept(&self, listener: &Self::Listener) -> Self::Stream;

    /// A peer that connects; no driver has to turn for it.
    ///
    /// # Errors
    /// Nobody listens there.
    fn connect(&self, to: SocketAddr) -> io::Result<Self::Stream>;

    /// An address at which nobody listens.
    fn reserve(&self) -> (Self::Reserved, SocketAddr);

    /// While the answer lives, accepting fails for want of descriptors.
    fn starve(&self) -> Self::Starved;

    /// Whether a few bytes are always taken at once where nothing waits.
    fn takes_at_once(&self) -> bool;

    /// What was sent before this has arrived after it.
    fn settle(&self);

    /// See [`Rig::fence`].
    fn fence(rig: &mut Rig<Self>);

    /// Another thread is about to do something for which a turn will wait.
    fn let_run<R>(&self, thread: &JoinHandle<R>);
}

/// A peer's socket. Nothing of it waits; dropping it closes it.
pub(crate) trait Stream: Read + Write {
    /// Its own address.
    fn addr(&self) -> SocketAddr;

    /// FIN.
    fn finish(&self);

    /// RST, whether or not something is unread.
    fn reset(self);
}
