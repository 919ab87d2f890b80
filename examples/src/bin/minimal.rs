//! The host in ten lines: load the built plugins, call one, look at the receipt.

use ampoule::{Call, End, Host, Meter};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().plugins("target/plugins").build().await?;
    let call = Call::new("json-filter", r#"{"input": {"a": 1, "b": 2}, "fields": ["a"]}"#);
    let outcome = host.call(call).await;
    let End::Value(output) = outcome.end else { return Err(outcome.end.word().into()) };
    println!("{}", output.value.unwrap_or_default());
    println!("for {} fuel", outcome.receipt.used.get(Meter::Fuel));
    Ok(())
}
