use super::*;
use crate::testing::key;
use cofferdam_core::revision::Revision;

fn removed(name: &str) -> Change {
    Change::Removed { key: key(name), revision: Revision::default() }
}

#[tokio::test(start_paused = true)]
async fn only_followers_hear_and_each_name_once() {
    let fanout = Arc::new(Fanout::default());
    let mut by_name = fanout.subscribe(CancellationToken::new());
    by_name.follow(key("default/a"));
    by_name.follow(key("default/a"));
    let mut all = fanout.subscribe(CancellationToken::new());
    all.follow_namespace(key("default/a").namespace);
    for name in ["default/a", "default/b", "eu/a"] {
        fanout.publish(&removed(name));
    }
    assert_eq!(by_name.next().await.unwrap().key(), &key("default/a"));
    assert_eq!(all.next().await.unwrap().key(), &key("default/a"));
    assert_eq!(all.next().await.unwrap().key(), &key("default/b"));
    tokio::time::timeout(Duration::from_secs(1), by_name.next()).await.unwrap_err();
    tokio::time::timeout(Duration::from_secs(1), all.next()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_hung_up_on() {
    let patience = Duration::from_secs(30);
    let fanout = Arc::new(Fanout::default());
    let hang_up = CancellationToken::new();
    let mut subscription = fanout.subscribe(hang_up.clone());
    subscription.follow(key("default/a"));
    tokio::time::sleep(patience * 3).await;
    assert_eq!(fanout.hang_up_on_stalled(patience), 0, "there was nothing to take");
    fanout.publish(&removed("default/a"));
    tokio::time::sleep(patience / 2).await;
    subscription.next().await.unwrap();
    fanout.publish(&removed("default/a"));
    tokio::time::sleep(patience / 2).await;
    fanout.publish(&removed("default/a"));
    assert_eq!(fanout.hang_up_on_stalled(patience), 0, "it took something meanwhile");
    tokio::time::sleep(patience / 2).await;
    assert_eq!(fanout.hang_up_on_stalled(patience), 1);
    assert!(hang_up.is_cancelled());
    assert_eq!(fanout.hang_up_on_stalled(patience), 0, "once");
}

#[tokio::test]
async fn a_mailbox_is_bounded_and_says_so() {
    let fanout = Arc::new(Fanout::default());
    let mut subscription = fanout.subscribe(CancellationToken::new());
    subscription.follow_namespace(key("default/a").namespace);
    for index in 0..=MAX_SLOTS {
        fanout.publish(&removed(&format!("default/s{index}")));
    }
    assert_eq!(subscription.next().await.unwrap_err(), Overrun);
    assert_eq!(lock(&subscription.mailbox.slots).changes.len(), 0);
}

#[test]
fn a_dropped_subscription_leaves_nothing_behind() {
    let fanout = Arc::new(Fanout::default());
    let mut subscription = fanout.subscribe(CancellationToken::new());
    subscription.follow(key("default/a"));
    subscription.follow_namespace(key("default/a").namespace);
    drop(subscription);
    let index = lock(&fanout.index);
    assert!(index.by_service.is_empty() && index.by_namespace.is_empty() && index.mailboxes.is_empty());
}
