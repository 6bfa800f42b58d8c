//! Files with messages of the contract, in YAML or JSON, which is YAML as well.

use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// What stands for the standard input.
const STDIN: &str = "-";

/// The most bytes that are read of one: a policy has 112 KiB at most.
const MAX_BYTES: u64 = 64 << 20;

/// What is wrong with a file, and where in it.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {what}", path.display(), place(*document, *line))]
pub(crate) struct FileError {
    /// The file.
    pub(crate) path: PathBuf,
    /// Which document of it, from 1. `None`: the file as a whole, or it has but one.
    pub(crate) document: Option<usize>,
    /// Which line, from 1. `None`: not known.
    pub(crate) line: Option<u64>,
    /// What is wrong.
    pub(crate) what: String,
}

impl FileError {
    fn of(path: &Path, what: impl ToString) -> Self {
        Self { path: path.to_owned(), document: None, line: None, what: what.to_string() }
    }
}

fn place(document: Option<usize>, line: Option<u64>) -> String {
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    let document = document.map_or_else(String::new, |document| format!(" (document {document})"));
    format!("{line}{document}")
}

/// The bytes of a file, or of the standard input for `-`.
///
/// # Errors
///
/// [`FileError`], where it cannot be read or is larger than anything that a manager takes.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = if path == Path::new(STDIN) {
        io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    let length = read.map_err(|error| FileError::of(path, error))?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_BYTES) {
        return Err(FileError::of(path, format!("is larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(bytes)
}

/// The documents of a file. Empty ones are left out.
///
/// # Errors
///
/// As [`bytes()`], and where it is no YAML.
pub(crate) fn documents(path: &Path) -> Result<Vec<Value>, FileError> {
    let bytes = bytes(path)?;
    let text = String::from_utf8(bytes).map_err(|_| FileError::of(path, "is no text in UTF-8"))?;
    parse(path, &text)
}

/// The documents of a text that came from `path`: of YAML, or of JSON one behind the other.
///
/// # Errors
///
/// [`FileError`], where it is no YAML.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Value>, FileError> {
    let mut documents = Vec::new();
    let mut above = 0;
    for part in parts(text) {
        let found =
            parse_yaml(path, part).map_err(|error| FileError { line: error.line.map(|line| line + above), ..error })?;
        documents.extend(found);
        above += u64::try_from(part.matches('\n').count()).unwrap_or_default();
    }
    Ok(documents)
}

/// Several documents of JSON, each for itself. All else is one part: YAML has marks of its own between documents.
fn parts(text: &str) -> Vec<&str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(value) = values.next() {
        let to = values.byte_offset();
        match text.get(from..to) {
            Some(part) if value.is_ok() => parts.push(part),
            _ => return vec![text],
        }
        from = to;
    }
    if parts.len() < 2 { vec![text] } else { parts }
}

fn parse_yaml(path: &Path, text: &str) -> Result<Vec<Value>, FileError> {
    // What YAML 1.1 took for false is a country to most people. The bytes of a file are its limit, and what is written in
    // them is as much as it is. Only what makes much of few bytes, as aliases do, keeps bounds of its own.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        budget: serde_saphyr::budget! { max_documents: usize::MAX, max_nodes: usize::MAX, max_events: usize::MAX },
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let location = error.location();
        FileError { line: location.map(|location| location.line()), ..FileError::of(path, words(&error)) }
    })?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// What is wrong with a text, in a line. The library speaks to who programs with it.
fn words(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => format!("{key} is said twice"),
        serde_saphyr::Error::DuplicateMappingKey { key: None, .. } => "a key is said twice".to_owned(),
        serde_saphyr::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => "is nested too deep".to_owned(),
        serde_saphyr::Error::Budget { .. } => "stands for too much: too many anchors, aliases or merge keys".to_owned(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// The one document of a file.
///
/// # Errors
///
/// As [`documents`], and where it has none or several.
pub(crate) fn document(path: &Path) -> Result<Value, FileError> {
    let mut documents = documents(path)?;
    match (documents.pop(), documents.len()) {
        (Some(document), 0) => Ok(document),
        (None, _) => Err(FileError::of(path, "is empty")),
        (_, more) => Err(FileError::of(path, format!("has {} documents, and one is wanted", more + 1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(text: &str) -> Result<Vec<Value>, String> {
        parse(Path::new("f.yaml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_holds_documents_in_yaml_or_json() {
        assert_eq!(parsed("---\na: 1\n---\n---\nb: [x, \"2\"]\n"), Ok(vec![json!({"a": 1}), json!({"b": ["x", "2"]})]));
        assert_eq!(parsed("{\"a\": {\"b\": null}}"), Ok(vec![json!({"a": {"b": null}})]));
        assert_eq!(parsed(""), Ok(vec![]));
        assert_eq!(parsed("{\"a\": 1}\n{\n\"b\": 2\n}\n"), Ok(vec![json!({"a": 1}), json!({"b": 2})]));
        assert!(parsed("{\"a\": 1}\n{\"b\": 1, \"b\": 2}\n").unwrap_err().starts_with("f.yaml:2: "));
        assert_eq!(parsed("version: 1.0.0\nenabled: no\n"), Ok(vec![json!({"version": "1.0.0", "enabled": "no"})]));
    }

    #[test]
    fn what_is_no_yaml_is_refused_at_its_line() {
        for text in ["a: 1\nb: [1, 2\nc: 3\n", "a: 1\na: 2\n", "a: 1\n b: 2\n", "&a [*a, *b]"] {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with("f.yaml:") && error.lines().count() == 1, "{text:?}: {error}");
        }
    }

    /// Before, an export of 1,025 services, or of a few with many overrides, was more than could be read back.
    #[test]
    fn the_bytes_of_a_file_are_its_limit() {
        let document = |number: usize| format!("---\nservice: {{name: s-{number}}}\n");
        let found = parsed(&(0..1_100).map(document).collect::<String>()).unwrap();
        assert_eq!((found.len(), &found[1_099]), (1_100, &json!({"service": {"name": "s-1099"}})));
        let nodes = format!("[{}]\n", vec!["0"; 550_000].join(","));
        assert_eq!(parsed(&nodes).unwrap()[0].as_array().map(Vec::len), Some(550_000));
    }

    /// Before, it named settings of the library that reads it.
    #[test]
    fn what_is_wrong_is_said_in_our_words() {
        assert_eq!(parsed("a: 1\nb: 2\na: 3\n").unwrap_err(), "f.yaml:3: a is said twice");
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(parsed(&deep).unwrap_err(), "f.yaml:1: is nested too deep");
        let aliases = format!("a: &a 1\nb: [{}]\n", vec!["*a"; 2_000].join(", "));
        assert!(parsed(&aliases).unwrap_err().ends_with("too many anchors, aliases or merge keys"));
    }

    #[test]
    fn a_file_that_is_not_there_is_refused_by_its_name() {
        let error = document(Path::new("/nowhere/f.yaml")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/f.yaml: No such file"), "{error}");
    }
}
