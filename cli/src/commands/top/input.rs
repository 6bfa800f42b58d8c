//! What keys mean.

use cofferdam_core::level::LevelChoice;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key that may mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A character.
    Char(char),
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// The first row.
    Home,
    /// The last row.
    End,
    /// Yes, or done with typing.
    Enter,
    /// No, or back.
    Escape,
    /// One character less.
    Backspace,
    /// Enough.
    Quit,
}

/// What a key led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing but another picture.
    Nothing,
    /// The end.
    Quit,
    /// Something that was confirmed.
    Do(Order),
}

/// What to do, to which service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Namespace and name.
    pub(super) place: (String, String),
    /// What.
    pub(super) what: What,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Set the level.
    Level(LevelChoice),
    /// Trip the breakers.
    Trip,
    /// Reset the breakers.
    Reset,
}

impl What {
    /// As a question.
    pub(super) fn question(self, service: &str) -> String {
        match self {
            Self::Level(level) => format!("set level {level} for {service}?"),
            Self::Trip => format!("trip the breakers of {service}?"),
            Self::Reset => format!("reset the breakers of {service}?"),
        }
    }

    /// When it is done.
    pub(super) fn done(self) -> String {
        match self {
            Self::Level(level) => format!("level {level}"),
            Self::Trip => "breakers tripped".to_owned(),
            Self::Reset => "breakers reset".to_owned(),
        }
    }
}

/// What was pressed. `None`: nothing that is known here.
pub(super) fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return (pressed.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match pressed.code {
        KeyCode::Char(char) => Key::Char(char),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
