//! Setting the SDK up.
//!
//! Starting never fails. An SDK that took its application down over its own settings would be the outage it is there
//! to prevent; what is wrong with them is a warning in the log, and the calls are protected regardless.
//! [`Builder::try_start`] is for those who would rather see a deployment fail than run without a manager.

use crate::client::{Cofferdam, Identity, Shared, Task};
use crate::containment::{self, Containment};
use crate::levels;
use crate::policy_file;
use crate::sync::{self, Transport};
use crate::transport::{InvalidUrl, Keepalive, Manager};
use cofferdam_core::level::Level;
use cofferdam_core::name::{DEFAULT_NAMESPACE, InvalidName, Name};
use cofferdam_core::orders::{MAX_INSTANCE_ID_BYTES, is_instance_id};
use cofferdam_core::policy::{Policy, PolicySpec};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Of a keepalive's times: below, a manager that is only slow would be given up.
const MIN_KEEPALIVE: Duration = Duration::from_secs(1);
const MAX_KEEPALIVE: Duration = Duration::from_secs(3600);
const MAX_LABELS: usize = 16;
const MAX_LABEL_BYTES: usize = 64;

/// Sets the SDK up; made by [`Cofferdam::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `start`"]
pub struct Builder {
    application: String,
    managers: Vec<String>,
    namespace: String,
    instance_id: Option<String>,
    labels: Vec<(String, String)>,
    default_policy: Policy,
    policy_dir: Option<PathBuf>,
    contains_policies: bool,
    keepalive: Keepalive,
}

