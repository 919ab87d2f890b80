//! Connects models that speak the chat completions protocol of OpenAI, streamed.
//!
//! Many providers and servers speak it. Each is a binding of this plugin with its own `base-url`,
//! grant and key; `api-key` is left out where the server needs none.
//!
//! | provider | `base-url` |
//! | --- | --- |
//! | OpenAI | `https://api.openai.com/v1` (the default) |
//! | DeepSeek | `https://api.deepseek.com/v1` |
//! | Groq | `https://api.groq.com/openai/v1` |
//! | OpenRouter | `https://openrouter.ai/api/v1` |
//! | Perplexity | `https://api.perplexity.ai` (lists no models) |
//! | Together | `https://api.together.xyz/v1` |
//! | xAI | `https://api.x.ai/v1` |
//! | Ollama | `http://localhost:11434/v1` |
//! | vLLM | `http://localhost:8000/v1` |
//!
//! ```toml
//! [bindings.groq]
//! plugin = "openai"
//! settings = { base-url = "https://api.groq.com/openai/v1", model = "openai/gpt-oss-120b" }
//! grant.http = ["GET,POST https://api.groq.com/openai/v1/**"]
//! grant.secrets.api-key = { secret = "groq", audience = ["https://api.groq.com"] }
//!
//! [bindings.ollama]
//! plugin = "openai"
//! settings = { base-url = "http://127.0.0.1:11434/v1", model = "qwen3" }
//! grant.http = ["GET,POST http://127.0.0.1:11434/v1/**"]
//! grant.addresses = ["127.0.0.1"]
//! ```
//!
//! Of the contract's options, `thinking.budget-tokens` is `unsupported`: the protocol has words
//! for the effort only. What a provider wants otherwise is put right under `provider`, merged as
//! a JSON merge patch: `{"stream_options": null}` takes a field out of the request.

mod request;
mod response;

use std::collections::BTreeMap;

use ampoule_sdk::llm::provider::{Answer, send};
use ampoule_sdk::llm::{Connector, EventStream, Model, Request};
use ampoule_sdk::prelude::*;
use ampoule_sdk::{context, http};

use crate::response::Assembly;

/// Where OpenAI itself answers.
const OPENAI: &str = "https://api.openai.com/v1";

#[data]
#[serde(rename_all = "kebab-case")]
struct Settings {
    /// Where the provider answers, without the last `/`.
    #[serde(default = "openai")]
    #[schemars(url)]
    base_url: String,
    /// The model, where a request names none.
    #[serde(default)]
    model: String,
    /// Further headers, such as `openai-organization`. Keys are secrets and do not belong here.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

fn openai() -> String {
    OPENAI.into()
}

impl Settings {
    /// A request with the further headers.
    fn request(&self, method: &str, path: &str) -> http::Request {
        let url = format!("{}/{path}", self.base_url.trim_end_matches('/'));
        self.headers.iter().fold(http::request(method, url), |request, (name, value)| {
            request.header(name, value.as_bytes())
        })
    }
}

/// The connector.
#[derive(Debug)]
pub struct Chat;

impl Connector for Chat {
    async fn models() -> Result<Vec<Model>> {
        let settings: Settings = context::settings()?;
        let mut response = send(settings.request("GET", "models")).await?;
        Ok(response::models(&response.json().await?))
    }

    async fn stream(request: Request) -> Result<impl EventStream> {
        let settings: Settings = context::settings()?;
        let body = request::body(request, &settings)?;
        let http =
            settings.request("POST", "chat/completions").header("accept", "text/event-stream");
        Answer::new(send(http.json(&body)).await?, Assembly::default())
    }
}

export!(llm: Chat; settings: Settings);
