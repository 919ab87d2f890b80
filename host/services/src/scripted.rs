//! The model that plays a script.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use ampoule_contract::{
    CallContext, Message, Model, ModelInfo, ModelRequest, ModelResponse, ModelStream, Part,
    TokenUsage, ToolError,
};
use serde_json::json;

use crate::answer;
use crate::error::ScriptError;
use crate::references;
use crate::script::{Script, Turn};

/// A model that plays the turns of a [`Script`], one a request, whatever model and options the
/// request names.
///
/// It plays the script once: every run takes a new one. A request that the script has no turn for,
/// or that is not what the turn expects, is answered with the error `script`, which names the turn
/// and is not to be retried.
#[derive(Debug)]
pub struct Scripted {
    name: String,
    turns: Vec<Turn>,
    played: AtomicUsize,
}

impl Scripted {
    /// Its label.
    pub const LABEL: &'static str = "scripted";

    /// A model that plays `script` and calls itself `name`.
    pub fn new(name: impl Into<String>, script: Script) -> Scripted {
        Scripted { name: name.into(), turns: script.turns, played: AtomicUsize::new(0) }
    }

    /// A model that plays the script in a file and is named after it.
    ///
    /// # Errors
    /// The file cannot be read or is not a script.
    pub fn open(path: &Path) -> Result<Scripted, ScriptError> {
        let read = |source| ScriptError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(read)?;
        let mut text = String::new();
        file.take(Script::MAX_BYTES as u64 + 1).read_to_string(&mut text).map_err(read)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Ok(Scripted::new(name, Script::parse(&text)?))
    }

    /// How many turns have not been played yet.
    pub fn remaining(&self) -> usize {
        self.turns.len().saturating_sub(self.played.load(Ordering::Relaxed))
    }
}

#[async_trait::async_trait]
impl Model for Scripted {
    fn stand_in(&self) -> Option<&'static str> {
        Some(Scripted::LABEL)
    }

    async fn models(&self, _: CallContext) -> Result<Vec<ModelInfo>, ToolError> {
        Ok(vec![ModelInfo { name: self.name.clone(), ..ModelInfo::default() }])
    }

    /// # Errors
    /// `script` where it cannot go on; the error of the turn where that is all the turn has.
    async fn stream(
        &self,
        request: ModelRequest,
        context: CallContext,
    ) -> Result<ModelStream, ToolError> {
        let index = self.played.fetch_add(1, Ordering::Relaxed);
        let number = index + 1;
        let of = self.turns.len();
        let stuck = |what: String| {
            let message = format!("turn {number} of {of} of the script `{}`: {what}", self.name);
            ToolError::new("script", message)
        };
        let Some(turn) = self.turns.get(index) else {
            return Err(stuck("there is no such turn, and one more was asked for".into()));
        };
        expect(turn, request.messages.last()).map_err(stuck)?;
        let parts = parts(turn, number, &request.messages).map_err(stuck)?;
        let failure = turn.error.as_ref().map(|error| ToolError {
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms,
            ..ToolError::new(error.code.clone(), error.message.clone())
        });
        if parts.is_empty()
            && let Some(error) = failure
        {
            return Err(error);
        }
        let finish = match &turn.finish {
            Some(finish) => finish,
            None if turn.tool_calls.is_empty() => "stop",
            None => "tool-calls",
        };
        let response = ModelResponse {
            message: Message { role: "assistant".into(), parts },
            finish: finish.to_owned(),
            usage: turn.usage.map(|usage| TokenUsage {
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
                meta: None,
            }),
            model: self.name.clone(),
            meta: Some(json!({ "stand-in": Scripted::LABEL })),
        };
        Ok(answer::stream(response, failure, context))
    }
}

fn expect(turn: &Turn, last: Option<&Message>) -> Result<(), String> {
    let Some(pattern) = &turn.expect else { return Ok(()) };
    let found = last.map(shown).unwrap_or_default();
    let matched = regex::Regex::new(pattern).map_err(|error| error.to_string())?.is_match(&found);
    if matched {
        return Ok(());
    }
    let beginning: String = found.chars().take(200).collect();
    Err(format!("it expects the last message to match `{pattern}`; it begins `{beginning}`"))
}

