use crate::manager::{DEADLINE, FakeManager, at, soon};
use cofferdam::{Cofferdam, Criticality, Level, Policy, RegisterError};
use cofferdam_core::wire::to_wire;
use cofferdam_proto::v1;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

fn registered(revision: u64) -> v1::RegisterServiceResponse {
    let service = v1::IsolatedService { revision: Some(at(revision)), ..v1::IsolatedService::default() };
    v1::RegisterServiceResponse { service: Some(service), created: true }
}

#[tokio::test]
async fn a_service_is_registered_as_it_was_described() {
    let seen = Arc::new(Mutex::new(None));
    let manager = FakeManager::registering({
        let seen = Arc::clone(&seen);
        move |request| {
            *seen.lock().unwrap() = Some(request);
            Ok(registered(9))
        }
    })
    .await;
    let cd = Cofferdam::builder("payments").manager(manager.url()).namespace("shop").try_start().unwrap();
    let register = cd.service("payments").register();
    let register = register.endpoint("127.0.0.1:50051").version("1.0.0").description("takes money").label("tier", "1");
    let register = register.depends_on("stripe", Criticality::Optional).level(Level::Enhanced);
    let registered = soon(register.policy(Policy::default()).send()).await.unwrap();
    assert_eq!((registered.revision.epoch, registered.revision.revision, registered.is_new), (1, 9, true));

    let request = seen.lock().unwrap().take().unwrap();
    assert_eq!(request.metadata().get("cofferdam-actor").unwrap().to_str().unwrap(), cd.instance_id());
    let request = request.into_inner();
    assert_eq!(request.level, i32::from(v1::IsolationLevel::Enhanced));
    assert_eq!(request.policy, Some(to_wire(&Policy::default())));
    assert!(!request.request_id.is_empty() && request.expected_revision.is_none());
    let service = request.service.unwrap();
    assert_eq!((service.namespace.as_str(), service.name.as_str()), ("shop", "payments"));
    assert_eq!((service.version.as_str(), service.description.as_str()), ("1.0.0", "takes money"));
    assert_eq!(service.endpoints, [v1::Endpoint { address: "127.0.0.1:50051".to_owned() }]);
    let optional = v1::DependencyKind::Optional.into();
    assert_eq!(service.dependencies, [v1::Dependency { service: "stripe".to_owned(), kind: optional }]);
    assert_eq!((service.labels["tier"].as_str(), service.enabled), ("1", None));
}

#[tokio::test]
async fn a_registration_is_made_once_however_often_it_is_sent() {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let manager = FakeManager::registering({
        let ids = Arc::clone(&ids);
        move |request| {
            let mut ids = ids.lock().unwrap();
            ids.push(request.into_inner().request_id);
            if ids.len() < 3 { Err(Status::unavailable("starting")) } else { Ok(registered(1)) }
        }
    })
    .await;
    let cd = Cofferdam::builder("payments").manager(manager.url()).start();
    let registration = cd.service("payments").register();
    soon(registration.clone().send()).await.unwrap();
    {
        let ids = ids.lock().unwrap();
        assert_eq!((ids.len(), ids.iter().collect::<HashSet<_>>().len()), (3, 1));
    }
    // A copy that is sent later is another one: between the two, somebody may have unregistered the service.
    soon(registration.send()).await.unwrap();
    let ids = ids.lock().unwrap();
    assert_eq!((ids.len(), ids.iter().collect::<HashSet<_>>().len()), (4, 2));
}

#[tokio::test]
async fn a_refusal_names_the_fields_at_fault() {
    let manager = FakeManager::registering(|_| {
        let details = ErrorDetails::with_bad_request_violation("service.version", "must be at most 64 bytes long");
        Err(Status::with_error_details(tonic::Code::InvalidArgument, "invalid request", details))
    })
    .await;
    let cd = Cofferdam::builder("payments").manager(manager.url()).start();
    let error = soon(cd.service("payments").register().version("1".repeat(65)).send()).await.unwrap_err();
    let RegisterError::Invalid { message, violations } = error else { panic!("{error:?}") };
    assert_eq!((message.as_str(), violations[0].path.as_str()), ("invalid request", "service.version"));
    assert_eq!(violations[0].description, "must be at most 64 bytes long");
}

#[tokio::test]
async fn other_refusals_keep_their_code() {
    let manager = FakeManager::registering(|_| Err(Status::permission_denied("not you"))).await;
    let cd = Cofferdam::builder("payments").manager(manager.url()).start();
    let error = soon(cd.service("payments").register().send()).await.unwrap_err();
    assert_eq!(error.to_string(), "registration refused (PermissionDenied): not you");
}

#[tokio::test]
async fn of_several_managers_one_that_is_there_takes_the_registration() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stuck = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let manager = FakeManager::registering(|_| Ok(registered(7))).await;
    let urls = format!("http://{gone},http://{},{}", stuck.local_addr().unwrap(), manager.url());
    // Whatever order they are tried in.
    for _ in 0..5 {
        let cd = Cofferdam::builder("payments").manager(urls.clone()).start();
        let register = cd.service("payments").register().limit(Duration::from_secs(3));
        assert_eq!(soon(register.send()).await.unwrap().revision.revision, 7);
    }
}

#[tokio::test]
async fn without_a_manager_there_is_nothing_to_register_with() {
    let cd = Cofferdam::builder("payments").start();
    assert_eq!(cd.service("payments").register().send().await, Err(RegisterError::NoManager));

    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cd = Cofferdam::builder("payments").manager(format!("http://{address}")).start();
    let register = cd.service("payments").register().limit(Duration::from_millis(50));
    let error = soon(register.send()).await.unwrap_err();
    assert!(matches!(error, RegisterError::Unavailable(_)), "{error:?}");
}

/// Runs a future on this thread, without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park_timeout(DEADLINE),
        }
    }
}

#[test]
fn a_registration_needs_no_runtime_of_the_callers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let manager = runtime.block_on(FakeManager::registering(|_| Ok(registered(3))));
    let cd = Cofferdam::builder("payments").manager(manager.url()).start();
    let registered = block_on(cd.service("payments").register().send());
    assert_eq!(registered.unwrap().revision.revision, 3);
}
