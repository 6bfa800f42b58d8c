//! A system that tells a process something wrong: another time of day, a disk that is full, broken or read-only.
//!
//! The C library is asked by everybody, so what is loaded in front of it (`preload/faults.c`) needs no privileges, no other
//! clock or disk of the machine, and reaches one process alone. It counts what it did: a test asserts on that.

use crate::tools::{manager_binary, workspace_root};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// What one process, or several, are told wrong. It must outlive them.
#[derive(Debug)]
pub struct Preload {
    words: File,
    folder: TempDir,
}

/// What becomes of writes to the file of an embedded store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// They are done.
    Well,
    /// There is no room: what was there before can be written again, and nothing else.
    Full,
    /// Writing fails, wherever.
    Broken,
    /// Writing succeeds, and making it last fails.
    Unsynced,
    /// The file system is read-only.
    ReadOnly,
}

/// The places of the words in the file, in the order of `struct words`.
const JUMP: u64 = 0;
const ERROR: u64 = 1;
const REFUSES: u64 = 2;
const TIMES_TOLD: u64 = 3;
const REFUSED: u64 = 4;
const WORDS: usize = 5;

/// Which calls are refused.
const WRITES: i64 = 1;
const SYNCS: i64 = 2;
const OPENS: i64 = 4;
const GROWTH: i64 = 8;

impl Preload {
    /// Nothing is wrong yet.
    ///
    /// # Panics
    ///
    /// If there is no C compiler, which the build needs anyway.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("words");
        std::fs::write(&path, [0; WORDS * 8]).expect("a file of its own");
        let words = File::options().read(true).write(true).open(path).expect("a file of its own");
        Self { words, folder }
    }

    /// The variables for the environment of whoever is to be told so.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
        [("LD_PRELOAD", text(library().clone())), ("TEST_FAULTS", text(self.folder.path().join("words")))]
    }

    /// Has the wall clock be so many seconds ahead of the right time; negative: behind.
    pub fn jump(&self, seconds: i64) {
        self.put(JUMP, seconds);
    }

    /// How often a wrong time of day was told.
    pub fn times_told(&self) -> i64 {
        self.get(TIMES_TOLD)
    }

    /// Has the disk do so from now on.
    pub fn disk(&self, disk: Disk) {
        // As Linux numbers them.
        let (error, refuses) = match disk {
            Disk::Well => (0, 0),
            Disk::Full => (28, GROWTH),
            Disk::Broken => (5, WRITES),
            Disk::Unsynced => (5, SYNCS),
            Disk::ReadOnly => (30, WRITES | OPENS),
        };
        self.put(ERROR, error);
        self.put(REFUSES, refuses);
    }

    /// How many calls were refused.
    pub fn refused(&self) -> i64 {
        self.get(REFUSED)
    }

    fn put(&self, word: u64, value: i64) {
        self.words.write_all_at(&value.to_ne_bytes(), word * 8).expect("a file of its own");
    }

    fn get(&self, word: u64) -> i64 {
        let mut bytes = [0; 8];
        self.words.read_exact_at(&mut bytes, word * 8).expect("a file of its own");
        i64::from_ne_bytes(bytes)
    }
}

impl Default for Preload {
    fn default() -> Self {
        Self::new()
    }
}

/// The library, which is built once for all tests.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = workspace_root().join("tests/src/preload/faults.c");
        // Other test binaries may load the one that is there.
        let (library, draft) = ["libfaults.so".to_owned(), format!("libfaults.{}.so", std::process::id())]
            .map(|name| manager_binary().with_file_name(name))
            .into();
        let mut build = Command::new("cc");
        build.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&draft).arg(source).arg("-ldl");
        let status = build.status().expect("a C compiler, which the build needs as well");
        assert!(status.success(), "faults.c does not build");
        std::fs::rename(&draft, &library).expect("the folder of the binaries can be written");
        library
    })
}
