use super::super::Error;
use super::super::session::Session;
use super::alternatives::ordered;
use crate::files;
use crate::message::{Change, Fault, changes, dynamic, fields, read};
use crate::output::{counted, say};
use cofferdam_core::wire::{effective_policy, level_to_wire};
use cofferdam_proto::v1;
use cofferdam_server::error::Error as Refused;
use cofferdam_server::registry::registered_policy;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What files have to end with where a folder is named.
const EXTENSIONS: &[&str] = &["json", "yaml", "yml"];

/// Namespace and name of a service.
pub(super) type Key = (String, String);

/// A service as a file says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    /// Where it is said: the file, and which document of it.
    pub(crate) place: String,
    /// What is said. The namespace is set.
    pub(crate) request: v1::RegisterServiceRequest,
}

impl Manifest {
    /// What a document says, in `namespace` where it names none. One that the command line has `said` is not contradicted.
    ///
    /// # Errors
    ///
    /// Each fault in a line, with its place.
    fn new(place: String, value: Value, namespace: &str, said: Option<&str>) -> Result<Self, Vec<String>> {
        let one = |fault: Fault| vec![format!("{place}: {fault}")];
        let mut request: v1::RegisterServiceRequest = read(value).map_err(one)?;
        if !request.request_id.is_empty() || request.expected_revision.is_some() {
            let what = "request_id and expected_revision are of one request, not of a file: leave them out";
            return Err(one(Fault::at("", what)));
        }
        if let Some(service) = &mut request.service {
            match said {
                _ if service.namespace.is_empty() => namespace.clone_into(&mut service.namespace),
                Some(said) if said != service.namespace => {
                    let what = format!("is {}, and --namespace says {said}: leave one of them out", service.namespace);
                    return Err(one(Fault::at("service.namespace", what)));
                }
                _ => {}
            }
        }
        let manifest = Self { place, request };
        // A fallback alone changes a policy that may be registered: whether it may, is seen beside that one.
        let is_whole = manifest.request.policy.is_some() || manifest.request.fallback.is_none();
        if is_whole {
            manifest.written(None)?;
        }
        Ok(manifest)
    }

    /// Namespace and name.
    pub(crate) fn key(&self) -> Key {
        let service = self.request.service.clone().unwrap_or_default();
        (service.namespace, service.name)
    }

    /// The policy that would be written over what is registered, by the manager's own check of this release.
    ///
    /// # Errors
    ///
    /// Each fault in a line, with its place.
    pub(super) fn written(&self, before: Option<&v1::IsolatedService>) -> Result<v1::IsolationPolicy, Vec<String>> {
        let before = before.map(|before| before.written_policy.clone().unwrap_or_default());
        registered_policy(&self.request, before.as_ref()).map_err(|error| match error {
            Refused::Invalid { violations } => violations
                .into_iter()
                .map(|one| format!("{}: {}", self.place, Fault::at(one.path, one.description)))
                .collect(),
            other => vec![format!("{}: {other}", self.place)],
        })
    }

    /// What would change, where this policy is written.
    pub(super) fn difference(
        &self,
        before: Option<&v1::IsolatedService>,
        written: &v1::IsolationPolicy,
    ) -> Result<Vec<Change>, Fault> {
        // What nobody has said is not told of a service that comes.
        let policy = |policy: v1::IsolationPolicy| if before.is_some() { with_level(policy) } else { policy };
        let list = |service: Option<v1::Service>, policy: v1::IsolationPolicy| -> Result<_, Fault> {
            let mut all = fields(&dynamic(&service.unwrap_or_default())?);
            all.retain(|field| !matches!(field.path.as_str(), "name" | "namespace"));
            all.extend(fields(&dynamic(&policy)?));
            Ok(all)
        };
        let present = match before.cloned() {
            None => Vec::new(),
            Some(before) => list(before.service, policy(before.written_policy.unwrap_or_default()))?,
        };
        Ok(changes(&present, &list(self.request.service.clone(), policy(written.clone()))?))
    }

    /// Leaves the level to the manager, where the service is at it without having written it: so what is as said stays at
    /// its revision. That holds for this revision alone.
    pub(super) fn keep_level(&mut self, before: &v1::IsolatedService, written: &v1::IsolationPolicy) {
        let was = before.written_policy.clone().unwrap_or_default();
        if was.level == 0 && written.level != 0 && with_level(was).level == written.level {
            self.request.level = 0;
            if let Some(policy) = &mut self.request.policy {
                policy.level = 0;
            }
            self.request.expected_revision = before.revision;
        }
    }
}

