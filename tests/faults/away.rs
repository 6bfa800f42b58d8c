//! A manager that is there and does not answer (F16), or is gone without a word (F11), as the SDK sees it.

use super::{Instance, LEVELS, SERVICE, stands};
use cofferdam::{Cofferdam, Connection, ConnectionState};
use cofferdam_proto::v1::IsolationLevel;
use cofferdam_tests::wire::registration;
use cofferdam_tests::{FaultProxy, Manager, Party, Store, eventually};
use std::time::Duration;

/// Of the manager and of the SDKs.
const KEEPALIVE: Duration = Duration::from_secs(1);
const VARIABLES: [(&str, &str); 2] =
    [("COFFERDAM_LISTEN_KEEPALIVE_INTERVAL", "1s"), ("COFFERDAM_LISTEN_KEEPALIVE_TIMEOUT", "1s")];

fn start(url: &str, id: &str) -> Instance {
    let builder = Cofferdam::builder("checkout").manager(url).instance_id(id).keepalive(KEEPALIVE, KEEPALIVE);
    let cofferdam = builder.try_start().unwrap();
    let service = cofferdam.service(SERVICE);
    Instance { cofferdam, service }
}

/// How it stands once it has noticed.
async fn notices(instance: &Instance) -> Connection {
    eventually("the instance to notice", async || match instance.cofferdam.connection() {
        seen if seen.state == ConnectionState::Disconnected => Ok(seen),
        seen => Err(seen),
    })
    .await
}

/// That it goes by what it had, and says how old that is.
async fn is_protected(instance: &Instance, newest: &cofferdam_proto::v1::IsolatedService, seen: &Connection) {
    assert!(instance.is_at(newest), "the last policy stays");
    // It took a keepalive's timeout at the least to find out.
    assert!(seen.message_age >= Some(KEEPALIVE) && seen.policy_age >= Some(KEEPALIVE), "{seen:?}");
    assert!(seen.reason.is_some(), "{seen:?}");
    instance.service.execute("get", || async { Ok::<_, std::io::Error>(7) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_a_manager_paused_longer_than_the_keepalive_is_noticed_and_followed_again() {
    let mut manager = Manager::start_with(Store::Memory, &VARIABLES).await;
    let client = manager.client();
    let mut newest = client.register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
    let instances = ["one", "two", "three"].map(|id| start(&manager.url(), id));
    for level in LEVELS {
        for instance in &instances {
            instance.follows(&newest).await;
        }
        stands(&client, [3, 0, 0, 0]).await;
        manager.process().pause().await;
        for instance in &instances {
            let seen = notices(instance).await;
            is_protected(instance, &newest, &seen).await;
            assert!(seen.reason.as_ref().is_some_and(|reason| reason.contains("keepalive")), "{seen:?}");
        }
        assert!(manager.process().is_paused(), "it was not the pause that they noticed");
        manager.process().resume();
        newest = client.set_level(SERVICE, level).await.unwrap();
    }
    for instance in &instances {
        instance.follows(&newest).await;
        assert!(instance.cofferdam.connection().is_connected());
    }
    stands(&client, [3, 0, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_a_manager_that_vanishes_is_noticed_and_the_policy_stays() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    let first = client.register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
    let network = FaultProxy::start(manager.address().parse().unwrap()).await;
    let far = start(&network.url(), "far");
    far.follows(&first).await;
    stands(&client, [1, 0, 0, 0]).await;

    network.refuse(true);
    network.vanish(Party::Server);
    eventually("the connection to be half open", async || if network.seen().half_open == 1 { Ok(()) } else { Err(()) })
        .await;
    let newest = client.set_level(SERVICE, IsolationLevel::Full).await.unwrap();
    stands(&client, [0, 0, 0, 1]).await;
    let seen = notices(&far).await;
    is_protected(&far, &first, &seen).await;
    network.refuse(false);
    far.follows(&newest).await;
    stands(&client, [1, 0, 0, 0]).await;
}
