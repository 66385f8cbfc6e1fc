//! The codec against slow and simple twins, under every cut of its input.

mod mask;
mod utf8;
