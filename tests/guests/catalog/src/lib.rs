//! A catalogue: the tools that the settings ask for, or what no catalogue should answer.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{Catalog, Definition, context, http};

#[data]
struct Settings {
    /// The names of the tools to offer.
    #[serde(default)]
    tools: Vec<String>,
    /// What each tool says of itself.
    #[serde(default)]
    description: Option<String>,
    /// A page to fetch first, and to describe the tools with.
    #[serde(default)]
    page: Option<String>,
    /// What to do instead: `fail`, `trap`, `spin`, `many`, `long`, `deep`.
    #[serde(default)]
    instead: Option<String>,
}

/// Nothing of it depends on settings.
#[tool]
fn own() -> &'static str {
    "own"
}

struct Offered;

fn definition(name: &str) -> Definition {
    Definition {
        name: name.to_owned(),
        description: "Answers its arguments".to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": { "n": { "type": "integer" } },
            "required": ["n"],
        }),
        output_schema: Some(json!({ "type": "object" })),
        meta: Some(json!({ "title": "Echo", "effects": { "read-only": true } })),
    }
}

impl Catalog for Offered {
    async fn discover() -> Result<Vec<Definition>> {
        let settings: Settings = context::settings()?;
        let mut tools: Vec<_> = settings.tools.iter().map(|name| definition(name)).collect();
        match settings.instead.as_deref() {
            Some("fail") => return Err(Error::new("unavailable", "the document is not there")),
            Some("trap") => panic!("no catalogue"),
            Some("spin") => loop {
                std::hint::black_box(());
            },
            Some("many") => tools = (0..5_000).map(|i| definition(&format!("t{i}"))).collect(),
            Some("long") => tools = vec![definition(&"x".repeat(20 << 20))],
            Some("deep") => {
                let mut schema = json!({ "type": "object" });
                for _ in 0..90 {
                    schema = json!({ "type": "object", "properties": { "a": schema } });
                }
                tools = vec![Definition { input_schema: schema, ..definition("deep") }];
            }
            _ => {}
        }
        if let Some(page) = &settings.page {
            let text = http::get(page).send().await?.text().await?;
            tools.iter_mut().for_each(|tool| tool.description.clone_from(&text));
        }
        if let Some(description) = settings.description {
            tools.iter_mut().for_each(|tool| tool.description.clone_from(&description));
        }
        Ok(tools)
    }

    async fn call(name: &str, arguments: Value) -> Result<Output> {
        Ok(Output::new(json!({ "tool": name, "arguments": arguments })))
    }
}

export!(own; catalog: Offered; settings: Settings);
