use super::super::Error;
use super::super::session::Session;
use crate::files;
use crate::message::{Change, Fault, changes, dynamic, fields, read};
use cofferdam_core::name::Name;
use cofferdam_core::wire::{apply_fallback_config, effective_policy};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What files have to end with where a folder is named.
const EXTENSIONS: &[&str] = &["json", "yaml", "yml"];

/// A service as a file says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    /// Where it is said: the file, and which document of it.
    pub(crate) place: String,
    /// What is said. The namespace is set, level and fallback are part of the policy.
    pub(crate) request: v1::RegisterServiceRequest,
}

impl Manifest {
    /// What a document says.
    ///
    /// # Errors
    ///
    /// Each fault in a line, with its place.
    fn new(place: String, value: Value, namespace: &str) -> Result<Self, Vec<String>> {
        let one = |fault: Fault| vec![format!("{place}: {fault}")];
        let mut request: v1::RegisterServiceRequest = read(value).map_err(one)?;
        if !request.request_id.is_empty() || request.expected_revision.is_some() {
            let what = "request_id and expected_revision are of one request, not of a file: leave them out";
            return Err(one(Fault::at("", what)));
        }
        let Some(service) = request.service.as_mut() else {
            return Err(one(Fault::at("service", "must be set, with a name")));
        };
        if service.namespace.is_empty() {
            namespace.clone_into(&mut service.namespace);
        }
        let names = [("service.namespace", &service.namespace), ("service.name", &service.name)];
        let faults = names.map(|(path, name)| Name::new(name).err().map(|error| Fault::at(path, error.to_string())));
        let mut lines: Vec<_> = faults.into_iter().flatten().flat_map(&one).collect();
        lines.extend(fold(&mut request).into_iter().flat_map(one));
        if lines.is_empty() { Ok(Self { place, request }) } else { Err(lines) }
    }

    /// Namespace and name.
    pub(crate) fn key(&self) -> (String, String) {
        let service = self.request.service.clone().unwrap_or_default();
        (service.namespace, service.name)
    }

    /// The services that its fallback asks in its place.
    fn alternatives(&self) -> Vec<(String, String)> {
        let (namespace, _) = self.key();
        let policy = self.request.policy.clone().unwrap_or_default();
        let overrides = policy.method_overrides.into_iter().filter_map(|one| one.policy?.fallback);
        let chains = policy.fallback.into_iter().chain(overrides).flat_map(|fallback| fallback.chain);
        let asked = chains.filter_map(|step| match step.strategy {
            Some(Strategy::Alternative(other)) => Some((namespace.clone(), other.service)),
            _ => None,
        });
        asked.collect()
    }

    /// What would change.
    pub(crate) fn difference(&self, before: Option<&v1::IsolatedService>) -> Result<Vec<Change>, Fault> {
        let present = before.map(of);
        let list = |request: &v1::RegisterServiceRequest| -> Result<_, Fault> {
            let mut all = fields(&dynamic(&request.service.clone().unwrap_or_default())?);
            all.retain(|field| !matches!(field.path.as_str(), "name" | "namespace"));
            all.extend(fields(&dynamic(&request.policy.clone().unwrap_or_default())?));
            Ok(all)
        };
        let mut after = self.request.clone();
        if let Some(present) = &present {
            let was = present.policy.clone().unwrap_or_default();
            let level = was.level;
            let policy = after.policy.get_or_insert(was);
            if policy.level == 0 {
                policy.level = level;
            }
        }
        let present = present.as_ref().map_or_else(|| Ok(Vec::new()), list)?;
        Ok(changes(&present, &list(&after)?))
    }
}

/// Puts level and fallback where they are stored, which is in the policy, and checks it.
fn fold(request: &mut v1::RegisterServiceRequest) -> Vec<Fault> {
    let faults = |invalid: cofferdam_core::policy::InvalidPolicy, prefix: &str| {
        let fault = |one: &cofferdam_core::policy::Violation| {
            Fault::at(format!("{prefix}{}", one.path), one.description.clone())
        };
        invalid.violations().iter().map(fault).collect::<Vec<_>>()
    };
    if request.level == 0 && request.fallback.is_none() && request.policy.is_none() {
        return Vec::new();
    }
    if request.fallback.is_some() && request.policy.as_ref().is_some_and(|policy| policy.fallback.is_some()) {
        return vec![Fault::at("fallback", "must not be set together with policy.fallback: leave one out")];
    }
    if request.policy.is_none() {
        // It changes parts of a policy that may be in force: that is for the manager.
        return Vec::new();
    }
    let policy = request.policy.get_or_insert_default();
    if request.level != 0 {
        policy.level = std::mem::take(&mut request.level);
    }
    if let Some(config) = request.fallback.take()
        && let Err(invalid) = apply_fallback_config(policy, &config)
    {
        return faults(invalid, "");
    }
    effective_policy(policy).err().map_or_else(Vec::new, |invalid| faults(invalid, "policy."))
}

/// A registered service as a file says it: its policy as written, with the level in force.
pub(super) fn of(isolated: &v1::IsolatedService) -> v1::RegisterServiceRequest {
    let mut policy = isolated.written_policy.clone().unwrap_or_default();
    if policy.level == 0 {
        policy.level = isolated.policy.as_ref().map_or(0, |policy| policy.level);
    }
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
            Ok(files) if files.is_empty() => {
                faults.push(format!("{}: has no file that ends with {}", path.display(), EXTENSIONS.join(", ")));
            }
            Ok(files) => files.iter().for_each(|file| load_file(file, session, &mut manifests, &mut faults)),
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
            format!("nothing was changed: {count} faults\n  {}", faults.join("\n  ")),
            "cofferdam apply again, when they are mended",
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
    let count = documents.len();
    for (index, document) in documents.into_iter().enumerate() {
        let which = if count > 1 { format!(" (document {})", index + 1) } else { String::new() };
        match Manifest::new(format!("{}{which}", path.display()), document, &session.namespace) {
            Ok(manifest) => manifests.push(manifest),
            Err(lines) => faults.extend(lines),
        }
    }
}

