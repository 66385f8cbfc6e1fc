//! How the bytes move.
