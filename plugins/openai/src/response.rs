//! From the provider's chunks to the contract's events.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat-streaming>.

use ampoule_sdk::llm::provider::{self, Assemble, Budget, broken_off};
use ampoule_sdk::llm::{Event, Message, Model, Part, Response, Usage};
use ampoule_sdk::prelude::*;
use ampoule_sdk::serde;

/// What one server-sent event carries. Fields of the protocol that are not read are passed over.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", default)]
struct Chunk {
    id: Option<String>,
    model: Option<String>,
    system_fingerprint: Option<String>,
    choices: Vec<Choice>,
    usage: Option<Counted>,
    error: Option<Value>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", default)]
struct Choice {
    index: u64,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", default)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    /// Thoughts, as DeepSeek, xAI and vLLM name them.
    reasoning_content: Option<String>,
    /// Thoughts, as OpenRouter, Groq and Ollama name them.
    reasoning: Option<String>,
    tool_calls: Option<Vec<Fragment>>,
}

/// A piece of a tool call.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", default)]
struct Fragment {
    index: Option<u64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", default)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", default)]
struct Counted {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
    /// As DeepSeek names it.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", default)]
struct Details {
    cached_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

/// An answer in the making.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    budget: Budget,
    id: Option<String>,
    model: String,
    fingerprint: Option<String>,
    text: String,
    thoughts: String,
    /// The field the thoughts came in, in which some providers want them back.
    thoughts_field: &'static str,
    refused: bool,
    calls: Vec<Call>,
    /// The complete tool calls, from when the answer has finished.
    complete: Vec<Part>,
    finish: Option<String>,
    usage: Option<Usage>,
}

/// A tool call in the making.
#[derive(Debug)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Assemble for Assembly {
    fn take(&mut self, data: &str) -> Result<Vec<Event>> {
        if data.trim() == "[DONE]" {
            return Ok(vec![self.end()?]);
        }
        let chunk: Chunk = provider::parse(data)?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(provider::reported(&json!({ "error": error })));
        }
        self.id = self.id.take().or(chunk.id);
        self.fingerprint = self.fingerprint.take().or(chunk.system_fingerprint);
        if let Some(model) = chunk.model.filter(|_| self.model.is_empty()) {
            self.model = model;
        }
        self.usage = chunk.usage.map(usage).or(self.usage.take());
        let mut events = Vec::new();
        // One answer was asked for; a provider option may have made it more.
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            self.delta(choice.delta.unwrap_or_default(), &mut events)?;
            if let Some(reason) = choice.finish_reason.filter(|_| self.finish.is_none()) {
                self.finish(&reason, &mut events)?;
            }
        }
        Ok(events)
    }

    fn end(&mut self) -> Result<Event> {
        let Some(finish) = self.finish.take() else { return Err(broken_off()) };
        let mut parts = Vec::new();
        if !self.thoughts.is_empty() {
            parts.push(Part {
                kind: "thinking".into(),
                text: Some(std::mem::take(&mut self.thoughts)),
                meta: Some(json!({ "field": self.thoughts_field })),
                ..Part::default()
            });
        }
        if !self.text.is_empty() {
            parts.push(Part::text(std::mem::take(&mut self.text)));
        }
        parts.append(&mut self.complete);
        let mut meta = Map::new();
        meta.extend(self.id.take().map(|id| ("id".into(), id.into())));
        let fingerprint = self.fingerprint.take();
        meta.extend(fingerprint.map(|print| ("system-fingerprint".into(), print.into())));
        Ok(Event::response(Response {
            message: Message { role: "assistant".into(), parts },
            finish,
            usage: self.usage.take(),
            model: std::mem::take(&mut self.model),
            meta: (!meta.is_empty()).then(|| meta.into()),
        }))
    }
}

