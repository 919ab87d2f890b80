//! From the contract's request to the body of `POST /messages`.
//!
//! Source: <https://docs.claude.com/en/api/messages>.

use ampoule_sdk::llm::provider::{Media, MediaReader, Options, Thinking, merge};
use ampoule_sdk::llm::{Message, Part, Request, Tool};
use ampoule_sdk::prelude::*;

/// Tokens of an answer where the caller sets none: the protocol wants a number.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// The body of a request.
///
/// # Errors
/// `bad-arguments` for an option, a role or a part that is wrong, `unsupported` for one that the
/// protocol has no word for, `too-large` for media.
pub(crate) fn body(request: Request, default_model: &str) -> Result<Map<String, Value>> {
    let Request { model, messages, tools, options } = request;
    let options = Options::read(options)?;
    let model = if model.is_empty() { default_model.to_owned() } else { model };
    if model.is_empty() {
        return Err(Error::bad_arguments(
            "no model: name one in the request, or `model` in the settings of the binding",
        ));
    }
    let (system, messages) = conversation(messages)?;
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    if !system.is_empty() {
        body.insert("system".into(), system.into());
    }
    body.insert("messages".into(), messages.into());
    body.insert("stream".into(), true.into());
    add_tools(tools, &options, &mut body)?;
    add_options(options, &mut body)?;
    Ok(body)
}

fn add_tools(tools: Vec<Tool>, options: &Options, body: &mut Map<String, Value>) -> Result<()> {
    let choice = match options.tool_choice.as_deref() {
        None | Some("auto") => json!({ "type": "auto" }),
        Some("none") => json!({ "type": "none" }),
        Some("required") if !tools.is_empty() => json!({ "type": "any" }),
        Some(name) if tools.iter().any(|tool| tool.name == name) => {
            json!({ "type": "tool", "name": name })
        }
        Some(name) => {
            return Err(Error::bad_arguments(format!(
                "`options`: `tool-choice` is `{name}`, but the request has no such tool; \
                 it is `auto`, `none`, `required` or the name of a tool of the request"
            )));
        }
    };
    if tools.is_empty() {
        // Providers refuse what is said about tools where there are none.
        return Ok(());
    }
    let tools = tools.into_iter().map(|Tool { name, description, input_schema }| {
        json!({ "name": name, "description": description, "input_schema": input_schema })
    });
    body.insert("tools".into(), tools.collect());
    let single = options.parallel_tools == Some(false) && choice["type"] != "none";
    if options.tool_choice.is_some() || single {
        let mut choice = choice;
        if single {
            choice["disable_parallel_tool_use"] = true.into();
        }
        body.insert("tool_choice".into(), choice);
    }
    Ok(())
}

fn add_options(options: Options, body: &mut Map<String, Value>) -> Result<()> {
    if options.seed.is_some() {
        return Err(Error::unsupported("`options`: this provider takes no `seed`; leave it out"));
    }
    let mut max_tokens = DEFAULT_MAX_TOKENS;
    let mut output = Map::new();
    let thinking = match options.thinking {
        None => None,
        Some(Thinking::BudgetTokens(budget)) => {
            max_tokens = max_tokens.saturating_add(budget);
            Some(json!({ "type": "enabled", "budget_tokens": budget }))
        }
        Some(Thinking::Effort(word)) => {
            output.insert("effort".into(), word.into());
            Some(json!({ "type": "adaptive" }))
        }
    };
    if let Some(schema) = options.response_schema {
        output.insert("format".into(), json!({ "type": "json_schema", "schema": schema }));
    }
    let stop = (!options.stop.is_empty()).then(|| options.stop.into());
    let named = [
        ("max_tokens", Some(options.max_tokens.unwrap_or(max_tokens).into())),
        ("temperature", options.temperature.map(Value::from)),
        ("top_p", options.top_p.map(Value::from)),
        ("stop_sequences", stop),
        ("thinking", thinking),
        ("output_config", (!output.is_empty()).then(|| output.into())),
        ("metadata", options.user.map(|user| json!({ "user_id": user }))),
    ];
    body.extend(named.into_iter().filter_map(|(key, value)| Some((key.into(), value?))));
    merge(body, options.provider);
    Ok(())
}

