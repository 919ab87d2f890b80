//! From the contract's request to the body of `POST /chat/completions`.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat/create>.

use ampoule_sdk::llm::provider::{Media, MediaReader, Options, Thinking, merge};
use ampoule_sdk::llm::{Message, Part, Request, Tool};
use ampoule_sdk::prelude::*;

use crate::{OPENAI, Settings};

/// The body of a request.
///
/// # Errors
/// `bad-arguments` for an option, a role or a part that is wrong, `unsupported` for one that the
/// protocol has no word for, `too-large` for media.
pub(crate) fn body(request: Request, settings: &Settings) -> Result<Map<String, Value>> {
    let Request { model, messages, tools, options } = request;
    let options = Options::read(options)?;
    let model = if model.is_empty() { settings.model.clone() } else { model };
    if model.is_empty() {
        return Err(Error::bad_arguments(
            "no model: name one in the request, or `model` in the settings of the binding",
        ));
    }
    let mut media = MediaReader::default();
    let mut sent = Vec::new();
    for message in messages {
        add_message(message, &mut media, &mut sent)?;
    }
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    body.insert("messages".into(), sent.into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    add_tools(tools, &options, &mut body)?;
    add_options(options, settings, &mut body)?;
    Ok(body)
}

fn add_tools(tools: Vec<Tool>, options: &Options, body: &mut Map<String, Value>) -> Result<()> {
    let choice = match options.tool_choice.as_deref() {
        None => None,
        Some(word @ ("auto" | "none" | "required")) => Some(word.into()),
        Some(name) if tools.iter().any(|tool| tool.name == name) => {
            Some(json!({ "type": "function", "function": { "name": name } }))
        }
        Some(name) => {
            return Err(Error::bad_arguments(format!(
                "`options`: `tool-choice` is `{name}`, but there is no such tool; \
                 it is `auto`, `none`, `required` or the name of a tool of the request"
            )));
        }
    };
    if tools.is_empty() {
        // Providers refuse what is said about tools where there are none.
        return match options.tool_choice.as_deref() {
            Some("required") => Err(Error::bad_arguments(
                "`options`: `tool-choice` is `required`, but the request has no tools",
            )),
            _ => Ok(()),
        };
    }
    let tools = tools.into_iter().map(|Tool { name, description, input_schema }| {
        let function =
            json!({ "name": name, "description": description, "parameters": input_schema });
        json!({ "type": "function", "function": function })
    });
    body.insert("tools".into(), tools.collect());
    body.extend(choice.map(|choice| ("tool_choice".into(), choice)));
    body.extend(options.parallel_tools.map(|yes| ("parallel_tool_calls".into(), yes.into())));
    Ok(())
}

fn add_options(options: Options, settings: &Settings, body: &mut Map<String, Value>) -> Result<()> {
    // OpenAI's newer models refuse the old name, most other servers do not know the new one.
    let at_openai = settings.base_url.trim_end_matches('/') == OPENAI;
    let limit = if at_openai { "max_completion_tokens" } else { "max_tokens" };
    let effort = match options.thinking {
        None => None,
        Some(Thinking::Effort(word)) => Some(word),
        Some(Thinking::BudgetTokens(budget)) => {
            return Err(Error::unsupported(format!(
                "`options`: this protocol takes no budget for thinking (here {budget} tokens); \
                 use `thinking.effort`, such as `low`"
            )));
        }
    };
    let format = options.response_schema.map(|schema| {
        let schema = json!({ "name": "answer", "schema": schema, "strict": true });
        json!({ "type": "json_schema", "json_schema": schema })
    });
    let stop = (!options.stop.is_empty()).then(|| options.stop.into());
    let named = [
        (limit, options.max_tokens.map(Value::from)),
        ("temperature", options.temperature.map(Value::from)),
        ("top_p", options.top_p.map(Value::from)),
        ("stop", stop),
        ("response_format", format),
        ("reasoning_effort", effort.map(Value::from)),
        ("seed", options.seed.map(Value::from)),
        ("user", options.user.map(Value::from)),
    ];
    body.extend(named.into_iter().filter_map(|(key, value)| Some((key.into(), value?))));
    merge(body, options.provider);
    Ok(())
}

/// Adds what stands for one message: one of the provider's, or one for each tool result.
fn add_message(message: Message, media: &mut MediaReader, sent: &mut Vec<Value>) -> Result<()> {
    let Message { role, parts } = message;
    match role.as_str() {
        "assistant" => sent.push(assistant(parts)?),
        "system" | "user" | "tool" => {
            let mut content = Vec::new();
            for part in parts {
                if part.kind == "tool-result" {
                    // What came before it is a message of its own, so that the order stays.
                    add_content(&role, std::mem::take(&mut content), sent);
                    sent.push(tool_result(part)?);
                } else {
                    content.push(content_part(&role, part, media)?);
                }
            }
            add_content(&role, content, sent);
        }
        _ => {
            return Err(Error::bad_arguments(format!(
                "the role `{role}` is unknown; there are `system`, `user`, `assistant` and `tool`"
            )));
        }
    }
    Ok(())
}

/// Adds a message of these parts; texts alone are one text, which every server understands.
fn add_content(role: &str, parts: Vec<Value>, sent: &mut Vec<Value>) {
    if parts.is_empty() {
        return;
    }
    let texts: Option<Vec<&str>> = parts.iter().map(|part| part["text"].as_str()).collect();
    let content = texts.map_or_else(|| Value::from(parts.clone()), |texts| texts.concat().into());
    // Beside its results, what a `tool` message holds can only be the user's.
    let role = if role == "tool" { "user" } else { role };
    sent.push(json!({ "role": role, "content": content }));
}

fn content_part(role: &str, part: Part, media: &mut MediaReader) -> Result<Value> {
    Ok(match part.kind.as_str() {
        "text" => json!({ "type": "text", "text": part.text.unwrap_or_default() }),
        "image" if role != "system" => {
            let url = uri(media.read(&part)?);
            json!({ "type": "image_url", "image_url": { "url": url } })
        }
        "audio" if role != "system" => match media.read(&part)? {
            Media::Inline { media_type, base64 } => {
                let format = match media_type.as_str() {
                    "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
                    "audio/mpeg" | "audio/mp3" => "mp3",
                    other => {
                        return Err(Error::unsupported(format!(
                            "audio of type `{other}` cannot be sent; use audio/wav or audio/mpeg"
                        )));
                    }
                };
                json!({ "type": "input_audio", "input_audio": { "data": base64, "format": format } })
            }
            Media::Uri(_) => {
                return Err(Error::unsupported("audio is sent as `data` or `blob`, not as `uri`"));
            }
        },
        "file" if role != "system" => match media.read(&part)? {
            inline @ Media::Inline { .. } => {
                let name = part.name.unwrap_or_else(|| "file".into());
                let file = json!({ "filename": name, "file_data": uri(inline) });
                json!({ "type": "file", "file": file })
            }
            Media::Uri(_) => {
                return Err(Error::unsupported("a file is sent as `data` or `blob`, not as `uri`"));
            }
        },
        kind => return Err(unsupported(kind, role)),
    })
}

/// Media as one URI: `data:` (RFC 2397) for bytes.
fn uri(media: Media) -> String {
    match media {
        Media::Inline { media_type, base64 } => format!("data:{media_type};base64,{base64}"),
        Media::Uri(uri) => uri,
    }
}

fn assistant(parts: Vec<Part>) -> Result<Value> {
    let (mut text, mut calls, mut thoughts) = (String::new(), Vec::new(), Map::new());
    for part in parts {
        match part.kind.as_str() {
            "text" => text.push_str(part.text.as_deref().unwrap_or_default()),
            "tool-call" => calls.push(tool_call(part)?),
            "thinking" => {
                let field = part.meta.as_ref().and_then(|meta| meta["field"].as_str());
                if let Some(field @ ("reasoning_content" | "reasoning")) = field {
                    thoughts.insert(field.into(), part.text.unwrap_or_default().into());
                }
            }
            kind => return Err(unsupported(kind, "assistant")),
        }
    }
    let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { text.into() };
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    message.insert("content".into(), content);
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
        // Thoughts belong to an answer that goes on after tools; elsewhere providers refuse them
        // or pass over them.
        message.extend(thoughts);
    }
    Ok(message.into())
}

