//! What the engine promises, seen from a socket and from a handler. The backend is epoll, or the
//! one that `SOCKEYE_TEST_BACKEND` names.

#[path = "engine/backlog.rs"]
mod backlog;
#[path = "engine/closing.rs"]
mod closing;
#[path = "engine/embedding.rs"]
mod embedding;
#[path = "engine/limits.rs"]
mod limits;
#[path = "engine/messages.rs"]
mod messages;
#[path = "engine/panics.rs"]
mod panics;
#[path = "engine/remote.rs"]
mod remote;
#[path = "engine/streaming.rs"]
mod streaming;
#[path = "engine/timeouts.rs"]
mod timeouts;
#[path = "engine/topics.rs"]
mod topics;
#[path = "engine/upgrade.rs"]
mod upgrade;
