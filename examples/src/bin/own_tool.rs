//! A Rust function as a tool beside the plugins: the host lists it, callers call it, and a plugin
//! with a grant could too.

use std::sync::Arc;

use ampoule::{Call, Effects, End, FunctionTool, Host, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Words {
    /// What to count in.
    text: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = FunctionTool::new(
        "word-count",
        "Count the words of a text",
        async |words: Words, _context| Ok::<_, ToolError>(words.text.split_whitespace().count()),
    )
    .effects(Effects { read_only: true, open_world: false, ..Effects::default() });

    let host = Host::builder().plugins("target/plugins").tools(Arc::new(count)).build().await?;
    for arguments in [json!({ "text": "one two three" }), json!({ "txt": "one" })] {
        let outcome = host.call(Call::new("word-count", arguments)).await;
        match outcome.end {
            End::Value(output) => println!("words: {}", output.value.unwrap_or_default()),
            other => println!("{}: {:?}", other.word(), other.into_result().err()),
        }
    }
    Ok(())
}
