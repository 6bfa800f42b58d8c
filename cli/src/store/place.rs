//! Which store, in one word: `embedded:DIR`, `etcd:HOST:PORT,...`.

use cofferdam_server::config::{StoreArgs, StoreKind};
use std::path::PathBuf;
use std::str::FromStr;

/// A store that the command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The embedded store in a directory. `None`: the one that the settings name.
    Embedded(Option<PathBuf>),
    /// The etcd cluster of these members. None at all: the one that the settings name.
    Etcd(Vec<String>),
}

impl Place {
    /// The same as flags.
    pub(crate) fn args(&self, etcd_prefix: Option<&String>, config: Option<&PathBuf>) -> StoreArgs {
        let args = StoreArgs { config: config.cloned(), ..StoreArgs::default() };
        match self {
            Self::Embedded(dir) => StoreArgs { kind: Some(StoreKind::Embedded), data_dir: dir.clone(), ..args },
            Self::Etcd(endpoints) => StoreArgs {
                kind: Some(StoreKind::Etcd),
                etcd_endpoints: endpoints.clone(),
                etcd_prefix: etcd_prefix.cloned(),
                ..args
            },
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = match text.split_once(':') {
            Some((_, "")) => return Err("names nothing after the colon: leave the colon out, too".to_owned()),
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        match kind {
            "embedded" => Ok(Self::Embedded(rest.map(PathBuf::from))),
            "etcd" => {
                Ok(Self::Etcd(rest.into_iter().flat_map(|members| members.split(',')).map(str::to_owned).collect()))
            }
            _ => Err("must be embedded:DIR or etcd:HOST:PORT,...".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_kind_and_where() {
        let place = |text: &str| text.parse::<Place>();
        assert_eq!(place("embedded"), Ok(Place::Embedded(None)));
        assert_eq!(place("embedded:/var/lib/a:b"), Ok(Place::Embedded(Some("/var/lib/a:b".into()))));
        assert_eq!(place("etcd"), Ok(Place::Etcd(Vec::new())));
        assert_eq!(place("etcd:a:2379,http://b:2379"), Ok(Place::Etcd(vec!["a:2379".into(), "http://b:2379".into()])));
        for wrong in ["", "memory", "/var/lib", "embedded:", "etcd:", "redb:x"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
