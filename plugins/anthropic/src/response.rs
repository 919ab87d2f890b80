//! From the provider's events to the contract's.
//!
//! Source: <https://docs.claude.com/en/docs/build-with-claude/streaming>.

use ampoule_sdk::llm::provider::{self, Assemble, Budget, broken_off};
use ampoule_sdk::llm::{Event, Message, Model, Part, Response, Usage};
use ampoule_sdk::prelude::*;
use ampoule_sdk::serde;

/// What one server-sent event carries; names that are not known are passed over, as the provider
/// asks of its clients.
#[derive(Debug, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", tag = "type", rename_all = "snake_case")]
enum Frame {
    MessageStart {
        message: Started,
    },
    ContentBlockStart {
        index: u64,
        content_block: Value,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    ContentBlockStop {
        index: u64,
    },
    MessageDelta {
        delta: Ended,
        #[serde(default)]
        usage: Value,
    },
    MessageStop,
    Error,
    #[serde(other)]
    Other,
}

#[derive(Debug, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde")]
struct Started {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: String,
    #[serde(default)]
    usage: Value,
}

#[derive(Debug, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde")]
struct Ended {
    stop_reason: Option<String>,
    #[serde(default)]
    stop_sequence: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(rename = "citations_delta")]
    Citations { citation: Value },
    #[serde(other)]
    Other,
}

/// An answer in the making.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    budget: Budget,
    id: Option<String>,
    model: String,
    counted: Map<String, Value>,
    /// Finished parts, in order; the provider writes one block after the other.
    parts: Vec<Part>,
    open: Option<Open>,
    /// The tool whose call is no JSON object: cut by the limit of tokens, or malformed.
    malformed: Option<String>,
    finish: Option<String>,
    stop_sequence: Option<String>,
}

/// A block in the making.
#[derive(Debug)]
struct Open {
    index: u64,
    /// As it began, without what the fields below collect.
    block: Map<String, Value>,
    text: String,
    signature: String,
    /// The text of a tool's arguments.
    input: String,
    citations: Vec<Value>,
}

impl Assemble for Assembly {
    fn take(&mut self, data: &str) -> Result<Vec<Event>> {
        let frame: Frame = provider::parse(data)?;
        let mut events = Vec::new();
        match frame {
            Frame::MessageStart { message } => {
                self.id = message.id;
                self.model = message.model;
                self.count(message.usage);
            }
            Frame::ContentBlockStart { index, content_block } => {
                self.start(index, content_block, &mut events)?;
            }
            Frame::ContentBlockDelta { index, delta } => self.delta(index, delta, &mut events)?,
            Frame::ContentBlockStop { index } => {
                self.at(index)?;
                self.close(&mut events)?;
            }
            Frame::MessageDelta { delta, usage } => {
                self.count(usage);
                self.stop_sequence = delta.stop_sequence.or(self.stop_sequence.take());
                if let Some(reason) = delta.stop_reason {
                    self.close(&mut events)?;
                    match self.malformed.take() {
                        Some(name) if finish(&reason) != "length" => {
                            return Err(provider::malformed_call(&name));
                        }
                        _ => self.finish = Some(reason),
                    }
                }
            }
            Frame::MessageStop => events.push(self.end()?),
            Frame::Error => return Err(provider::reported(&provider::parse(data)?)),
            // `ping`, and what comes to be.
            Frame::Other => {}
        }
        Ok(events)
    }

    fn end(&mut self) -> Result<Event> {
        let Some(reason) = self.finish.take() else { return Err(broken_off()) };
        let mut meta = Map::new();
        meta.extend(self.id.take().map(|id| ("id".into(), id.into())));
        let sequence = self.stop_sequence.take();
        meta.extend(sequence.map(|sequence| ("stop-sequence".into(), sequence.into())));
        Ok(Event::response(Response {
            message: Message { role: "assistant".into(), parts: std::mem::take(&mut self.parts) },
            finish: finish(&reason).chars().take(64).collect(),
            usage: usage(&self.counted),
            model: std::mem::take(&mut self.model),
            meta: (!meta.is_empty()).then(|| meta.into()),
        }))
    }
}

impl Assembly {
    /// Takes over the counts of an event; they are totals, so the last one holds.
    fn count(&mut self, usage: Value) {
        if let Value::Object(usage) = usage {
            self.counted.extend(usage.into_iter().filter(|(_, count)| !count.is_null()));
        }
    }

    fn start(&mut self, index: u64, block: Value, events: &mut Vec<Event>) -> Result<()> {
        let Value::Object(mut block) = block else {
            return Err(Error::invalid_data("the provider's answer has a block that is no object"));
        };
        if self.open.is_some() {
            return Err(Error::invalid_data("a block began before the one before it had ended"));
        }
        self.budget.part()?;
        self.budget.text(&Value::from(block.clone()).to_string())?;
        // A block that collects nothing is kept whole; the others begin empty, or nearly so.
        let begun = match block.get("type").and_then(Value::as_str) {
            Some("text") => block.shift_remove("text"),
            Some("thinking") => block.shift_remove("thinking"),
            _ => None,
        };
        let citations = match block.shift_remove("citations") {
            Some(Value::Array(citations)) => citations,
            _ => Vec::new(),
        };
        let signature = match block.shift_remove("signature") {
            Some(Value::String(signature)) => signature,
            _ => String::new(),
        };
        let (text, input) = (String::new(), String::new());
        self.open = Some(Open { index, block, text, signature, input, citations });
        if let Some(Value::String(begun)) = begun.filter(|begun| begun != "") {
            self.say(begun, events)?;
        }
        Ok(())
    }

