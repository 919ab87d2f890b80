//! Questions of guests, asked on the terminal.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::sync::Arc;

use ampoule::{Answer, Ask, CallContext, Question};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::render::{one_line, safe};

/// The longest line that is read: 64 KiB.
const LONGEST: u64 = 64 << 10;

/// The most choices that are shown.
const MOST_CHOICES: usize = 50;

/// Asks on the terminal, one question at a time.
struct Terminal(Mutex<()>);

/// Who is asked: the person at the terminal, where standard input and standard error are one.
pub(crate) fn terminal() -> Option<Arc<dyn Ask>> {
    let is_there = io::stdin().is_terminal() && io::stderr().is_terminal();
    is_there.then(|| Arc::new(Terminal(Mutex::new(()))) as Arc<dyn Ask>)
}

#[async_trait::async_trait]
impl Ask for Terminal {
    async fn ask(&self, question: Question, _: &CallContext) -> Answer {
        let _turn = self.0.lock().await;
        let asked = tokio::task::spawn_blocking(move || {
            ask(&question, &mut BufReader::new(io::stdin().lock()), &mut io::stderr().lock())
        });
        asked.await.ok().and_then(Result::ok).unwrap_or(Answer::Nobody)
    }
}

/// Asks until the answer is one. The end of the input, or an empty line, declines.
fn ask(
    question: &Question,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Answer> {
    let choices = choices(question);
    match question.kind.as_str() {
        Question::APPROVAL => writeln!(output, "\nAmpoule asks for your approval:")?,
        // Who asks is told by the host; what follows are the plugin's words.
        _ => writeln!(output, "\n{} asks:", one_line(&question.tool, 80))?,
    }
    for line in safe(&question.text).lines() {
        writeln!(output, "  {line}")?;
    }
    for (n, choice) in choices.iter().take(MOST_CHOICES).enumerate() {
        let text = choice.as_str().map_or_else(|| choice.to_string(), str::to_owned);
        writeln!(output, "  {}) {}", n + 1, one_line(&text, 200))?;
    }
    loop {
        write!(output, "{} (nothing declines): ", wanted(question, &choices))?;
        output.flush()?;
        let mut line = String::new();
        input.by_ref().take(LONGEST).read_line(&mut line)?;
        let line = line.trim();
        if line.is_empty() {
            return Ok(Answer::Declined);
        }
        match read(question, &choices, line) {
            Some(value) => return Ok(Answer::Given(value)),
            None => writeln!(output, "  That is no answer to it.")?,
        }
    }
}

fn wanted(question: &Question, choices: &[Value]) -> &'static str {
    match question.kind.as_str() {
        _ if !choices.is_empty() => "A number",
        Question::APPROVAL | "confirm" => "yes or no",
        "form" => "JSON",
        _ => "Answer",
    }
}

/// What there is to choose from, where it is a choice.
fn choices(question: &Question) -> Vec<Value> {
    let schema = question.schema.as_ref();
    let choices = schema.and_then(|schema| schema.get("enum")).and_then(Value::as_array);
    choices.cloned().unwrap_or_default()
}

/// A line as the value that is asked for. Whether it fits the schema the host checks.
fn read(question: &Question, choices: &[Value], line: &str) -> Option<Value> {
    if !choices.is_empty() {
        let number = line.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        return number.and_then(|n| choices.get(n)).cloned();
    }
    if matches!(question.kind.as_str(), Question::APPROVAL | "confirm") {
        return match line.to_lowercase().as_str() {
            "y" | "yes" => Some(json!(true)),
            "n" | "no" => Some(json!(false)),
            _ => None,
        };
    }
    let kind = question.schema.as_ref().and_then(|schema| schema.get("type"));
    match kind.and_then(Value::as_str) {
        None | Some("string") if question.kind != "form" => Some(json!(line)),
        _ => serde_json::from_str(line).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: &str, schema: Value, typed: &str) -> (Answer, String) {
        let question = Question {
            tool: "x".to_owned(),
            kind: kind.to_owned(),
            text: "Really?\u{1b}[2J".to_owned(),
            schema: (!schema.is_null()).then_some(schema),
            meta: None,
        };
        let mut output = Vec::new();
        let answer = ask(&question, &mut typed.as_bytes(), &mut output).expect("in memory");
        (answer, String::from_utf8(output).expect("text"))
    }

    #[test]
    fn a_line_is_the_value_that_is_asked_for() {
        for (kind, schema, typed, expected) in [
            ("text", json!(null), "some words\n", json!("some words")),
            ("text", json!({ "type": "string" }), "7\n", json!("7")),
            ("text", json!({ "type": "integer" }), "x\n7\n", json!(7)),
            ("confirm", json!(null), "perhaps\nYES\n", json!(true)),
            ("confirm", json!({ "type": "boolean" }), "n\n", json!(false)),
            ("choice", json!({ "enum": ["a", "b"] }), "0\n3\n2\n", json!("b")),
            ("form", json!({ "type": "object" }), "{\n{\"a\": 1}\n", json!({ "a": 1 })),
        ] {
            let (answer, shown) = asked(kind, schema, typed);
            assert_eq!(answer, Answer::Given(expected), "{kind} {typed:?}: {shown}");
            assert!(shown.starts_with("\nx asks:\n") && !shown.contains('\u{1b}'), "{shown:?}");
        }
        for typed in ["", "\n", "  \n"] {
            assert_eq!(asked("confirm", json!(null), typed).0, Answer::Declined);
        }
    }
}
