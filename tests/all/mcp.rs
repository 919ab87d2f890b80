//! The MCP server, driven by programs of others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use ampoule::{Call, Effects, End, Host, Outcome, ToolDefinition, ToolKind, Tools};
use ampoule_server::model::{
    ContentBlock, EmbeddedResource, GetPromptResult, ImageContent, JsonObject, Prompt,
    PromptArgument, PromptMessage, Resource, ResourceContents, ResourceTemplate, Role,
};
use ampoule_server::{HttpOptions, Prompts, Resources, ServeOptions, serve_http};
use ampoule_tests::served::{module, node};
use ampoule_tests::{builder, guest, root};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A PNG of one red pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQAY3Y2wAAAAAElFTkSuQmCC";

/// A served fixture; dropping it ends the server.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
}

impl Served {
    pub(crate) async fn start(options: ServeOptions, tools: Arc<dyn Tools>) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = options.shutdown.clone();
        tokio::spawn(serve_http(tools, listener, options, HttpOptions::default()));
        Served { address, shutdown }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The tools of the guest `conformance`, under the names the suite knows them by; and one that is
/// looked at and never called.
pub(crate) struct Fixture(Host);

impl Fixture {
    pub(crate) async fn new() -> Fixture {
        let config = format!(
            "plugins = [{:?}]\n[bindings.conformance]\ngrant.ask = true\n",
            guest("conformance")
        );
        Fixture(builder(&config).build().await.unwrap())
    }
}

#[async_trait::async_trait]
impl Tools for Fixture {
    fn tools(&self) -> Vec<Arc<ToolDefinition>> {
        let renamed = self.0.tools().into_iter().map(|tool| {
            let id = tool.name.replace('-', "_");
            Arc::new(ToolDefinition { id, ..ToolDefinition::clone(&tool) })
        });
        renamed.chain([Arc::new(with_every_keyword())]).collect()
    }

    async fn call(&self, call: Call) -> Outcome {
        let tool = format!("conformance/{}", call.tool.replace('_', "-"));
        self.0.call(Call { tool, ..call }).await
    }
}

/// A tool whose schema has keywords that are easily lost.
fn with_every_keyword() -> ToolDefinition {
    let address = json!({
        "$anchor": "addressDef",
        "type": "object",
        "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
    });
    let text = json!({"type": "string"});
    let input_schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": address},
        "properties": {
            "name": text,
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": text,
            "email": text,
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {
            "properties": {"contactMethod": {"const": "phone"}},
            "required": ["contactMethod"],
        },
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    });
    ToolDefinition {
        id: "json_schema_2020_12_tool".into(),
        binding: "fixture".into(),
        name: "json_schema_2020_12_tool".into(),
        kind: ToolKind::Tool,
        title: None,
        description: "Tool with JSON Schema 2020-12 features".into(),
        input_schema,
        output_schema: None,
        effects: Effects::default(),
        sessions: false,
        examples: Vec::new(),
        digest: String::new(),
    }
}

/// The prompts and resources the suite expects.
struct Offers;

#[async_trait::async_trait]
impl Prompts for Offers {
    fn prompts(&self, _: Option<&str>) -> Vec<Prompt> {
        let prompt = |name: &str, about: &str, arguments: &[&str]| {
            let required = |name: &&str| PromptArgument::new(*name).with_required(true);
            let arguments = arguments.iter().map(required).collect();
            Prompt::new(name, Some(about), Some(arguments))
        };
        vec![
            prompt("test_simple_prompt", "A text", &[]),
            prompt("test_prompt_with_arguments", "A text with arguments", &["arg1", "arg2"]),
            prompt("test_prompt_with_embedded_resource", "A resource", &["resourceUri"]),
            prompt("test_prompt_with_image", "An image", &[]),
        ]
    }

