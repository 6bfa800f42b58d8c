use super::*;
use std::time::SystemTime;

#[test]
fn names_lead_to_files_of_the_directory_and_no_two_to_the_same() {
    let hostile = ["checkout", "..", "/etc/passwd", "a/../../b", "a b", "a.b", "a-b", "", "A", "a", &"x/".repeat(64)];
    let mut names = Vec::new();
    for (application, namespace) in hostile.iter().flat_map(|a| hostile.iter().map(move |b| (*a, *b))) {
        let name = file_name(application, namespace);
        let path = Path::new("/dir").join(&name);
        assert_eq!(path.parent(), Some(Path::new("/dir")), "{application:?}");
        assert_eq!(path.file_name().unwrap().to_str(), Some(name.as_str()));
        assert!(name.len() <= 120 && !name.contains('/'), "{name}");
        names.push(name.to_ascii_lowercase());
    }
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(file_name("checkout", "default").starts_with("checkout.default."));
}

#[test]
fn a_file_is_replaced_whole_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/a.policies");
    assert!(read(&path).unwrap().is_none());
    for bytes in [&b"one"[..], b"another", b""] {
        replace(&path, bytes).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(bytes));
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn the_file_and_its_directory_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/a.policies");
    replace(&path, b"x").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    // Also where the one before was for all.
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    replace(&path, b"y").unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_of_its_own_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("real");
    fs::write(&file, b"x").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let dangling = dir.path().join("dangling");
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &dangling).unwrap();
    for path in [dir.path(), &link, &dangling, Path::new("/dev/zero")] {
        assert!(matches!(read(path), Err(Unusable::NotAFile)), "{}", path.display());
    }
    assert!(matches!(read(&file.join("below")), Err(Unusable::Unreadable(_))));
    // A link gives way to a file; what it led to stays.
    replace(&link, b"y").unwrap();
    assert_eq!((read(&link).unwrap().unwrap(), fs::read(&file).unwrap()), (b"y".to_vec(), b"x".to_vec()));
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.policies");
    let sparse = File::create(&path).unwrap();
    sparse.set_len(MAX_BYTES + 1).unwrap();
    assert!(matches!(read(&path), Err(Unusable::TooLarge)));
    sparse.set_len(MAX_BYTES).unwrap();
    assert_eq!(read(&path).unwrap().unwrap().len() as u64, MAX_BYTES);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(fill(full, b"x").unwrap_err().kind(), ErrorKind::StorageFull);
}

#[cfg(unix)]
#[test]
fn a_write_that_fails_leaves_the_file_there_was_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing takes the place of a directory that is not empty.
    let path = dir.path().join("a.policies");
    fs::create_dir_all(path.join("full")).unwrap();
    assert!(replace(&path, b"x").is_err());
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["a.policies"]);
}

#[test]
fn what_dead_processes_left_is_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.policies");
    let left = [unfinished(&path), unfinished(&path)];
    let others = [dir.path().join("other.tmp"), unfinished(&dir.path().join("b.policies")), path.clone()];
    for file in left.iter().chain(&others) {
        fs::write(file, b"x").unwrap();
        File::options().write(true).open(file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    let under_way = unfinished(&path);
    fs::write(&under_way, b"x").unwrap();
    remove_leftovers(&path);
    assert!(left.iter().all(|file| !file.exists()));
    assert!(others.iter().all(|file| file.exists()) && under_way.exists());
}
