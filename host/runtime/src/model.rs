//! Models: connectors as the host sees them, and the shapes between the contract and the host's
//! own words.

use std::sync::Arc;

use ampoule_contract::{
    CallContext, Message, Model, ModelEvent, ModelInfo, ModelRequest, ModelResponse, ModelStream,
    ModelTool, Part, TokenUsage, ToolError,
};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::bindings::ampoule::llm::llm as import;
use crate::bindings::exports::ampoule::llm::llm as export;
use crate::host::Host;
use crate::registry::Binding;

/// Events of a connector that may wait for their reader.
const EVENTS_AHEAD: usize = 16;

/// A plugin that is a connector for `llm`. Each request runs in an instance of its own, which
/// lives as long as the response is read.
pub(crate) struct Connector {
    pub host: Host,
    pub binding: Arc<Binding>,
}

#[async_trait::async_trait]
impl Model for Connector {
    async fn models(&self, context: CallContext) -> Result<Vec<ModelInfo>, ToolError> {
        crate::call::models(self.host.clone(), self.binding.clone(), context).await
    }

    async fn stream(
        &self,
        request: ModelRequest,
        context: CallContext,
    ) -> Result<ModelStream, ToolError> {
        let (events, reader) = mpsc::channel(EVENTS_AHEAD);
        let (host, binding) = (self.host.clone(), self.binding.clone());
        let work = crate::call::stream(host, binding, request.into(), context, events);
        let task = AbortOnDrop(tokio::spawn(work));
        Ok(Box::pin(futures::stream::unfold((reader, task), |(mut reader, task)| async move {
            reader.recv().await.map(|event| (event, (reader, task)))
        })))
    }
}

/// A task that stops when nobody reads what it makes.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Bytes of a request, for its price.
pub(crate) fn request_bytes(request: &import::Request) -> usize {
    let part = |part: &import::Part| {
        let texts = [&part.text, &part.value, &part.uri, &part.meta];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        texts + part.data.as_ref().map_or(0, Vec::len)
    };
    let messages = request.messages.iter().flat_map(|message| &message.parts).map(part);
    let tools = request.tools.iter().map(|t| t.description.len() + t.input_schema.len());
    messages.sum::<usize>() + tools.sum::<usize>() + request.options.len()
}

/// Everything of a request that a guest has written, but for its blobs.
pub(crate) fn request_parts(request: &import::Request) -> impl Iterator<Item = &[u8]> {
    let messages = request.messages.iter().flat_map(|message| {
        let parts = message.parts.iter().flat_map(|part| {
            let texts = [&part.text, &part.media_type, &part.uri, &part.id, &part.name];
            let texts = texts.into_iter().chain([&part.value, &part.meta]).flatten();
            let texts = texts.chain([&part.kind]).map(String::as_bytes);
            texts.chain(part.data.as_deref())
        });
        parts.chain([message.role.as_bytes()])
    });
    let tools = request.tools.iter().flat_map(|tool| {
        [tool.name.as_bytes(), tool.description.as_bytes(), tool.input_schema.as_bytes()]
    });
    messages.chain(tools).chain([request.model.as_bytes(), request.options.as_bytes()])
}

/// At least as many values as the JSON texts of a request hold, together.
pub(crate) fn request_values(request: &import::Request) -> usize {
    let values = |text: &str| text.bytes().filter(|b| matches!(b, b',' | b'[' | b'{')).count() + 1;
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let texts = parts.flat_map(|part| [part.value.as_ref(), part.meta.as_ref()]).flatten();
    let schemas = request.tools.iter().map(|tool| &tool.input_schema);
    texts.chain(schemas).chain([&request.options]).map(|text| values(text)).sum()
}

fn parsed(text: Option<String>) -> Option<Value> {
    text.and_then(|text| crate::json::parse(&text).ok())
}

