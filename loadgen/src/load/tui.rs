//! The live screen of a run, on standard error, so that standard output stays free for the report.

mod figures;
mod view;

use std::io::{self, BufWriter, Stderr, Write};
use std::panic;
use std::process;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::report::{Live, Observer};

/// How long a key may wait, and the end of the screen for the thread that reads keys.
const KEY_INTERVAL: Duration = Duration::from_millis(50);

/// The terminal is ours and has to be given back.
static HELD: AtomicBool = AtomicBool::new(false);

/// A screen that shows a run until it is dropped.
#[derive(Debug)]
pub(crate) struct Tui {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
    ended: Arc<AtomicBool>,
    keys: Option<JoinHandle<()>>,
    signals: Vec<SigId>,
}

impl Tui {
    /// Takes the terminal. `q`, Ctrl-C, SIGINT, SIGTERM and SIGHUP set `stop`, which asks the run to
    /// end; a second Ctrl-C does not wait for that. Whoever ends the process without dropping this
    /// calls [`restore`] first.
    pub(crate) fn start(stop: Arc<AtomicBool>) -> io::Result<Self> {
        restore_on_panic();
        enable_raw_mode()?;
        HELD.store(true, Ordering::SeqCst);
        let mut tui = Self {
            terminal: Terminal::new(CrosstermBackend::new(BufWriter::new(io::stderr())))
                .inspect_err(|_| restore())?,
            ended: Arc::default(),
            keys: None,
            signals: Vec::new(),
        };
        execute!(tui.terminal.backend_mut(), EnterAlternateScreen, cursor::Hide)?;
        tui.terminal.clear()?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            tui.signals.push(signal_hook::flag::register(signal, Arc::clone(&stop))?);
        }
        let ended = Arc::clone(&tui.ended);
        let keys = thread::Builder::new().name("keys".into());
        tui.keys = Some(keys.spawn(move || read_keys(&stop, &ended))?);
        Ok(tui)
    }
}

impl Observer for Tui {
    fn window(&mut self, live: &Live<'_>) -> io::Result<()> {
        self.terminal.draw(|frame| view::draw(frame, live))?;
        Ok(())
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        for signal in self.signals.drain(..) {
            signal_hook::low_level::unregister(signal);
        }
        if let Some(keys) = self.keys.take() {
            // It panics only if the terminal does, and that has been said already.
            let _ = keys.join();
        }
        restore();
    }
}

/// Gives the terminal back, if it is held.
pub(crate) fn restore() {
    if HELD.swap(false, Ordering::SeqCst) {
        let mut stderr = io::stderr().lock();
        // There is nobody left to tell that the terminal is gone.
        let _ = execute!(stderr, LeaveAlternateScreen, cursor::Show);
        let _ = stderr.flush();
        let _ = disable_raw_mode();
    }
}

/// A message of a panic has to be readable.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}

fn read_keys(stop: &AtomicBool, ended: &AtomicBool) {
    while !ended.load(Ordering::SeqCst) {
        match event::poll(KEY_INTERVAL) {
            Ok(true) => {}
            Ok(false) => continue,
            // No keys, then: signals still end the run.
            Err(_) => return,
        }
        let Ok(Event::Key(key)) = event::read() else { continue };
        match meaning(key) {
            Some(Key::Interrupt) if stop.load(Ordering::SeqCst) => {
                restore();
                process::exit(130);
            }
            Some(_) => stop.store(true, Ordering::SeqCst),
            None => {}
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Quit,
    Interrupt,
}

fn meaning(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Interrupt),
        KeyCode::Char('q' | 'Q') => Some(Key::Quit),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