/// The blocks of all system messages, and the other messages with those of the same role merged.
fn conversation(messages: Vec<Message>) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut media = MediaReader::default();
    let mut system = Vec::new();
    let mut merged: Vec<(&str, Vec<Value>)> = Vec::new();
    for Message { role, parts } in messages {
        let sender = match role.as_str() {
            "system" => "system",
            // Results of tools are the user's.
            "user" | "tool" => "user",
            "assistant" => "assistant",
            _ => {
                return Err(Error::bad_arguments(format!(
                    "the role `{role}` is unknown; \
                     there are `system`, `user`, `assistant` and `tool`"
                )));
            }
        };
        let mut blocks = Vec::new();
        for part in parts {
            blocks.extend(block(sender, part, &mut media)?);
        }
        match merged.last_mut() {
            _ if sender == "system" => system.append(&mut blocks),
            _ if blocks.is_empty() => {}
            Some((last, all)) if *last == sender => all.append(&mut blocks),
            _ => merged.push((sender, blocks)),
        }
    }
    let messages = merged.into_iter().map(|(role, mut blocks)| {
        // The provider wants the results of tools before anything else the user says.
        if role == "user" {
            blocks.sort_by_key(|block| block["type"] != "tool_result");
        }
        json!({ "role": role, "content": blocks })
    });
    Ok((system, messages.collect()))
}

/// The block of one part; `None` for one that says nothing to this provider.
fn block(role: &str, part: Part, media: &mut MediaReader) -> Result<Option<Value>> {
    let meta = part.meta.clone().unwrap_or_default();
    Ok(Some(match (role, part.kind.as_str()) {
        (_, "text") => {
            let text = part.text.unwrap_or_default();
            if text.is_empty() {
                return Ok(None);
            }
            let mut block = json!({ "type": "text", "text": text });
            if role == "assistant" && meta["citations"].is_array() {
                block["citations"] = meta["citations"].clone();
            }
            block
        }
        ("assistant", "thinking") => match (&meta["redacted"], &meta["signature"]) {
            (Value::String(data), _) => json!({ "type": "redacted_thinking", "data": data }),
            (_, Value::String(signature)) => {
                let text = part.text.unwrap_or_default();
                json!({ "type": "thinking", "thinking": text, "signature": signature })
            }
            _ => return Ok(None),
        },
        ("assistant", "tool-call") => {
            let (Some(id), Some(name)) = (part.id, part.name) else {
                return Err(Error::bad_arguments(
                    "a part of kind `tool-call` needs `id` and `name`",
                ));
            };
            let input = part.value.unwrap_or_else(|| json!({}));
            json!({ "type": "tool_use", "id": id, "name": name, "input": input })
        }
        ("user", "tool-result") => tool_result(part)?,
        ("user", "image") => match media.read(&part)? {
            Media::Inline { media_type, base64 } => json!({
                "type": "image",
                "source": { "type": "base64", "media_type": media_type, "data": base64 },
            }),
            Media::Uri(uri) => {
                json!({ "type": "image", "source": { "type": "url", "url": uri } })
            }
        },
        ("user", "file") => document(part, media)?,
        ("assistant", _) if meta["block"].is_object() => meta["block"].clone(),
        (role, kind) => {
            return Err(Error::unsupported(format!(
                "a part of kind `{kind}` cannot be sent in a message of role `{role}`"
            )));
        }
    }))
}

fn tool_result(part: Part) -> Result<Value> {
    let Some(id) = part.id else {
        return Err(Error::bad_arguments(
            "a part of kind `tool-result` needs the `id` of its call",
        ));
    };
    let content = part.text.or_else(|| part.value.map(|value| value.to_string()));
    let mut block = json!({ "type": "tool_result", "tool_use_id": id });
    if let Some(content) = content.filter(|content| !content.is_empty()) {
        block["content"] = content.into();
    }
    if part.meta.is_some_and(|meta| meta["error"] == true) {
        block["is_error"] = true.into();
    }
    Ok(block)
}

fn document(part: Part, media: &mut MediaReader) -> Result<Value> {
    let source = match media.read(&part)? {
        Media::Uri(uri) => json!({ "type": "url", "url": uri }),
        Media::Inline { media_type, base64 } if media_type == "application/pdf" => {
            json!({ "type": "base64", "media_type": media_type, "data": base64 })
        }
        Media::Inline { media_type, .. } => {
            return Err(Error::unsupported(format!(
                "a file of type `{media_type}` cannot be sent; use application/pdf, or send its \
                 text as a part of kind `text`"
            )));
        }
    };
    let mut block = json!({ "type": "document", "source": source });
    if let Some(name) = part.name {
        block["title"] = name.into();
    }
    Ok(block)
}

#[cfg(test)]
#[path = "tests/request.rs"]
mod tests;