fn tool_call(part: Part) -> Result<Value> {
    let (Some(id), Some(name)) = (part.id, part.name) else {
        return Err(Error::bad_arguments("a part of kind `tool-call` needs `id` and `name`"));
    };
    let arguments = part.value.unwrap_or_else(|| json!({})).to_string();
    let function = json!({ "name": name, "arguments": arguments });
    Ok(json!({ "id": id, "type": "function", "function": function }))
}

fn tool_result(part: Part) -> Result<Value> {
    let Some(id) = part.id else {
        return Err(Error::bad_arguments(
            "a part of kind `tool-result` needs the `id` of its call",
        ));
    };
    let failed = part.meta.as_ref().is_some_and(|meta| meta["error"] == true);
    let content = part.text.or_else(|| part.value.map(|value| value.to_string()));
    let content = content.unwrap_or_default();
    // The protocol has no field for it.
    let content = if failed { format!("Error: {content}") } else { content };
    Ok(json!({ "role": "tool", "tool_call_id": id, "content": content }))
}

fn unsupported(kind: &str, role: &str) -> Error {
    Error::unsupported(format!(
        "a part of kind `{kind}` cannot be sent in a message of role `{role}`"
    ))
}

#[cfg(test)]
#[path = "tests/request.rs"]
mod tests;