fn printed(value: Option<Value>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// The contract's types stand in the generated code twice, as imports and as exports; both turn
/// into and come from the host's.
macro_rules! convert {
    ($side:ident) => {
        impl From<$side::Part> for Part {
            fn from(part: $side::Part) -> Part {
                Part {
                    kind: part.kind,
                    text: part.text,
                    media_type: part.media_type,
                    data: part.data,
                    blob: part.blob,
                    uri: part.uri,
                    id: part.id,
                    name: part.name,
                    value: parsed(part.value),
                    meta: parsed(part.meta),
                }
            }
        }

        impl From<Part> for $side::Part {
            fn from(part: Part) -> $side::Part {
                $side::Part {
                    kind: part.kind,
                    text: part.text,
                    media_type: part.media_type,
                    data: part.data,
                    blob: part.blob,
                    uri: part.uri,
                    id: part.id,
                    name: part.name,
                    value: printed(part.value),
                    meta: printed(part.meta),
                }
            }
        }

        impl From<$side::Message> for Message {
            fn from(message: $side::Message) -> Message {
                let parts = message.parts.into_iter().map(Into::into).collect();
                Message { role: message.role, parts }
            }
        }

        impl From<Message> for $side::Message {
            fn from(message: Message) -> $side::Message {
                let parts = message.parts.into_iter().map(Into::into).collect();
                $side::Message { role: message.role, parts }
            }
        }

        impl From<$side::Response> for ModelResponse {
            fn from(response: $side::Response) -> ModelResponse {
                ModelResponse {
                    message: response.message.into(),
                    finish: response.finish,
                    usage: response.usage.map(|usage| TokenUsage {
                        input_tokens: usage.input_tokens,
                        output_tokens: usage.output_tokens,
                        meta: parsed(usage.meta),
                    }),
                    model: response.model,
                    meta: parsed(response.meta),
                }
            }
        }

        impl From<ModelResponse> for $side::Response {
            fn from(response: ModelResponse) -> $side::Response {
                $side::Response {
                    message: response.message.into(),
                    finish: response.finish,
                    usage: response.usage.map(|usage| $side::Usage {
                        input_tokens: usage.input_tokens,
                        output_tokens: usage.output_tokens,
                        meta: printed(usage.meta),
                    }),
                    model: response.model,
                    meta: printed(response.meta),
                }
            }
        }

        impl From<$side::Event> for ModelEvent {
            fn from(event: $side::Event) -> ModelEvent {
                ModelEvent {
                    kind: event.kind,
                    text: event.text,
                    part: event.part.map(Into::into),
                    response: event.response.map(|response| Box::new(response.into())),
                    meta: parsed(event.meta),
                }
            }
        }

        impl From<ModelEvent> for $side::Event {
            fn from(event: ModelEvent) -> $side::Event {
                $side::Event {
                    kind: event.kind,
                    text: event.text,
                    part: event.part.map(Into::into),
                    response: event.response.map(|response| (*response).into()),
                    meta: printed(event.meta),
                }
            }
        }

        impl From<$side::Model> for ModelInfo {
            fn from(model: $side::Model) -> ModelInfo {
                ModelInfo {
                    name: model.name,
                    context_tokens: model.context_tokens,
                    meta: parsed(model.meta),
                }
            }
        }

        impl From<ModelInfo> for $side::Model {
            fn from(model: ModelInfo) -> $side::Model {
                $side::Model {
                    name: model.name,
                    context_tokens: model.context_tokens,
                    meta: printed(model.meta),
                }
            }
        }

        impl From<ModelRequest> for $side::Request {
            fn from(request: ModelRequest) -> $side::Request {
                $side::Request {
                    model: request.model,
                    messages: request.messages.into_iter().map(Into::into).collect(),
                    tools: request
                        .tools
                        .into_iter()
                        .map(|tool| $side::ToolDefinition {
                            name: tool.name,
                            description: tool.description,
                            input_schema: tool.input_schema.to_string(),
                        })
                        .collect(),
                    options: Value::Object(request.options).to_string(),
                }
            }
        }
    };
}

convert!(import);
convert!(export);

impl TryFrom<import::Request> for ModelRequest {
    type Error = ToolError;

    /// # Errors
    /// `bad-arguments`: a schema or the options are not JSON.
    fn try_from(request: import::Request) -> Result<ModelRequest, ToolError> {
        let json = |what: &str, text: &str| {
            crate::json::parse(text)
                .map_err(|problem| ToolError::new("bad-arguments", format!("{what}: {problem}")))
        };
        let options: Map<String, Value> = match request.options.trim() {
            "" => Map::new(),
            text => match json("options", text)? {
                Value::Object(options) => options,
                _ => return Err(ToolError::new("bad-arguments", "options: not an object")),
            },
        };
        let tools = request.tools.into_iter().map(|tool| {
            Ok(ModelTool {
                input_schema: json(&format!("the schema of `{}`", tool.name), &tool.input_schema)?,
                name: tool.name,
                description: tool.description,
            })
        });
        Ok(ModelRequest {
            model: request.model,
            messages: request.messages.into_iter().map(Into::into).collect(),
            tools: tools.collect::<Result<_, ToolError>>()?,
            options,
        })
    }
}
