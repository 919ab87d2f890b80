//! A Rust function as a tool beside the plugins: the host lists it, callers call it, and a plugin
//! with a grant could too.

use std::sync::Arc;

use ampoule::{
    Call, Effects, End, Host, Outcome, Output, Receipt, ToolDefinition, ToolKind, Tools,
};
use serde_json::{Value, json};

/// How many words a text has.
struct WordCount;

#[async_trait::async_trait]
impl Tools for WordCount {
    fn tools(&self) -> Vec<Arc<ToolDefinition>> {
        vec![Arc::new(ToolDefinition {
            id: "word-count".into(),
            binding: "word-count".into(),
            name: "word-count".into(),
            kind: ToolKind::Tool,
            title: None,
            description: "Count the words of a text".into(),
            input_schema: json!({
                "type": "object",
                "properties": { "text": { "type": "string" } },
                "required": ["text"]
            }),
            output_schema: Some(json!({ "type": "integer" })),
            effects: Effects { read_only: true, open_world: false, ..Effects::default() },
            examples: Vec::new(),
            digest: String::new(),
        })]
    }

    async fn call(&self, call: Call) -> Outcome {
        let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
        let words = arguments["text"].as_str().unwrap_or("").split_whitespace().count();
        let end = End::Value(Output::value(json!(words)));
        let receipt = Receipt::empty("own".into(), call.tool, end.word());
        Outcome { end, receipt }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().plugins("target/plugins").tools(Arc::new(WordCount)).build().await?;
    let there = host.tools().iter().any(|tool| tool.id == "word-count");
    let outcome = host.call(Call::new("word-count", json!({ "text": "one two three" }))).await;
    let End::Value(output) = outcome.end else { return Err(outcome.end.word().into()) };
    println!("listed: {there}; words: {}", output.value.unwrap_or_default());
    Ok(())
}
