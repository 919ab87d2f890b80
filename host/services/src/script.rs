//! The file that the scripted model plays.

use std::collections::HashSet;

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::ScriptError;
use crate::references;

/// The turns of a model, written down beforehand: a TOML file of `[[turns]]`.
///
/// Each request plays the next turn. Unknown keys are errors.
///
/// ```toml
/// [[turns]]
/// thinking = "First the file."
/// tool-calls = [{ id = "lock", name = "files__read", arguments = { path = "Cargo.lock" } }]
///
/// [[turns]]
/// expect = '"size":'            # what the last message must contain, a regular expression
/// tool-calls = [{ name = "hash", arguments = {
///     algorithm = "sha256",
///     data = { "$result" = "lock", pointer = "/value/text" },
/// } }]
///
/// [[turns]]
/// text = "Done."
/// ```
///
/// `{ "$result" = "…", pointer = "…" }` anywhere in the arguments stands for what an earlier
/// call answered, as the model was shown it: `$result` is the call's id, or the name of a tool for
/// the latest result of that tool; `pointer` is a JSON Pointer (RFC 6901) into it, the whole result
/// where it is absent. `{ "$match" = "…" }` stands for what was said: the one group of a regular
/// expression, at its first match in the prompt or in what the user wrote. Where there is no such
/// result, nothing at the pointer, or no match, the turn is an error.
///
/// TOML has no `null`, so arguments cannot hold one; its dates become texts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(rename = "script")]
pub struct Script {
    /// What the model says, one entry a request.
    pub turns: Vec<Turn>,
}

/// What the model says to one request.
///
/// In this order: thoughts, text, tool calls; then the end of the answer, or `error` instead.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Turn {
    /// A regular expression that the last message of the request must match somewhere: its texts,
    /// and its values as compact JSON, a line each. Absent: anything goes.
    #[serde(default)]
    pub expect: Option<String>,
    /// Thoughts. Absent: none.
    #[serde(default)]
    pub thinking: Option<String>,
    /// Text. Absent: none.
    #[serde(default)]
    pub text: Option<String>,
    /// Tools it calls, in order. Default: none.
    #[serde(default)]
    pub tool_calls: Vec<PlayedCall>,
    /// Why the answer ends: `stop`, `length`, `tool-calls`, `content-filter`. Default:
    /// `tool-calls` where it calls tools, else `stop`.
    #[serde(default)]
    pub finish: Option<String>,
    /// What the exchange is said to have used. Absent: nothing is said, as by some providers.
    #[serde(default)]
    pub usage: Option<PlayedUsage>,
    /// A failure of the provider, after whatever else the turn says. Absent: none.
    #[serde(default)]
    pub error: Option<PlayedError>,
}

/// A tool call of a turn.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlayedCall {
    /// The call's id, unlike any other of the script. Default: `call-T-N`, the N-th call of
    /// turn T, both from 1.
    #[serde(default)]
    pub id: Option<String>,
    /// The tool's name as models know it: its id with `/` as `__`.
    pub name: String,
    /// The arguments; references in them are replaced. Anything but an object plays a model that
    /// errs. Default: an empty object.
    #[serde(default = "no_arguments", deserialize_with = "json")]
    pub arguments: Value,
}

/// What an exchange is said to have used.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlayedUsage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// A failure of a provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlayedError {
    /// From the contract's open list, such as `rate-limited` or `unavailable`.
    pub code: String,
    /// In words.
    pub message: String,
    /// Whether asking again may help. Default: false.
    #[serde(default)]
    pub retryable: bool,
    /// When to ask again, in milliseconds. Absent: the provider does not say.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

impl Script {
    /// The largest script, in bytes.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Reads a script.
    ///
    /// # Errors
    /// It is too large, not TOML, holds something unknown, has no turns, or has one that cannot be
    /// played.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        if text.len() > Script::MAX_BYTES {
            return Err(ScriptError::TooLarge);
        }
        let script: Script = toml::from_str(text)?;
        if script.turns.is_empty() {
            return Err(ScriptError::Empty);
        }
        let mut ids = HashSet::new();
        for (index, turn) in script.turns.iter().enumerate() {
            check(turn, &mut ids)
                .map_err(|message| ScriptError::Turn { turn: index + 1, message })?;
        }
        Ok(script)
    }

    /// JSON Schema (2020-12) of a script.
    pub fn schema() -> Schema {
        schema_for!(Script)
    }
}

