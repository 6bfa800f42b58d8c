//! What the log is told once of a service, and not for each of its calls.

use std::sync::Mutex;

/// As much is told of one service: methods can be made of what a user sends, and have no end then.
const MOST: usize = 32;

/// What was told: of which method, of what, and why.
#[derive(Debug, Default)]
pub(crate) struct ToldOnce(Mutex<Vec<(Box<str>, &'static str, &'static str)>>);

impl ToldOnce {
    /// Whether it is to be told now, which is then taken for done.
    pub(crate) fn is_first(&self, method: &str, what: &'static str, why: &'static str) -> bool {
        // Whoever meets another here leaves it to the next call: calls wait for no lock of the SDK.
        let Ok(mut told) = self.0.try_lock() else { return false };
        let is_known = |(of, about, told): &(Box<str>, &str, &str)| **of == *method && *about == what && *told == why;
        if told.len() >= MOST || told.iter().any(is_known) {
            return false;
        }
        told.push((method.into(), what, why));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_there_is_an_end() {
        let told = ToldOnce::default();
        assert!(told.is_first("Get", "static", "no codec") && !told.is_first("Get", "static", "no codec"));
        assert!(told.is_first("Put", "static", "no codec") && told.is_first("Get", "cached", "no codec"));
        let methods = (0..1_000).filter(|n| told.is_first(&n.to_string(), "static", "no codec"));
        assert_eq!(methods.count(), MOST - 3);
    }
}
