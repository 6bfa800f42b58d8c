//! What the contract's comments say.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor};

/// The comments by the file and the place in it.
#[derive(Debug)]
pub(super) struct Comments {
    by_place: HashMap<(String, Vec<i32>), String>,
    methods: HashMap<String, String>,
}

impl Comments {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        let mut by_place = HashMap::new();
        for file in pool.files().filter(|file| file.package_name().starts_with("cofferdam.")) {
            let source = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
            for location in source.location {
                let lines = location.leading_comments.unwrap_or_default();
                let text = lines.lines().map(str::trim).collect::<Vec<_>>().join(" ");
                if !text.is_empty() {
                    by_place.insert((file.name().to_owned(), location.path), text.trim().to_owned());
                }
            }
        }
        let mut methods = HashMap::new();
        for service in pool.services() {
            for method in service.methods() {
                let place = (method.parent_file().name().to_owned(), method.path().to_vec());
                if let Some(text) = by_place.get(&place) {
                    methods.insert(method.name().to_owned(), text.clone());
                }
            }
        }
        Self { by_place, methods }
    }

    fn at(&self, file: &str, path: &[i32]) -> String {
        self.by_place.get(&(file.to_owned(), path.to_vec())).cloned().unwrap_or_default()
    }

    /// The comment of an RPC, by its name.
    pub(super) fn of_method(&self, name: &str) -> String {
        self.methods.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn of_message(&self, message: &MessageDescriptor) -> String {
        self.at(message.parent_file().name(), message.path())
    }

    /// The comment of a field, and of the fields that exclude it.
    pub(super) fn of_field(&self, field: &FieldDescriptor) -> String {
        let mut text = self.at(field.parent_file().name(), field.path());
        if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
            let others = oneof.fields().filter(|other| other != field);
            let others: Vec<_> = others.map(|other| other.json_name().to_owned()).collect();
            text.push_str(&format!(" Excludes {}.", others.join(", ")));
        }
        text
    }

    /// The comment of an enumeration, and of each of its values.
    pub(super) fn of_enum(&self, kind: &EnumDescriptor) -> String {
        let file = kind.parent_file();
        let values = kind.values().map(|value| format!("{}: {}", value.name(), self.at(file.name(), value.path())));
        let values: Vec<_> = values.collect();
        format!("{} {}", self.at(file.name(), kind.path()), values.join(" ")).trim().to_owned()
    }
}
