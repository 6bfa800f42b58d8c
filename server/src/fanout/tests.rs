use super::*;
use crate::{registry::Revision, testing::key};

fn removed(name: &str) -> Change {
    Change::Removed {
        key: key(name),
        revision: Revision::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn only_followers_hear_and_each_name_once() {
    let fanout = Arc::new(Fanout::default());
    let mut by_name = fanout.subscribe();
    by_name.follow(key("default/a"));
    by_name.follow(key("default/a"));
    let mut all = fanout.subscribe();
    all.follow_namespace(key("default/a").namespace);
    for name in ["default/a", "default/b", "eu/a"] {
        fanout.publish(&removed(name));
    }
    assert_eq!(by_name.next().await.unwrap().key(), &key("default/a"));
    assert_eq!(all.next().await.unwrap().key(), &key("default/a"));
    assert_eq!(all.next().await.unwrap().key(), &key("default/b"));
    tokio::time::timeout(Duration::from_secs(1), by_name.next())
        .await
        .unwrap_err();
    tokio::time::timeout(Duration::from_secs(1), all.next())
        .await
        .unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_known_to_stall() {
    let fanout = Arc::new(Fanout::default());
    let mut subscription = fanout.subscribe();
    subscription.follow(key("default/a"));
    let stall = subscription.stall_watch();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(stall.stalled_for(), Duration::ZERO, "there was nothing to take");
    fanout.publish(&removed("default/a"));
    tokio::time::sleep(Duration::from_secs(7)).await;
    fanout.publish(&removed("default/a"));
    assert_eq!(stall.stalled_for(), Duration::from_secs(7));
    subscription.next().await.unwrap();
    assert_eq!(stall.stalled_for(), Duration::ZERO);
}

#[tokio::test]
async fn a_mailbox_is_bounded_and_says_so() {
    let fanout = Arc::new(Fanout::default());
    let mut subscription = fanout.subscribe();
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
    let mut subscription = fanout.subscribe();
    subscription.follow(key("default/a"));
    subscription.follow_namespace(key("default/a").namespace);
    drop(subscription);
    let index = lock(&fanout.index);
    assert!(index.by_service.is_empty() && index.by_namespace.is_empty());
}