/// A setting that the SDK cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSetting {
    /// The SDK cannot use the manager's URL.
    #[error("manager {url:?}: {reason}")]
    Manager {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The namespace cannot be one.
    #[error("namespace {namespace:?} {reason}")]
    Namespace {
        /// The namespace.
        namespace: String,
        /// What is wrong with it.
        reason: InvalidName,
    },
    /// The application's name or the instance's id is not of 1 to 128 printable ASCII characters.
    #[error("{what} {text:?} must be of 1 to {MAX_INSTANCE_ID_BYTES} printable ASCII characters")]
    Id {
        /// Which of the two.
        what: &'static str,
        /// What it is.
        text: String,
    },
    /// There are more than 16 labels, or one has an empty key, or more than 64 bytes in key or value.
    #[error("label {key:?}: at most {MAX_LABELS} labels, with keys and values of at most {MAX_LABEL_BYTES} bytes")]
    Label {
        /// The first label that cannot be used.
        key: String,
    },
    /// The directory for policies does not exist and cannot be made.
    #[error("policy directory {path:?}: {reason}")]
    PolicyDir {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A time of [`Builder::keepalive`] is not of 1 s to 1 h.
    #[error("keepalive of {interval:?} and {timeout:?}: must be 1 s to 1 h each")]
    Keepalive {
        /// How often to ask.
        interval: Duration,
        /// How long to wait for the answer.
        timeout: Duration,
    },
    /// The system has no thread left to run the SDK's task on.
    #[error("no runtime, and no thread for one")]
    NoRuntime,
}

impl Builder {
    pub(crate) fn new(application: String) -> Self {
        Self {
            application,
            managers: Vec::new(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            instance_id: None,
            labels: Vec::new(),
            default_policy: built_in_policy(),
            policy_dir: None,
            contains_policies: true,
            keepalive: Keepalive::default(),
        }
    }

    /// The manager's URL, for example `http://127.0.0.1:7420`. Without one everything works by the default policy.
    ///
    /// Where several managers share a store, name them all: in one string with commas between them, or one by one. The
    /// process goes to any of them, and to another at once where that one cannot be had; only after it has tried each does
    /// it pause. Empty names are passed over, so a variable of the environment that is empty is no manager.
    ///
    /// ```
    /// let cd = cofferdam::Cofferdam::builder("checkout").manager("http://a:7420, http://b:7420").start();
    /// assert_eq!(cd.connection().manager, None);
    /// ```
    pub fn manager(mut self, urls: impl Into<String>) -> Self {
        let urls = urls.into();
        self.managers.extend(urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned));
        self
    }

    /// The namespace of the services. Default: `default`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Names the process, unique over its life; the same form as the application's name. Default: the application, the
    /// process id and something random.
    ///
    /// Of two processes with one id, only the one that came last has a stream. Each is told so, and tries again after
    /// some seconds: a host's name is no id where two processes run on it.
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.instance_id = Some(id.into());
        self
    }

    /// A label for operators, for example a zone. At most 16, with keys and values of at most 64 bytes.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// What protects a service while the manager has, or had, nothing to say of it.
    ///
    /// Default: level enhanced, with the default of every number: calls of at most 5 s, up to 3 attempts within a
    /// budget where repeating is safe, and a breaker. A protection that nobody has set up is better than none, and the
    /// numbers are ones that a working service does not notice.
    pub fn default_policy(mut self, policy: Policy) -> Self {
        self.default_policy = policy;
        self
    }

    /// A directory on a local disk to keep the last policies in, so that a process that starts with no manager in reach
    /// begins under them instead of under the default policy. It is made where there is none. Default: none, and
    /// nothing is written: a library that writes files unasked would surprise. An empty path is none as well, as an
    /// empty URL of a [`manager`](Self::manager) is: a variable of the environment that is not set.
    ///
    /// What is kept is what is in force, for each service that the manager has a policy for: the policy with the payloads
    /// of its static fallbacks, its revision, and whether the service may be called. There are no addresses, labels or
    /// answers of services in it. It is one file for each application and namespace, for its owner alone (mode 0600), of
    /// at most 10,000 services and 64 MiB. Processes of one application can share it: the last one that writes wins. So
    /// those that call different services are better off with directories of their own.
    ///
    /// The file is read while the SDK starts, and written in the background, at most once a second. One that is torn, of
    /// another release or of another application is refused with a warning and left as it is until there is something
    /// to keep; [`Cofferdam::policy_file`] tells, also of a disk that is full. Neither has any effect on calls.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let state_dir = dir.path();
    /// let cd = cofferdam::Cofferdam::builder("checkout").policy_dir(state_dir.join("cofferdam")).start();
    /// let file = cd.policy_file().unwrap();
    /// assert_eq!((file.found, file.refusal, file.failures), (0, None, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn policy_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.policy_dir = Some(dir.into()).filter(|dir: &PathBuf| !dir.as_os_str().is_empty());
        self
    }

    /// Whether a policy that turns a working service's calls away is put back here, and refused. Default: it is.
    ///
    /// For 30 s after the manager's policy is in force, what it rejects and times out is compared with the time before.
    /// Where that went from at most 1 % to at least 50 % of 20 decisions or more, by something that the policy changed,
    /// while the service itself fails no more than before, the policy before it is put back with all that was learned,
    /// and an [`Event::PolicyContained`](crate::Event::PolicyContained) tells. Orders are not put back: a raised level, a
    /// breaker forced open, a service switched off. The exact rule: `docs/sync.md`.
    pub fn contain_policies(mut self, contains: bool) -> Self {
        self.contains_policies = contains;
        self
    }

    /// How often a connection to the manager on which nothing comes is asked whether there is somebody at the other end, and
    /// how long the answer may take, before it is given up: 1 s to 1 h each. Default: 20 s and 10 s. Policies stay in force
    /// either way; shorter times find out sooner that they may be old, and keep a connection open through a proxy that
    /// closes idle ones.
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keepalive = Keepalive { interval, timeout };
        self
    }

    /// Starts the SDK. It returns at once: it neither waits for the manager nor touches the network itself.
    ///
    /// The connection is made by a task on the current tokio runtime, or, where there is none, on a thread of the
    /// SDK's own. A setting that cannot be used is a warning in the log and makes do without: an invalid URL means
    /// no manager, and [`Cofferdam::connection`] says so.
    pub fn start(self) -> Cofferdam {
        let (cofferdam, faults) = self.set_up();
        for fault in faults {
            tracing::warn!(%fault, "a setting cannot be used");
        }
        cofferdam
    }

    /// As [`start`](Self::start), but takes no setting that cannot be used. That the manager is away is no error here
    /// either.
    ///
    /// # Errors
    ///
    /// The first [`InvalidSetting`].
    pub fn try_start(self) -> Result<Cofferdam, InvalidSetting> {
        let (cofferdam, faults) = self.set_up();
        faults.into_iter().next().map_or(Ok(cofferdam), Err)
    }

    fn set_up(self) -> (Cofferdam, Vec<InvalidSetting>) {
        let mut faults = Vec::new();
        let identity = self.identity(&mut faults);
        let keepalive = self.usable_keepalive(&mut faults);
        let mut managers: Vec<Manager> = Vec::new();
        for url in &self.managers {
            match Manager::new(url, keepalive) {
                Ok(manager) if managers.iter().any(|known| known.address() == manager.address()) => {}
                Ok(manager) => managers.push(manager),
                Err(InvalidUrl(reason)) => faults.push(InvalidSetting::Manager { url: url.clone(), reason }),
            }
        }
        // A namespace that cannot be has no services that a manager could know.
        let is_lost = faults.iter().any(|fault| matches!(fault, InvalidSetting::Namespace { .. }));
        if is_lost {
            managers.clear();
        }

        let has_manager = !managers.is_empty();
        let mut shared = Shared::new(identity, self.default_policy, managers);
        shared.containment = Containment::new(self.contains_policies);
        if let Some(dir) = self.policy_dir {
            if let Err(error) = policy_file::make_dir(&dir) {
                faults.push(InvalidSetting::PolicyDir { path: dir.clone(), reason: error.to_string() });
            }
            shared.keep_in(&dir);
        }
        let shared = Arc::new(shared);
        let mut tasks = if has_manager { start_tasks(&shared) } else { Vec::new() };
        if tasks.is_empty() {
            if has_manager {
                faults.push(InvalidSetting::NoRuntime);
            }
            let reason = faults.iter().map(ToString::to_string).next();
            shared.link.disconnected(reason.as_deref().unwrap_or("no manager is configured"), true);
        }
        // What was found in the directory may be a level for a time, whether a manager comes or not.
        if has_manager || shared.file.is_some() {
            let levels = Task::spawn(|stop| levels::run(Arc::clone(&shared), stop));
            tasks.extend(levels.map(Task::outliving_shutdown));
        }
        (Cofferdam::new(shared, tasks), faults)
    }

    fn usable_keepalive(&self, faults: &mut Vec<InvalidSetting>) -> Keepalive {
        let Keepalive { interval, timeout } = self.keepalive;
        if [interval, timeout].iter().all(|time| (MIN_KEEPALIVE..=MAX_KEEPALIVE).contains(time)) {
            return self.keepalive;
        }
        faults.push(InvalidSetting::Keepalive { interval, timeout });
        Keepalive::default()
    }

    fn identity(&self, faults: &mut Vec<InvalidSetting>) -> Identity {
        let mut id = |what, text: &str| {
            let is_usable = is_instance_id(text);
            if !is_usable {
                faults.push(InvalidSetting::Id { what, text: text.to_owned() });
            }
            is_usable
        };
        let application = match id("application", &self.application) {
            true => self.application.clone(),
            false => "unnamed".to_owned(),
        };
        let instance_id = self.instance_id.clone().filter(|text| id("instance id", text));
        let instance_id = instance_id.unwrap_or_else(|| generated_id(&application));
        if let Err(reason) = Name::new(&self.namespace) {
            faults.push(InvalidSetting::Namespace { namespace: self.namespace.clone(), reason });
        }
        let is_label = |(key, value): &&(String, String)| {
            !key.is_empty() && key.len() <= MAX_LABEL_BYTES && value.len() <= MAX_LABEL_BYTES
        };
        let labels: Vec<_> = self.labels.iter().filter(is_label).take(MAX_LABELS).cloned().collect();
        let left_out = self.labels.iter().enumerate().find(|(index, label)| labels.get(*index) != Some(*label));
        if let Some((_, (key, _))) = left_out {
            faults.push(InvalidSetting::Label { key: key.clone() });
        }
        Identity { instance_id, application, namespace: self.namespace.clone(), labels }
    }
}

