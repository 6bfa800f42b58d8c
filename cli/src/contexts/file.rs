use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The most bytes that the file may have: thousands of contexts.
const MAX_BYTES: u64 = 1 << 20;

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Contexts {
    #[serde(skip_serializing_if = "Option::is_none")]
    current_context: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

/// A manager and a namespace. Absent: the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Context {
    /// The manager's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// The namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
}

/// What is wrong with contexts or their file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    /// There is no context of this name.
    #[error("there is no context {name:?}{}\ntry: cofferdam config set-context {name} --server URL", list(.known))]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Nothing says where the file is.
    #[error("neither XDG_CONFIG_HOME nor HOME says where contexts are kept\ntry: --server URL")]
    NoPlace,
    /// The file is not in the form that it has to have.
    #[error("{} cannot be read as contexts: {what}\ntry: mend the file, or remove it and begin again with cofferdam config set-context", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file cannot be read or written.
    #[error("{}: {error}\ntry: mend the file, or name the manager with --server URL --namespace NAME", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        error: io::Error,
    },
}

impl Contexts {
    /// The name of the current one. `None`: none is chosen.
    pub(crate) fn current(&self) -> Option<&str> {
        self.current_context.as_deref()
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Context)> {
        self.contexts.iter().map(|(name, context)| (name.as_str(), context))
    }

    /// The one of this name.
    ///
    /// # Errors
    ///
    /// [`ContextError::Unknown`].
    pub(crate) fn get(&self, name: &str) -> Result<&Context, ContextError> {
        let unknown =
            || ContextError::Unknown { name: name.to_owned(), known: self.contexts.keys().cloned().collect() };
        self.contexts.get(name).ok_or_else(unknown)
    }

    /// Makes one the current one.
    ///
    /// # Errors
    ///
    /// [`ContextError::Unknown`].
    pub(crate) fn choose(&mut self, name: &str) -> Result<(), ContextError> {
        self.get(name)?;
        self.current_context = Some(name.to_owned());
        Ok(())
    }

    /// Forgets one. Where it was the current one, none is.
    ///
    /// # Errors
    ///
    /// [`ContextError::Unknown`].
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), ContextError> {
        self.get(name)?;
        self.contexts.remove(name);
        self.current_context.take_if(|current| current == name);
        Ok(())
    }

    /// Adds one, or changes what is said of it. The first one becomes the current one.
    pub(crate) fn set(&mut self, name: &str, server: Option<String>, namespace: Option<String>) {
        if self.contexts.is_empty() {
            self.current_context = Some(name.to_owned());
        }
        let context = self.contexts.entry(name.to_owned()).or_default();
        context.server = server.or_else(|| context.server.take());
        context.namespace = namespace.or_else(|| context.namespace.take());
    }
}

/// Where the file is: `home` is HOME and `config_home` XDG_CONFIG_HOME, which counts where it is absolute.
///
/// # Errors
///
/// [`ContextError::NoPlace`], where neither says.
pub(crate) fn path(config_home: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, ContextError> {
    let config_home = config_home.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || home.filter(|home| !home.is_empty()).map(|home| PathBuf::from(home).join(".config"));
    let folder = config_home.or_else(home).ok_or(ContextError::NoPlace)?;
    Ok(folder.join("cofferdam").join("config.toml"))
}

/// Reads the file; none where there is no file.
///
/// # Errors
///
/// [`ContextError`], where it is there and cannot be read.
pub(crate) fn load(path: &Path) -> Result<Contexts, ContextError> {
    let malformed = |what: &str| ContextError::Malformed { path: path.to_owned(), what: what.to_owned() };
    let read = || -> io::Result<Option<Vec<u8>>> {
        // Looked at first: to open a pipe waits for whoever writes it, and a device has no end.
        if !fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    let bytes = match read() {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(malformed("it is no file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
        Err(error) => return Err(ContextError::File { path: path.to_owned(), error }),
    };
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(malformed("it is larger than 1 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| malformed("it is no text in UTF-8"))?;
    toml::from_str(&text).map_err(|error| malformed(error.message().lines().next().unwrap_or_default()))
}

/// Writes the file whole, for its owner alone.
///
/// # Errors
///
/// [`ContextError::File`].
pub(crate) fn save(path: &Path, contexts: &Contexts) -> Result<(), ContextError> {
    let write = || -> io::Result<()> {
        let text = toml::to_string(contexts).map_err(io::Error::other)?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(folder)?;
        // A temporary file of this library is made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| ContextError::File { path: path.to_owned(), error })
}

fn list(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) }
}
