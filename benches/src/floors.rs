//! What the floors share: how they are told what to do, and what they listen on.

use std::io;
use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use socket2::{Domain, Socket, Type};
use sockeye_codec::mask::MaskingKey;

/// A client's frame is this much longer than its answer: the masking key.
pub const KEY_BYTES: usize = 4;

/// To unmask with; which one is of no interest.
pub const KEY: MaskingKey = [1, 2, 3, 4];

/// What a floor does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum App {
    /// Back to where it came from.
    Echo,
    /// To everybody.
    Broadcast,
}

/// Command-line arguments of every floor.
#[derive(Debug, Args)]
pub struct FloorOptions {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What it does with what it gets
    #[arg(long, value_enum, default_value_t = App::Echo)]
    pub app: App,
    /// Bytes of each frame that the client sends, its header and key too
    #[arg(long, value_parser = clap::value_parser!(u32).range(7..))]
    pub frame_bytes: u32,
    /// Do what no server is spared, too: pass over the bytes that come, as unmasking does, and have
    /// an echo be those bytes
    #[arg(long)]
    pub unmask: bool,
}

impl FloorOptions {
    /// The listener. What it accepts sends without delay, as it does itself.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.listen), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&self.listen.into())?;
        socket.listen(4096)?;
        Ok(socket)
    }
}
