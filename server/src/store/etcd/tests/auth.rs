//! A cluster with authentication.

use super::*;
use crate::store::conformance::{keys, next, put, refusal, shown, watch, within};
use std::sync::atomic::Ordering;

/// A cluster in which `manager` may use the default prefix and nothing else.
async fn guarded() -> Etcd {
    guarded_by(&[]).await
}

async fn guarded_by(arguments: &[&str]) -> Etcd {
    let etcd = Etcd::start_with(arguments).await;
    // `/cofferdam/v1/` to `/cofferdam/v10`, in base64.
    let permission = r#"{"permType":2,"key":"L2NvZmZlcmRhbS92MS8=","range_end":"L2NvZmZlcmRhbS92MTA="}"#;
    for (path, body) in [
        ("user/add", r#"{"name":"root","password":"root"}"#.to_owned()),
        ("user/grant", r#"{"user":"root","role":"root"}"#.to_owned()),
        ("user/add", r#"{"name":"manager","password":"secret"}"#.to_owned()),
        ("role/add", r#"{"name":"cofferdam"}"#.to_owned()),
        ("role/grant", format!(r#"{{"name":"cofferdam","perm":{permission}}}"#)),
        ("user/grant", r#"{"user":"manager","role":"cofferdam"}"#.to_owned()),
        ("enable", "{}".to_owned()),
    ] {
        let answer = etcd.post(&format!("/v3/auth/{path}"), &body).await;
        assert!(answer.contains("200 OK"), "{path}: {answer}");
    }
    etcd
}

fn options(etcd: &Etcd, password: &str) -> EtcdOptions {
    let user = EtcdUser { name: "manager".to_owned(), password: password.to_owned() };
    EtcdOptions { user: Some(user), ..EtcdOptions::new([etcd.endpoint()]) }
}

/// A change to users, after which older tokens that hold their state are stale: "revision of auth store is old".
async fn add_user(etcd: &Etcd) {
    let token = etcd.post("/v3/auth/authenticate", r#"{"name":"root","password":"root"}"#).await;
    let token = token.split(r#""token":""#).nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    let answer = etcd.post_as(token, "/v3/auth/user/add", r#"{"name":"other","password":"other"}"#).await;
    assert!(answer.contains("200 OK"), "{answer}");
}

fn open(options: EtcdOptions) -> EtcdStore {
    EtcdStore::new(options).expect("the options are fine")
}

fn is_denied(error: &StoreError) -> bool {
    matches!(error, StoreError::Denied { .. }) && !error.to_string().contains("secret")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_can() {
    let etcd = guarded().await;
    let store = open(options(&etcd, "secret"));
    let before = head(&store).await;
    let lease = within(store.grant_lease(Duration::from_secs(60))).await.expect("granted");
    put(&store, "k", "1").await;
    assert_eq!(keys(&store, "").await, ["k"]);
    assert_eq!(shown(&next(&mut watch(&store, "", before).await).await), ["+k=1"]);
    within(store.keep_alive(lease)).await.expect("kept");
    within(store.revoke_lease(lease)).await.expect("revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_denied() {
    let etcd = guarded().await;
    let elsewhere = EtcdOptions { prefix: "/elsewhere/".to_owned(), ..options(&etcd, "secret") };
    for options in [options(&etcd, "wrong-secret"), EtcdOptions::new([etcd.endpoint()]), elsewhere] {
        let store = open(options);
        let error = refusal(&store, Txn::new().put("k", "1")).await;
        assert!(is_denied(&error), "{error:?}");
        let error = within(store.list("")).await.expect_err("denied");
        assert!(is_denied(&error), "{error:?}");
        let error = within(store.watch("", StoreRevision::ZERO)).await.expect_err("denied");
        assert!(is_denied(&error), "{error:?}");
    }
}

/// Each call that meets an old token would log in by itself: a storm of logins, each of which takes etcd a while (F22).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_meet_an_old_token_one_logs_in() {
    // Tokens of this kind hold which state of the users they are of.
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "a key for tests alone").unwrap();
    let kind = format!("--auth-token=jwt,priv-key={},sign-method=HS256,ttl=10m", key.path().display());
    let etcd = guarded_by(&[&kind]).await;
    let store = Arc::new(open(options(&etcd, "secret")));
    put(&*store, "k", "1").await;
    add_user(&etcd).await;
    let reads = (0..32).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { keys(&*store, "").await })
    });
    for read in reads.collect::<Vec<_>>() {
        assert_eq!(read.await.expect("all of them are served"), ["k"]);
    }
    let renewals = store.session.members[0].renewals.load(Ordering::Relaxed);
    assert_eq!(renewals, 1, "the token that they had was old, once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_etcd_has_forgotten_is_renewed() {
    let mut etcd = guarded().await;
    let store = Arc::new(open(options(&etcd, "secret")));
    put(&*store, "k", "1").await;

    // Tokens of the simple kind are gone when etcd is restarted: "invalid auth token".
    etcd.kill().await;
    etcd.restart().await;
    let writers = (0..8).map(|i| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { put(&*store, &format!("after-restart/{i}"), "").await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("all of them are served");
    }
}