    async fn get(
        &self,
        name: &str,
        arguments: &JsonObject,
        _: Option<&str>,
    ) -> Result<Option<GetPromptResult>, String> {
        let argument = |name: &str| {
            let value = arguments.get(name).and_then(Value::as_str);
            value.ok_or_else(|| format!("the argument `{name}` is missing"))
        };
        let text = |text: String| PromptMessage::new_text(Role::User, text);
        let messages = match name {
            "test_simple_prompt" => vec![text("This is a simple prompt for testing.".into())],
            "test_prompt_with_arguments" => {
                let (arg1, arg2) = (argument("arg1")?, argument("arg2")?);
                vec![text(format!("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]
            }
            "test_prompt_with_embedded_resource" => {
                let content = "Embedded resource content for testing.";
                let content = ResourceContents::text(content, argument("resourceUri")?);
                let content = ContentBlock::Resource(EmbeddedResource::new(content));
                let ask = "Please process the embedded resource above.";
                vec![PromptMessage::new(Role::User, content), text(ask.into())]
            }
            "test_prompt_with_image" => {
                let image = ContentBlock::Image(ImageContent::new(PIXEL, "image/png"));
                let ask = "Please analyze the image above.";
                vec![PromptMessage::new(Role::User, image), text(ask.into())]
            }
            _ => return Ok(None),
        };
        Ok(Some(GetPromptResult::new(messages)))
    }
}

#[async_trait::async_trait]
impl Resources for Offers {
    async fn resources(&self, _: Option<&str>) -> Vec<Resource> {
        let resource = |uri: &str, media_type: &str| {
            let resource = Resource::new(uri, uri.trim_start_matches("test://"));
            resource.with_description("What the suite reads").with_mime_type(media_type)
        };
        vec![
            resource("test://static-binary", "image/png"),
            resource("test://static-text", "text/plain"),
        ]
    }

    fn templates(&self, _: Option<&str>) -> Vec<ResourceTemplate> {
        vec![ResourceTemplate::new("test://template/{id}/data", "template")]
    }

    async fn read(
        &self,
        uri: &str,
        _: Option<&str>,
    ) -> Result<Option<Vec<ResourceContents>>, String> {
        let of_template =
            uri.strip_prefix("test://template/").and_then(|u| u.strip_suffix("/data"));
        let content = match (uri, of_template) {
            ("test://static-text", _) => {
                ResourceContents::text("This is the content of the static text resource.", uri)
            }
            ("test://static-binary", _) => {
                ResourceContents::blob(PIXEL, uri).with_mime_type("image/png")
            }
            (_, Some(id)) => {
                let data = format!("Data for ID: {id}");
                let text = json!({"id": id, "templateTest": true, "data": data});
                ResourceContents::text(text.to_string(), uri).with_mime_type("application/json")
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![content]))
    }
}

pub(crate) async fn finish(mut command: Command) -> (bool, String) {
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    (status.success(), said)
}

/// Every scenario for servers passes, or stands with its reason in the file of those that do not;
/// one that stands there and passes fails the test too.
async fn conforms(revision: &str) {
    let options = ServeOptions {
        prompts: Some(Arc::new(Offers)),
        resources: Some(Arc::new(Offers)),
        ..ServeOptions::default()
    };
    let served = Served::start(options, Arc::new(Fixture::new().await)).await;
    let mut suite = node(&module("@modelcontextprotocol/conformance/dist/index.js"));
    let expected: PathBuf = root().join(format!("tests/cases/mcp/{revision}.yaml"));
    suite.args(["server", "--suite", "all", "--spec-version", revision, "--url"]);
    suite.arg(format!("http://{}/mcp", served.address)).arg("--expected-failures").arg(expected);
    let (passed, said) = finish(suite).await;
    assert!(passed, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_passes_in_the_current_revision() {
    conforms("2026-07-28").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_passes_in_the_last_revision_with_sessions() {
    conforms("2025-11-25").await;
}

#[tokio::test]
async fn the_fixture_answers() {
    let fixture = Fixture::new().await;
    let outcome = fixture.call(Call::new("test_simple_text", "{}")).await;
    assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
}
