//! What a shard counts. Plain numbers in its own memory, copied once a turn to where others read.

use std::iter::Sum;
use std::sync::atomic::{AtomicU64, Ordering};

use sockeye_driver::Counters;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of a server since it began, over all shards. Which backend it has tells
        /// [`Handle::backend`](crate::Handle::backend).
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters of one shard, for other threads to read.
        #[derive(Debug, Default)]
        pub(crate) struct ShardStats {
            $($name: AtomicU64,)*
        }

        impl ShardStats {
            /// Only the shard writes, so plain stores do.
            pub(crate) fn write(&self, stats: &Stats) {
                $(self.$name.store(stats.$name, Ordering::Relaxed);)*
            }

            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Sum for Stats {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self::default(), |a, b| Self { $($name: a.$name + b.$name,)* })
            }
        }
    };
}

counters! {
    /// TCP connections accepted.
    accepted,
    /// TCP connections now, those in the opening or closing handshake too.
    connections,
    /// WebSocket connections opened.
    opened,
    /// WebSocket connections now open.
    open,
    /// Requests that were answered with something other than 101.
    rejected,
    /// Messages received (in streaming mode: chunks).
    messages_received,
    /// Messages sent; a publication counts once for each subscriber.
    messages_sent,
    /// Connections closed because the peer broke the protocol or went over a limit.
    protocol_errors,
    /// Connections closed because their backlog was over the limit.
    backlog_overflows,
    /// Publications that another shard's full mailbox refused, or that were too large for a turn.
    publications_refused,
    /// Panics of the handler.
    panics,
    /// Times that the kernel had more to tell than io_uring's completion ring has room for. Nothing
    /// is lost, but receives have to be begun anew: 0 where all is well, and always on epoll.
    completion_overflows,
    /// Receives on io_uring that found no buffer and were begun anew. Many mean that paused
    /// connections, or some that send much, hold the buffers. Always 0 on epoll.
    receives_without_buffer,
    /// Times that no connection was accepted for a while, for want of file descriptors or memory.
    accept_backoffs,
    /// Sends on io_uring that were to leave without a copy,
    zero_copy_sends,
    /// and those of them that the kernel copied all the same.
    zero_copy_copied,
    /// TLS handshakes that came to their end,
    tls_handshakes,
    /// and those of them in which the session of an earlier connection went on.
    tls_resumed,
    /// Connections that ended within the TLS handshake once something had come: a fault, the
    /// peer's alert or its leaving, the timeout, or plain HTTP. One that never said anything counts
    /// where the timeout ended it.
    tls_failed,
    /// TLS connections whose peer sent FIN without `close_notify` first.
    tls_truncated,
}

impl Stats {
    /// What the driver has counted.
    pub(crate) const fn set_driver(&mut self, counters: &Counters) {
        self.completion_overflows = counters.completion_overflows;
        self.receives_without_buffer = counters.receives_without_buffer;
        self.accept_backoffs = counters.accept_backoffs;
        self.zero_copy_sends = counters.zero_copy_sends;
        self.zero_copy_copied = counters.zero_copy_copied;
    }
}