/// A message as `expect` sees it.
fn shown(message: &Message) -> String {
    let lines = message.parts.iter().filter_map(|part| match (&part.text, &part.value) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(value)) => Some(value.to_string()),
        (None, None) => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn parts(turn: &Turn, number: usize, messages: &[Message]) -> Result<Vec<Part>, String> {
    let thinking = turn.thinking.iter();
    let mut parts: Vec<_> =
        thinking.map(|text| Part { kind: "thinking".into(), ..Part::text(text) }).collect();
    parts.extend(turn.text.iter().map(Part::text));
    for (index, call) in turn.tool_calls.iter().enumerate() {
        let id = call.id.clone().unwrap_or_else(|| format!("call-{number}-{}", index + 1));
        let arguments = references::resolve(&call.arguments, messages)
            .map_err(|error| format!("the arguments of `{id}`: {error}"))?;
        parts.push(Part::tool_call(id, &call.name, arguments));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    #![allow(clippy::result_large_err, reason = "the contract's error is what it is")]

    use super::*;
    use futures::StreamExt;
    use futures::executor::block_on;

    fn scripted(text: &str) -> Scripted {
        Scripted::new("test.toml", Script::parse(text).unwrap())
    }

    fn ask(model: &Scripted, messages: &[Message]) -> Result<ModelResponse, ToolError> {
        let request = ModelRequest { messages: messages.to_vec(), ..ModelRequest::default() };
        block_on(model.complete(request, CallContext::default()))
    }

    #[test]
    fn turns_are_played_in_order_and_end() {
        let model = scripted(
            r#"
            [[turns]]
            thinking = "let me see"
            text = "Hashing."
            usage = { input-tokens = 5, output-tokens = 2 }
            tool-calls = [{ name = "hash", arguments = { data = "x" } }, { name = "ids" }]
            [[turns]]
            expect = '"digest":"[0-9a-f]+"'
            tool-calls = [{ id = "q", name = "json-query", arguments = {
                input = { "$result" = "call-1-1", pointer = "/value/digest" },
            } }]
            [[turns]]
            text = "Done."
            finish = "length"
            "#,
        );
        let mut messages = vec![Message::text("user", "go")];
        let first = ask(&model, &messages).unwrap();
        let kinds: Vec<_> = first.message.parts.iter().map(|part| part.kind.as_str()).collect();
        assert_eq!(kinds, ["thinking", "text", "tool-call", "tool-call"]);
        let ids: Vec<_> = first.message.parts.iter().filter_map(|part| part.id.clone()).collect();
        assert_eq!(ids, ["call-1-1", "call-1-2"]);
        assert_eq!(first.finish, "tool-calls");
        assert_eq!(first.usage.as_ref().unwrap().input_tokens, 5);
        assert_eq!(first.meta, Some(json!({"stand-in": "scripted"})));
        assert_eq!(model.stand_in(), Some("scripted"));

        let answered = Part {
            kind: "tool-result".into(),
            id: Some("call-1-1".into()),
            name: Some("hash".into()),
            value: Some(json!({"value": {"digest": "ab12"}})),
            ..Part::default()
        };
        messages.push(first.message);
        messages.push(Message { role: "tool".into(), parts: vec![answered] });
        let second = ask(&model, &messages).unwrap();
        assert_eq!(second.message.parts[0].value, Some(json!({"input": "ab12"})));
        assert_eq!(second.usage, None);

        assert_eq!(model.remaining(), 1);
        assert_eq!(ask(&model, &messages).unwrap().finish, "length");
        let over = ask(&model, &messages).unwrap_err();
        assert_eq!(over.code, "script");
        assert!(over.message.contains("turn 4 of 3"), "{over}");
        assert!(!over.retryable);
    }

    #[test]
    fn what_was_not_expected_is_an_error_that_names_the_turn() {
        let model = scripted("[[turns]]\nexpect = 'weather'\ntext = 'Sunny.'");
        let error = ask(&model, &[Message::text("user", "hello")]).unwrap_err();
        assert!(error.message.contains("turn 1 of 1 of the script `test.toml`"), "{error}");
        assert!(error.message.contains("`weather`") && error.message.contains("`hello`"));
    }

    #[test]
    fn failures_of_a_provider_are_played_before_or_amid_an_answer() {
        let model = scripted(
            r#"
            [[turns]]
            error = { code = "rate-limited", message = "slow", retryable = true, retry-after-ms = 3 }
            [[turns]]
            text = "It is "
            error = { code = "unavailable", message = "gone" }
            "#,
        );
        let refused = ask(&model, &[]).unwrap_err();
        assert_eq!((refused.code.as_str(), refused.retry_after_ms), ("rate-limited", Some(3)));
        assert!(refused.retryable);

        let stream = block_on(model.stream(ModelRequest::default(), CallContext::default()));
        let events: Vec<_> = block_on(stream.unwrap().collect());
        assert_eq!(events.len(), 3);
        assert_eq!(events[0].as_ref().unwrap().text.as_deref(), Some("It "));
        assert_eq!(events[2].as_ref().unwrap_err().code, "unavailable");
    }

    #[test]
    fn a_script_stands_below_the_folder_that_names_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let model = |name| crate::embedded("scripted", name, folder).map(|model| model.is_some());
        for path in ["", "../x.toml", "/etc/passwd", "a/../../x.toml", "./x"] {
            assert!(matches!(model(path), Err(ScriptError::Path(_))), "{path} was opened");
        }
        assert!(matches!(model("absent.toml"), Err(ScriptError::Read { .. })));
        assert!(matches!(model("Cargo.toml"), Err(ScriptError::Syntax(_))));
        assert!(crate::embedded("echo", "", folder).unwrap().is_some());
        assert!(crate::embedded("openai", "gpt-5", folder).unwrap().is_none());
    }
}
