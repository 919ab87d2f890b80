//! Limits of one's own: less fuel than the work needs, and a budget that several calls share.

use ampoule::{Account, Call, Config, End, Host, Limits, Meter};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::parse(
        r#"
        plugins = ["target/plugins"]
        [bindings.json-query]
        limits = { fuel = "20M", memory = "32 MiB" }
        "#,
    )?;
    let host = Host::builder().config(config).build().await?;

    let endless = json!({ "input": null, "program": "[range(100000000)] | length" });
    let outcome = host.call(Call::new("json-query", &endless)).await;
    let End::Limit(breach) = outcome.end else { return Err(outcome.end.word().into()) };
    println!("{breach}");

    // A run: whatever its calls use together, they draw from one account.
    let run = Account::root(Limits::UNLIMITED.with(Meter::Fuel, 50_000_000));
    let small = json!({ "input": [1, 2, 3], "program": "add" });
    let mut calls = 0;
    while let End::Value(_) =
        host.call(Call::new("json-query", &small).budget(run.clone())).await.end
    {
        calls += 1;
    }
    println!("{calls} calls for {} fuel", run.used(Meter::Fuel));
    Ok(())
}
