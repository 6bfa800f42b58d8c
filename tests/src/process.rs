//! A child process that cannot outlive its test, and tells what it logged when the test fails.

use crate::wait::eventually;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A running child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Log,
    /// Those who copy what it prints into the log; they end after it.
    scribes: Vec<JoinHandle<()>>,
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Its exit code. `None`: a signal ended it.
    pub code: Option<i32>,
    /// All that it printed.
    pub log: String,
}

/// The lines that a process has printed so far, both streams in the order they came.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Process {
    /// Starts a process. `name` is what its log is headed with.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(name: impl Into<String>, command: &mut Command) -> Self {
        let name = name.into();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} with {command:?}: {error}"));
        let log = Log::default();
        let stdout = child.stdout.take().map(|stream| log.follow(stream));
        let stderr = child.stderr.take().map(|stream| log.follow(stream));
        let scribes = stdout.into_iter().chain(stderr).collect();
        Self { name, child, log, scribes }
    }

    /// The first line printed for which `find` finds something, and what it found; waits for it.
    ///
    /// # Panics
    ///
    /// If it never comes, or the process ends before.
    pub async fn printed<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        eventually(what, async || {
            // Asked first, so that what was printed in between is still looked at.
            let ended = self.ended();
            match (self.log.find(&find), ended) {
                (Some(found), _) => Ok(found),
                (None, None) => Err("nothing yet"),
                (None, Some(status)) => panic!("{} ended with {status} before it printed {what}", self.name),
            }
        })
        .await
    }

    /// Its number, by which the system knows it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Ends it as a power cut would (SIGKILL), and waits until it is gone.
    ///
    /// # Panics
    ///
    /// If the system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Tells it that its terminal is gone (SIGHUP).
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Whether it ignores that its terminal is gone.
    ///
    /// # Panics
    ///
    /// If the system does not say.
    pub fn ignores_hang_up(&self) -> bool {
        u64::from_str_radix(&self.told("SigIgn:"), 16).expect("Linux says so in hex") & 1 == 1
    }

    /// Stops it where it is (SIGSTOP): its sockets stay open and nobody answers. It has stopped when this returns.
    ///
    /// # Panics
    ///
    /// If it does not stop.
    pub async fn pause(&self) {
        self.signal("STOP");
        // Each thread goes on until it is its turn to notice, and one that waits for the disk notices after that.
        let what = format!("{} to stop", self.name);
        eventually(&what, async || if self.is_paused() { Ok(()) } else { Err("it goes on") }).await;
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Whether it is stopped where it is, with all of its threads.
    ///
    /// # Panics
    ///
    /// If the system does not say.
    pub fn is_paused(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("a running child");
        threads.map(|thread| thread.expect("Linux says so").path()).all(|thread| {
            // One that has ended since does nothing more.
            let status = std::fs::read_to_string(thread.join("status")).unwrap_or_default();
            field(&status, "State:").is_none_or(|state| state.starts_with('T'))
        })
    }

    /// Lets its files grow to so many bytes and no further, as a disk would that has no more room. `None`: as they like.
    ///
    /// # Panics
    ///
    /// If the system refuses.
    pub fn limit_file_size(&self, bytes: Option<u64>) {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let process = self.child.id().to_string();
        // The soft limit alone: a hard one could not be raised again.
        let status = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={limit}:")]).status();
        assert!(status.expect("util-linux has prlimit").success(), "prlimit --fsize={limit}: refused");
    }

    /// Lets this process, and those that it starts from now on, have so many files open, if they could not before.
    ///
    /// # Panics
    ///
    /// If the system refuses.
    pub fn allow_open_files(count: usize) {
        let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux says so");
        let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("Linux says so");
        // No number: there is no limit.
        let now = limit.split_whitespace().next().and_then(|soft| soft.parse::<usize>().ok());
        if now.is_some_and(|now| now < count) {
            let own = std::process::id().to_string();
            let status = Command::new("prlimit").args(["--pid", &own, &format!("--nofile={count}:")]).status();
            assert!(status.expect("util-linux has prlimit").success(), "prlimit --nofile={count}: refused");
        }
    }

    /// How many files and connections it has open.
    ///
    /// # Panics
    ///
    /// If the system does not say.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("a running child").count()
    }

    /// How many bytes of memory it holds.
    ///
    /// # Panics
    ///
    /// If the system does not say.
    pub fn resident_bytes(&self) -> u64 {
        let told = self.told("VmRSS:");
        told.strip_suffix(" kB").and_then(|number| number.trim().parse::<u64>().ok()).expect("Linux says so in KiB")
            * 1024
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub async fn exit(&mut self) -> Exit {
        let status = eventually("the end of a process", async || self.ended().ok_or("it runs")).await;
        Exit { code: status.code(), log: self.log.text() }
    }

    /// How it ended, once all that it printed is in the log.
    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("a child can be asked");
        status.filter(|_| self.scribes.iter().all(JoinHandle::is_finished))
    }

    /// What Linux says of it.
    fn told(&self, what: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running child");
        field(&status, what).expect("Linux says so").to_owned()
    }

    fn signal(&self, signal: &str) {
        // Signals other than SIGKILL take a system call that std does not offer; every shell does.
        let command = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("a shell starts");
        assert!(status.success(), "{command} failed: {} has ended already", self.name);
    }
}

/// What Linux's status of a process or thread says of one thing.
fn field<'a>(status: &'a str, what: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(what)).map(str::trim)
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either may fail where the process has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("--- {} printed:\n{}---", self.name, self.log.text());
        }
    }
}

impl Log {
    /// Copies a stream into the log, line by line, until it ends.
    fn follow(&self, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                log.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        })
    }

    fn find<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().find_map(|line| find(line))
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().flat_map(|line| [line, "\n"]).collect()
    }
}
