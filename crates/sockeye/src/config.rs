//! Every limit and every time of the engine, with its unit in its name.

use sockeye_codec::Limits;
use sockeye_codec::deflate::DeflateConfig;
use sockeye_codec::handshake::HandshakeLimits;
use sockeye_driver::UringConfig;

use crate::error::Error;

/// The settings of a server. The defaults are safe for the open internet; take what you need from
/// [`Config::default`]:
///
/// ```
/// use sockeye::Config;
///
/// let config = Config { message_bytes_max: 64 << 10, ..Config::default() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Payload bytes of a message (default 16 MiB). Over it: close code 1009.
    pub message_bytes_max: usize,
    /// Payload bytes of a frame (default 16 MiB). Over it: close code 1009.
    pub frame_bytes_max: usize,
    /// Frames of a message, empty ones too (default 131,072). Over it: close code 1009.
    pub fragments_per_message_max: u32,
    /// Bytes of a request's head (default 16 KiB). Over it: status 431.
    pub handshake_head_bytes_max: usize,
    /// Header lines of a request (default 64). Over it: status 431.
    pub handshake_headers_max: usize,
    /// From the connection to the end of its handshake (default 10,000). Over it: status 408.
    pub handshake_timeout_ms: u32,
    /// A ping leaves when nothing has come in for this long (default 30,000; 0: never).
    pub ping_interval_ms: u32,
    /// A connection from which not a byte has come for this long, the pongs included, is closed
    /// with code 1001 (default 75,000; 0: never).
    pub idle_timeout_ms: u32,
    /// How long a peer may take to answer a close frame, and again to close its side of the TCP
    /// connection (default 5,000). Then the connection is cut.
    pub close_timeout_ms: u32,
    /// Bytes that may wait for one connection because its peer reads too slowly (default 32 MiB).
    /// Over it: close code 1013.
    pub backlog_bytes_max: usize,
    /// [`Handler::drained`](crate::Handler::drained) is called when a backlog has fallen to this
    /// (default 16 KiB).
    pub backlog_low_bytes: usize,
    /// Connections of one shard at a time (default 1,000,000); more wait to be accepted.
    pub connections_per_shard_max: usize,
    /// Connections that wait to be accepted, for each shard (default 4,096; the kernel's
    /// `somaxconn` caps it).
    pub listen_backlog: u32,
    /// New connections that a shard takes in one turn (default 64).
    pub accepts_per_turn_max: usize,
    /// The receive buffer that all connections of a shard share (default 260 KiB: a little more
    /// than a power of two, as frames have headers).
    pub receive_buffer_bytes: usize,
    /// What one connection may deliver in one turn before others have theirs (default 2 MiB: a
    /// large message that is read in one go is still in cache when it is answered).
    pub receive_bytes_per_turn_max: usize,
    /// What a shard may publish, or send to other connections, in one turn (default 64 MiB).
    pub publish_bytes_per_turn_max: usize,
    /// Topics that one connection may subscribe to (default 1,024).
    pub subscriptions_per_connection_max: usize,
    /// Bytes of a topic's name (default 256).
    pub topic_bytes_max: usize,
    /// Commands from other threads that may wait for a shard (default 65,536).
    pub mailbox_max: usize,
    /// Buffers that a shard keeps for messages that come in pieces (default 4 MiB).
    pub spare_bytes_max: usize,
    /// permessage-deflate (RFC 7692), for the clients that offer it (default: none).
    pub deflate: Option<DeflateConfig>,
    /// With context takeover: a connection's compressor, up to 270 KiB, is freed when it has not
    /// been used for this long (default 10,000; 0: never). The next message begins a new context.
    pub deflate_idle_ms: u32,
    /// Compressed messages that may be under way at once on connections in streaming mode, for each
    /// shard: each has an inflater of 48 KiB (default 1,024). Over it: close code 1013.
    pub deflate_streams_max: usize,
    /// The sizes of a shard's ring, and sends without a copy; of the io_uring backend alone.
    pub io_uring: UringConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: 16 << 20,
            frame_bytes_max: 16 << 20,
            fragments_per_message_max: 1 << 17,
            handshake_head_bytes_max: 16 << 10,
            handshake_headers_max: 64,
            handshake_timeout_ms: 10_000,
            ping_interval_ms: 30_000,
            idle_timeout_ms: 75_000,
            close_timeout_ms: 5_000,
            backlog_bytes_max: 32 << 20,
            backlog_low_bytes: 16 << 10,
            connections_per_shard_max: 1_000_000,
            listen_backlog: 4_096,
            accepts_per_turn_max: 64,
            receive_buffer_bytes: (256 + 4) << 10,
            receive_bytes_per_turn_max: 2 << 20,
            publish_bytes_per_turn_max: 64 << 20,
            subscriptions_per_connection_max: 1_024,
            topic_bytes_max: 256,
            mailbox_max: 1 << 16,
            spare_bytes_max: 4 << 20,
            deflate: None,
            deflate_idle_ms: 10_000,
            deflate_streams_max: 1_024,
            io_uring: UringConfig::default(),
        }
    }
}

