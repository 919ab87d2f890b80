//! Connects the models of Anthropic through its Messages API, streamed.
//!
//! ```toml
//! [bindings.anthropic]
//! settings = { model = "claude-sonnet-4-5" }
//! grant.http = ["GET,POST https://api.anthropic.com/v1/**"]
//! grant.secrets.api-key = { secret = "anthropic" }
//! ```
//!
//! How the contract's options are taken:
//!
//! | option | |
//! | --- | --- |
//! | `max-tokens` | default: 4096, on top of `thinking.budget-tokens` |
//! | `thinking.budget-tokens` | extended thinking with this budget |
//! | `thinking.effort` | adaptive thinking and `output_config.effort`, on models that have them |
//! | `response-schema` | `output_config.format`: the answer is JSON text, held to the schema by the provider |
//! | `seed` | `unsupported` |
//! | `provider` | merged as a JSON merge patch (RFC 7396), `null` removes |
//!
//! Thoughts come back as parts with `meta.signature` or `meta.redacted` and are sent as they came;
//! thoughts of other providers cannot be sent and are left out. Blocks the contract has no kind
//! for, such as `server_tool_use`, are parts of their own kind with the block in `meta.block`.

mod request;
mod response;

use std::collections::BTreeMap;

use ampoule_sdk::llm::provider::{Answer, send};
use ampoule_sdk::llm::{Connector, EventStream, Model, Request};
use ampoule_sdk::prelude::*;
use ampoule_sdk::{context, http};

use crate::response::Assembly;

/// The version of the protocol that this plugin speaks.
const VERSION: &str = "2023-06-01";

#[data]
#[serde(rename_all = "kebab-case")]
struct Settings {
    /// Where the provider answers, without the last `/`.
    #[serde(default = "anthropic")]
    #[schemars(url)]
    base_url: String,
    /// The model, where a request names none.
    #[serde(default)]
    model: String,
    /// Further headers, such as `anthropic-beta`. Keys are secrets and do not belong here.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

fn anthropic() -> String {
    "https://api.anthropic.com/v1".into()
}

impl Settings {
    /// A request with the version and the further headers.
    fn request(&self, method: &str, path: &str) -> http::Request {
        let url = format!("{}/{path}", self.base_url.trim_end_matches('/'));
        let request = http::request(method, url).header("anthropic-version", VERSION);
        self.headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value.as_bytes()))
    }
}

/// The connector.
#[derive(Debug)]
pub struct Messages;

impl Connector for Messages {
    async fn models() -> Result<Vec<Model>> {
        let settings: Settings = context::settings()?;
        // The most a page may have; there are far fewer models.
        let request = settings.request("GET", "models").query("limit", "1000");
        let mut response = send(request).await?;
        Ok(response::models(&response.json().await?))
    }

    async fn stream(request: Request) -> Result<impl EventStream> {
        let settings: Settings = context::settings()?;
        let body = request::body(request, &settings.model)?;
        let http = settings.request("POST", "messages").header("accept", "text/event-stream");
        Answer::new(send(http.json(&body)).await?, Assembly::default())
    }
}

export!(llm: Messages; settings: Settings);
