//! Cancelling: the guest is stopped where it is, and its receipt says what it had used.

use std::time::Duration;

use ampoule::{Call, End, Host, Meter};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().plugins("target/plugins").build().await?;
    // Compiled beforehand, so that what is cancelled is the call.
    host.warm().await;
    let cancel = CancellationToken::new();
    let endless = json!({ "input": null, "program": "last(range(100000000000))" });
    let call = host.call(Call::new("json-query", endless).cancel(cancel.clone()));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(call, stop);
    assert!(matches!(outcome.end, End::Cancelled), "{}", outcome.end.word());
    println!("cancelled after {} fuel", outcome.receipt.used.get(Meter::Fuel));
    Ok(())
}