fn check<'a>(turn: &'a Turn, ids: &mut HashSet<&'a str>) -> Result<(), String> {
    let silent = turn.thinking.is_none() && turn.text.is_none() && turn.error.is_none();
    if silent && turn.tool_calls.is_empty() {
        return Err("says nothing: give it `text`, `tool-calls` or `error`".into());
    }
    if turn.error.is_some() && (turn.finish.is_some() || turn.usage.is_some()) {
        return Err("ends with `error`, so it has no `finish` and no `usage`".into());
    }
    if let Some(pattern) = &turn.expect {
        regex::Regex::new(pattern).map_err(|error| format!("`expect`: {error}"))?;
    }
    for call in &turn.tool_calls {
        if let Some(id) = &call.id
            && !ids.insert(id)
        {
            return Err(format!("the call id `{id}` is taken by an earlier call"));
        }
        references::check(&call.arguments)?;
    }
    Ok(())
}

fn no_arguments() -> Value {
    Value::Object(Map::new())
}

fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    toml::Value::deserialize(deserializer).map(to_json)
}

fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, to_json(value))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use serde_json::json;

    #[test]
    fn a_script_is_read_whole() {
        let script = Script::parse(
            r#"
            [[turns]]
            expect = "(?i)please"
            thinking = "hm"
            text = "One moment."
            usage = { input-tokens = 7, output-tokens = 3 }
            [[turns.tool-calls]]
            id = "a"
            name = "hash"
            arguments = { n = 1, x = 1.5, on = true, day = 2026-01-02, list = [{ k = "v" }] }

            [[turns]]
            error = { code = "rate-limited", message = "slow", retryable = true, retry-after-ms = 9 }
            "#,
        )
        .unwrap();
        let [first, second] = &script.turns[..] else { panic!("two turns") };
        assert_eq!(
            first.tool_calls[0].arguments,
            json!({"n": 1, "x": 1.5, "on": true, "day": "2026-01-02", "list": [{"k": "v"}]})
        );
        assert_eq!(second.error.as_ref().unwrap().retry_after_ms, Some(9));
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_place() {
        let call = |arguments: &str| {
            format!("[[turns]]\ntool-calls = [{{ name = 'x', arguments = {arguments} }}]")
        };
        let cases = [
            ("".to_owned(), "missing field `turns`"),
            ("turns = []".to_owned(), "no turns"),
            ("[[turns]]".to_owned(), "turn 1 of the script: says nothing"),
            ("[[turns]]\ntext = 'a'\nspeech = 'b'".to_owned(), "unknown field `speech`"),
            ("[[turns]]\ntext = 'a'\nspeech = 'b'".to_owned(), "line 3"),
            ("[[turns]]\ntext = 1".to_owned(), "expected a string"),
            ("[[turns]]\ntext = 'a'\n[[turns]]\nexpect = '('\ntext = 'b'".to_owned(), "turn 2"),
            ("[[turns]]\ntext = 'a'\nexpect = '('".to_owned(), "`expect`"),
            (
                "[[turns]]\nfinish = 'stop'\nerror = { code = 'x', message = '' }".to_owned(),
                "no `finish`",
            ),
            (
                "[[turns]]\ntool-calls = [{ id = 'a', name = 'x' }, { id = 'a', name = 'y' }]"
                    .to_owned(),
                "`a` is taken",
            ),
            (call("{ '$result' = 1 }"), "`$result`"),
            (call("{ '$match' = '(' }"), "`$match`"),
            (call("[{ deep = { '$result' = 'a', pinter = '/x' } }]"), "`pinter`"),
            (call("{ '$result' = 'a', pointer = 'x' }"), "`/`"),
            ("# ".repeat(Script::MAX_BYTES), "larger than"),
        ];
        for (text, expected) in cases {
            let error = Script::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
    }

    #[test]
    fn the_schema_knows_every_key_and_no_other() {
        let schema = serde_json::to_value(Script::schema()).unwrap();
        let turn = &schema["$defs"]["Turn"];
        assert_eq!(turn["additionalProperties"], json!(false));
        assert!(turn["properties"]["tool-calls"].is_object(), "{turn}");
        assert_eq!(schema["required"], json!(["turns"]));
    }
}