/// A policy that says its level: what it follows from it, where it does not.
fn with_level(mut policy: v1::IsolationPolicy) -> v1::IsolationPolicy {
    if policy.level == 0
        && let Ok(effective) = effective_policy(&policy)
    {
        policy.set_level(level_to_wire(effective.level));
    }
    policy
}

/// A registered service as a file says it: its policy as written, with the level that follows from it. A level that is in
/// force for a time is no part of it.
pub(super) fn of(isolated: &v1::IsolatedService) -> v1::RegisterServiceRequest {
    let policy = with_level(isolated.written_policy.clone().unwrap_or_default());
    v1::RegisterServiceRequest { service: isolated.service.clone(), policy: Some(policy), ..Default::default() }
}

/// Everything that some files say, in an order in which it can be written: what others fall back to comes first.
///
/// # Errors
///
/// All that is wrong with any of them.
pub(crate) fn load(paths: &[PathBuf], session: &Session<'_>) -> Result<Vec<Manifest>, Error> {
    let mut manifests = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        match listed(path) {
            Ok(Listed { files, folders }) => {
                folders.iter().for_each(|folder| say(&format!("{}: what is in it is left out", folder.display())));
                if files.is_empty() {
                    faults.push(format!("{}: has no file that ends with {}", path.display(), EXTENSIONS.join(", ")));
                }
                files.iter().for_each(|file| load_file(file, session, &mut manifests, &mut faults));
            }
            Err(error) => faults.push(format!("{}: {error}", path.display())),
        }
    }
    let mut places = HashMap::new();
    for manifest in &manifests {
        if let Some(other) = places.insert(manifest.key(), &manifest.place) {
            faults.push(format!("{}: service.name: {} is said in {other} already", manifest.place, manifest.key().1));
        }
    }
    match faults.len() {
        0 => Ok(ordered(manifests)),
        count => Err(Error::usage(
            format!("{}, so nothing was done:\n  {}", counted(count, "fault", "faults"), faults.join("\n  ")),
            "the same again, when it is mended",
        )),
    }
}

fn load_file(path: &Path, session: &Session<'_>, manifests: &mut Vec<Manifest>, faults: &mut Vec<String>) {
    let documents = match files::documents(path) {
        Ok(documents) => documents,
        Err(error) => return faults.push(error.to_string()),
    };
    if documents.is_empty() {
        faults.push(format!("{}: is empty", path.display()));
    }
    let said = session.said_namespace.as_deref();
    let count = documents.len();
    for (index, document) in documents.into_iter().enumerate() {
        let which = if count > 1 { format!(" (document {})", index + 1) } else { String::new() };
        match Manifest::new(format!("{}{which}", path.display()), document, &session.namespace, said) {
            Ok(manifest) => manifests.push(manifest),
            Err(lines) => faults.extend(lines),
        }
    }
}

/// What a path names.
#[derive(Debug, Default)]
struct Listed {
    /// The files to read, by name.
    files: Vec<PathBuf>,
    /// The folders that are not looked into.
    folders: Vec<PathBuf>,
}

/// The files that a path names: itself, or those of a folder by name. What is hidden is no concern of anybody's.
///
/// # Errors
///
/// Something in the folder is called as a document is, and cannot be read as one: a link to nothing, or a pipe, which would
/// be waited for.
fn listed(path: &Path) -> io::Result<Listed> {
    if !path.is_dir() {
        return Ok(Listed { files: vec![path.to_owned()], ..Listed::default() });
    }
    let mut listed = Listed::default();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_wanted =
            path.extension().is_some_and(|own| EXTENSIONS.iter().any(|wanted| own.eq_ignore_ascii_case(wanted)));
        match fs::metadata(&path) {
            _ if is_hidden => {}
            Ok(found) if found.is_dir() => listed.folders.push(path),
            _ if !is_wanted => {}
            Ok(found) if found.is_file() => listed.files.push(path),
            Ok(_) => return Err(io::Error::other(format!("{} is no file", path.display()))),
            Err(error) => return Err(io::Error::other(format!("{} cannot be read: {error}", path.display()))),
        }
    }
    listed.files.sort();
    listed.folders.sort();
    Ok(listed)
}

#[cfg(test)]
pub(super) mod tests;
