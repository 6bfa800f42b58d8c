//! An application of its own process, as scenarios start it: `caller MANAGER_URL INSTANCE SERVICE UPSTREAM` calls the
//! service until it gets a SIGTERM, and then prints what its calls came to.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a part of the tests, which talks to them by its output"
)]

use cofferdam_tests::Instance;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [manager, id, service, upstream] = &arguments[..] else {
        panic!("usage: caller MANAGER_URL INSTANCE SERVICE UPSTREAM");
    };
    let mut terminated = signal(SignalKind::terminate()).expect("signals can be handled");
    let mut instance = Instance::start(manager, id, service, upstream);
    instance.proceed(1).await;
    println!("calling");
    terminated.recv().await;
    let tally = instance.rest().await;
    instance.cofferdam.shutdown().await;
    println!("made {} failed {}", tally.made, tally.failed);
}
