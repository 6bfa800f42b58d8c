//! An etcd that wants to know who asks.

use super::*;
use cofferdam_tests::wire::registration;
use etcd_client::Permission;
use tempfile::TempDir;

const PREFIX: &str = "/cofferdam/v1/";

/// Tokens that are not used are soon forgotten, and etcd says when.
const SHORT_TOKENS: &[&str] = &["--auth-token-ttl=3", "--logger=zap", "--log-level=debug"];

/// Makes a user `cofferdam` that may use the default prefix alone, and asks everybody for a name from now on.
async fn guard(etcd: &Etcd) {
    let mut admin = etcd.client().await;
    admin.user_add("root", "root", None).await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.role_add("cofferdam").await.unwrap();
    let permission = Permission::read_write(PREFIX).with_prefix();
    admin.role_grant_permission("cofferdam", permission).await.unwrap();
    admin.user_add("cofferdam", "secret", None).await.unwrap();
    admin.user_grant_role("cofferdam", "cofferdam").await.unwrap();
    admin.auth_enable().await.unwrap();
}

/// A file with a password in it.
fn password(folder: &TempDir, password: &str) -> String {
    let file = folder.path().join(password);
    std::fs::write(&file, format!("{password}\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

async fn a_login_that_runs_out_is_renewed(release: Release) {
    let mut etcd = Etcd::start_as(Setup { release, arguments: SHORT_TOKENS, ..Setup::default() }).await;
    guard(&etcd).await;
    let folder = TempDir::new().unwrap();
    let file = password(&folder, "secret");
    let user = [("COFFERDAM_STORE_ETCD_USER", "cofferdam"), ("COFFERDAM_STORE_ETCD_PASSWORD_FILE", &file)];
    let mut manager = Manager::start_with(Store::Etcd(etcd.endpoints()), &user).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let (mut follower, _) = Follower::start(&manager, "one", &["payments"]).await;

    // Nobody asks for anything, until etcd has forgotten the login.
    etcd.logged(0, &["deleted a simple token", "cofferdam"]).await;
    for level in LEVELS {
        let written = client.set_level("payments", level).await.unwrap();
        assert_eq!(update(&mut follower).await.revision, written.revision);
    }
    // The second manager logs in anew; the watch of the first, which is older than its token, tells what that one does.
    let other = Manager::start_with(Store::Etcd(etcd.endpoints()), &user).await;
    let written = other.client().set_level("payments", IsolationLevel::None).await.unwrap();
    assert_eq!(update(&mut follower).await.revision, written.revision);
    assert_eq!(losses(&mut manager), 0, "the watch lives on");
    assert!(!manager.process().log().contains("secret"), "no password in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_runs_out_is_renewed_on_the_oldest_release() {
    a_login_that_runs_out_is_renewed(Release::Oldest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_runs_out_is_renewed_on_the_current_release() {
    a_login_that_runs_out_is_renewed(Release::Current).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_use_a_prefix_does_not_start_and_says_so_in_one_line() {
    let etcd = current(1).await;
    guard(&etcd).await;
    let folder = TempDir::new().unwrap();
    let (right, wrong) = (password(&folder, "secret"), password(&folder, "mistyped"));
    for (file, prefix, expected) in [
        (Some(&right), "/elsewhere/", "permission denied"),
        (Some(&wrong), PREFIX, "authentication failed"),
        (None, PREFIX, "user name is empty"),
    ] {
        let mut variables = vec![("COFFERDAM_STORE_ETCD_PREFIX", prefix)];
        if let Some(file) = file {
            variables.push(("COFFERDAM_STORE_ETCD_USER", "cofferdam"));
            variables.push(("COFFERDAM_STORE_ETCD_PASSWORD_FILE", file));
        }
        let endpoints = etcd.endpoints();
        let arguments = ["--listen", "127.0.0.1:0", "--store", "etcd", "--etcd-endpoints", &endpoints];
        let exit = Manager::bare(&arguments, &variables).exit().await;
        assert_eq!(exit.code, Some(1), "{exit:?}");
        let lines: Vec<_> = exit.log.lines().filter(|line| line.contains(expected)).collect();
        assert_eq!(lines.len(), 1, "one line says it: {exit:?}");
        assert!(lines[0].contains("denied access"), "{lines:?}");
        assert!(!exit.log.contains("secret") && !exit.log.contains("mistyped"), "no password in {exit:?}");
    }
}
