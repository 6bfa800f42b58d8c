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