impl Config {
    /// Whether the settings make sense together.
    ///
    /// # Errors
    /// One line that names the setting and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let positive = [
            ("message_bytes_max", self.message_bytes_max),
            ("frame_bytes_max", self.frame_bytes_max),
            ("fragments_per_message_max", self.fragments_per_message_max as usize),
            ("handshake_head_bytes_max", self.handshake_head_bytes_max),
            ("handshake_headers_max", self.handshake_headers_max),
            ("handshake_timeout_ms", self.handshake_timeout_ms as usize),
            ("close_timeout_ms", self.close_timeout_ms as usize),
            ("backlog_bytes_max", self.backlog_bytes_max),
            ("connections_per_shard_max", self.connections_per_shard_max),
            ("listen_backlog", self.listen_backlog as usize),
            ("accepts_per_turn_max", self.accepts_per_turn_max),
            ("receive_buffer_bytes", self.receive_buffer_bytes),
            ("receive_bytes_per_turn_max", self.receive_bytes_per_turn_max),
            ("mailbox_max", self.mailbox_max),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(Error::Config(format!("{name} must be at least 1")));
            }
        }
        let headers_max = sockeye_codec::handshake::HEADERS_MAX;
        if self.handshake_headers_max > headers_max {
            return Err(Error::Config(format!("handshake_headers_max is at most {headers_max}")));
        }
        if self.backlog_low_bytes >= self.backlog_bytes_max {
            let text = "backlog_low_bytes must be less than backlog_bytes_max";
            return Err(Error::Config(text.into()));
        }
        if self.idle_timeout_ms != 0 && self.ping_interval_ms >= self.idle_timeout_ms {
            let text = "ping_interval_ms must be less than idle_timeout_ms, or peers that are well \
                        but silent would be closed (0 turns either off)";
            return Err(Error::Config(text.into()));
        }
        if let Some(deflate) = &self.deflate {
            deflate.check().map_err(|what| Error::Config(format!("deflate.{what}")))?;
        }
        self.io_uring.check().map_err(|what| Error::Config(format!("io_uring.{what}")))
    }

    pub(crate) fn is_topic(&self, name: &str) -> bool {
        (1..=self.topic_bytes_max).contains(&name.len())
    }

    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            message_bytes_max: self.message_bytes_max as u64,
            frame_bytes_max: self.frame_bytes_max as u64,
            fragments_per_message_max: self.fragments_per_message_max,
            spare_bytes_max: self.spare_bytes_max,
        }
    }

    pub(crate) const fn handshake_limits(&self) -> HandshakeLimits {
        HandshakeLimits {
            head_bytes_max: self.handshake_head_bytes_max,
            headers_max: self.handshake_headers_max,
        }
    }

    pub(crate) fn driver(&self) -> sockeye_driver::Config {
        sockeye_driver::Config {
            receive_buffer_bytes: self.receive_buffer_bytes,
            receive_budget_bytes: self.receive_bytes_per_turn_max,
            accept_budget: self.accepts_per_turn_max,
            connections_max: self.connections_per_shard_max,
            backlog_low_bytes: self.backlog_low_bytes,
            uring: self.io_uring.clone(),
            ..sockeye_driver::Config::default()
        }
    }
}
