//! Answers of HTTP, by the policy's lists.

use super::*;
use crate::HttpAnswer;
use cofferdam_core::policy::ClassificationPolicy;
use std::io;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Page(u16);

fn look(page: &Page) -> HttpAnswer {
    page.0.into()
}

#[tokio::test(start_paused = true)]
async fn an_http_answer_is_what_the_policys_lists_say_and_the_callers_all_the_same() {
    let classification =
        ClassificationPolicy { http_failure_statuses: vec![400..=599], ..ClassificationPolicy::default() };
    let service = service(PolicySpec { classification, ..spec(Level::Enhanced) });
    let get = async |status| service.execute("get", || async move { Ok::<_, Boom>(Page(status)) }).http(look).await;
    for (status, failures, neutrals) in [(200, 0, 0), (429, 0, 1), (404, 1, 1), (500, 2, 1)] {
        assert_eq!(get(status).await, Ok(Page(status)));
        let counters = service.counters();
        assert_eq!((counters.attempt_failures, counters.attempt_neutrals), (failures, neutrals), "{status}");
    }
    assert_eq!(get(500).await, Ok(Page(500)));
    assert_eq!(service.breaker_state(), Some(BreakerState::Open));
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_service_is_asked_again_when_it_says() {
    let timeout = TimeoutPolicy { call_timeout: 60 * SECOND, ..TimeoutPolicy::default() };
    let service = service(PolicySpec { timeout, ..spec(Level::Enhanced) });
    let (attempts, begin) = (AtomicU32::new(0), Instant::now());
    let call = service.execute("get", || async {
        let status = if attempts.fetch_add(1, Ordering::Relaxed) == 0 { 503 } else { 200 };
        Ok::<_, Boom>(http::Response::builder().status(status).header("retry-after", "5").body(()).unwrap())
    });
    let answered = call.idempotent().http(|response| response.into()).await.unwrap();
    assert_eq!((answered.status().as_u16(), begin.elapsed()), (200, 5 * SECOND));
    assert_eq!(HttpAnswer::from(&answered), HttpAnswer { status: 200, retry_after: Some(5 * SECOND) });
}

/// In whatever order the two are said.
#[tokio::test(start_paused = true)]
async fn errors_are_judged_as_without_it() {
    for comes_first in [false, true] {
        let service = service(spec(Level::Enhanced));
        let not_found = || async { Err::<Page, _>(Trouble(tonic::Status::not_found("7"))) };
        let answered = if comes_first {
            service.execute("get", not_found).http(look).by_source().await
        } else {
            service.execute("get", not_found).by_source().http(look).await
        };
        assert!(matches!(answered, Err(Error::Inner(Trouble(_)))));
        assert_eq!(service.counters().attempt_failures, 0);
        let judged = |result: Result<&Page, &io::Error>| match result {
            Ok(_) => Outcome::Failure,
            Err(_) => Outcome::Neutral,
        };
        let broken = |is_answer: bool| async move {
            if is_answer { Ok(Page(200)) } else { Err(io::Error::other("disk on fire")) }
        };
        for is_answer in [false, true] {
            let call = service.execute("get", || broken(is_answer));
            let answered = if comes_first {
                call.http(look).classify(judged).await
            } else {
                call.classify(judged).http(look).await
            };
            assert_eq!(answered.is_ok(), is_answer);
        }
        assert_eq!((service.counters().attempt_failures, service.counters().attempt_neutrals), (0, 1));
    }
}

#[derive(Debug, thiserror::Error)]
#[error("trouble")]
struct Trouble(#[source] tonic::Status);
