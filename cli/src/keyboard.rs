//! Keys of a terminal, for the terminal can only be read by blocking.

use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the thread looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// A thread that reads keys. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Keyboard {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keyboard {
    /// Starts to read; what keys mean that are pressed goes to `keys`, unless it is nothing.
    ///
    /// # Errors
    ///
    /// No thread can be had.
    pub(crate) fn listen<K: Send + 'static>(
        keys: mpsc::Sender<K>,
        meaning: impl Fn(KeyEvent) -> Option<K> + Send + 'static,
    ) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::Builder::new().name("keyboard".into()).spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let Ok(is_ready) = event::poll(PATIENCE) else { break };
                let Some(Event::Key(pressed)) = is_ready.then(event::read).and_then(Result::ok) else {
                    continue;
                };
                let key = if pressed.kind == KeyEventKind::Release { None } else { meaning(pressed) };
                // A full channel means that earlier keys are still being seen to: the user will press again.
                let _ = key.map(|key| keys.try_send(key));
            }
        })?;
        Ok(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It ends by itself within its patience; a panic in it has shown itself already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
