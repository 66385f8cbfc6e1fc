//! Prometheus' remote write 1.0, as a sender: what the run publishes waits in a short queue, and a
//! thread brings it to the receiver. Whatever becomes of that, the load goes on.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::exposition::Exposition;
use super::post::{NotTaken, Post};
use super::protobuf;

/// Requests that wait; then the oldest goes, since later ones have the same counters.
const QUEUE_MAX: usize = 64;
/// How long one request is tried,
const TRY_MAX: Duration = Duration::from_secs(30);
/// and each attempt of that.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long the end of the run waits for what has not left.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// The NaN that says that there will be no more of a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// The sender.
pub(super) struct RemoteWrite {
    shared: Arc<Shared>,
    /// Says so when the thread has ended.
    ended: Receiver<()>,
    labels: Vec<(String, String)>,
    last_unix_ms: i64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// Nothing more is to come, and what there is has time until then.
    ends: Option<Instant>,
    given: u64,
    taken: u64,
    /// Why one was refused, the first time; else why the last attempt failed.
    refused: Option<String>,
    failed: Option<String>,
}

impl RemoteWrite {
    /// `labels` are those of each series, besides its own.
    pub(super) fn start(post: Post, labels: Vec<(String, String)>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (end, ended) = mpsc::channel();
        let sender = Arc::clone(&shared);
        thread::Builder::new().name("remote-write".into()).spawn(move || {
            sender.deliver_all(&post);
            // Nobody waits: the run was given up.
            let _ = end.send(());
        })?;
        Ok(Self { shared, ended, labels, last_unix_ms: 0 })
    }

    /// Sends these figures, as they are now.
    pub(super) fn push(&mut self, exposition: &Exposition) {
        self.push_as(exposition, None);
    }

    /// Says that these figures end here, and waits a while until all has left. The error is one
    /// line.
    pub(super) fn finish(mut self, exposition: &Exposition) -> Result<(), String> {
        // "Senders MUST send stale markers when a time series will no longer be appended to"
        self.push_as(exposition, Some(f64::from_bits(STALE)));
        self.shared.end(Instant::now() + FLUSH_MAX);
        // An attempt under way has a limit of its own; only a resolver may take longer.
        let _ = self.ended.recv_timeout(FLUSH_MAX + Duration::from_secs(1));
        let state = self.shared.lock();
        if state.taken == state.given {
            return Ok(());
        }
        let why = state.refused.as_ref().or(state.failed.as_ref());
        let why = why.map_or("the receiver takes too long", String::as_str);
        let lost = state.given - state.taken;
        Err(format!("{lost} of {} requests were not taken: {why}", state.given))
    }

    fn push_as(&mut self, exposition: &Exposition, value: Option<f64>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // A receiver takes no two samples of a series for one time, and none for an earlier one.
        self.last_unix_ms = (now.as_millis() as i64).max(self.last_unix_ms + 1);
        let request = protobuf::write_request(exposition, &self.labels, self.last_unix_ms, value);
        self.shared.push(&request);
    }
}

impl Drop for RemoteWrite {
    fn drop(&mut self) {
        self.shared.end(Instant::now());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, request: &[u8]) {
        let compressed = snap::raw::Encoder::new().compress_vec(request);
        let mut state = self.lock();
        state.given += 1;
        match compressed {
            Ok(compressed) => state.waiting.push_back(compressed),
            Err(error) => state.failed = Some(error.to_string()),
        }
        if state.waiting.len() > QUEUE_MAX {
            state.waiting.pop_front();
        }
        self.changed.notify_all();
    }

    fn end(&self, at: Instant) {
        self.lock().ends.get_or_insert(at);
        self.changed.notify_all();
    }

    /// Until the end.
    fn deliver_all(&self, post: &Post) {
        while let Some(request) = self.next() {
            self.deliver(post, &request);
        }
    }

    /// The oldest that waits. `None`: there will be none.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if state.ends.is_some_and(|ends| ends <= Instant::now()) {
                return None;
            }
            if let Some(request) = state.waiting.pop_front() {
                return Some(request);
            }
            if state.ends.is_some() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tries until it is taken or refused, or for as long as that is worth it.
    fn deliver(&self, post: &Post, request: &[u8]) {
        let give_up = Instant::now() + TRY_MAX;
        let mut backoff = BACKOFF_MIN;
        loop {
            let ends = self.lock().ends.unwrap_or(give_up).min(give_up);
            let result = post.send(request, ends.min(Instant::now() + ATTEMPT_MAX));
            let mut state = self.lock();
            match result {
                Ok(()) => {
                    state.taken += 1;
                    return;
                }
                Err(NotTaken::Refused(why)) => {
                    state.refused.get_or_insert(why);
                    return;
                }
                Err(NotTaken::Failed(why)) => state.failed = Some(why),
            }
            if !self.pause(state, backoff, give_up) {
                return;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// `false`: there is no time for another attempt.
    fn pause(&self, mut state: MutexGuard<'_, State>, time: Duration, give_up: Instant) -> bool {
        let until = Instant::now() + time;
        loop {
            let (now, ends) = (Instant::now(), state.ends.unwrap_or(give_up).min(give_up));
            if ends <= until {
                return false;
            }
            if until <= now {
                return true;
            }
            let waited = self.changed.wait_timeout(state, until - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
