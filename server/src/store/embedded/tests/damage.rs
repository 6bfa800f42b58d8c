//! A file that was cut or changed anywhere: it opens with the last committed state, or is refused by its name and left
//! as it is.

use std::fs;

use super::*;
use crate::store::conformance::{list, put};

const PAGE: usize = 4096;

/// A store's file, and what is in it.
struct Whole {
    bytes: Vec<u8>,
    holds: Listing,
    /// What it held before its last commit.
    held: Listing,
}

/// A store of 50 keys whose values leave no page half empty; `leave` says how the file is left.
async fn whole(leave: impl FnOnce(EmbeddedStore, &Path) -> Vec<u8>) -> Whole {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = EmbeddedStore::open(dir.path()).await.expect("the store opens");
    for i in 0..49 {
        put(&store, &format!("k{i:02}"), &"v".repeat(1000)).await;
    }
    let held = list(&store, "").await;
    put(&store, "k49", &"v".repeat(1000)).await;
    let holds = list(&store, "").await;
    let bytes = leave(store, &dir.path().join(FILE_NAME));
    Whole { bytes, holds, held }
}

/// As it is after an orderly end.
async fn closed() -> Whole {
    let leave = |store, path: &Path| {
        drop(store);
        fs::read(path).expect("readable")
    };
    whole(leave).await
}

/// As a crash leaves it.
async fn crashed() -> Whole {
    whole(|_running, path: &Path| fs::read(path).expect("readable")).await
}

/// What a manager finds in a file with these bytes. Where it refuses them, it says which file, and changes nothing.
fn found(bytes: &[u8]) -> Result<Listing, StoreError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(FILE_NAME);
    fs::write(&path, bytes).expect("writable");
    match Disk::open(dir.path(), Arc::new(disk::open_file)) {
        Ok((_, contents)) => Ok(contents.state.list("")),
        Err(error) => {
            assert!(error.to_string().contains(&path.display().to_string()), "the file is named: {error}");
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
            assert!(fs::read(&path).expect("readable") == bytes, "the evidence was changed: {error}");
            Err(error)
        }
    }
}

/// Whether there is time for everything.
fn is_long() -> bool {
    std::env::var_os("COFFERDAM_LONG").is_some()
}

/// Offsets at which to cut: every 64 bytes in the long form.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let (step, fine) = if is_long() { (64, 1) } else { (32 * PAGE, 256) };
    let edges = (0..length).step_by(step).flat_map(|page| [page.saturating_sub(1), page, page + 1]);
    let header = (0..PAGE).step_by(fine);
    header.chain(edges).chain([length - PAGE, length - 512, length - 1]).filter(move |cut| *cut < length)
}

/// The file with one of its pages changed in every bit, for each page; those that were never written to only in the
/// long form.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let is_used = |page: &[u8]| is_long() || page.iter().any(|byte| *byte != 0);
    let used = bytes.chunks_exact(PAGE).enumerate().filter(move |(_, page)| is_used(page));
    used.map(|(number, _)| {
        let mut flipped = bytes.to_vec();
        flipped[number * PAGE..][..PAGE].iter_mut().for_each(|byte| *byte ^= 0xff);
        (number, flipped)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_store_is_refused_by_name() {
    for garbage in [&b""[..], b"x", &[0; PAGE], &[0xff; 100_000], "not a store".repeat(10_000).as_bytes()] {
        found(garbage).expect_err("that is no store");
    }
    // A database of somebody else's.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(FILE_NAME);
    drop(redb::Database::create(&path).expect("created"));
    found(&fs::read(&path).expect("readable")).expect_err("it has none of our tables");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_cut_anywhere_is_refused_and_never_read_as_empty() {
    for whole in [closed().await, crashed().await] {
        assert_eq!(found(&whole.bytes).expect("nothing is missing yet"), whole.holds);
        for cut in cuts(whole.bytes.len()) {
            // What a file system cuts off may have been room that was not in use yet.
            if let Ok(holds) = found(&whole.bytes[..cut]) {
                assert_eq!(holds, whole.holds, "cut at {cut}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_page_of_a_closed_file_is_refused_or_harmless() {
    let whole = closed().await;
    let mut refused = 0;
    for (page, flipped) in flips(&whole.bytes) {
        match found(&flipped) {
            // The page was not in use.
            Ok(holds) => assert_eq!(holds, whole.holds, "page {page}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 10, "pages in use were changed: {refused}");
}

/// A crash in the middle of a commit leaves a damaged last commit, too: the two cannot be told apart, and what was not
/// acknowledged may be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_page_after_a_crash_costs_at_most_the_last_commit() {
    let whole = crashed().await;
    let (mut refused, mut fell_back) = (0, 0);
    for (page, flipped) in flips(&whole.bytes) {
        match found(&flipped) {
            Ok(holds) if holds == whole.holds => {}
            Ok(holds) => {
                assert_eq!(holds, whole.held, "page {page}");
                fell_back += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0 && fell_back > 0, "refused {refused}, one commit back {fell_back}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_cannot_be_reached_is_not_taken_for_none() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(!EmbeddedStore::exists(dir.path()));
    fs::write(dir.path().join("file"), "").expect("writable");
    assert!(!EmbeddedStore::exists(&dir.path().join("file")), "nothing is under a file");

    // Permissions do not keep everybody out; a link that leads to itself does.
    let unreachable = dir.path().join("loop");
    std::os::unix::fs::symlink(&unreachable, &unreachable).expect("linked");
    assert!(EmbeddedStore::exists(&unreachable));
    let error = EmbeddedStore::examine(&unreachable).await.expect_err("nobody gets there");
    assert!(error.to_string().contains(&unreachable.display().to_string()), "the file is named: {error}");
}
