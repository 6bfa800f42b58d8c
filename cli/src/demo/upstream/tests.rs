use super::super::callers::{Plain, connect};
use super::super::measure::{Purpose, Scene};
use super::*;
use cofferdam_core::level::Level;

async fn started() -> (Meter, Upstream) {
    let scene = Scene { level: Level::None, fault: Fault::Healthy, purpose: Purpose::ByHand };
    let meter = Meter::new(scene, Duration::from_secs(1));
    let upstream = Upstream::start(meter.clone(), 1).await.unwrap();
    (meter, upstream)
}

#[tokio::test]
async fn its_fault_decides_what_it_answers() {
    let (_, upstream) = started().await;
    let plain = Plain::new(connect(upstream.address()).unwrap(), Group::Unprotected);
    let order = Bytes::from_static(b"7");
    let answer = plain.attempt(order.clone()).await.unwrap();
    assert_eq!(answer, r#"{"order":"7","status":"charged"}"#);

    upstream.set_fault(Fault::Broken);
    let status = plain.attempt(order.clone()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);

    upstream.set_fault(Fault::Healthy);
    plain.attempt(order).await.unwrap();
}

#[tokio::test]
async fn it_is_flaky_sometimes_and_not_always() {
    let (_, upstream) = started().await;
    upstream.set_fault(Fault::Flaky);
    let plain = Plain::new(connect(upstream.address()).unwrap(), Group::Unprotected);
    let calls = (0..200).map(|_| plain.attempt(Bytes::new()));
    let failed = futures_util::future::join_all(calls).await.iter().filter(|result| result.is_err()).count();
    assert!((20..120).contains(&failed), "{failed} of 200");
}

#[tokio::test]
async fn it_counts_the_load_of_each_group() {
    let (meter, upstream) = started().await;
    let channel = connect(upstream.address()).unwrap();
    for (group, calls) in [(Group::Unprotected, 3), (Group::Protected, 2)] {
        let plain = Plain::new(channel.clone(), group);
        let calls = (0..calls).map(|_| plain.attempt(Bytes::new()));
        futures_util::future::join_all(calls).await;
    }
    let phase = &meter.finish(String::new())[0];
    assert_eq!((phase.whole.unprotected.arrivals, phase.whole.protected.arrivals), (3, 2));
    assert!(phase.whole.unprotected.peak_in_flight <= 3);
}
