//! The tools of a remote MCP server as tools of ours.
//!
//! A binding is for one server: its settings name the URL, and the tools that the server lists
//! become tools of the binding when it is made.
//!
//! ```toml
//! [bindings.tracker]
//! plugin = "mcp-client"
//! grant.http = ["DELETE,GET,POST https://mcp.example.com/mcp"]
//! grant.secrets.token = { secret = "tracker", audience = ["https://mcp.example.com"] }
//! grant.ask = true
//! [bindings.tracker.settings]
//! url = "https://mcp.example.com/mcp"
//! allow = ["search_*", "get_issue"]
//! ```
//!
//! The token is optional, and so is `ask`: by it the server may have the person fill in a form.
//!
//! # What is spoken
//!
//! | part | state |
//! | --- | --- |
//! | streamable HTTP, 2026-07-28 | whole, with headers from arguments and input over several rounds |
//! | streamable HTTP, 2025-11-25 to 2024-11-05 | whole: sessions, streams that are taken up again, requests of the server |
//! | HTTP with SSE (2024-11-05), stdio | not spoken |
//! | tools: both schemas, title, description, annotations | whole, see `schema.rs`; icons are left out |
//! | answers: structured content, text, images, audio, links, resources | whole, see `content.rs` |
//! | progress, log messages | passed on, so many of them |
//! | elicitation | forms, to the person behind the call; pages to visit are refused |
//! | sampling, roots, tasks | refused |
//! | resources, prompts | not offered |
//! | OAuth | by the operator, who grants a token |
//!
//! Annotations are the server's word; a tool without them is taken to destroy things in an open
//! world. Each call is a conversation of its own, unless it belongs to a session: then an older
//! server's session lasts as long. The end of that one is not told to the server, which ends such
//! sessions itself.
//!
//! Parity with SmythOS's MCPClient, which gives a model every tool with most of its schema lost and
//! knows no tokens: here the operator chooses, schemas are whole, and the conversation is the
//! agent's.

mod content;
mod header;
mod message;
mod person;
mod schema;
mod server;
mod text;
mod tools;

use std::cell::RefCell;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{Catalog, Definition, context};
use wildmatch::WildMatch;

use crate::server::{Failure, Server};

/// Which server a binding is for.
#[data]
#[derive(Default)]
#[serde(rename_all = "kebab-case", default)]
struct Settings {
    /// The URL at which the server answers, over streamable HTTP. Without it there are no tools.
    url: Option<String>,
    /// The tools to offer, by the server's names of them: `*` stands for any run of characters, `?`
    /// for one. Default: all.
    #[schemars(length(max = 1_000))]
    allow: Option<Vec<String>>,
}

impl Settings {
    fn allows(&self, name: &str) -> bool {
        let fits = |pattern: &String| WildMatch::new(pattern).matches(name);
        self.allow.as_ref().is_none_or(|allow| allow.iter().any(fits))
    }
}

thread_local! {
    /// The server of the call before, where both belong to a session.
    static KEPT: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// The tools of the binding's server.
struct Remote;

impl Catalog for Remote {
    async fn discover() -> Result<Vec<Definition>> {
        let settings: Settings = context::settings()?;
        let Some(url) = &settings.url else { return Ok(Vec::new()) };
        let mut server = Server::open(url).await?;
        let tools = server.tools().await;
        server.close().await;
        tools::definitions(&tools?, |name| settings.allows(name))
    }

    async fn call(name: &str, arguments: Value) -> Result<Output> {
        let settings: Settings = context::settings()?;
        let Some(url) = &settings.url else { return Err(unknown(name)) };
        let mut server = match KEPT.take() {
            Some(server) => server,
            None => Server::open(url).await?,
        };
        let result = call(&mut server, &settings, name, arguments).await;
        // After anything but an answer nobody knows where the server stands.
        let sound = matches!(result, Ok(_) | Err(Failure::Fault(_, ..=399)));
        match sound && context::get("session").is_some() {
            true => KEPT.set(Some(server)),
            false => server.close().await,
        }
        content::read(name, result?)
    }
}

async fn call(
    server: &mut Server,
    settings: &Settings,
    name: &str,
    arguments: Value,
) -> Result<Value, Failure> {
    server.anew();
    let (tool, headers) = match tools::is_marked(name) {
        false => (name.to_owned(), Vec::new()),
        true => {
            let listed = server.tools().await?;
            let (tool, definition) = tools::find(&listed, name).ok_or_else(|| unknown(name))?;
            (tool.to_owned(), tools::headers_of(definition))
        }
    };
    if !settings.allows(&tool) {
        return Err(unknown(name).into());
    }
    server.call(&tool, arguments, headers).await
}

fn unknown(name: &str) -> Error {
    Error::not_found(format!("the MCP server of this binding has no tool `{name}` any more"))
}

export!(catalog: Remote; settings: Settings);