/// What goes on in the background. Empty: there is no thread for it.
fn start_tasks(shared: &Arc<Shared>) -> Vec<Task> {
    let sync = Task::spawn(|stop| sync::run(Arc::clone(shared), shared.managers.clone(), stop));
    // Without a manager there is nothing new to keep.
    let keeper = shared
        .file
        .as_ref()
        .and_then(|file| Task::spawn(|stop| policy_file::run(Arc::clone(shared), Arc::clone(file), stop)));
    let containment = Task::spawn(|stop| containment::run(Arc::clone(shared), stop));
    sync.into_iter().chain(keeper).chain(containment).collect()
}

/// What protects where nobody has said anything.
fn built_in_policy() -> Policy {
    // A spec of defaults is valid at every level; a test holds this to it.
    Policy::new(PolicySpec { level: Level::Enhanced, ..PolicySpec::default() }).unwrap_or_default()
}

/// An id that no other process has: on one machine the process id says so, elsewhere the random part does.
fn generated_id(application: &str) -> String {
    let suffix = format!("-{}-{:08x}", std::process::id(), rand::random::<u32>());
    let room = MAX_INSTANCE_ID_BYTES - suffix.len();
    let stem: String = application.chars().take(room).collect();
    stem + &suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_default_protects() {
        assert_eq!(built_in_policy().level, Level::Enhanced);
    }

    #[test]
    fn generated_ids_differ_and_are_ids() {
        let long = "a".repeat(MAX_INSTANCE_ID_BYTES);
        let (one, other) = (generated_id(&long), generated_id(&long));
        assert_ne!(one, other);
        assert!(is_instance_id(&one) && is_instance_id(&generated_id("checkout")));
        assert!(generated_id("checkout").starts_with("checkout-"));
    }

    #[test]
    fn starts_without_a_manager_and_without_a_runtime() {
        let cofferdam = Cofferdam::builder("checkout").start();
        let connection = cofferdam.connection();
        assert!(!connection.is_connected());
        assert_eq!(connection.reason.as_deref(), Some("no manager is configured"));
        assert_eq!(cofferdam.service("orders-db").policy().level, Level::Enhanced);
    }

    #[test]
    fn managers_come_in_one_string_or_one_by_one_and_each_counts_once() {
        let urls = |builder: Builder| builder.managers;
        let builder = || Cofferdam::builder("checkout");
        assert_eq!(urls(builder().manager(" http://a:1,, http://b:2 ").manager("http://c:3")).len(), 3);
        assert_eq!(urls(builder().manager("")), Vec::<String>::new());
        let twice = builder().manager("http://127.0.0.1:1,http://127.0.0.1:1,ftp://x").start();
        assert_eq!(twice.shared().managers.len(), 1, "one that cannot be used is left out, and so is one named twice");
    }

    #[test]
    fn what_cannot_be_used_is_a_warning_or_an_error_as_the_caller_likes() {
        let builder = || Cofferdam::builder("checkout").manager("http://[::1");
        let started = builder().start();
        assert!(started.connection().reason.unwrap().contains("http://[::1"));
        assert!(matches!(builder().try_start(), Err(InvalidSetting::Manager { .. })));

        let invalid = |builder: Builder| builder.try_start().unwrap_err();
        assert!(matches!(invalid(Cofferdam::builder("")), InvalidSetting::Id { what: "application", .. }));
        let builder = Cofferdam::builder("a").instance_id("b\n");
        assert!(matches!(invalid(builder), InvalidSetting::Id { what: "instance id", .. }));
        let builder = Cofferdam::builder("a").namespace("Prod");
        assert!(matches!(invalid(builder), InvalidSetting::Namespace { .. }));
        let builder = Cofferdam::builder("a").label("zone", "x".repeat(65));
        assert!(matches!(invalid(builder), InvalidSetting::Label { .. }));
        let builder = (0..17).fold(Cofferdam::builder("a"), |builder, n| builder.label(format!("{n}"), ""));
        assert_eq!(invalid(builder), InvalidSetting::Label { key: "16".to_owned() });
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        for (interval, timeout) in [(second / 2, second), (hour, hour * 2)] {
            let builder = Cofferdam::builder("a").keepalive(interval, timeout);
            assert_eq!(invalid(builder), InvalidSetting::Keepalive { interval, timeout });
        }
        assert!(Cofferdam::builder("a").keepalive(second, hour).try_start().is_ok());
    }

    #[test]
    fn a_runtime_without_a_timer_is_named_as_what_is_wrong() {
        let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let cofferdam = {
            let _context = bare.enter();
            Cofferdam::builder("checkout").manager("http://127.0.0.1:1").start()
        };
        bare.block_on(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
        let reason = cofferdam.connection().reason.unwrap();
        assert!(reason.contains("enable_all"), "{reason}");
    }

    #[test]
    fn an_empty_directory_for_policies_is_none() {
        let cofferdam = Cofferdam::builder("checkout").policy_dir("").try_start().unwrap();
        assert_eq!(cofferdam.policy_file(), None);
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_replaced() {
        let mut faults = Vec::new();
        let builder = Cofferdam::builder("caf\u{e9}").instance_id("").label("", "x").label("zone", "a");
        let identity = builder.identity(&mut faults);
        assert_eq!(identity.application, "unnamed");
        assert!(identity.instance_id.starts_with("unnamed-"));
        assert_eq!(identity.labels, [("zone".to_owned(), "a".to_owned())]);
        assert_eq!(faults.len(), 3);
    }
}
