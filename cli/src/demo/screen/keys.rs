use super::super::director::{Change, Key};
use super::super::upstream::Fault;
use cofferdam_core::level::Level;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the thread looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// A thread that reads keys, for the terminal can only be read by blocking. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Keyboard {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keyboard {
    /// Starts to read; keys that mean something go to the director.
    ///
    /// # Errors
    ///
    /// No thread can be had.
    pub(crate) fn listen(keys: mpsc::Sender<Key>) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::Builder::new().name("keyboard".into()).spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let Ok(is_ready) = event::poll(PATIENCE) else { break };
                let Some(Event::Key(pressed)) = is_ready.then(event::read).and_then(Result::ok) else {
                    continue;
                };
                // A full channel means that the director is busy with earlier keys: the user will press again.
                let _ = meaning(pressed).map(|key| keys.try_send(key));
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

/// What a key means. `None`: nothing.
fn meaning(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return (pressed.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match pressed.code {
        KeyCode::Char('0') => Key::Change(Change::Level(Level::None)),
        KeyCode::Char('1') => Key::Change(Change::Level(Level::Basic)),
        KeyCode::Char('2') => Key::Change(Change::Level(Level::Enhanced)),
        KeyCode::Char('3') => Key::Change(Change::Level(Level::Full)),
        KeyCode::Char('b') => Key::Change(Change::Fault(Fault::Broken)),
        KeyCode::Char('s') => Key::Change(Change::Fault(Fault::Slow)),
        KeyCode::Char('f') => Key::Change(Change::Fault(Fault::Flaky)),
        KeyCode::Char('h') => Key::Change(Change::Fault(Fault::Healthy)),
        KeyCode::Char('p' | ' ') => Key::Pause,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_promised_means_something() {
        for name in super::super::KEYS.split("  ").map(|entry| entry.chars().next().unwrap()) {
            let pressed = KeyEvent::new(KeyCode::Char(name), KeyModifiers::NONE);
            assert!(meaning(pressed).is_some(), "{name}");
        }
    }

    #[test]
    fn control_c_quits_and_c_alone_does_not() {
        assert_eq!(meaning(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Key::Quit));
        assert_eq!(meaning(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::NONE)), None);
        assert_eq!(meaning(KeyEvent::new(KeyCode::Char('b'), KeyModifiers::CONTROL)), None);
    }
}
