//! Every operation of an OpenAPI 3.0 or 3.1 document as a tool.
//!
//! A binding is for one API: its settings name the document, and its operations become tools of the
//! binding when it is made.
//!
//! ```toml
//! [bindings.petstore]
//! plugin = "openapi"
//! grant.http = ["* https://petstore.example.com/v1/**"]
//! grant.secrets.bearer = { secret = "petstore", audience = ["https://petstore.example.com"] }
//! [bindings.petstore.settings]
//! url = "https://petstore.example.com/v1/openapi.json"
//! exclude = { methods = ["DELETE"] }
//! ```
//!
//! `document` holds the document itself instead of `url`; `base-url` stands for its `servers`.
//! Without a document there are no such tools, and the two that are always there, `operations` and
//! `call`, take one as an argument. They are also for documents with more operations than a model
//! can be shown: `tools = false` leaves it to find them by `operations`.
//!
//! # What is read
//!
//! | part | state |
//! | --- | --- |
//! | JSON and YAML, 3.0 and 3.1, local references | whole; circles and depth are bounded |
//! | references to other documents, Swagger 2.0 | refused with what to do |
//! | parameters: path, query, header, cookie; all styles, `explode`, `allowReserved`, `content` | whole; a name that two places share is written `query_name` |
//! | bodies: JSON, form, multipart, text, bytes | the first of these that the operation takes |
//! | security: bearer, basic, API keys, OAuth 2, OpenID Connect | by the operator's secrets, where the host attaches them; a key in a place that no secret of `plugin.toml` has is `unsupported` |
//! | schemas | as JSON Schema 2020-12, loosened where documents are known to be wrong: see `schema.rs` |
//! | callbacks, webhooks, links, `mutualTLS` | left out |
//!
//! What an API answers is not held against its schema: documents and servers differ too often. An
//! error status is an error with the code that it stands for, and with its body.
//!
//! Parity with SmythOS's OpenAPI and GPTPlugin, which fetch any URL, offer every operation and run
//! a conversation over them: here the egress judges each request, the operator chooses operations,
//! and the conversation is the agent's.

mod answer;
mod auth;
mod document;
mod operation;
mod request;
mod schema;

use std::collections::BTreeMap;
use std::time::Duration;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{Catalog, Definition, context, http, serde_json};

use crate::answer::Answer;
use crate::document::Document;
use crate::operation::{Filter, Operation};
use crate::request::{Payload, Request};

/// Bytes taken of an answer where the settings name no number: 2 MiB.
const ANSWER_BYTES: u64 = 2 << 20;

/// How long a request may take where the settings name no time.
const TIMEOUT_MS: u64 = 30_000;

/// The most tools that a host takes of a catalogue.
const MAX_TOOLS: usize = 1_000;

/// Bytes that all tools may take together; a host takes 4 MiB.
const TOOLS_BYTES: usize = 3_900_000;

/// What of a tool is neither its schema nor its description, in bytes at most.
const REST_BYTES: usize = 1_500;

/// Bytes that the schema of one tool may take.
const MAX_SCHEMA: usize = 40_000;

/// What a binding is for.
#[data]
#[derive(Default)]
#[serde(rename_all = "kebab-case", default)]
struct Settings {
    /// The document itself: an object, or its text in JSON or YAML.
    document: Option<Value>,
    /// Where the document is fetched instead, at each call.
    url: Option<String>,
    /// The URL that paths are put behind. Default: the first of the document's `servers`.
    base_url: Option<String>,
    /// The operations to offer. Default: all.
    include: Filter,
    /// Those of them not to offer.
    exclude: Filter,
    /// Whether each operation is a tool. Default: yes.
    #[serde(default = "yes")]
    tools: bool,
    /// Names of this plugin's secrets by the document's security schemes. Default: the secret that
    /// goes where the scheme says.
    auth: BTreeMap<String, String>,
    /// Headers that go with each request, such as a version.
    headers: BTreeMap<String, String>,
    /// Bytes to take of an answer at most. Default: 2 MiB.
    max_bytes: Option<u64>,
    /// Time until the last byte, in milliseconds. Default: 30,000.
    timeout_ms: Option<u64>,
}

fn yes() -> bool {
    true
}

