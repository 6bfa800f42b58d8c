//! What callers write: handles in their state, calls in tasks, closures over what is at hand.

use cofferdam::{Cofferdam, Error, Events, Json, Register, Service};
use std::error::Error as StdError;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not there")]
struct Missing(u32);

struct Pool(Vec<String>);

impl Pool {
    async fn fetch(&self, id: &str) -> Result<String, Missing> {
        tokio::task::yield_now().await;
        self.0.iter().find(|row| *row == id).cloned().ok_or(Missing(7))
    }
}

/// The state of a web framework's handlers.
#[derive(Clone)]
struct AppState {
    orders: Service,
    pool: Arc<Pool>,
}

fn state() -> AppState {
    let cd = Cofferdam::builder("test").start();
    AppState { orders: cd.service("orders-db"), pool: Arc::new(Pool(vec!["a".to_owned(), "b".to_owned()])) }
}

fn is_state<T: Clone + Send + Sync + 'static>() {}
fn is_error<T: StdError + Send + Sync + 'static>() {}

#[test]
fn handles_can_live_anywhere() {
    is_state::<Cofferdam>();
    is_state::<Service>();
    is_state::<Register>();
    is_state::<AppState>();
    is_error::<Error<Missing>>();
    is_error::<cofferdam::Failure<Missing>>();
    is_error::<cofferdam::Rejection>();
    fn is_sendable<T: Send + 'static>() {}
    is_sendable::<Events>();
}

/// A handler, as axum takes them: its future must be Send and own all it needs.
async fn handler(state: AppState, id: String) -> Result<String, Box<dyn StdError + Send + Sync>> {
    // The closure borrows what is local, and may run again.
    let row = state
        .orders
        .execute("get", || state.pool.fetch(&id))
        .idempotent()
        .cache_key(&id)
        .codec(Json)
        .fallback(|_| async { Ok(format!("no {id}")) })
        .await?;
    Ok(row)
}

#[tokio::test]
async fn a_call_can_be_a_task_of_its_own() {
    let state = state();
    let one = tokio::spawn(handler(state.clone(), "a".to_owned()));
    let other = tokio::spawn(handler(state.clone(), "z".to_owned()));
    assert_eq!(one.await.unwrap().unwrap(), "a");
    assert_eq!(other.await.unwrap().unwrap(), "no z");

    let orders = state.orders.clone();
    let task = tokio::spawn(async move { orders.execute("get", || async { Err::<(), _>(Missing(3)) }).await });
    assert_eq!(task.await.unwrap(), Err(Error::Inner(Missing(3))));
}

#[tokio::test]
async fn calls_run_side_by_side_and_change_what_they_borrow() {
    let AppState { orders, pool } = state();
    let (one, other) = tokio::join!(
        orders.execute("get", || pool.fetch("a")).into_future(),
        orders.execute("get", || pool.fetch("b")).into_future(),
    );
    assert_eq!((one.unwrap(), other.unwrap()), ("a".to_owned(), "b".to_owned()));

    let mut attempts = 0;
    let key = format!("{}-{}", "a", 1);
    let call = orders.execute("get", || {
        attempts += 1;
        async { Ok::<_, Missing>(()) }
    });
    call.cache_key(&key).await.unwrap();
    assert_eq!(attempts, 1);
}

#[tokio::test]
async fn a_callers_error_may_be_a_box() {
    let AppState { orders, pool } = state();
    let call = orders.execute("get", || async { Ok::<_, Box<dyn StdError + Send + Sync>>(pool.fetch("z").await?) });
    let error = call.await.map_err(Error::boxed).unwrap_err();
    assert!(error.is::<Missing>());
}
