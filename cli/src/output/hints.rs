//! Commands that are suggested to whoever reads what is printed.
//!
//! Where the command line says of which manager it is, so does what it suggests: typed without that, it would go to another
//! one. What the environment and the current context say holds for the next command as well, and is not repeated.

use std::borrow::Cow;

/// What stands before a suggested command, in a line of its own.
const MARKS: &[&str] = &["try: ", "to end it: ", "to make that the policy: "];

/// Begins a command.
const PROGRAM: &str = "cofferdam ";

/// The commands that speak to no manager, and have no flags that say which.
pub(crate) const WITHOUT_A_MANAGER: &[&str] =
    &["serve", "demo", "store", "import", "simulate", "config", "completion", "version"];

/// The flags that a suggested command repeats, with their values as a shell takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    flags: Vec<(&'static str, String)>,
}

impl Hints {
    /// With these flags, each with its value.
    pub(crate) fn new(flags: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { flags: flags.into_iter().collect() }
    }

    /// A suggested command, or words that have some.
    pub(crate) fn command(&self, text: &str) -> String {
        let mut parts = text.split(PROGRAM);
        let mut told = parts.next().unwrap_or_default().to_owned();
        for rest in parts {
            let begins = told.is_empty() || told.ends_with([' ', '(']);
            told.push_str(PROGRAM);
            if begins {
                self.flags_of(rest).for_each(|(flag, value)| told.push_str(&format!("{flag} {value} ")));
            }
            told.push_str(rest);
        }
        told
    }

    /// The flags of a command that does not say them itself.
    fn flags_of(&self, rest: &str) -> impl Iterator<Item = &(&'static str, String)> {
        let word = rest.split([' ', ',']).next().unwrap_or_default();
        let has_none = WITHOUT_A_MANAGER.contains(&word) || rest.ends_with("--help");
        self.flags.iter().filter(move |(flag, _)| !has_none && !rest.contains(&format!(" {flag} ")))
    }

    /// A line, which may suggest a command.
    pub(crate) fn line<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let trimmed = line.trim_start();
        if self.flags.is_empty() || !MARKS.iter().any(|mark| trimmed.starts_with(mark)) {
            return Cow::Borrowed(line);
        }
        Cow::Owned(self.command(line))
    }

    /// Several lines.
    pub(crate) fn lines(&self, text: &str) -> String {
        text.split('\n').map(|line| self.line(line)).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before, what was suggested went to the default manager.
    #[test]
    fn a_suggested_command_is_for_the_same_manager() {
        let hints = Hints::new([("-s", "http://m:1".to_owned()), ("-n", "shop".to_owned())]);
        for (line, told) in [
            ("pay is open\ntry: cofferdam check", "pay is open\ntry: cofferdam -s http://m:1 -n shop check"),
            (
                "       try: cofferdam describe service a",
                "       try: cofferdam -s http://m:1 -n shop describe service a",
            ),
            (
                " to make that the policy: cofferdam rollback a --to-revision 3",
                " to make that the policy: cofferdam -s http://m:1 -n shop rollback a --to-revision 3",
            ),
            ("x  to end it: cofferdam release a", "x  to end it: cofferdam release a"),
            ("   to end it: cofferdam release a", "   to end it: cofferdam -s http://m:1 -n shop release a"),
            ("try: cofferdam get services -n default", "try: cofferdam -s http://m:1 get services -n default"),
            ("try: cofferdam check -s b:2 -n x ", "try: cofferdam check -s b:2 -n x "),
            ("try: cofferdam serve (or another one)", "try: cofferdam serve (or another one)"),
            ("try: cofferdam exec --help", "try: cofferdam exec --help"),
            (
                "try: EDITOR=e cofferdam edit a, or later (cofferdam diff a 1)",
                "try: EDITOR=e cofferdam -s http://m:1 -n shop edit a, or later (cofferdam -s http://m:1 -n shop diff a 1)",
            ),
            ("why: cofferdam check", "why: cofferdam check"),
        ] {
            assert_eq!(hints.lines(line), told);
            assert_eq!(Hints::default().lines(line), line);
        }
    }
}
