use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

fn two() -> Contexts {
    let mut contexts = Contexts::default();
    contexts.set("lab", Some("http://lab:1".into()), None);
    contexts.set("shop", Some("http://shop:1".into()), Some("shop".into()));
    contexts
}

fn asked(wishes: Wishes) -> (String, String) {
    let target = target(&wishes, &two()).unwrap();
    (target.server, target.namespace)
}

#[test]
fn what_is_closer_to_the_command_wins() {
    let some = |text: &str| Some(text.to_owned());
    let pair = |server: &str, namespace: &str| (server.to_owned(), namespace.to_owned());
    let none = Wishes::default();
    assert_eq!(asked(none.clone()), pair("http://lab:1", "default"), "the first context is the current one");
    let variable = Wishes { server_variable: some("v"), ..none.clone() };
    assert_eq!(asked(variable.clone()), pair("v", "default"));
    let context = Wishes { context: some("shop"), ..variable };
    assert_eq!(asked(context.clone()), pair("http://shop:1", "shop"), "a flag wins over a variable");
    let flags = Wishes { server: some("f"), namespace: some("n"), ..context };
    assert_eq!(asked(flags), pair("f", "n"));
    let context_variable = Wishes { context_variable: some("shop"), ..none.clone() };
    assert_eq!(asked(context_variable), pair("http://shop:1", "shop"));
    let target = target(&none, &Contexts::default()).unwrap();
    assert_eq!(target, Target { server: DEFAULT_SERVER.into(), namespace: DEFAULT_NAMESPACE.into() });
}

#[test]
fn a_context_that_there_is_none_of_is_refused_with_those_that_there_are() {
    let wishes = Wishes { context: Some("lap".into()), ..Wishes::default() };
    let error = target(&wishes, &two()).unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no context \"lap\"; there are lab, shop\ntry: cofferdam config set-context lap --server URL"
    );
    assert!(two().choose("lap").is_err());
}

#[test]
fn the_file_is_its_owners_alone_and_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(Some(folder.path().into()), None).unwrap();
    assert_eq!(load(&path).unwrap(), Contexts::default(), "there is none yet");
    let mut contexts = two();
    contexts.choose("shop").unwrap();
    save(&path, &contexts).unwrap();
    assert_eq!(load(&path).unwrap(), contexts);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let beside = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "nothing is left beside it");
}

#[test]
fn a_file_that_is_damaged_is_refused_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    for text in ["current-context = ", "colour = true", "[contexts.a]\nport = 1\n"] {
        fs::write(&path, text).unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("config.toml cannot be read as contexts") && error.contains("\ntry: "), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn the_folder_is_the_users() {
    let config =
        |config_home: Option<&str>, home: Option<&str>| path(config_home.map(Into::into), home.map(Into::into));
    assert_eq!(config(Some("/c"), Some("/h")).unwrap(), PathBuf::from("/c/cofferdam/config.toml"));
    assert_eq!(config(Some("c"), Some("/h")).unwrap(), PathBuf::from("/h/.config/cofferdam/config.toml"));
    assert!(matches!(config(None, Some("")), Err(ContextError::NoPlace)));
}

/// Before, a file that nobody can read and a current context that is gone failed every command, `--server` or not.
#[test]
fn contexts_that_cannot_be_had_are_in_the_way_only_where_they_are_needed() {
    let some = |text: &str| Some(text.to_owned());
    let broken = || Err(ContextError::Malformed { path: "c.toml".into(), what: "x".into() });
    let mut gone = two();
    gone.choose("lab").unwrap();
    let gone: Contexts =
        toml::from_str(&toml::to_string(&gone).unwrap().replace("[contexts.lab]", "[contexts.other]")).unwrap();

    for wishes in [Wishes::default(), Wishes { server: some("s"), context: some("lab"), ..Wishes::default() }] {
        assert!(resolve(&wishes, broken).is_err());
        assert!(resolve(&wishes, || Ok(gone.clone())).is_err());
    }
    for wishes in
        [Wishes { server: some("s"), ..Wishes::default() }, Wishes { server_variable: some("s"), ..Wishes::default() }]
    {
        let (target, unfit) = resolve(&wishes, broken).unwrap();
        assert_eq!((target.server.as_str(), target.namespace.as_str(), unfit.is_some()), ("s", "default", true));
        let (target, unfit) = resolve(&wishes, || Ok(gone.clone())).unwrap();
        assert_eq!((target.server.as_str(), unfit.is_some()), ("s", true));
        let known = Wishes { namespace: some("n"), ..wishes };
        let (target, unfit) = resolve(&known, || panic!("nobody has to look")).unwrap();
        assert_eq!((target.namespace.as_str(), unfit.is_some()), ("n", false));
    }
}

/// Before, a pipe in its place hung, and a device was read without end.
#[test]
fn what_is_no_file_of_contexts_is_refused_with_what_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let refused = || {
        let error = load(&path).unwrap_err().to_string();
        assert!(error.lines().any(|line| line.starts_with("try: ")), "{error}");
        error
    };
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(refused().contains("it is no file"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(refused().contains("it is no file"));
    fs::remove_dir(&path).unwrap();
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(refused().contains("UTF-8"));
    fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(refused().contains("1 MiB"));
    let error = ContextError::File { path, error: std::io::ErrorKind::PermissionDenied.into() };
    assert!(error.to_string().contains("\ntry: "));
}