impl Settings {
    fn read() -> Result<Settings> {
        let settings: Settings = context::settings()?;
        if settings.document.is_some() && settings.url.is_some() {
            return Err(Error::invalid_data("the settings have both `document` and `url`"));
        }
        match settings.auth.values().find(|name| !auth::is_secret(name)) {
            Some(unknown) => Err(Error::invalid_data(format!(
                "`auth` in the settings names the secret `{unknown}`; there are: {}",
                auth::names()
            ))),
            None => Ok(settings),
        }
    }

    fn is_bound(&self) -> bool {
        self.document.is_some() || self.url.is_some()
    }

    /// The document of the binding, or the one that the arguments give where it has none.
    async fn document(&self, given: Option<Content>) -> Result<Document> {
        match (given, &self.document, &self.url) {
            (Some(given), None, None) => Document::parse(&given.text()?, None),
            (Some(_), ..) => {
                Err(Error::bad_arguments("this binding is for one document: leave `document` out"))
            }
            (None, Some(Value::String(text)), _) => Document::parse(text, None),
            (None, Some(object), _) => Document::new(object.clone(), None),
            (None, None, Some(url)) => {
                let mut response = http::get(url)
                    .header("accept", "application/json, application/yaml;q=0.9, */*;q=0.8")
                    .timeout(Duration::from_millis(self.timeout_ms.unwrap_or(TIMEOUT_MS)))
                    .max_bytes(document::MAX_BYTES as u64 + 1)
                    .send()
                    .await?
                    .ok()?;
                let text = response.text().await?;
                if response.truncated() {
                    return Err(Error::too_large(format!("the document at {url} is too large")));
                }
                Document::parse(&text, Some(response.url()))
            }
            (None, None, None) => Err(Error::bad_arguments(
                "this binding has no document: give one in `document`, or have the operator name \
                 one in its settings",
            )),
        }
    }

