//! What was to stand in and did not, and who hears of it.

use super::chain::{alternative, degraded, fixed, with_chain};
use super::*;
use crate::log_lines::Warnings;
use crate::{Cofferdam, PassedOver};

#[tokio::test(start_paused = true)]
async fn the_callers_own_fallback_answers_as_many_at_once_as_call() {
    let service = service(spec(Level::Enhanced));
    while service.breaker_state() != Some(BreakerState::Open) {
        let _ = fails(&service).await;
    }
    let own = || async {
        let call = service.execute("list", || async { Err(Boom(1)) });
        call.fallback(|_| async {
            sleep(SECOND / 50).await;
            Ok(7)
        })
        .await
    };
    let answers = futures_util::future::join_all((0..200).map(|_| own())).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(7)).count(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_a_call_cannot_use_is_told_in_the_receipt_and_once_in_the_log() {
    let (warnings, _guard) = Warnings::of_this_thread();
    let chain = vec![fixed("[7]"), alternative("replica"), degraded("search")];
    let service = service(with_chain(Level::Enhanced, chain));
    for method in ["list", "list", "get"] {
        let failure = service.execute(method, || async { Err::<Vec<u32>, _>(Boom(1)) }).answer().await.unwrap_err();
        assert_eq!(failure.receipt.passed_over, Some(PassedOver::NoDegraded));
    }
    for (step, why) in [("static", "no codec"), ("alternative", "ask an alternative"), ("degraded", "degraded answer")]
    {
        let told = warnings.with(&format!("step=\"{step}\""));
        assert!(told.iter().all(|line| line.contains(why) && line.contains("orders-db")), "{told:?}");
        let of = |method: &str| told.iter().filter(|line| line.contains(method)).count();
        assert_eq!((of("method=\"list\""), of("method=\"get\"")), (1, 1), "{told:?}");
    }
    // Of one that has what the first step needs, nothing is told.
    let call = service.execute("put", || async { Err::<Vec<u32>, _>(Boom(1)) }).codec(Json);
    assert_eq!(call.answer().await.unwrap().receipt.passed_over, None);
    assert_eq!(warnings.with("put"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_answer_are_told() {
    let (warnings, _guard) = Warnings::of_this_thread();
    let service = service(with_chain(Level::Basic, vec![fixed("not json")]));
    let call = service.execute("list", || async { Err::<u32, _>(Boom(1)) }).codec(Json).fallback(|_| async { Ok(7) });
    let answer = call.answer().await.unwrap();
    assert_eq!((answer.value, answer.receipt.passed_over), (7, Some(PassedOver::Unreadable)));
    assert_eq!(warnings.with("its bytes are no answer").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_was_cut_is_told() {
    let (warnings, _guard) = Warnings::of_this_thread();
    let service = service(spec(Level::Basic));
    for _ in 0..2 {
        let call = service.execute("list", pending::<Result<u32, Boom>>).timeout(SECOND / 20);
        let failure = call.fallback(|_| pending()).answer().await.unwrap_err();
        assert_eq!((failure.error, failure.receipt.passed_over), (Error::Timeout, Some(PassedOver::TooLate)));
    }
    assert_eq!(warnings.with("step=\"caller\"").len(), 1);
}

#[cfg(feature = "tower")]
#[tokio::test(start_paused = true)]
async fn a_layer_tells_once_that_it_uses_no_chain() {
    use tower::{Layer as _, ServiceExt as _};
    let (warnings, _guard) = Warnings::of_this_thread();
    let client: Cofferdam = client(with_chain(Level::Basic, vec![fixed("[7]")]));
    let layered = client.layer("users").layer(tower::service_fn(|_: u32| async { Err::<u32, _>(Boom(1)) }));
    for _ in 0..3 {
        layered.clone().oneshot(1).await.unwrap_err();
    }
    assert_eq!(warnings.with("the tower layer cannot use one").len(), 1);
}
