//! Bytes in, from a socket that is said to have some.

use std::io::ErrorKind;

use super::{Port, Socket as _, SocketTx, flag};
use crate::slots::ConnId;
use crate::{Closed, Sink};

impl<P: Port> SocketTx<P> {
    /// Receives from one connection what there is, up to its budget: into the buffer that all
    /// share, or where the sink has room for it. A read that is not filled has emptied the socket,
    /// so nothing is asked twice. Returns how much there was.
    pub(crate) fn receive<S: Sink<Self>>(
        &mut self,
        id: ConnId,
        buffer: &mut [u8],
        sink: &mut S,
    ) -> usize {
        let budget = self.config.receive_budget_bytes.max(1);
        let mut received = 0;
        while received < budget {
            let Some(connection) = self.connections.get_mut(id) else { return received };
            if !connection.may_receive() {
                return received;
            }
            let most = buffer.len().min(budget - received);
            let discards = connection.is(flag::CLOSING);
            let (place, in_room) = match sink.room(id, self.config.room_bytes_min, most) {
                Some(room) if !discards => (room, true),
                _ => (&mut buffer[..most], false),
            };
            let asked = place.len();
            match connection.stream.receive(place) {
                Ok(0) => {
                    self.handle_eof(id, sink);
                    return received;
                }
                Ok(len) => {
                    received += len;
                    let drained = len < asked && !connection.is(flag::READ_TO_END);
                    if in_room {
                        sink.received_in_room(self, id, len);
                    } else if !discards {
                        sink.received(self, id, &mut buffer[..len]);
                    }
                    if drained {
                        return received;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.flags &= !flag::READ_TO_END;
                    return received;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.handle_end(id, Closed::Error(error), sink);
                    return received;
                }
            }
        }
        self.make_due(id);
        received
    }
}
