use super::super::director::{Change, Key};
use super::super::upstream::Fault;
use cofferdam_core::level::Level;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key means. `None`: nothing.
pub(super) fn meaning(pressed: KeyEvent) -> Option<Key> {
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
