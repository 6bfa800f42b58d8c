use super::*;

#[tokio::test]
async fn the_manager_never_dials_itself_or_its_store() {
    let mut config = Config::default();
    config.store.etcd_endpoints = vec!["http://127.0.0.1:2379".to_owned(), "[::1]:2380/".to_owned()];
    let local = "127.0.0.1:7420".parse().unwrap();
    let own = own_addresses(&config, local).await;
    let expected: Vec<SocketAddr> =
        ["127.0.0.1:7420", "127.0.0.1:2379", "[::1]:2380"].iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(own, expected);
}

/// A manager asks its instances to come back over so much time, and said "all" of those who had come in the first ten seconds.
#[test]
fn all_instances_means_all_that_were_asked_to_spread() {
    let settling = |reconnect_rate, max_instances| {
        super::settling(SyncOptions { reconnect_rate, ..SyncOptions::default() }, max_instances)
    };
    assert_eq!(settling(2_000, 20_000), Duration::from_secs(10));
    assert_eq!(settling(500, 20_000), Duration::from_secs(40));
    assert_eq!(settling(2_000, 100), SETTLING);
    assert_eq!(settling(1, 1_000_000), Duration::from_secs(300));
}