    /// The open block.
    ///
    /// # Errors
    /// `invalid-data` where it is another than the event says.
    fn at(&mut self, index: u64) -> Result<&mut Open> {
        match &mut self.open {
            Some(open) if open.index == index => Ok(open),
            _ => Err(Error::invalid_data(
                "the provider's answer goes on with a block that is not open",
            )),
        }
    }

    fn delta(&mut self, index: u64, delta: Delta, events: &mut Vec<Event>) -> Result<()> {
        self.at(index)?;
        match delta {
            Delta::Text { text } | Delta::Thinking { thinking: text } => {
                self.say(text, events)?;
            }
            Delta::Signature { signature } => {
                self.budget.text(&signature)?;
                self.at(index)?.signature.push_str(&signature);
            }
            Delta::InputJson { partial_json } => {
                self.budget.text(&partial_json)?;
                self.at(index)?.input.push_str(&partial_json);
            }
            Delta::Citations { citation } => {
                self.budget.text(&citation.to_string())?;
                self.at(index)?.citations.push(citation);
            }
            Delta::Other => {}
        }
        Ok(())
    }

    /// Adds to the text or the thoughts of the open block.
    fn say(&mut self, text: String, events: &mut Vec<Event>) -> Result<()> {
        self.budget.text(&text)?;
        if let Some(open) = &mut self.open {
            open.text.push_str(&text);
            events.push(match open.block["type"] == "thinking" {
                true => Event::thinking(text),
                false => Event::content(text),
            });
        }
        Ok(())
    }

    /// Ends the open block, if there is one.
    fn close(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let Some(Open { mut block, text, signature, input, citations, .. }) = self.open.take()
        else {
            return Ok(());
        };
        let word = |block: &Map<String, Value>, key: &str| {
            block.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let kind = word(&block, "type");
        let part = match kind.as_str() {
            "text" => Part {
                meta: (!citations.is_empty()).then(|| json!({ "citations": citations })),
                ..Part::text(text)
            },
            "thinking" => Part {
                kind: "thinking".into(),
                text: Some(text),
                meta: (!signature.is_empty()).then(|| json!({ "signature": signature })),
                ..Part::default()
            },
            "redacted_thinking" => Part {
                kind: "thinking".into(),
                text: Some(String::new()),
                meta: Some(json!({ "redacted": word(&block, "data") })),
                ..Part::default()
            },
            "tool_use" => {
                let (id, name) = (word(&block, "id"), word(&block, "name"));
                if id.is_empty() || name.is_empty() {
                    return Err(Error::invalid_data(
                        "the provider sent a tool call without a name",
                    ));
                }
                // Arguments come as text; where there is none, those the block began with hold.
                let begun = block.get("input").filter(|_| input.is_empty());
                let input = begun.map(ToString::to_string).unwrap_or(input);
                let Some(part) = provider::tool_call(&id, &name, &input) else {
                    self.malformed = Some(name);
                    return Ok(());
                };
                events.push(Event::tool_call(part.clone()));
                part
            }
            _ => {
                if !input.is_empty() {
                    block.insert("input".into(), provider::parse(&input)?);
                }
                if !text.is_empty() {
                    block.insert("text".into(), text.into());
                }
                Part { kind, meta: Some(json!({ "block": block })), ..Part::default() }
            }
        };
        self.parts.push(part);
        Ok(())
    }
}

/// The contract's word for a reason to end, where it has one.
fn finish(reason: &str) -> &str {
    match reason {
        "end_turn" | "stop_sequence" => "stop",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool-calls",
        "refusal" => "content-filter",
        other => other,
    }
}

/// What was used. The provider counts what went through its cache apart from `input_tokens`; the
/// contract counts all tokens read.
fn usage(counted: &Map<String, Value>) -> Option<Usage> {
    let count = |key: &str| counted.get(key).and_then(Value::as_u64);
    let (read, written) = (count("cache_read_input_tokens"), count("cache_creation_input_tokens"));
    let output_tokens = count("output_tokens")?;
    let mut meta = Map::new();
    meta.extend(read.map(|n| ("cached-tokens".into(), n.into())));
    meta.extend(written.map(|n| ("cache-written-tokens".into(), n.into())));
    let input = [count("input_tokens"), read, written].into_iter().flatten();
    Some(Usage {
        input_tokens: input.fold(0, u64::saturating_add),
        output_tokens,
        meta: (!meta.is_empty()).then(|| meta.into()),
    })
}

/// The models that `GET /models` lists.
pub(crate) fn models(answer: &Value) -> Vec<Model> {
    let listed = answer["data"].as_array().into_iter().flatten();
    listed
        .filter_map(|model| {
            let title = model["display_name"].as_str();
            Some(Model {
                name: model["id"].as_str()?.into(),
                context_tokens: model["max_input_tokens"].as_u64(),
                meta: title.map(|title| json!({ "title": title })),
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "tests/response.rs"]
mod tests;
