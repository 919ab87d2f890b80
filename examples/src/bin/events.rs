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
        Signal::Proceed
    });
    let call = Call::new("template", json!({ "template": "{{ 6 * 7 }}" })).events(sink);
    let outcome = host.call(call).await;
    println!("ended: {}", outcome.end.word());
    Ok(())
}
