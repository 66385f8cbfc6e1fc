//! How the simulator gets to know of its sockets: it receives, or waits for room, for those for
//! which it was told to, and for no others. What the sending half forgets to ask for never comes.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::Work;
use super::net::SimNet;
use super::socket::{SimListener, SimSocket};
use crate::outbuf::Block;
use crate::slots::ConnId;
use crate::sockets::{self, DEFERRED_BYTES_MAX, Deferred, Outgoing, Port, SocketTx, flag};

/// The sending half of a [`SimDriver`](super::SimDriver).
pub type SimTx = SocketTx<SimPort>;
type Connection = sockets::Connection<SimPort>;

/// The network, and whom there is in it.
#[derive(Debug)]
pub struct SimPort {
    pub(super) net: SimNet,
    /// All connections, in the order in which they began; dead ones until the next turn.
    ids: Vec<ConnId>,
    /// Bytes for the next turn.
    deferred: Deferred,
}

/// What the simulator has been told to look out for.
#[derive(Debug, Default)]
pub struct State {
    receiving: bool,
    awaiting_room: bool,
    /// Where its deferred bytes are in the port's.
    deferred: usize,
}

impl Port for SimPort {
    type Socket = SimSocket;
    type Listener = SimListener;
    type State = State;

    fn connect(&mut self, to: SocketAddr) -> io::Result<SimSocket> {
        Ok(SimSocket::connect(&self.net, to))
    }

    /// The system's sockets are none of this network.
    fn adopt(&mut self, _socket: OwnedFd) -> io::Result<SimSocket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn watch(&mut self, id: ConnId, connection: &mut Connection) -> io::Result<()> {
        self.ids.push(id);
        connection.state.receiving = !connection.is(flag::CONNECTING);
        Ok(())
    }

    fn connected(&mut self, _id: ConnId, connection: &mut Connection) {
        connection.state.receiving = true;
    }

    fn await_room(&mut self, _id: ConnId, connection: &mut Connection) {
        connection.state.awaiting_room = true;
    }

    fn pause(&mut self, _id: ConnId, connection: &mut Connection) {
        connection.state.receiving = false;
    }

    fn unwatch(&mut self, _id: ConnId, _connection: &mut Connection) {}

    fn unlisten(&mut self, _listener: &SimListener) {}

    fn defer(&mut self, id: ConnId, to: &mut Connection, bytes: &mut Outgoing<'_>) -> bool {
        let place = to.state.deferred;
        let len = self.deferred.len_at(place) + bytes.len();
        let mut net = self.net.net();
        let chance = net.faults.deferred_sends;
        if len > DEFERRED_BYTES_MAX || !net.random.chance(chance) {
            return false;
        }
        to.state.deferred = self.deferred.push(place, id, (), bytes);
        true
    }

    fn take_deferred(&mut self, connection: &mut Connection) -> Option<Block> {
        self.deferred.take(mem::take(&mut connection.state.deferred))
    }

    fn reuse(&mut self, block: Block) {
        self.deferred.reuse(block);
    }
}

/// When there is news of each kind.
struct News {
    connect: Option<Instant>,
    receive: Option<Instant>,
    send: Option<Instant>,
}

impl Connection {
    fn news(&self) -> News {
        let state = &self.state;
        let connecting = self.is(flag::CONNECTING);
        let receives = state.receiving && self.may_receive();
        let sends = state.awaiting_room && !connecting && !self.is(flag::DEAD);
        News {
            connect: if connecting { self.stream.connected_at() } else { None },
            receive: if receives { self.stream.readable_at() } else { None },
            send: if sends { self.stream.writable_at() } else { None },
        }
    }
}

impl SimTx {
    pub(super) fn on(net: SimNet, config: crate::Config) -> Self {
        let now = net.now();
        let mut tx =
            Self::new(config, SimPort { net, ids: Vec::new(), deferred: Deferred::default() });
        tx.now = now;
        tx
    }

    fn live(&self) -> impl Iterator<Item = (ConnId, &Connection)> {
        self.port.ids.iter().filter_map(|id| Some((*id, self.connections.get(*id)?)))
    }

    pub(super) fn local_addr(&self, id: ConnId) -> Option<SocketAddr> {
        Some(self.connections.get(id)?.stream.local_addr())
    }

    pub(super) fn load(&self) -> (usize, usize) {
        let waiting = self.live().map(|(_, connection)| connection.backlog_bytes());
        (self.connections.len(), waiting.sum())
    }

    /// When a turn finds something to do, on the network or left by the last turn.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let connections = self.live().flat_map(|(_, connection)| {
            let News { connect, receive, send } = connection.news();
            [connect, receive, send].into_iter().flatten()
        });
        let listener = self.listener.as_ref();
        let announced = listener.and_then(|listener| listener.socket.announced_at());
        let deferred = (!self.port.deferred.is_empty()).then_some(self.now);
        connections.chain(announced).chain(deferred).chain(self.next_deadline()).min()
    }

    /// Sends what the last turn has left to this one.
    pub(super) fn send_all_deferred(&mut self) {
        for at in 0..self.port.deferred.len() {
            self.send_deferred(self.port.deferred.id_at(at));
        }
        self.port.deferred.clear();
    }

    /// All there is to do now, in any order. Some of it is put off: completions come late.
    pub(super) fn work(&mut self) -> Vec<Work> {
        let Self { connections, port, now, .. } = self;
        port.ids.retain(|id| connections.get(*id).is_some());
        let now = *now;
        let mut work = vec![Work::Accept];
        let late = self.port.net.net().faults.late_events;
        for (id, connection) in self.live() {
            let News { connect, receive, send } = connection.news();
            let happened = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            // Of a connect there may be news that is none, yet.
            let early = connect.is_some() && self.port.net.net().random.chance(late);
            work.extend((early || happened(connect)).then_some(Work::Connect(id)));
            work.extend(happened(receive).then_some(Work::Receive(id)));
            work.extend(happened(send).then_some(Work::Send(id)));
        }
        let mut net = self.port.net.net();
        net.random.shuffle(&mut work);
        // Never all of it, or a turn would do nothing at all.
        let first = work[0];
        let mut work: Vec<_> = work.into_iter().filter(|_| !net.random.chance(late)).collect();
        if work.is_empty() {
            work.push(first);
        }
        work
    }

    /// Receives again: what is due was paused, or over its budget.
    pub(super) fn resume(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.flags &= !flag::DUE;
            connection.state.receiving = !connection.is(flag::PAUSED);
        }
    }

    /// Has used up its budget for this turn.
    pub(super) fn suspend(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.state.receiving = false;
            self.make_due(id);
        }
    }

    /// Takes note that there is room.
    pub(super) fn has_room(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.state.awaiting_room = false;
        }
    }

    /// Looks who has come to the listener.
    pub(super) fn announce(&mut self) {
        if let Some(listener) = &self.listener
            && listener.socket.announced_at().is_some_and(|at| at <= self.now)
        {
            listener.socket.announce();
            self.handle_listener_ready();
        }
    }
}
