//! A receipt of a rejected call, in words.

use super::super::moment::revision;
use super::super::session::shell_quoted;
use cofferdam_proto::v1;
use std::collections::BTreeMap;

/// What a receipt says, by its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt(BTreeMap<String, String>);

/// The keys that a receipt may have.
const KEYS: &[&str] =
    &["breaker", "pool", "methods", "state", "by", "owner", "reason", "revision", "failed", "open_for", "retry_after"];

impl Receipt {
    /// Reads the line that an SDK or `exec` has printed: `key=value`, where values with spaces are in quotes.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut said = BTreeMap::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=').ok_or_else(|| format!("{rest:?} is no key=value"))?;
            if !KEYS.contains(&key) {
                return Err(format!("{key:?} is nothing that a receipt says"));
            }
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => unquoted(quoted).ok_or_else(|| format!("the quotes of {key} do not end"))?,
                None => {
                    let (value, after) = after.split_once(' ').unwrap_or((after, ""));
                    (value.to_owned(), after)
                }
            };
            if said.contains_key(key) {
                return Err(format!("it says {key} twice"));
            }
            check(key, &value)?;
            said.insert(key.to_owned(), value);
            rest = after.trim_start();
        }
        let is_whole = ["breaker", "state", "by", "revision"].iter().all(|key| said.contains_key(*key));
        if is_whole { Ok(Self(said)) } else { Err("a receipt says breaker, state, by and revision".to_owned()) }
    }

    fn of(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// The revision of the policy that decided. `None`: it was the built-in one.
    pub(super) fn revision(&self) -> Option<v1::Revision> {
        revision(self.of("revision")).ok()
    }

    /// What happened, and what to do, a line each.
    pub(super) fn words(&self, service: &str) -> Vec<String> {
        let (breaker, flag) = match (self.of("pool"), self.of("methods")) {
            ("", "") => ("the service's own breaker".to_owned(), String::new()),
            (pool, "") => (format!("the breaker of pool {pool}"), format!(" --pool {}", shell_quoted(pool))),
            (_, glob) => (format!("the breaker of methods {glob}"), format!(" --method {}", shell_quoted(glob))),
        };
        let (what, mend) = match (self.of("state"), self.of("by")) {
            (_, "hold") => (
                format!("{breaker} was held open by {}: {}", self.of("owner"), self.of("reason")),
                format!("cofferdam release {service}{flag} --reason '...'"),
            ),
            (_, "policy") => (
                format!("the policy forced {breaker} open"),
                format!("cofferdam policy set {service} circuit_breaker.mode=auto"),
            ),
            ("open", _) => (
                format!("{breaker} was open{}", self.since()),
                format!("cofferdam reset {service}{flag} --reason '...' (it probes by itself when its time is over)"),
            ),
            ("half-open", _) => (
                format!("{breaker} was half-open: it let a few probes through and rejected the others"),
                format!("cofferdam explain {service} (it closes by itself when enough probes succeed)"),
            ),
            (state, _) => (
                format!(
                    "{breaker} was {state}: after a close it lets a growing share of the calls through, if the policy ramps up"
                ),
                format!("cofferdam explain {service} --all"),
            ),
        };
        let again = match self.of("retry_after") {
            "" => String::new(),
            after => format!("; it was worth trying again {after} later"),
        };
        vec![format!("{what}{again}"), format!("try: {mend}")]
    }

    /// ` for 4s: its rules opened it; 5 of 8 calls in its window had failed`, and what is not among them.
    fn since(&self) -> String {
        let open_for = match self.of("open_for") {
            "" => String::new(),
            time => format!(" for {time}"),
        };
        let failed = match self.of("failed").split_once('/') {
            None => String::new(),
            Some((_, "0")) => "; its window held no call before the one that opened it".to_owned(),
            // A row of failures opens before its last one is counted, and nothing says whether it was one.
            Some((failures, calls)) => format!(
                "; {failures} of {calls} calls in its window had failed, \
                 not counting the one that opened it where it was the last of a row of failures"
            ),
        };
        format!("{open_for}: its rules opened it{failed}")
    }
}

