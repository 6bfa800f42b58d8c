use super::super::tests::get;
use crate::testing::{Manager, eventually, registration};

#[tokio::test]
async fn a_store_that_is_away_makes_nobody_unready() {
    let manager = Manager::start().await;
    manager.client().await.register_service(registration("payments")).await.unwrap();
    let ready = get(&manager, "/readyz?verbose").await;
    assert_eq!((ready.status, ready.text.as_str()), (200, "[+] loaded: 1 services\n[+] store: in reach\nok\n"));
    manager.store.set_away(true);
    eventually(&manager.registry, || manager.registry.stale_for().is_some()).await;
    let ready = get(&manager, "/readyz?verbose=1").await;
    assert!(ready.status == 200 && ready.text.contains("[!] store: away for"), "{}", ready.text);
    assert_eq!(get(&manager, "/readyz").await.text, "ok\n");
    // A probe with a parameter must not have a manager restarted that works.
    for path in ["/livez", "/startupz", "/livez?verbose", "/startupz?x=1"] {
        assert_eq!(get(&manager, path).await.text, "ok\n");
    }
}

#[tokio::test]
async fn a_manager_that_stops_is_alive_and_not_ready() {
    let manager = Manager::start().await;
    manager.drain();
    let ready = get(&manager, "/readyz?verbose").await;
    assert!(ready.status == 503 && ready.text.starts_with("[-] stopping"), "{}", ready.text);
    assert!(ready.text.ends_with("not ready\n"));
    assert_eq!(get(&manager, "/livez").await.status, 200);
}

#[tokio::test]
async fn the_version_is_that_of_the_program() {
    let manager = Manager::start().await;
    let version = get(&manager, "/version").await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["contract"], "cofferdam.v1");
    assert!(cofferdam_proto::FILE_DESCRIPTOR_SET.windows(12).any(|window| window == b"cofferdam.v1"));
}