/// The files that a path names: itself, or those of a folder by name.
fn listed(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<_> = entries.collect::<io::Result<_>>()?;
    files.retain(|file: &PathBuf| {
        file.is_file() && file.extension().is_some_and(|own| EXTENSIONS.iter().any(|wanted| own == *wanted))
    });
    files.sort();
    Ok(files)
}

/// What others fall back to comes before them; all else stays as it is. A circle, which a manager refuses, stays too.
fn ordered(manifests: Vec<Manifest>) -> Vec<Manifest> {
    let mut rest = manifests;
    let mut done = Vec::new();
    while !rest.is_empty() {
        let waiting: HashSet<_> = rest.iter().map(Manifest::key).collect();
        let is_free =
            |one: &Manifest| one.alternatives().iter().all(|other| *other == one.key() || !waiting.contains(other));
        let (free, bound): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_free);
        if free.is_empty() {
            done.extend(bound);
            break;
        }
        done.extend(free);
        rest = bound;
    }
    done
}

/// The services that are fallen back to and neither said nor registered are faults as well: they cannot be written.
pub(super) fn missing(manifests: &[Manifest], registered: &HashSet<(String, String)>) -> Vec<String> {
    let said: HashSet<_> = manifests.iter().map(Manifest::key).collect();
    let mut lines = Vec::new();
    for manifest in manifests {
        for other in manifest.alternatives() {
            if !said.contains(&other) && !registered.contains(&other) {
                let what = "is asked as an alternative, and neither said nor registered";
                lines.push(format!("{}: policy.fallback.chain: {} {what}", manifest.place, other.1));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(value: Value) -> Result<Manifest, Vec<String>> {
        Manifest::new("f.yaml".into(), value, "default")
    }

    fn with_alternative(name: &str, other: &str) -> Manifest {
        let policy = json!({"fallback": {"chain": [{"alternative": {"service": other}}]}});
        manifest(json!({"service": {"name": name}, "policy": policy})).unwrap()
    }

    #[test]
    fn a_document_is_a_registration() {
        let said =
            manifest(json!({"service": {"name": "a"}, "level": "full", "policy": {"retry": {"maxAttempts": 2}}}));
        let request = said.unwrap().request;
        assert_eq!(request.service.unwrap().namespace, "default");
        assert_eq!(request.policy.unwrap().level(), v1::IsolationLevel::Full);
        assert_eq!(request.level, 0, "it is part of the policy");
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        for (value, lines) in [
            (json!({"policy": {}}), &["f.yaml: service: must be set, with a name"][..]),
            (
                json!({"service": {"name": "a"}, "requestId": "x"}),
                &["f.yaml: request_id and expected_revision are of one request, not of a file: leave them out"],
            ),
            (json!({"services": {}}), &["f.yaml: "]),
            (
                json!({"service": {"name": "A!"}, "policy": {"retry": {"maxAttempts": 99}, "bulkhead": {"maxConcurrent": 0}}}),
                &[
                    "f.yaml: service.name: ",
                    "f.yaml: policy.retry.max_attempts: ",
                    "f.yaml: policy.bulkhead.max_concurrent: ",
                ],
            ),
        ] {
            let told = manifest(value.clone()).unwrap_err();
            assert_eq!(told.len(), lines.len(), "{value}: {told:?}");
            assert!(told.iter().zip(lines).all(|(told, line)| told.starts_with(line)), "{value}: {told:?}");
        }
    }

    #[test]
    fn what_others_fall_back_to_comes_first() {
        let plain = |name: &str| manifest(json!({"service": {"name": name}})).unwrap();
        let names = |manifests| ordered(manifests).iter().map(|one| one.key().1).collect::<Vec<_>>();
        let chain = vec![with_alternative("a", "b"), with_alternative("b", "c"), plain("c"), plain("d")];
        assert_eq!(names(chain.clone()), ["c", "d", "b", "a"]);
        assert_eq!(names(vec![with_alternative("a", "b"), with_alternative("b", "a")]), ["a", "b"], "a circle");
        assert!(missing(&chain, &HashSet::new()).is_empty());
        let lines = missing(&[with_alternative("a", "z")], &HashSet::new());
        assert_eq!(
            lines,
            ["f.yaml: policy.fallback.chain: z is asked as an alternative, and neither said nor registered"]
        );
    }

    #[test]
    fn what_a_service_says_of_itself_is_no_difference() {
        let policy: v1::IsolationPolicy = read(json!({"retry": {"maxAttempts": 4}})).unwrap();
        let isolated = v1::IsolatedService {
            service: Some(v1::Service { namespace: "default".into(), name: "a".into(), ..Default::default() }),
            policy: Some(v1::IsolationPolicy { level: v1::IsolationLevel::Basic.into(), ..Default::default() }),
            written_policy: Some(policy),
            ..Default::default()
        };
        let said = Manifest { place: String::new(), request: of(&isolated) };
        assert_eq!(said.difference(Some(&isolated)), Ok(Vec::new()));
        let other = manifest(json!({"service": {"name": "a", "version": "2"}, "policy": {}})).unwrap();
        let told: Vec<_> = other.difference(Some(&isolated)).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["retry.max_attempts: 4 -> unset", "version: unset -> 2"]);
        let unsaid = manifest(json!({"service": {"name": "a"}})).unwrap();
        assert_eq!(unsaid.difference(Some(&isolated)), Ok(Vec::new()), "a policy that is not said stays");
    }
}