    /// Sends what an operation asks for.
    async fn call(
        &self,
        document: &Document,
        name: &str,
        arguments: Map<String, Value>,
        dry_run: bool,
    ) -> Result<Output<Called>> {
        let operations = operation::list(document, &self.include, &self.exclude)?;
        let Some(operation) =
            operations.iter().find(|one| one.name == name || one.id() == Some(name))
        else {
            let shown: String = name.chars().take(80).collect();
            return Err(Error::not_found(format!(
                "there is no operation `{shown}` here: `operations` lists those there are"
            )));
        };
        let base = self.base(document, operation)?;
        let mut request = request::build(document, operation, &base, arguments)?;
        let has = |request: &Request, name: &str| {
            request.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        for (name, value) in &self.headers {
            if !has(&request, name) {
                request.headers.push((name.clone(), value.clone()));
            }
        }
        if !has(&request, "accept") {
            let accept = "application/json, text/*;q=0.9, */*;q=0.8";
            request.headers.push(("accept".into(), accept.into()));
        }
        let credentials = auth::credentials(document, operation, &self.auth)?;
        if dry_run {
            return Ok(Output::new(Called::dry(request, credentials)?));
        }
        let what = format!("{} {}", operation.method, operation.path);
        let mut sent = http::request(request.method, request.url)
            .max_bytes(self.max_bytes.unwrap_or(ANSWER_BYTES))
            .timeout(Duration::from_millis(self.timeout_ms.unwrap_or(TIMEOUT_MS)));
        for (name, value) in request.headers {
            sent = sent.header(name, value.into_bytes());
        }
        sent = match request.body {
            Payload::None => sent,
            Payload::Bytes(bytes) => sent.body(bytes),
            Payload::Blob(blob) => sent.body_blob(&blob),
        };
        for secret in credentials {
            sent = sent.credential(secret);
        }
        let output = answer::read(sent.send().await?, &what).await?;
        Ok(output.map(|answer| Called { answer: Some(answer), ..Called::default() }))
    }

    /// The URL that the path of an operation is put behind.
    fn base(&self, document: &Document, operation: &Operation<'_>) -> Result<String> {
        let places = [operation.value.get("servers"), operation.shared().get("servers")];
        let servers = places.into_iter().chain([document.root().get("servers")]).flatten();
        let server = servers.filter_map(|list| list.get(0)).next();
        let url = match (&self.base_url, server) {
            (Some(url), _) => url.clone(),
            (None, Some(server)) => server_url(server)?,
            (None, None) => "/".into(),
        };
        let url = match (url.contains("://"), &document.url) {
            (true, _) => url,
            // Below where the document is.
            (false, Some(at)) => beside(at, &url),
            (false, None) => {
                return Err(Error::invalid_data(format!(
                    "the document names no absolute URL of its server (`{}`): have `base-url` set",
                    url.chars().take(200).collect::<String>()
                )));
            }
        };
        match url.contains(['?', '#', '{', '}']) || url.contains(char::is_whitespace) {
            true => Err(Error::invalid_data(
                "the URL of the server has a query, a variable without a default or white space: \
                 have `base-url` set",
            )),
            false => Ok(url),
        }
    }
}

/// The URL of a server, its variables filled with their defaults.
fn server_url(server: &Value) -> Result<String> {
    let url = server.get("url").and_then(Value::as_str);
    let mut url = url
        .filter(|url| url.len() <= 2_048)
        .ok_or_else(|| Error::invalid_data("a server of the document has no `url`"))?
        .to_owned();
    let variables = server.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten().take(20) {
        if let Some(default) = variable.get("default").and_then(Value::as_str) {
            url = url.replace(&format!("{{{name}}}"), default);
        }
    }
    match url.len() <= 4_096 {
        true => Ok(url),
        false => Err(Error::too_large("the URL of a server is longer than 4 KiB")),
    }
}

/// A URL that is relative to that of the document.
fn beside(document: &str, relative: &str) -> String {
    let path = document.find("://").map_or(0, |at| at + 3);
    let path = document[path..].find('/').map_or(document.len(), |at| path + at);
    match relative.starts_with('/') {
        true => format!("{}{relative}", &document[..path]),
        false => {
            let folder = document[path..].rfind('/').map_or(document.len(), |at| path + at);
            format!("{}/{}", &document[..folder], relative.trim_start_matches("./"))
        }
    }
}

/// Which operations to list, and how.
#[data]
struct Listing {
    /// The document, JSON or YAML. Only where the binding has none of its own.
    document: Option<Content>,
    /// Only these operations.
    #[serde(default)]
    include: Filter,
    /// Only operations in whose name, path or description this text stands, in any capitals.
    #[schemars(length(min = 1, max = 200))]
    search: Option<String>,
    /// Whether to answer the JSON Schema of the arguments of each. Default: no.
    #[serde(default)]
    schemas: bool,
    /// How many operations to answer at most. Default: 100.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 1_000))]
    limit: usize,
    /// Where an earlier answer ended.
    cursor: Option<String>,
}

fn hundred() -> usize {
    100
}

/// An operation.
#[data]
struct Listed {
    /// The name by which it is called.
    name: String,
    /// The method.
    method: String,
    /// The path.
    path: String,
    /// What it does.
    description: String,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// The JSON Schema of its arguments, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_schema: Option<Value>,
}

/// List the operations of an API by its OpenAPI document, with the arguments they take where
/// `schemas` is true.
///
/// Use it to find what an API can do, then `call` one of them. The document is that of the binding,
/// or `document`.
#[tool]
async fn operations(listing: Listing) -> Result<Output<Vec<Listed>>> {
    let Listing { document, include, search, schemas, limit, cursor } = listing;
    let settings = Settings::read()?;
    let document = settings.document(document).await?;
    let search = search.map(|text| text.to_lowercase());
    let mut operations = operation::list(&document, &settings.include, &settings.exclude)?;
    let wanted = operation::list(&document, &include, &Filter::default())?;
    let wanted: std::collections::BTreeSet<&str> =
        wanted.iter().map(|operation| operation.name.as_str()).collect();
    operations.retain(|operation| {
        wanted.contains(operation.name.as_str())
            && search.as_ref().is_none_or(|text| {
                operation.name.to_lowercase().contains(text)
                    || operation.description().to_lowercase().contains(text)
            })
    });
    let page = Output::page(operations, limit, cursor.as_deref())?;
    let Output { value, truncated, next, .. } = page;
    let listed = value.unwrap_or_default().into_iter().map(|operation| {
        let schema = schemas.then(|| operation.input_schema(&document, MAX_SCHEMA));
        Ok(Listed {
            method: operation.method.into(),
            path: operation.path.chars().take(1_000).collect(),
            description: operation.description(),
            tags: operation.tags().take(20).map(str::to_owned).collect(),
            input_schema: schema.transpose()?,
            name: operation.name,
        })
    });
    let listed = listed.collect::<Result<Vec<Listed>>>()?;
    Ok(Output::new(listed).with_truncated(truncated).with_next(next))
}

/// Which operation to call.
#[data]
struct Calling {
    /// The document, JSON or YAML. Only where the binding has none of its own.
    document: Option<Content>,
    /// The URL that paths are put behind. Only together with `document`; default: the first of its
    /// `servers`.
    #[schemars(length(min = 1, max = 2_048))]
    base_url: Option<String>,
    /// The name of the operation, as `operations` lists it, or its `operationId`.
    #[schemars(length(min = 1, max = 500))]
    operation: String,
    /// Its arguments, as its schema has them.
    #[serde(default)]
    arguments: Map<String, Value>,
    /// Whether to answer the request instead of sending it. Default: no.
    #[serde(default)]
    dry_run: bool,
}

/// What came of a call.
#[data]
#[derive(Default)]
struct Called {
    /// What the API answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    /// The request that would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Dry>,
}

/// A request that was not sent.
#[data]
struct Dry {
    /// The method.
    method: String,
    /// The URL.
    url: String,
    /// The headers, without what the host adds.
    headers: BTreeMap<String, String>,
    /// The names of the secrets that the host would attach.
    credentials: Vec<String>,
    /// The body: a text, `{"base64": "…"}` or `{"$blob": "id"}`; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Content>,
}

impl Called {
    fn dry(request: Request, credentials: Vec<String>) -> Result<Called> {
        let body = match request.body {
            Payload::None => None,
            Payload::Blob(blob) => Some(Content::Blob(blob)),
            Payload::Bytes(bytes) => Some(match String::from_utf8(bytes) {
                Ok(text) => Content::Text(text),
                Err(error) => Content::Base64(ampoule_sdk::Base64::new(error.as_bytes())),
            }),
        };
        let (method, url) = (request.method.to_owned(), request.url);
        let headers = request.headers.into_iter().collect();
        let request = Some(Dry { method, url, headers, credentials, body });
        Ok(Called { answer: None, request })
    }
}

/// Call an operation of an API by its name, with its arguments, and answer status and body.
///
/// `operations` with `schemas` says what it takes. An error status is an error that holds what the
/// API said. `dry_run` shows the request without sending it.
#[tool]
async fn call(calling: Calling) -> Result<Output<Called>> {
    let Calling { document, base_url, operation, arguments, dry_run } = calling;
    let mut settings = Settings::read()?;
    if base_url.is_some() {
        if settings.is_bound() {
            return Err(Error::bad_arguments("this binding is for one API: leave `base_url` out"));
        }
        settings.base_url = base_url;
    }
    let document = settings.document(document).await?;
    settings.call(&document, &operation, arguments, dry_run).await
}

/// The operations of the binding's document.
struct Operations;

impl Catalog for Operations {
    async fn discover() -> Result<Vec<Definition>> {
        let settings = Settings::read()?;
        if !settings.is_bound() || !settings.tools {
            return Ok(Vec::new());
        }
        let document = settings.document(None).await?;
        let operations = operation::list(&document, &settings.include, &settings.exclude)?;
        if operations.len() > MAX_TOOLS {
            return Err(Error::too_large(format!(
                "the document has {} operations, and at most {MAX_TOOLS} can be tools: choose by \
                 `include` or `exclude`, or set `tools = false` and use `operations` and `call`",
                operations.len()
            )));
        }
        let rest = operations.iter().map(|one| one.description().len() + REST_BYTES).sum();
        let left = TOOLS_BYTES.saturating_sub(rest);
        let budget = (left / operations.len().max(1)).min(MAX_SCHEMA);
        operations.iter().map(|operation| operation.definition(&document, budget)).collect()
    }

    async fn call(name: &str, arguments: Value) -> Result<Output> {
        let settings = Settings::read()?;
        if !settings.is_bound() || !settings.tools {
            return Err(Error::not_found(format!("there is no tool `{name}` here")));
        }
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            _ => return Err(Error::bad_arguments("the arguments are not an object")),
        };
        let document = settings.document(None).await?;
        let Output { value, truncated, .. } =
            settings.call(&document, name, arguments, false).await?;
        let answer = value.and_then(|called| called.answer);
        Ok(Output::new(serde_json::to_value(answer)?).with_truncated(truncated))
    }
}

export!(operations, call; catalog: Operations; settings: Settings);
