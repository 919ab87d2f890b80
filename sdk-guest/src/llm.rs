//! The service `llm`: language models that chat, call tools and think.
//!
//! A plugin that uses models calls [`complete`] or [`stream`] (capability `services = ["llm"]`).
//! A connector to models implements [`Connector`] and is exported with `export!(llm: MyConnector)`.
//!
//! ```no_run
//! # async fn example() -> ampoule_sdk::Result<()> {
//! use ampoule_sdk::llm;
//!
//! let request = llm::Request::new("").system("Answer in one word.").user("The sky is …?");
//! let answer = llm::complete(&request).await?.text();
//! # Ok(())
//! # }
//! ```
//!
//! All shapes are open records: readers pass over kinds they do not know.

use serde_json::{Map, Value};

mod client;
mod connector;
mod convert;
#[cfg(feature = "llm-provider")]
pub mod provider;

pub use client::{Events, complete, models, stream};
pub use connector::{Connector, EventStream};

/// A request for the next message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model, by the provider's name; the binding's default where it is empty.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// Tools the model may call.
    pub tools: Vec<Tool>,
    /// Known keys: `max-tokens`, `temperature`, `top-p`, `stop` (list), `tool-choice` (`auto`,
    /// `none`, `required`, or a tool's name), `parallel-tools` (bool), `response-schema` (JSON
    /// Schema), `thinking` (`{"budget-tokens": n}` or `{"effort": "low"}`), `seed`, `user`, and
    /// `provider`, an object merged into the provider's own request last. An unknown key is an
    /// error, except under `provider`.
    pub options: Map<String, Value>,
}

impl Request {
    /// A request without messages to a model; `""` is the binding's default.
    pub fn new(model: impl Into<String>) -> Request {
        Request { model: model.into(), ..Request::default() }
    }

    /// The same with one more message.
    #[must_use]
    pub fn message(mut self, message: Message) -> Request {
        self.messages.push(message);
        self
    }

    /// The same with a system message.
    #[must_use]
    pub fn system(self, text: impl Into<String>) -> Request {
        self.message(Message::text("system", text))
    }

    /// The same with a user's message.
    #[must_use]
    pub fn user(self, text: impl Into<String>) -> Request {
        self.message(Message::text("user", text))
    }

    /// The same with one more tool.
    #[must_use]
    pub fn tool(mut self, tool: Tool) -> Request {
        self.tools.push(tool);
        self
    }

    /// The same with an option.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<Value>) -> Request {
        self.options.insert(key.into(), value.into());
        self
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
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
}

/// A piece of a message.
///
/// | kind | set |
/// | --- | --- |
/// | `text` | `text` |
/// | `thinking` | `text` (may be empty), `meta` with what the provider needs to get it back unchanged (`signature`, `redacted`) |
/// | `tool-call` | `id`, `name`, `value` (the arguments, an object) |
/// | `tool-result` | `id` of the call, `name`, `text` or `value`; `meta.error` is true where it failed |
/// | `image`, `audio`, `file` | `media_type` and one of `data`, `blob`, `uri` |
///
/// A connector answers `unsupported` for a kind it cannot send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// From the open list above.
    pub kind: String,
    /// Text.
    pub text: Option<String>,
    /// Media type of `data`, `blob` or `uri`.
    pub media_type: Option<String>,
    /// Bytes.
    pub data: Option<Vec<u8>>,
    /// A blob's id.
    pub blob: Option<String>,
    /// An address.
    pub uri: Option<String>,
    /// The id of a tool call.
    pub id: Option<String>,
    /// The name of a tool.
    pub name: Option<String>,
    /// A JSON value.
    pub value: Option<Value>,
    /// An object with anything else.
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

/// A tool offered to the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tool {
    /// Letters, digits, `-` and `_`, at most 64.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
}

/// The next message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// The message, to be sent back unchanged in the next request.
    pub message: Message,
    /// `stop`, `length`, `tool-calls`, `content-filter`, or the provider's own word.
    pub finish: String,
    /// What it used, where the provider says.
    pub usage: Option<Usage>,
    /// The model that answered.
    pub model: String,
    /// An object with anything else (`id`, …).
    pub meta: Option<Value>,
}

impl Response {
    /// All its `text` parts, joined.
    pub fn text(&self) -> String {
        let texts = self.message.parts.iter().filter(|part| part.kind == "text");
        texts.filter_map(|part| part.text.as_deref()).collect()
    }

    /// Its `tool-call` parts.
    pub fn tool_calls(&self) -> impl Iterator<Item = &Part> {
        self.message.parts.iter().filter(|part| part.kind == "tool-call")
    }
}

/// What an exchange used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written, thinking included.
    pub output_tokens: u64,
    /// An object with anything else (`cached-tokens`, `thinking-tokens`, …).
    pub meta: Option<Value>,
}

/// Something that happened while the message came.
///
/// | kind | set |
/// | --- | --- |
/// | `content` | `text`: more of the answer |
/// | `thinking` | `text`: more of the thoughts |
/// | `tool-call` | `part`: a whole tool call, as soon as it is complete |
/// | `response` | `response`: the whole, always the last event of a stream that ends well |
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// From the open list above.
    pub kind: String,
    /// A fragment of text.
    pub text: Option<String>,
    /// A complete part.
    pub part: Option<Part>,
    /// The complete response.
    pub response: Option<Response>,
    /// An object with anything else.
    pub meta: Option<Value>,
}

impl Event {
    /// More of the answer.
    pub fn content(text: impl Into<String>) -> Event {
        Event { kind: "content".into(), text: Some(text.into()), ..Event::default() }
    }

    /// More of the thoughts.
    pub fn thinking(text: impl Into<String>) -> Event {
        Event { kind: "thinking".into(), text: Some(text.into()), ..Event::default() }
    }

    /// A whole tool call.
    pub fn tool_call(part: Part) -> Event {
        Event { kind: "tool-call".into(), part: Some(part), ..Event::default() }
    }

    /// The whole response, the last event of a stream that ends well.
    pub fn response(response: Response) -> Event {
        Event { kind: "response".into(), response: Some(response), ..Event::default() }
    }
}

/// A model that can be asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The provider's name for it.
    pub name: String,
    /// Tokens of context, where known.
    pub context_tokens: Option<u64>,
    /// An object with anything else.
    pub meta: Option<Value>,
}
