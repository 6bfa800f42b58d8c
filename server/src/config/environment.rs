//! The variables of the environment, of which those that begin with `COFFERDAM_` are settings.
//!
//! One that is not known is refused, as an unknown key of the file is: a setting that is silently without effect is worse
//! than none. What orchestrators make up is left alone: Kubernetes tells each container of a service `cofferdam` by
//! `COFFERDAM_SERVICE_HOST`, `COFFERDAM_PORT_7420_TCP` and their like, and of a service `cofferdam-ui` as well.

use std::{collections::BTreeMap, env};

use super::{ConfigError, source::KEYS};

/// The file with settings.
pub(super) const CONFIG: &str = "COFFERDAM_CONFIG";

/// The manager that operators' commands speak to.
pub const SERVER: &str = "COFFERDAM_SERVER";

/// The context that they take manager and namespace from.
pub const CONTEXT: &str = "COFFERDAM_CONTEXT";

/// Who asks.
pub const ACTOR: &str = "COFFERDAM_ACTOR";

/// The manager that `tools/monitor-circuit-breakers.sh` asks.
const URL: &str = "COFFERDAM_URL";

/// What all of them begin with.
const PREFIX: &str = "COFFERDAM_";

/// What is set. As everywhere, a variable that is empty is one that is not set.
#[derive(Debug, Default)]
pub(super) struct Environment(BTreeMap<String, String>);

/// A variable that begins as settings do, and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The nearest variable that there is.
    pub nearest: String,
}

/// The variables of this process that begin as settings do, and are none.
pub fn unknown_variables() -> Vec<UnknownVariable> {
    let texts = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Environment::of(texts).unknown().collect()
}

impl Environment {
    /// That of this process.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a setting that is no text.
    pub(super) fn of_this_process() -> Result<Self, ConfigError> {
        let mut texts = Vec::new();
        for (name, value) in env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => texts.push((name, value)),
                (Ok(name), Err(_)) if name.starts_with(PREFIX) => {
                    return Err(ConfigError::Value(format!("{name} is no text in UTF-8")));
                }
                // Nobody's business here.
                _ => {}
            }
        }
        Ok(Self::of(texts))
    }

    /// One of these variables.
    pub(super) fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The value of a variable. `None`: it is not set.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// Refuses a variable that means nothing.
    ///
    /// # Errors
    /// [`ConfigError::UnknownVariable`] for the first one.
    pub(super) fn known_only(&self) -> Result<(), ConfigError> {
        match self.unknown().next() {
            Some(UnknownVariable { name, nearest }) => Err(ConfigError::UnknownVariable { name, nearest }),
            None => Ok(()),
        }
    }

    fn unknown(&self) -> impl Iterator<Item = UnknownVariable> {
        let ours = self.0.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)));
        let unknown =
            ours.filter(|(name, rest, value)| !known().any(|known| known == **name) && !is_made_up(rest, value));
        unknown.map(|(name, rest, _)| UnknownVariable { name: name.clone(), nearest: nearest(rest) })
    }
}

/// The variable of a key: `COFFERDAM_SECTION_KEY`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// All variables that there are.
fn known() -> impl Iterator<Item = String> {
    let others = [CONFIG, SERVER, CONTEXT, ACTOR, URL];
    KEYS.iter().map(|(key, _)| variable(key)).chain(others.map(str::to_owned))
}

/// Whether Kubernetes makes it up for a service whose name begins as ours does. `rest` is the name behind the prefix.
fn is_made_up(rest: &str, value: &str) -> bool {
    let is_of = |name: &str| rest == name || rest.strip_suffix(name).is_some_and(|before| before.ends_with('_'));
    if is_of("SERVICE_HOST") || is_of("SERVICE_PORT") || rest.starts_with("SERVICE_PORT_") {
        return true;
    }
    if rest.contains("_SERVICE_PORT_") || (is_of("PORT") && value.contains("://")) {
        return true;
    }
    // PORT_7420_TCP, and with _PROTO, _PORT or _ADDR behind it.
    let mut words = rest.split('_').skip_while(|word| *word != "PORT").skip(1);
    let is_number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
    is_number && words.next().is_some_and(|word| matches!(word, "TCP" | "UDP" | "SCTP"))
}

/// The variable most like a name that is none. Who forgets the section is understood.
fn nearest(rest: &str) -> String {
    let keys = KEYS.iter().map(|(key, _)| (variable(key), key.rsplit('.').next().unwrap_or_default()));
    let likeness = |(name, last): &(String, &str)| {
        let whole = strsim::normalized_levenshtein(name.strip_prefix(PREFIX).unwrap_or_default(), rest);
        whole.max(strsim::normalized_levenshtein(&last.to_ascii_uppercase(), rest))
    };
    let others = [CONFIG, SERVER, CONTEXT, ACTOR].map(|name| (name.to_owned(), ""));
    let nearest = keys.chain(others).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    nearest.map(|(name, _)| name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(name: &str, value: &str) -> Option<String> {
        let environment = Environment::of([(name.to_owned(), value.to_owned())]);
        environment.unknown().next().map(|unknown| unknown.nearest)
    }

    #[test]
    fn what_is_misspelt_is_found_with_the_nearest() {
        for (name, expected) in [
            ("COFFERDAM_LISTEN_ADRESS", "COFFERDAM_LISTEN_ADDRESS"),
            ("COFFERDAM_DATA_DIR", "COFFERDAM_STORE_DATA_DIR"),
            ("COFFERDAM_LOG_LEVEL", "COFFERDAM_TELEMETRY_LOG_LEVEL"),
            ("COFFERDAM_SERVR", "COFFERDAM_SERVER"),
            ("COFFERDAM_CONTXT", "COFFERDAM_CONTEXT"),
            ("COFFERDAM_STORE__KIND", "COFFERDAM_STORE_KIND"),
        ] {
            assert_eq!(unknown(name, "x").as_deref(), Some(expected), "{name}");
        }
        // Nearly what is made up is not.
        for name in ["COFFERDAM_PORT", "COFFERDAM_PORT_OF_TCP", "COFFERDAM_SERVICE_HOSTS"] {
            assert!(unknown(name, "7420").is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_known_empty_of_others_or_made_up_is_left_alone() {
        for name in known() {
            assert_eq!(unknown(&name, "x"), None);
        }
        for (name, value) in [
            ("COFFERDAM_STROE_KIND", ""),
            ("cofferdam_store_knd", "x"),
            ("COFFERDAMS_KEY", "x"),
            ("COFFERDAM_SERVICE_HOST", "10.0.0.1"),
            ("COFFERDAM_SERVICE_PORT", "7420"),
            ("COFFERDAM_SERVICE_PORT_GRPC", "7420"),
            ("COFFERDAM_PORT", "tcp://10.0.0.1:7420"),
            ("COFFERDAM_PORT_7420_TCP", "tcp://10.0.0.1:7420"),
            ("COFFERDAM_PORT_7420_TCP_ADDR", "10.0.0.1"),
            ("COFFERDAM_UI_SERVICE_HOST", "10.0.0.1"),
            ("COFFERDAM_UI_SERVICE_PORT_HTTP", "80"),
            ("COFFERDAM_UI_PORT", "tcp://10.0.0.1:80"),
            ("COFFERDAM_UI_PORT_80_TCP_PROTO", "tcp"),
        ] {
            assert_eq!(unknown(name, value), None, "{name}");
        }
    }
}
