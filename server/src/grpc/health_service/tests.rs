use super::*;
use crate::testing::{Manager, PATIENCE, registration};
use cofferdam_proto::v1;
use tonic::{Code, transport::Channel};
use tonic_health::pb::health_client::HealthClient;

async fn check(client: &mut HealthClient<Channel>, name: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: name.to_owned() };
    client.check(request).await.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

async fn report(manager: &Manager, name: &str, health: v1::HealthStatus) {
    let request = v1::UpdateServiceHealthRequest {
        service: name.to_owned(),
        health: Some(v1::ServiceHealth { status: health.into(), ..v1::ServiceHealth::default() }),
        ..v1::UpdateServiceHealthRequest::default()
    };
    manager.registry.report_health(request).await.unwrap();
}

#[tokio::test]
async fn the_whole_and_each_service() {
    let manager = Manager::start().await;
    let mut client = HealthClient::new(manager.channel().await);
    assert_eq!(check(&mut client, "").await, Ok(ServingStatus::Serving));
    assert_eq!(check(&mut client, "cofferdam.v1.IsolationService").await, Ok(ServingStatus::Serving));
    assert_eq!(check(&mut client, "cofferdam.v1.PolicySyncService").await, Ok(ServingStatus::Serving));
    assert_eq!(check(&mut client, "cofferdam.v1.Nothing").await, Err(Code::NotFound));
    assert_eq!(check(&mut client, "payments").await, Err(Code::NotFound));
    assert_eq!(check(&mut client, "No/Name/At All").await, Err(Code::NotFound));

    manager.registry.register(registration("payments")).await.unwrap();
    assert_eq!(check(&mut client, "payments").await, Ok(ServingStatus::Unknown), "nobody has said anything yet");
    for (health, serving) in [
        (v1::HealthStatus::Healthy, ServingStatus::Serving),
        (v1::HealthStatus::Degraded, ServingStatus::Serving),
        (v1::HealthStatus::Unhealthy, ServingStatus::NotServing),
    ] {
        report(&manager, "payments", health).await;
        assert_eq!(check(&mut client, "payments").await, Ok(serving));
        assert_eq!(check(&mut client, "default/payments").await, Ok(serving));
        assert_eq!(check(&mut client, "eu/payments").await, Err(Code::NotFound));
    }
    report(&manager, "payments", v1::HealthStatus::Healthy).await;
    let mut disabled = registration("payments");
    disabled.service.as_mut().unwrap().enabled = Some(false);
    manager.registry.register(disabled).await.unwrap();
    assert_eq!(check(&mut client, "payments").await, Ok(ServingStatus::NotServing));
}

#[tokio::test]
async fn a_service_that_cannot_be_read_does_not_serve() {
    let manager = Manager::start().await;
    let poison = crate::store::Txn::new().put("service/default/payments", "\u{ff}");
    crate::store::Store::commit(&*manager.store.inner(), poison).await.unwrap();
    crate::testing::eventually(&manager.registry, || !manager.registry.poisoned().is_empty()).await;
    let mut client = HealthClient::new(manager.channel().await);
    assert_eq!(check(&mut client, "payments").await, Ok(ServingStatus::NotServing));
}

#[tokio::test]
async fn a_watch_tells_each_change_until_the_manager_stops() {
    let manager = Manager::start().await;
    let mut client = HealthClient::new(manager.channel().await);
    let request = HealthCheckRequest { service: "payments".to_owned() };
    let mut watch = client.watch(request).await.unwrap().into_inner();
    let mut next = async || {
        let answer = tokio::time::timeout(PATIENCE, watch.message()).await.expect("nothing was told");
        answer.unwrap().map(|answer| answer.status())
    };
    assert_eq!(next().await, Some(ServingStatus::ServiceUnknown));
    manager.registry.register(registration("payments")).await.unwrap();
    assert_eq!(next().await, Some(ServingStatus::Unknown));
    report(&manager, "payments", v1::HealthStatus::Healthy).await;
    assert_eq!(next().await, Some(ServingStatus::Serving));
    report(&manager, "payments", v1::HealthStatus::Degraded).await;
    report(&manager, "payments", v1::HealthStatus::Unhealthy).await;
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    manager.drain();
    assert_eq!(next().await, None);
    manager.stop().await;
}

#[tokio::test]
async fn a_manager_that_stops_says_so_to_who_watches_it() {
    let manager = Manager::start().await;
    let mut client = HealthClient::new(manager.channel().await);
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    manager.drain();
    let told = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap().unwrap();
    assert_eq!(told.unwrap().status(), ServingStatus::NotServing);
}
