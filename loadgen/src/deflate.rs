//! The settings of permessage-deflate on the command line.

use clap::{Args, ValueEnum};
use sockeye::DeflateConfig;

use crate::load::units::parse_length;

/// Options of permessage-deflate.
#[derive(Debug, Args)]
#[command(next_help_heading = "Compression")]
pub(crate) struct DeflateOptions {
    /// Agree on permessage-deflate (RFC 7692) with the clients that offer it
    #[arg(long)]
    deflate: bool,
    /// Who may refer to earlier messages: smaller, at up to 270 KiB a connection for what the
    /// server sends and 32 KiB for what clients send
    #[arg(long, value_name = "WHO", value_enum, requires = "deflate")]
    #[arg(default_value_t = Takeover::None)]
    deflate_takeover: Takeover,
    /// From 1, fastest, to 9, smallest
    #[arg(long, value_name = "N", requires = "deflate", default_value_t = 6)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=9))]
    deflate_level: u8,
    /// Memory of a compressor, from 1, least, to 9, most
    #[arg(long, value_name = "N", requires = "deflate", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=9))]
    deflate_memory_level: u8,
    /// The server's window has at most 2 to this power bytes
    #[arg(long, value_name = "BITS", requires = "deflate", default_value_t = 15)]
    #[arg(value_parser = clap::value_parser!(u8).range(8..=15))]
    deflate_server_window: u8,
    /// The same of the clients' windows
    #[arg(long, value_name = "BITS", requires = "deflate", default_value_t = 15)]
    #[arg(value_parser = clap::value_parser!(u8).range(8..=15))]
    deflate_client_window: u8,
    /// Shorter messages leave as they are
    #[arg(long, value_name = "BYTES", requires = "deflate", default_value = "128")]
    #[arg(value_parser = parse_length)]
    deflate_min: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Takeover {
    /// nobody: all connections share one compressor
    None,
    /// the server
    Server,
    /// the clients
    Client,
    /// both
    Both,
}

impl DeflateOptions {
    /// `None`: it is off.
    pub(crate) const fn config(&self) -> Option<DeflateConfig> {
        if !self.deflate {
            return None;
        }
        Some(DeflateConfig {
            server_context_takeover: matches!(
                self.deflate_takeover,
                Takeover::Server | Takeover::Both
            ),
            client_context_takeover: matches!(
                self.deflate_takeover,
                Takeover::Client | Takeover::Both
            ),
            server_max_window_bits: self.deflate_server_window,
            client_max_window_bits: self.deflate_client_window,
            level: self.deflate_level,
            memory_level: self.deflate_memory_level,
            compress_bytes_min: self.deflate_min,
        })
    }
}
