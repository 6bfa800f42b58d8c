//! What callgrind says of an operation: how many instructions it takes, whatever machine it runs on.
//!
//! The program runs twice under `valgrind --tool=callgrind`, the second time with twice as many operations, and the
//! difference is what the operations took: starting, setting up and ending are in both. Only instructions of this
//! program count. The C library picks its `memcpy` by the processor, so what it takes would differ from machine to
//! machine; instead, the calls out of the program are counted, and they must not become more.
//!
//! This is plain valgrind, without one of the harnesses for it: they count the C library in, compare with the last run
//! on the same machine rather than with a bound in the repository, and need a runner of exactly their version installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io, process};

/// Operations of the shorter run.
const OPERATIONS: u64 = 2_000;

/// What one operation takes, in the mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Instructions of this program.
    pub instructions: f64,
    /// Calls out of it, into the C library.
    pub calls: f64,
    /// The same by name, as far as the C library tells names.
    pub called: Vec<(String, f64)>,
}

/// What a run of the program took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Profile {
    instructions: u64,
    calls: BTreeMap<String, u64>,
}

/// Measures an operation: the program is run as `PROGRAM run NAME COUNT`.
///
/// # Errors
///
/// Valgrind is not there, or the program failed.
pub fn cost(program: &Path, name: &str) -> io::Result<Cost> {
    let start = |count: u64| -> io::Result<(PathBuf, process::Child)> {
        let file = env::temp_dir().join(format!("callgrind.{}.{name}.{count}", process::id()));
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--quiet", "--compress-strings=no", "--compress-pos=no"]);
        valgrind.arg(format!("--callgrind-out-file={}", file.display()));
        valgrind.arg(program).args(["run", name, &count.to_string()]);
        Ok((file, valgrind.stdin(Stdio::null()).spawn()?))
    };
    // Side by side: each takes one core for a second.
    let runs = [start(OPERATIONS)?, start(2 * OPERATIONS)?];
    let mut profiles = Vec::new();
    for (file, mut child) in runs {
        let status = child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("{name} under valgrind: {status}")));
        }
        profiles.push(Profile::parse(&fs::read_to_string(&file)?, program));
        fs::remove_file(file)?;
    }
    let [fewer, more] = &profiles[..] else { return Err(io::Error::other("two runs have two profiles")) };
    Ok(more.less(fewer, OPERATIONS))
}

impl Profile {
    /// Reads a file of <https://valgrind.org/docs/manual/cl-format.html>, written with no compression.
    fn parse(text: &str, program: &Path) -> Self {
        let program = program.to_string_lossy();
        let mut profile = Self::default();
        let (mut is_ours, mut callee_is_ours, mut callee) = (false, None, "");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(object) = line.strip_prefix("ob=") {
                is_ours = object == program;
            } else if let Some(object) = line.strip_prefix("cob=") {
                callee_is_ours = Some(object == program);
            } else if let Some(function) = line.strip_prefix("cfn=") {
                callee = function;
            } else if let Some(rest) = line.strip_prefix("calls=") {
                // Without an object of its own, the callee is in the caller's.
                let stays = callee_is_ours.take().unwrap_or(is_ours);
                if is_ours && !stays {
                    let count: u64 = number(rest.split(' ').next());
                    *profile.calls.entry(callee.to_owned()).or_default() += count;
                }
                // The next line is what the callee took.
                lines.next();
            } else if is_ours && line.starts_with(|first: char| first.is_ascii_digit()) {
                profile.instructions += number(line.split(' ').nth(1));
            }
        }
        profile
    }

    fn less(&self, fewer: &Self, operations: u64) -> Cost {
        let each = |more: u64, fewer: u64| more.saturating_sub(fewer) as f64 / operations as f64;
        let called = self.calls.iter().map(|(name, count)| {
            let before = fewer.calls.get(name).copied().unwrap_or_default();
            (name.clone(), each(*count, before))
        });
        // What happens once in a while is no part of each operation.
        let called: Vec<_> = called.filter(|(_, count)| *count >= 0.5).collect();
        Cost {
            instructions: each(self.instructions, fewer.instructions),
            calls: called.iter().fold(0.0, |sum, (_, count)| sum + count),
            called,
        }
    }
}

fn number(word: Option<&str>) -> u64 {
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
events: Ir

ob=/bin/ours
fl=???
fn=main
0 10
cob=/lib/libc.so.6
cfi=???
cfn=memcpy
calls=3 0
0 999
cfn=helper
calls=2 0
0 8
0 5

fn=helper
0 8

ob=/lib/libc.so.6
fl=???
fn=memcpy
0 999
cob=/lib/libm.so.6
cfn=sin
calls=1 0
0 1

ob=/bin/ours
fn=main
cfn=helper
calls=7 0
0 9
";

    #[test]
    fn counts_what_is_ours_and_the_calls_that_leave_it() {
        let profile = Profile::parse(FILE, Path::new("/bin/ours"));
        assert_eq!(profile.instructions, 10 + 5 + 8);
        assert_eq!(profile.calls, BTreeMap::from([("memcpy".to_owned(), 3)]));
    }

    #[test]
    fn the_difference_is_what_operations_take() {
        let calls = |count| BTreeMap::from([("memcpy".to_owned(), count), ("start".to_owned(), 1)]);
        let fewer = Profile { instructions: 1_000, calls: calls(100) };
        let more = Profile { instructions: 1_500, calls: calls(300) };
        let cost = more.less(&fewer, 100);
        assert_eq!((cost.instructions, cost.calls), (5.0, 2.0));
        assert_eq!(cost.called, [("memcpy".to_owned(), 2.0)]);
    }
}
