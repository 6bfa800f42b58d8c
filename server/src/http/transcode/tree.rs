//! JSON as it was written: names in their order, and twice where they were written twice.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// A value. serde_json bounds how deep it can be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    /// `null`, a truth, a number or a text.
    Leaf(Value),
    /// An array.
    List(Vec<Tree>),
    /// An object.
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Whether it is `null`, which is as good as absent.
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Leaf(Value::Null))
    }

    /// Where in it a name is there twice: its path. `None`: nowhere.
    pub(super) fn twice(&self) -> Option<String> {
        match self {
            Self::Leaf(_) => None,
            Self::List(values) => {
                let found = values.iter().enumerate().find_map(|(at, value)| Some((at, value.twice()?)));
                found.map(|(at, path)| joined(&format!("[{at}]"), &path))
            }
            Self::Object(fields) => {
                let mut seen = HashSet::new();
                // Put together on the way back: each name on it is copied once, however many are beside it.
                fields.iter().find_map(|(name, value)| match seen.insert(name) {
                    true => value.twice().map(|path| joined(name, &path)),
                    false => Some(name.clone()),
                })
            }
        }
    }

    /// The same as serde_json has it; of names that are there twice, the last one.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Leaf(value) => value.clone(),
            Self::List(values) => values.iter().map(Self::to_value).collect(),
            Self::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value.to_value())).collect(),
        }
    }
}

/// A path below another one.
pub(super) fn joined(path: &str, below: &str) -> String {
    let dot = if path.is_empty() || below.starts_with('[') { "" } else { "." };
    format!("{path}{dot}{below}")
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        match value {
            Value::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            Value::Object(fields) => {
                Self::Object(fields.into_iter().map(|(name, value)| (name, value.into())).collect())
            }
            leaf => Self::Leaf(leaf),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E: Error>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf(Value::Null))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf(value.into()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf(value.into()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf(value.into()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Tree::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
                let mut object = Vec::new();
                while let Some(field) = fields.next_entry()? {
                    object.push(field);
                }
                Ok(Tree::Object(object))
            }
        }

        deserializer.deserialize_any(Any)
    }
}
