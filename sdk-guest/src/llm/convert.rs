//! Between the types of this module and those of the contract, which `wit-bindgen` makes once for
//! the imported and once for the exported interface.

use serde_json::Value;

use crate::Result;

fn text(value: Option<Value>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn value(text: Option<String>) -> Result<Option<Value>> {
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

fn each<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(B::from).collect()
}

fn try_each<A, B: TryFrom<A, Error = crate::Error>>(list: Vec<A>) -> Result<Vec<B>> {
    list.into_iter().map(B::try_from).collect()
}

macro_rules! conversions {
    ($module:ident, $($wit:tt)*) => {
        mod $module {
            use super::super::{Event, Message, Model, Part, Request, Response, Tool, Usage};
            use super::{each, text, try_each, value};
            use crate::{Error, Result};
            use $($wit)* as wit;

            impl From<Part> for wit::Part {
                fn from(part: Part) -> wit::Part {
                    wit::Part {
                        kind: part.kind,
                        text: part.text,
                        media_type: part.media_type,
                        data: part.data,
                        blob: part.blob,
                        uri: part.uri,
                        id: part.id,
                        name: part.name,
                        value: text(part.value),
                        meta: text(part.meta),
                    }
                }
            }

            impl TryFrom<wit::Part> for Part {
                type Error = Error;
                fn try_from(part: wit::Part) -> Result<Part> {
                    Ok(Part {
                        kind: part.kind,
                        text: part.text,
                        media_type: part.media_type,
                        data: part.data,
                        blob: part.blob,
                        uri: part.uri,
                        id: part.id,
                        name: part.name,
                        value: value(part.value)?,
                        meta: value(part.meta)?,
                    })
                }
            }

            impl From<Message> for wit::Message {
                fn from(message: Message) -> wit::Message {
                    wit::Message { role: message.role, parts: each(message.parts) }
                }
            }

            impl TryFrom<wit::Message> for Message {
                type Error = Error;
                fn try_from(message: wit::Message) -> Result<Message> {
                    Ok(Message { role: message.role, parts: try_each(message.parts)? })
                }
            }

            impl From<Tool> for wit::ToolDefinition {
                fn from(tool: Tool) -> wit::ToolDefinition {
                    wit::ToolDefinition {
                        name: tool.name,
                        description: tool.description,
                        input_schema: tool.input_schema.to_string(),
                    }
                }
            }

            impl TryFrom<wit::ToolDefinition> for Tool {
                type Error = Error;
                fn try_from(tool: wit::ToolDefinition) -> Result<Tool> {
                    Ok(Tool {
                        name: tool.name,
                        description: tool.description,
                        input_schema: serde_json::from_str(&tool.input_schema)?,
                    })
                }
            }

            impl From<Request> for wit::Request {
                fn from(request: Request) -> wit::Request {
                    wit::Request {
                        model: request.model,
                        messages: each(request.messages),
                        tools: each(request.tools),
                        options: serde_json::Value::from(request.options).to_string(),
                    }
                }
            }

            impl TryFrom<wit::Request> for Request {
                type Error = Error;
                fn try_from(request: wit::Request) -> Result<Request> {
                    Ok(Request {
                        model: request.model,
                        messages: try_each(request.messages)?,
                        tools: try_each(request.tools)?,
                        options: serde_json::from_str(&request.options)?,
                    })
                }
            }

            impl From<Usage> for wit::Usage {
                fn from(usage: Usage) -> wit::Usage {
                    wit::Usage {
                        input_tokens: usage.input_tokens,
                        output_tokens: usage.output_tokens,
                        meta: text(usage.meta),
                    }
                }
            }

            impl TryFrom<wit::Usage> for Usage {
                type Error = Error;
                fn try_from(usage: wit::Usage) -> Result<Usage> {
                    Ok(Usage {
                        input_tokens: usage.input_tokens,
                        output_tokens: usage.output_tokens,
                        meta: value(usage.meta)?,
                    })
                }
            }

            impl From<Response> for wit::Response {
                fn from(response: Response) -> wit::Response {
                    wit::Response {
                        message: response.message.into(),
                        finish: response.finish,
                        usage: response.usage.map(Into::into),
                        model: response.model,
                        meta: text(response.meta),
                    }
                }
            }

            impl TryFrom<wit::Response> for Response {
                type Error = Error;
                fn try_from(response: wit::Response) -> Result<Response> {
                    Ok(Response {
                        message: response.message.try_into()?,
                        finish: response.finish,
                        usage: response.usage.map(Usage::try_from).transpose()?,
                        model: response.model,
                        meta: value(response.meta)?,
                    })
                }
            }

            impl From<Event> for wit::Event {
                fn from(event: Event) -> wit::Event {
                    wit::Event {
                        kind: event.kind,
                        text: event.text,
                        part: event.part.map(Into::into),
                        response: event.response.map(Into::into),
                        meta: text(event.meta),
                    }
                }
            }

            impl TryFrom<wit::Event> for Event {
                type Error = Error;
                fn try_from(event: wit::Event) -> Result<Event> {
                    Ok(Event {
                        kind: event.kind,
                        text: event.text,
                        part: event.part.map(Part::try_from).transpose()?,
                        response: event.response.map(Response::try_from).transpose()?,
                        meta: value(event.meta)?,
                    })
                }
            }

            impl From<Model> for wit::Model {
                fn from(model: Model) -> wit::Model {
                    wit::Model {
                        name: model.name,
                        context_tokens: model.context_tokens,
                        meta: text(model.meta),
                    }
                }
            }

            impl TryFrom<wit::Model> for Model {
                type Error = Error;
                fn try_from(model: wit::Model) -> Result<Model> {
                    Ok(Model {
                        name: model.name,
                        context_tokens: model.context_tokens,
                        meta: value(model.meta)?,
                    })
                }
            }
        }
    };
}

conversions!(imported, crate::bindings::ampoule::llm::llm);
conversions!(exported, crate::bindings::connector::exports::ampoule::llm::llm);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use crate::bindings::ampoule::llm::llm as imported;
    use crate::bindings::connector::exports::ampoule::llm::llm as exported;
    use crate::llm::{Event, Message, Model, Part, Request, Response, Tool, Usage};

    #[test]
    fn nothing_is_lost_on_the_way() {
        let call = Part { meta: Some(json!({ "x": 1 })), ..Part::tool_call("1", "t", json!([])) };
        let message =
            Message { role: "assistant".into(), parts: vec![Part::text("a"), call.clone()] };
        let tool = Tool { name: "t".into(), description: "d".into(), input_schema: json!({}) };
        let request = Request::new("m").system("s").message(message.clone()).tool(tool);
        let request = request.option("temperature", 0.5).option("stop", json!(["x"]));
        let usage = Usage { input_tokens: 1, output_tokens: 2, meta: Some(json!({ "y": 2 })) };
        let response = Response {
            message,
            finish: "tool-calls".into(),
            usage: Some(usage),
            model: "m".into(),
            meta: Some(json!({ "id": "r" })),
        };
        let events = [Event::thinking("t"), Event::tool_call(call), Event::response(response)];
        let model = Model { name: "m".into(), context_tokens: Some(9), meta: None };

        assert_eq!(Request::try_from(imported::Request::from(request.clone())).unwrap(), request);
        assert_eq!(Request::try_from(exported::Request::from(request.clone())).unwrap(), request);
        for event in events {
            assert_eq!(Event::try_from(imported::Event::from(event.clone())).unwrap(), event);
            assert_eq!(Event::try_from(exported::Event::from(event.clone())).unwrap(), event);
        }
        assert_eq!(Model::try_from(imported::Model::from(model.clone())).unwrap(), model);
    }

    #[test]
    fn malformed_json_is_an_error() {
        let part = imported::Part { value: Some("{".into()), ..Part::text("").into() };
        assert_eq!(Part::try_from(part).unwrap_err().code, "invalid-data");
    }
}
