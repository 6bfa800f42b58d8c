//! Contexts: names for managers, kept in one small file.
//!
//! The file is `cofferdam/config.toml` in the user's configuration folder (`XDG_CONFIG_HOME`, else `~/.config`). It is read
//! and written by its owner alone, and replaced whole, so that it is never half of one.

mod file;

pub(crate) use self::file::{ContextError, Contexts, load, path, save};

use std::time::Duration;

/// Where a manager is by default.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7420";

/// The namespace by default.
const DEFAULT_NAMESPACE: &str = "default";

/// How long an answer may take by default.
pub(crate) const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);

/// What flags and environment say of the manager. Absent: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// `--server`.
    pub(crate) server: Option<String>,
    /// `COFFERDAM_SERVER`.
    pub(crate) server_variable: Option<String>,
    /// `--context`.
    pub(crate) context: Option<String>,
    /// `COFFERDAM_CONTEXT`.
    pub(crate) context_variable: Option<String>,
    /// `--namespace`.
    pub(crate) namespace: Option<String>,
}

/// The manager and the namespace that a command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The manager's address.
    pub(crate) server: String,
    /// The namespace.
    pub(crate) namespace: String,
}

impl Wishes {
    /// Whether a context has to say which manager it is: one is named, or nothing else does.
    const fn need_contexts(&self) -> bool {
        let is_named = self.context.is_some() || self.context_variable.is_some();
        is_named || (self.server.is_none() && self.server_variable.is_none())
    }
}

/// The manager and the namespace, by contexts that are read where they may be needed. Where all they could have said is the
/// namespace, and they cannot be read or the current one is gone, it is the default one, and the error is there to be told.
///
/// # Errors
///
/// [`ContextError`], where a context is needed that cannot be had.
pub(crate) fn resolve(
    wishes: &Wishes,
    contexts: impl FnOnce() -> Result<Contexts, ContextError>,
) -> Result<(Target, Option<ContextError>), ContextError> {
    if wishes.need_contexts() {
        return Ok((target(wishes, &contexts()?)?, None));
    }
    let without = || target(wishes, &Contexts::default());
    if wishes.namespace.is_some() {
        return Ok((without()?, None));
    }
    match contexts().and_then(|contexts| target(wishes, &contexts)) {
        Ok(target) => Ok((target, None)),
        Err(error) => Ok((without()?, Some(error))),
    }
}

/// What is closer to the command wins: a flag over a variable over the current context over the default. A context that is
/// named by a flag is a flag.
///
/// # Errors
///
/// [`ContextError::Unknown`], where a context is named that there is none of.
fn target(wishes: &Wishes, contexts: &Contexts) -> Result<Target, ContextError> {
    let by_flag = wishes.context.as_deref().map(|name| contexts.get(name)).transpose()?;
    let by_variable = wishes.context_variable.as_deref().map(|name| contexts.get(name)).transpose()?;
    let current = match contexts.current() {
        Some(name) if by_flag.is_none() && by_variable.is_none() => Some(contexts.get(name)?),
        _ => None,
    };
    let chosen = by_flag.or(by_variable).or(current);
    let server = [
        wishes.server.as_ref(),
        by_flag.and_then(|context| context.server.as_ref()),
        wishes.server_variable.as_ref(),
        chosen.and_then(|context| context.server.as_ref()),
    ];
    let namespace = wishes.namespace.as_ref().or_else(|| chosen?.namespace.as_ref());
    Ok(Target {
        server: server.into_iter().flatten().next().map_or(DEFAULT_SERVER, String::as_str).to_owned(),
        namespace: namespace.map_or(DEFAULT_NAMESPACE, String::as_str).to_owned(),
    })
}

#[cfg(test)]
mod tests;
