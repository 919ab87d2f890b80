//! Talking to a language model: the service `llm` as the host's Rust code sees it.
//!
//! The shapes are those of `ampoule:llm` in `wit/llm/llm.wit`, where each kind and key is
//! documented.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::{CallContext, ToolError};

/// A model, or a connector to many.
#[async_trait::async_trait]
pub trait Model: Send + Sync {
    /// A label that belongs into every output made with it, where it is not a real model
    /// (`scripted`, `echo`).
    fn stand_in(&self) -> Option<&'static str> {
        None
    }

    /// The models that can be asked.
    async fn models(&self, context: CallContext) -> Result<Vec<ModelInfo>, ToolError>;

    /// Asks, and gives the response as it comes. Dropping the stream gives the request up.
    async fn stream(
        &self,
        request: ModelRequest,
        context: CallContext,
    ) -> Result<ModelStream, ToolError>;

    /// Asks, and waits for the whole response.
    async fn complete(
        &self,
        request: ModelRequest,
        context: CallContext,
    ) -> Result<ModelResponse, ToolError> {
        let mut events = self.stream(request, context).await?;
        while let Some(event) = events.next().await {
            if let ModelEvent { response: Some(response), .. } = event? {
                return Ok(*response);
            }
        }
        Err(ToolError {
            retryable: true,
            ..ToolError::new("unavailable", "the model's answer ended before it was complete")
        })
    }
}

/// Events of a response on its way; the last one of a good stream carries the response.
pub type ModelStream = Pin<Box<dyn Stream<Item = Result<ModelEvent, ToolError>> + Send>>;

/// A request for the next message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ModelRequest {
    /// The model, by the provider's name; the binding's default where it is empty.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// Tools the model may call.
    pub tools: Vec<ModelTool>,
    /// Options, by the contract's open list of keys.
    pub options: Map<String, Value>,
}

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The pieces, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of one text.
    pub fn text(role: impl Into<String>, text: impl Into<String>) -> Message {
        Message { role: role.into(), parts: vec![Part::text(text)] }
    }

    /// All its `text` parts, joined.
    pub fn text_content(&self) -> String {
        let texts = self.parts.iter().filter(|part| part.kind == "text");
        texts.filter_map(|part| part.text.as_deref()).collect()
    }
}

/// A piece of a message; `kind` is from the contract's open list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Part {
    /// `text`, `thinking`, `tool-call`, `tool-result`, `image`, `audio`, `file`, ….
    pub kind: String,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Vec<u8>>,
    /// A blob's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
    /// An address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The id of a tool call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of a tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A JSON value: the arguments of a tool call, the value of a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

impl Part {
    /// A text.
    pub fn text(text: impl Into<String>) -> Part {
        Part { kind: "text".into(), text: Some(text.into()), ..Part::default() }
    }

    /// A call of a tool.
    pub fn tool_call(id: impl Into<String>, name: impl Into<String>, arguments: Value) -> Part {
        Part {
            kind: "tool-call".into(),
            id: Some(id.into()),
            name: Some(name.into()),
            value: Some(arguments),
            ..Part::default()
        }
    }
}

/// A tool offered to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModelTool {
    /// Letters, digits, `-` and `_`.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
}

/// The next message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ModelResponse {
    /// The message, to be sent back unchanged.
    pub message: Message,
    /// `stop`, `length`, `tool-calls`, `content-filter`, or the provider's own word.
    pub finish: String,
    /// What the exchange used, where the provider says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<TokenUsage>,
    /// The model that answered.
    pub model: String,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// Tokens of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TokenUsage {
    /// Read.
    pub input_tokens: u64,
    /// Written, thinking included.
    pub output_tokens: u64,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// Something that happened while a response came; `kind` is from the contract's open list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ModelEvent {
    /// `content`, `thinking`, `tool-call`, `response`, ….
    pub kind: String,
    /// A fragment of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A complete part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The complete response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Box<ModelResponse>>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// A model that can be asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ModelInfo {
    /// The provider's name for it.
    pub name: String,
    /// Tokens of context, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}
