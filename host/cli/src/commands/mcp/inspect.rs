//! What clients send and what their calls come to, on stderr.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use ampoule::Outcome;
use ampoule_server::Inspect;
use anstream::AutoStream;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::args::Global;
use crate::render::{self, BAD, CODE, FAINT, one_line, paint, receipt_line};

/// The most characters that are shown of a message's parameters, or of an error.
const MOST: usize = 200;

/// Shows a line for each message and each ended call.
pub(super) struct Shown {
    err: Mutex<AutoStream<std::io::Stderr>>,
    json: bool,
}

impl Shown {
    pub(super) fn new(global: &Global) -> Arc<Shown> {
        let err = AutoStream::new(std::io::stderr(), global.color.into());
        Arc::new(Shown { err: Mutex::new(err), json: global.json })
    }

    fn say(&self, line: &str) {
        let mut err = self.err.lock().unwrap_or_else(PoisonError::into_inner);
        // Where it cannot be written there is nobody to read it.
        let _ = writeln!(err, "{line}");
    }
}

impl Inspect for Shown {
    fn message(&self, principal: Option<&str>, message: &Value) {
        if self.json {
            let time = Timestamp::now().to_string();
            let line = json!({ "time": time, "principal": principal, "message": message });
            return self.say(&line.to_string());
        }
        self.say(&format!("{} {}", lead("→", principal), described(message)));
    }

    fn ended(&self, principal: Option<&str>, outcome: &Outcome) {
        if self.json {
            let time = Timestamp::now().to_string();
            let error = outcome.end.clone().into_result().err();
            let receipt = &outcome.receipt;
            let line = json!({
                "time": time, "principal": principal, "error": error, "receipt": receipt,
            });
            return self.say(&line.to_string());
        }
        let receipt = &outcome.receipt;
        let tool = paint(CODE, one_line(&receipt.tool, 80));
        let mut line = format!("{} {tool} {}", lead("←", principal), receipt_line(receipt));
        line.push_str(&format!("  {}", paint(FAINT, format!("call {}", receipt.call))));
        if let Err(error) = outcome.end.clone().into_result() {
            let why = one_line(&format!("{}: {}", error.code, error.message), MOST);
            line.push_str(&format!("\n  {}", paint(BAD, why)));
        }
        self.say(&line);
    }
}

/// The time, the direction and who it is.
fn lead(arrow: &str, principal: Option<&str>) -> String {
    let now = Timestamp::now().strftime("%H:%M:%S%.3f").to_string();
    let who = principal.map(|name| format!(" {}", one_line(name, 40))).unwrap_or_default();
    format!("{} {arrow}{who}", paint(FAINT, now))
}

/// A message in a line: what is asked, of which tool, with which arguments.
fn described(message: &Value) -> String {
    let text = |value: &Value| one_line(value.as_str().unwrap_or_default(), 80);
    let id = match &message["id"] {
        Value::Null => String::new(),
        id => format!("  {}", paint(FAINT, one_line(&format!("#{id}"), 40))),
    };
    let params = &message["params"];
    let Value::String(method) = &message["method"] else {
        let what = if message["error"].is_null() { "an answer" } else { "an error in answer" };
        return format!("{what}{id}");
    };
    let mut line = render::paint(render::STRONG, one_line(method, 80));
    for name in ["name", "uri", "cursor", "requestId", "level"] {
        match &params[name] {
            Value::Null => {}
            Value::String(named) => {
                line.push_str(&format!(" {}", paint(CODE, one_line(named, 80))));
            }
            other => line.push_str(&format!(" {}", one_line(&other.to_string(), 80))),
        }
    }
    if !params["arguments"].is_null() {
        line.push_str(&format!(" {}", one_line(&params["arguments"].to_string(), MOST)));
    }
    let client = &params["clientInfo"];
    if client.is_object() {
        line.push_str(&format!(" by {} {}", text(&client["name"]), text(&client["version"])));
    }
    line + &id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_that_no_terminal_obeys() {
        let shown = |message: Value| anstream::adapter::strip_str(&described(&message)).to_string();
        let call = json!({
            "jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": { "name": "a\u{1b}[2J", "arguments": { "text": "x\ny" } },
        });
        assert_eq!(shown(call), "tools/call a\\u{1b}[2J {\"text\":\"x\\ny\"}  #7");
        let begun = json!({
            "id": "a", "method": "initialize", "params": { "clientInfo": { "name": "c", "version": "1" } },
        });
        assert_eq!(shown(begun), "initialize by c 1  #\"a\"");
        assert_eq!(shown(json!({ "id": 1, "result": {} })), "an answer  #1");
        assert_eq!(shown(json!([1])), "an answer");
    }
}
