use super::*;
use crate::policy_file::PolicyFile;
use crate::registry::ServiceState;
use cofferdam_core::level::Level;
use cofferdam_core::orders::Orders;
use cofferdam_core::policy::{FallbackPolicy, FallbackStep, Policy, PolicySpec, StaticFallback};
use cofferdam_core::revision::Revision;
use std::fs;
use std::path::Path;
use tokio::task::JoinHandle;

/// A process whose policies are kept.
struct Scene {
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Scene {
    fn new(dir: &Path) -> Self {
        let mut shared = Shared::new(identity(), Policy::default(), Vec::new());
        shared.keep_in(dir);
        let (shared, stop) = (Arc::new(shared), CancellationToken::new());
        let file = Arc::clone(shared.file.as_ref().unwrap());
        let task = tokio::spawn(run(Arc::clone(&shared), file, stop.clone()));
        Self { shared, stop, task }
    }

    fn service(&self, name: &str) -> Arc<ServiceState> {
        self.shared.registry.service(name)
    }

    /// As the manager would.
    fn apply(&self, name: &str, revision: u64) {
        let revision = Revision { epoch: 1, revision };
        self.service(name).isolation.apply(Policy::default(), Some(revision), true, crate::runtime::clocks());
        self.shared.keep();
    }

    fn file(&self) -> PolicyFile {
        self.shared.file.as_ref().unwrap().look()
    }

    /// Waits for so many writes, failed ones included. Time goes on meanwhile.
    async fn tried(&self, times: u64) {
        while self.file().writes + self.file().failures < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn identity() -> Identity {
    let application = "checkout".to_owned();
    Identity { instance_id: "i".to_owned(), application, namespace: "default".to_owned(), labels: Vec::new() }
}

/// What another process finds.
fn found(dir: &Path) -> Vec<(String, u64)> {
    let (_, kept) = KeptFile::open(dir, &identity());
    kept.into_iter().map(|kept| (kept.service.to_string(), kept.revision.revision)).collect()
}

fn pair(service: &str, revision: u64) -> (String, u64) {
    (service.to_owned(), revision)
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_changes_is_a_write_a_second_and_the_last_one_holds_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new(dir.path());
    let begin = Instant::now();
    for revision in 1..=5_000 {
        scene.apply("a", revision);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(2 * INTERVAL).await;
    let elapsed = begin.elapsed().as_secs();
    let PolicyFile { writes, failures, .. } = scene.file();
    assert!((5..=elapsed + 1).contains(&writes), "{writes} writes in {elapsed} s");
    assert_eq!((failures, found(dir.path())), (0, vec![pair("a", 5_000)]));

    // What does not change is not written.
    tokio::time::sleep(60 * INTERVAL).await;
    assert_eq!(scene.file().writes, writes);
}

#[tokio::test(start_paused = true)]
async fn a_removed_policy_leaves_the_file_and_what_was_not_named_stays_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = Scene::new(dir.path());
    ["a", "b", "c"].into_iter().for_each(|name| first.apply(name, 1));
    first.stop.cancel();
    first.task.await.unwrap();

    let second = Scene::new(dir.path());
    assert_eq!(second.file().found, 3);
    second.service("a");
    let removed = second.service("b");
    removed.isolation.apply(Policy::default(), None, true, crate::runtime::clocks());
    second.apply("d", 2);
    second.tried(1).await;
    assert_eq!(found(dir.path()), [pair("a", 1), pair("c", 1), pair("d", 2)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_new_when_the_process_stops_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new(dir.path());
    scene.apply("a", 1);
    scene.tried(1).await;
    scene.apply("a", 2);
    scene.stop.cancel();
    scene.task.await.unwrap();
    assert_eq!(found(dir.path()), [pair("a", 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_counted_and_tried_again_and_has_no_other_effect() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new(dir.path());
    let path = scene.file().path;
    // Nothing takes the place of a directory that is not empty.
    fs::create_dir_all(path.join("full")).unwrap();
    let begin = Instant::now();
    scene.apply("a", 1);
    scene.tried(3).await;
    let file = scene.file();
    assert_eq!((file.writes, file.failures, file.written_ago), (0, 3, None));
    assert!(file.failure.is_some());
    assert!(begin.elapsed() >= 2 * RETRY, "{:?}", begin.elapsed());
    assert_eq!(scene.service("a").isolation.in_force().revision, Some(Revision { epoch: 1, revision: 1 }));

    fs::remove_dir_all(&path).unwrap();
    scene.tried(4).await;
    let file = scene.file();
    assert_eq!((file.writes, file.failures, file.failure), (1, 3, None));
    assert_eq!(found(dir.path()), [pair("a", 1)]);
}

/// Not even root makes a file there.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_directory_that_takes_no_files_is_a_failure_like_any_other() {
    let scene = Scene::new(Path::new("/proc/self"));
    assert_eq!((scene.file().found, scene.file().refusal), (0, None));
    scene.apply("a", 1);
    scene.tried(1).await;
    assert_eq!((scene.file().writes, scene.file().failures), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn two_processes_that_share_a_file_leave_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let scenes = [Scene::new(dir.path()), Scene::new(dir.path())];
    for revision in 1..=50 {
        scenes.iter().for_each(|scene| scene.apply("a", revision));
        tokio::time::sleep(INTERVAL).await;
        let (file, kept) = KeptFile::open(dir.path(), &identity());
        assert_eq!((file.look().refusal, kept.len()), (None, 1));
    }
    for scene in scenes {
        assert_eq!(scene.file().failures, 0);
        scene.stop.cancel();
        scene.task.await.unwrap();
    }
    assert_eq!(found(dir.path()), [pair("a", 50)]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_finds_no_room_is_left_out_the_largest_first() {
    let with_answer = |bytes: usize| {
        let step =
            FallbackStep::Static(StaticFallback { payload: vec![b'x'; bytes].into(), ..StaticFallback::default() });
        let fallback = FallbackPolicy { chain: vec![step], ..FallbackPolicy::default() };
        Policy::new(PolicySpec { level: Level::Basic, fallback, ..PolicySpec::default() }).unwrap()
    };
    let (large, small) = (with_answer(10_000), with_answer(1));
    let kept = |number: usize, policy: &Policy| Kept {
        service: format!("s{number}").into(),
        policy: policy.clone(),
        revision: Revision { epoch: 1, revision: 1 },
        is_enabled: true,
        orders: Orders::default(),
    };
    let all: Vec<_> = (0..100).map(|n| kept(n, if n % 2 == 0 { &large } else { &small })).collect();
    for max_bytes in [disk::MAX_BYTES, 1 << 19, 1 << 18, 1 << 16, 0] {
        let (body, left_out) = encode(&identity(), &all, max_bytes);
        let held = crate::transport::decode_policies(&body, &identity()).unwrap();
        assert_eq!(held.len() + left_out, all.len());
        assert!(Seal::POLICY_FILE.seal(&body).len() as u64 <= max_bytes.max(OVERHEAD));
        match max_bytes {
            disk::MAX_BYTES => assert_eq!(left_out, 0),
            0 => assert_eq!(held.len(), 0),
            _ => assert!((1..=50).contains(&left_out), "{left_out} of {max_bytes}"),
        }
        assert!(held.is_sorted_by(|a, b| a.service < b.service));
    }
    let all: Vec<_> = (0..MAX_POLICIES + 5).map(|n| kept(n, &small)).collect();
    assert_eq!(encode(&identity(), &all, disk::MAX_BYTES).1, 5);
}