impl Assembly {
    fn delta(&mut self, delta: Delta, events: &mut Vec<Event>) -> Result<()> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        // Some providers send the same thoughts under both names.
        let thoughts = match filled(delta.reasoning_content) {
            Some(text) => Some(("reasoning_content", text)),
            None => filled(delta.reasoning).map(|text| ("reasoning", text)),
        };
        if let Some((field, text)) = thoughts {
            self.budget.text(&text)?;
            self.thoughts_field = field;
            self.thoughts.push_str(&text);
            events.push(Event::thinking(text));
        }
        let refusal = filled(delta.refusal);
        self.refused |= refusal.is_some();
        for text in [filled(delta.content), refusal].into_iter().flatten() {
            self.budget.text(&text)?;
            self.text.push_str(&text);
            events.push(Event::content(text));
        }
        for fragment in delta.tool_calls.into_iter().flatten() {
            self.fragment(fragment)?;
        }
        Ok(())
    }

    /// Adds a piece to the tool call of its index. Where there is no index, or servers use the
    /// same for all, another id begins another call.
    fn fragment(&mut self, fragment: Fragment) -> Result<()> {
        if self.finish.is_some() {
            return Err(Error::invalid_data("a tool call came after the end of the answer"));
        }
        let Fragment { index, id, function } = fragment;
        let (id, function) = (id.unwrap_or_default(), function.unwrap_or_default());
        let (name, arguments) =
            (function.name.unwrap_or_default(), function.arguments.unwrap_or_default());
        for text in [&id, &name, &arguments] {
            self.budget.text(text)?;
        }
        let known = match index {
            None => self.calls.iter_mut().next_back(),
            Some(_) => self.calls.iter_mut().rfind(|call| call.index == index),
        };
        match known.filter(|call| id.is_empty() || call.id.is_empty() || call.id == id) {
            Some(call) => {
                if call.id.is_empty() {
                    call.id = id;
                }
                if call.name.is_empty() {
                    call.name = name;
                }
                call.arguments.push_str(&arguments);
            }
            None => {
                self.budget.part()?;
                self.calls.push(Call { index, id, name, arguments });
            }
        }
        Ok(())
    }

    /// Takes the reason for which the answer ended; now the tool calls are complete.
    fn finish(&mut self, reason: &str, events: &mut Vec<Event>) -> Result<()> {
        self.calls.sort_by_key(|call| call.index);
        let cut = reason == "length";
        for (number, call) in std::mem::take(&mut self.calls).into_iter().enumerate() {
            let Call { mut id, name, arguments, .. } = call;
            if name.is_empty() {
                return Err(Error::invalid_data("the provider sent a tool call without a name"));
            }
            if id.is_empty() {
                id = format!("call-{}", number + 1);
            }
            match provider::tool_call(&id, &name, &arguments) {
                Some(part) => {
                    events.push(Event::tool_call(part.clone()));
                    self.complete.push(part);
                }
                None if cut => {}
                None => return Err(provider::malformed_call(&name)),
            }
        }
        self.finish = Some(match reason {
            _ if self.refused => "content-filter".into(),
            // Some servers end tool calls with `stop`.
            "stop" | "tool_calls" | "function_call" if !self.complete.is_empty() => {
                "tool-calls".into()
            }
            "content_filter" => "content-filter".into(),
            "tool_calls" | "function_call" => "tool-calls".into(),
            other => other.chars().take(64).collect(),
        });
        Ok(())
    }
}

fn usage(counted: Counted) -> Usage {
    let cached = counted.prompt_tokens_details.and_then(|details| details.cached_tokens);
    let cached = cached.or(counted.prompt_cache_hit_tokens);
    let thought = counted.completion_tokens_details.and_then(|details| details.reasoning_tokens);
    let mut meta = Map::new();
    meta.extend(cached.map(|n| ("cached-tokens".into(), n.into())));
    meta.extend(thought.map(|n| ("thinking-tokens".into(), n.into())));
    Usage {
        input_tokens: counted.prompt_tokens,
        output_tokens: counted.completion_tokens,
        meta: (!meta.is_empty()).then(|| meta.into()),
    }
}

/// The models that `GET /models` lists: an object with `data`, or, at some providers, the list
/// itself. The length of the context goes by several names.
pub(crate) fn models(answer: &Value) -> Vec<Model> {
    let listed = answer["data"].as_array().or(answer.as_array());
    let listed = listed.into_iter().flatten();
    listed
        .filter_map(|model| {
            let context = ["context_length", "context_window", "max_model_len"];
            let owner = model["owned_by"].as_str();
            Some(Model {
                name: model["id"].as_str()?.into(),
                context_tokens: context.iter().find_map(|key| model[*key].as_u64()),
                meta: owner.map(|owner| json!({ "owned-by": owner })),
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "tests/response.rs"]
mod tests;
