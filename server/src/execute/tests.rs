use super::*;
use crate::testing::{FaultyStore, key, registration, registry};
use cofferdam_proto::v1;

/// Services that come and go by the thousand leave nothing behind: what is kept has the registry's own limit.
///
/// Seen in <https://github.com/alibaba/Sentinel/issues/1329>.
#[tokio::test]
async fn t25_isolations_go_with_their_services() {
    let registry = Arc::new(registry(&FaultyStore::new()).await);
    let executor = Executor::new(Arc::clone(&registry), Fence::loopback_except(Vec::new()));
    for round in 0..100 {
        let name = format!("service-{round}");
        registry.register(registration(&name)).await.unwrap();
        executor.isolation(&registry.get(&key(&format!("default/{name}"))).unwrap());
        assert!(executor.isolations.lock().unwrap().len() <= 2, "round {round}");
        let request = v1::UnregisterServiceRequest { service: name, ..Default::default() };
        registry.unregister(request).await.unwrap();
    }
}