/// Whether a key may have this value.
fn check(key: &str, value: &str) -> Result<(), String> {
    let is_count = |text: &str| text.parse::<u64>().is_ok();
    let is_one_of = |list: &[&str]| list.contains(&value);
    let is_good = match key {
        "breaker" => is_one_of(&["service", "pool", "methods"]),
        "state" => is_one_of(&["closed", "open", "half-open"]),
        "by" => is_one_of(&["rules", "policy", "hold"]),
        "revision" => value == "built-in" || (value.contains('.') && revision(value).is_ok()),
        "failed" => value.split_once('/').is_some_and(|(failures, calls)| is_count(failures) && is_count(calls)),
        "open_for" | "retry_after" => value.starts_with(|digit: char| digit.is_ascii_digit()),
        _ => true,
    };
    if is_good { Ok(()) } else { Err(format!("{key} cannot be {value:?}")) }
}

/// A value up to its closing quote, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            char => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_told_in_words_with_what_mends_it() {
        let open = "breaker=service state=open by=rules revision=7.12 failed=5/8 open_for=4s retry_after=26s";
        let receipt = Receipt::parse(open).unwrap();
        assert_eq!(receipt.revision(), Some(v1::Revision { epoch: 7, revision: 12 }));
        let words = receipt.words("payments");
        assert_eq!(
            words[0],
            "the service's own breaker was open for 4s: its rules opened it; 5 of 8 calls in its window had failed, \
             not counting the one that opened it where it was the last of a row of failures; \
             it was worth trying again 26s later"
        );
        assert!(words[1].starts_with("try: cofferdam reset payments --reason"));
        let held =
            r#"breaker=pool pool=reads state=open by=hold owner="ann" reason="it is \"slow\"" revision=built-in"#;
        let receipt = Receipt::parse(held).unwrap();
        assert_eq!(receipt.revision(), None);
        let expected = [
            "the breaker of pool reads was held open by ann: it is \"slow\"",
            "try: cofferdam release payments --pool reads --reason '...'",
        ];
        assert_eq!(receipt.words("payments"), expected);
    }

    /// Before, four of five failures in a row were told as all that had opened it, and a failed probe as 0 of 0.
    #[test]
    fn the_failure_that_opened_is_not_told_as_one_of_those_in_the_window() {
        let told = |failed: &str| {
            let text = format!("breaker=service state=open by=rules revision=7.12 failed={failed}");
            Receipt::parse(&text).unwrap().words("payments").remove(0)
        };
        let row =
            "its rules opened it; 4 of 4 calls in its window had failed, not counting the one that opened it where";
        assert!(told("4/4").contains(row), "{}", told("4/4"));
        assert!(told("0/0").ends_with("; its window held no call before the one that opened it"), "{}", told("0/0"));
    }

    #[test]
    fn what_is_no_receipt_is_refused() {
        for (text, words) in [
            ("", "says breaker"),
            ("open", "no key=value"),
            ("colour=red", "nothing that a receipt says"),
            ("breaker=service", "says breaker, state, by and revision"),
            // Before, one that was cut off was told as that of an instance without a policy.
            ("breaker=service state=open by=rules", "says breaker, state, by and revision"),
            ("breaker=service state=zzz by=rules revision=7.12", "state cannot be \"zzz\""),
            ("breaker=service state=open by=rules revision=12", "revision cannot be \"12\""),
            ("breaker=service state=open by=rules revision=7.12 failed=x/y", "failed cannot be \"x/y\""),
            ("breaker=service state=open state=closed by=rules", "it says state twice"),
            ("breaker=service reason=\"x", "do not end"),
        ] {
            assert!(Receipt::parse(text).unwrap_err().contains(words), "{text}");
        }
    }
}
