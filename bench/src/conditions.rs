//! Under what conditions a run was made.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// What a reader needs to know of a machine, and what was going on there.
#[derive(Clone, Debug)]
pub struct Conditions {
    pub date: String,
    pub commit: String,
    pub rustc: String,
    pub cpu: String,
    pub cores: usize,
    pub system: String,
    /// Processes that wanted to run, over the minute before.
    pub load: f64,
}

impl Conditions {
    pub fn now() -> Self {
        let changed = if output("git", &["status", "--porcelain"]).is_empty() { "" } else { ", with changes" };
        Self {
            date: output("date", &["-u", "+%Y-%m-%d"]),
            commit: output("git", &["rev-parse", "--short", "HEAD"]) + changed,
            rustc: rustc(),
            cpu: cpu(),
            cores: available_parallelism().map_or(0, usize::from),
            system: output("uname", &["-srm"]),
            load: load(),
        }
    }
}

/// The compiler's version; the one on the path is the one that built this.
pub fn rustc() -> String {
    output("rustc", &["--version"])
}

/// The load average of the last minute; not a number where the system does not tell.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// How long this thread has waited for a processor so far, in nanoseconds; zero where the system does not tell.
pub fn waited() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.split_once(": ")).map(|pair| pair.1);
    let number = |key: &str| value(key).unwrap_or("?");
    format!("{}, family {}, model {}", number("model name"), number("cpu family"), number("model\t"))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}
