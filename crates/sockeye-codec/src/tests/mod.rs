//! The codec against slow and simple twins, under every cut of its input.

mod advisories;
mod connection;
mod encode;
mod frame;
mod limits;
mod mask;
mod oracle;
mod replay;
mod streams;
mod utf8;
