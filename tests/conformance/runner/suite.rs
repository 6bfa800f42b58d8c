//! Finds the case files and checks them against the schema.

use super::case::{Case, File};
use jsonschema::Validator;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A case file.
pub(crate) struct Suite {
    /// Its path below the folder, without `.json`.
    pub(crate) name: String,
    pub(crate) json: Value,
}

/// The folder of the case files.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// All case files, by name.
pub(crate) fn load() -> Vec<Suite> {
    let mut suites: Vec<Suite> = subfolders(&folder()).iter().flat_map(|folder| files(folder)).collect();
    suites.sort_by(|a, b| a.name.cmp(&b.name));
    suites
}

/// What the case files are checked against.
pub(crate) fn schema() -> Result<Validator, String> {
    jsonschema::draft202012::new(&read(&folder().join("schema.json"))).map_err(|error| error.to_string())
}

impl Suite {
    /// Checks the file against the schema.
    pub(crate) fn validate(&self, schema: &Validator) -> Result<(), String> {
        let faults: Vec<String> =
            schema.iter_errors(&self.json).map(|error| format!("{}: {error}", error.instance_path())).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    pub(crate) fn file(&self) -> Result<File, String> {
        serde_json::from_value(self.json.clone()).map_err(|error| error.to_string())
    }
}

/// A case as it is written, read.
pub(crate) fn case(json: &Value) -> Result<Case, String> {
    serde_json::from_value(json.clone()).map_err(|error| error.to_string())
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of the case files is there");
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect()
}

fn files(folder: &Path) -> Vec<Suite> {
    let entries = fs::read_dir(folder).expect("a folder that was just listed");
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.map(|path| Suite { name: name(&path), json: read(&path) }).collect()
}

fn name(path: &Path) -> String {
    let relative = path.strip_prefix(folder()).expect("a file below the folder").with_extension("");
    relative.to_string_lossy().replace('\\', "/")
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
