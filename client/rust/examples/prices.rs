//! The README's program in a loop: once a second it asks for prices, and tells by which policy.
//!
//! Run it beside a manager, and change what the manager says of `prices`.

#![expect(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use cofferdam::Cofferdam;
use std::time::Duration;

#[tokio::main]
async fn main() {
    let cofferdam = Cofferdam::builder("checkout").manager("http://127.0.0.1:7420").start();
    let prices = cofferdam.service("prices");
    loop {
        let list = prices
            .execute("list", || tokio::fs::read_to_string("prices.json"))
            .idempotent()
            .fallback(|_why| async { Ok("[]".to_owned()) })
            .await;
        let level = prices.policy().level;
        let revision = prices.revision().map_or_else(|| "none yet".to_owned(), |revision| revision.to_string());
        match list {
            Ok(list) => println!("level {level}, revision {revision}: {list}"),
            Err(error) => println!("level {level}, revision {revision}: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
