//! Two tenants: each has a host with bindings of its own and a workspace of its own.

use ampoule::{Call, Config, End, Host};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (tenant, access) in [("ada", "read-write"), ("bob", "read")] {
        let config = Config::parse(&format!(
            "plugins = [\"target/plugins\"]\n[bindings.files]\ngrant.files = \"{access}\"\n"
        ))?;
        let host = Host::builder().config(config).build().await?;
        let workspace = tempfile::tempdir()?;
        let note = json!({ "path": "note.txt", "text": "hello" });
        let call = Call::new("files/write", note).principal(tenant).workspace(workspace.path());
        match host.call(call).await.end {
            End::Value(_) => println!(
                "{tenant} wrote: {}",
                std::fs::read_to_string(workspace.path().join("note.txt"))?
            ),
            End::Failed(error) => println!("{tenant} may not: {}", error.message),
            other => return Err(other.word().into()),
        }
    }
    Ok(())
}
