//! An etcd behind certificates.

use super::*;
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Authority, Certified};
use std::path::Path;
use tempfile::TempDir;

/// The variables of a manager that trusts this file and shows this certificate.
fn variables(trusted: &Path, own: Option<&Certified>) -> Vec<(&'static str, String)> {
    let shown = |path: &Path| path.display().to_string();
    let mut variables = vec![("COFFERDAM_STORE_ETCD_CA_FILE", shown(trusted))];
    if let Some(own) = own {
        variables.push(("COFFERDAM_STORE_ETCD_CERT_FILE", shown(&own.certificate)));
        variables.push(("COFFERDAM_STORE_ETCD_KEY_FILE", shown(&own.key)));
    }
    variables
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, &value[..])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_speak_tls_and_show_a_certificate() {
    for release in [Release::Oldest, Release::Current] {
        let mut etcd = Etcd::start_as(Setup { release, is_secure: true, ..Setup::default() }).await;
        let own = etcd.authority().issue("manager", &[]);
        let variables = variables(&etcd.authority().file, Some(&own));
        let store = || Store::Etcd(etcd.secure_endpoints());
        let manager = Manager::start_with(store(), &borrowed(&variables)).await;
        let other = Manager::start_with(store(), &borrowed(&variables)).await;
        let (client, other) = (manager.client(), other.client());
        client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
        let (mut follower, _) = Follower::start(&manager, "one", &["payments"]).await;
        eventually("the other manager", async || other.info("payments").await).await;
        let written = other.set_level("payments", LEVELS[0]).await.unwrap();
        assert_eq!(update(&mut follower).await.revision, written.revision);

        etcd.kill(0);
        stale(&client).await;
        etcd.restart(0).await;
        in_touch(&client).await;
        let written = eventually("a write", async || other.set_level("payments", LEVELS[1]).await).await;
        assert_eq!(update(&mut follower).await.revision, written.revision);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_certificates_is_said_in_one_line() {
    let etcd = Etcd::start_as(Setup { release: Release::Current, is_secure: true, ..Setup::default() }).await;
    let folder = TempDir::new().unwrap();
    let stranger = Authority::new(folder.path(), "stranger");
    let trusted = &etcd.authority().file;
    let own = etcd.authority().issue("manager", &[]);
    let strange = stranger.issue("strange", &[]);
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let swapped = Certified { certificate: own.certificate.clone(), key: strange.key.clone() };
    for (trusted, own, expected) in [
        (&stranger.file, Some(&own), "invalid peer certificate: UnknownIssuer: check store.etcd_ca_file"),
        (trusted, None, "check store.etcd_cert_file"),
        (trusted, Some(&strange), "check store.etcd_cert_file"),
        (trusted, Some(&swapped), "tls"),
        (&missing, Some(&own), "cannot read store.etcd_ca_file"),
        (&empty, Some(&own), "no PEM certificate"),
    ] {
        let endpoints = etcd.secure_endpoints();
        let arguments = ["--listen", "127.0.0.1:0", "--store", "etcd", "--etcd-endpoints", &endpoints];
        let exit = Manager::bare(&arguments, &borrowed(&variables(trusted, own))).exit().await;
        assert_eq!(exit.code, Some(1), "{exit:?}");
        let last = exit.log.lines().next_back().unwrap_or_default();
        assert!(last.contains(expected), "the last line says {expected}: {exit:?}");
    }
}
