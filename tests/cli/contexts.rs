use super::{Operator, refused, said};
use cofferdam_tests::{Manager, Store};
use std::os::unix::fs::PermissionsExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_names_a_manager_and_a_namespace() {
    let manager = Manager::start(Store::Memory).await;
    let operator = Operator::at("");
    operator.done(&["config", "set-context", "lab", "--server", &manager.address(), "-n", "shop"]);
    operator.done(&["config", "set-context", "nowhere", "--server", "http://127.0.0.1:1"]);
    operator.done(&["register", "payments"]);
    assert_eq!(operator.done(&["get", "services", "-o", "name", "-A"]), "shop/payments\n");
    refused(
        &operator.run(&["get", "services", "--context", "nowhere"]),
        1,
        &["http://127.0.0.1:1", "try: cofferdam serve"],
    );
    operator.done(&["config", "use-context", "nowhere"]);
    refused(&operator.run(&["get", "services"]), 1, &["http://127.0.0.1:1"]);
    assert_eq!(operator.done(&["get", "services", "--context", "lab", "-o", "name"]), "payments\n");

    let listed = operator.done(&["config", "get-contexts"]);
    let current: Vec<_> = listed.lines().filter(|line| line.starts_with('*')).collect();
    assert!(current.len() == 1 && current[0].contains("nowhere"), "{listed}");
    assert_eq!(operator.done(&["config", "get-contexts", "-o", "name"]), "lab\nnowhere\n");
    operator.done(&["config", "delete-context", "nowhere"]);
    let listed = operator.done(&["config", "get-contexts"]);
    assert!(listed.lines().count() == 2 && !listed.contains('*'), "{listed}");
    refused(&operator.run(&["config", "delete-context", "nowhere"]), 2, &["no context \"nowhere\""]);
    let file = operator.home.path().join("cofferdam/config.toml");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Before, a variable that was misspelt did nothing, and nobody said so.
#[test]
fn a_variable_that_means_nothing_is_said_and_the_command_goes_on() {
    let operator = Operator::at("http://127.0.0.1:1");
    let words = "COFFERDAM_SERVR means nothing: did you mean COFFERDAM_SERVER?";
    let said = |name: &str| said(operator.command(&["get", "services"]).env(name, "http://127.0.0.1:2"));
    refused(&said("COFFERDAM_SERVR"), 1, &[words, "no manager answers at http://127.0.0.1:1"]);
    let others = ["COFFERDAM_LISTEN_ADDRESS", "COFFERDAM_PORT", "COFFERDAM_URL"];
    assert!(others.iter().all(|name| !said(name).err.contains("means nothing")));
}

#[test]
fn a_context_that_cannot_be_is_refused_with_what_mends_it() {
    let operator = Operator::at("");
    let unknown = operator.run(&["config", "use-context", "lab"]);
    refused(&unknown, 2, &["no context \"lab\"", "try: cofferdam config set-context lab --server URL"]);
    refused(&operator.run(&["get", "services", "--context", "lab"]), 2, &["no context \"lab\""]);
    refused(&operator.run(&["config", "set-context", "lab", "--server", "https://a:1"]), 2, &["TLS"]);
    assert!(!operator.home.path().join("cofferdam").exists(), "nothing was kept of it");

    operator.file("cofferdam/config.toml", "colour = true\n");
    let needed = said(operator.command(&["get", "services"]).env_remove("COFFERDAM_SERVER"));
    refused(&needed, 2, &["config.toml cannot be read", "try: "]);
    // Before, it was in the way of a server that is named, too.
    let warned = said(operator.command(&["get", "services", "-s", "127.0.0.1:1"]).env_remove("COFFERDAM_SERVER"));
    refused(&warned, 1, &["without contexts, so the namespace is default: ", "no manager answers"]);
    std::fs::remove_file(operator.home.path().join("cofferdam/config.toml")).unwrap();
    let namespace = operator.run(&["config", "set-context", "lab", "-n", "Not A Name!"]);
    refused(&namespace, 2, &["\"Not A Name!\" is no name", "try: "]);
    // Without a home there are no contexts, and a server can be named all the same.
    let mut command = operator.command(&["get", "services", "-s", "127.0.0.1:1"]);
    refused(&said(command.env_remove("XDG_CONFIG_HOME").env_remove("HOME")), 1, &["no manager answers"]);
}
