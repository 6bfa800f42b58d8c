//! A store that was restored: numbers of revisions repeat, and none of them is taken for another.

use super::{Operator, refused};
use cofferdam_tests::{Manager, cofferdam};

/// Before, `history` did not say which was which, `rollback` and `diff` took the newer one without a word, the older one could
/// not be named, and a revision that was read before the restore was taken for one of after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_stands_for_two_revisions_is_taken_for_neither() {
    let mut manager = Manager::embedded().await;
    let operator = Operator::at(manager.url());
    operator.done(&["register", "a", "--level", "none"]);
    for level in ["basic", "enhanced", "full", "none", "basic", "enhanced", "full", "none"] {
        operator.done(&["set-level", "a", level]);
    }
    let before = operator.done(&["history", "a", "-o", "name"]);
    assert!(!before.contains('.'), "of one epoch, nobody has to know: {before}");
    manager.kill();
    let dir = manager.data_dir().to_str().unwrap().to_owned();
    let file = operator.home.path().join("a.backup");
    let file = file.to_str().unwrap();
    let store = |arguments: &[&str]| {
        let said = cofferdam(&[&["store"], arguments, &["--data-dir", &dir]].concat());
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    };
    store(&["backup", "--output", file]);
    std::fs::remove_file(manager.data_dir().join("cofferdam.redb")).unwrap();
    store(&["restore", file]);
    manager.restart().await;
    for level in ["full", "basic", "enhanced", "full"] {
        operator.done(&["set-level", "a", level]);
    }
    let after = operator.done(&["history", "a", "-o", "name"]);
    let named: Vec<_> = after.lines().map(|line| line.split_once('.').unwrap()).collect();
    let (epoch, number) = *named.first().unwrap();
    let twice = named.iter().find(|(_, other)| named.iter().filter(|(_, one)| one == other).count() == 2);
    let (_, twice) = *twice.unwrap_or_else(|| panic!("no number repeats, so nothing is tested: {after}"));
    let [newer, older] =
        <[_; 2]>::try_from(after.lines().filter(|line| line.ends_with(&format!(".{twice}"))).collect::<Vec<_>>())
            .unwrap();
    let both = format!("revision {twice} of a is {newer} or {older}: the store was restored in between");
    for arguments in [
        &["rollback", "a", "--to-revision", twice][..],
        &["diff", "a", twice],
        &["describe", "service", "a", "--at", twice],
        &["set-level", "a", "none", "--expected-revision", twice],
        &["unregister", "a", "--expected-revision", twice],
    ] {
        refused(&operator.run(arguments), 2, &[&both, "try: cofferdam history a, and one of them with its epoch"]);
    }
    let told = operator.done(&["diff", "a", older, newer]);
    assert!(told.starts_with(&format!("a: revision {older} -> {newer}\n")), "{told}");
    let told = operator.done(&["rollback", "a", "--to-revision", older, "--dry-run"]);
    assert!(told.starts_with(&format!("a: would go back to {older}, from {epoch}.{number}\n")), "{told}");
    refused(
        &operator.run(&["set-level", "a", "none", "--expected-revision", older]),
        1,
        &["try: cofferdam history default/a"],
    );
    operator.done(&["set-level", "a", "none", "--expected-revision", &format!("{epoch}.{number}")]);
}
