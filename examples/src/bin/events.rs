//! Events as they happen: lines, progress and blocks of a call while it runs.

use ampoule::{Call, CallEvent, EventSink, Host, Signal};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().plugins("target/plugins").build().await?;
    let sink = EventSink::new(|event| {
        match event {
            CallEvent::Log { level, message, .. } => println!("{level}: {message}"),
            CallEvent::Progress { done, total, .. } => println!("{done} of {total:?}"),
            CallEvent::Block { block } => println!("{}", block.text.unwrap_or(block.kind)),
        }
        // `Signal::Stop` asks the guest to finish soon with what it has.
        Signal::Proceed
    });
    // In jq, `stderr` is where a program tells what it sees.
    let program = ".[] | stderr | . * 2";
    let call = Call::new("json-query", json!({ "input": [1, 2], "program": program }));
    let outcome = host.call(call.events(sink)).await;
    println!("ended: {}", outcome.end.word());
    Ok(())
}
