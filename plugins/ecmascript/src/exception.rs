//! What a program has thrown, for a model: one line, and the details as data.

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde_json;

use crate::Line;
use crate::interpreter::MAIN;

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 2_000;

/// How many frames of the stack are told.
const MAX_FRAMES: usize = 20;

/// What was thrown, as the prelude reads it.
pub(crate) struct Thrown {
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) stack: String,
    /// Code, message and data of a tool's error, as JSON.
    pub(crate) tool: Option<String>,
}

/// A place in the program.
struct Place {
    file: String,
    line: u32,
    column: u32,
}

impl Thrown {
    /// An error of the interpreter itself.
    pub(crate) fn internal(message: String) -> Thrown {
        Thrown { name: "InternalError".into(), message, stack: String::new(), tool: None }
    }

    /// The error of the call. `modules` are the names of the program's own.
    pub(crate) fn error(self, console: Vec<Line>, is_module: impl Fn(&str) -> bool) -> Error {
        let frames: Vec<(&str, Place)> = self
            .stack
            .lines()
            .filter_map(|line| Some((line.trim(), place(line)?)))
            .filter(|(_, place)| place.file == MAIN || is_module(&place.file))
            .take(MAX_FRAMES)
            .collect();
        let mut message = self.message;
        if message.len() > MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            message.push('…');
        }
        let mut data = Map::new();
        data.insert("name".into(), self.name.clone().into());
        data.insert("message".into(), message.clone().into());
        let mut text = match self.name.as_str() {
            "" => message,
            name => format!("{name}: {message}"),
        };
        if let Some((_, Place { file, line, column })) = frames.first() {
            data.insert("line".into(), (*line).into());
            data.insert("column".into(), (*column).into());
            let within = if file == MAIN { String::new() } else { format!("{file}, ") };
            text.push_str(&format!(" ({within}line {line}, column {column})"));
        }
        let stack: Vec<&str> = frames.iter().map(|(text, _)| *text).collect();
        data.insert("stack".into(), stack.join("\n").into());
        if let Some(tool) = self.tool.and_then(|tool| serde_json::from_str::<Value>(&tool).ok()) {
            data.insert("tool".into(), tool);
        }
        if let Ok(console) = serde_json::to_value(console) {
            data.insert("console".into(), console);
        }
        Error::new("exception", text).with_data(Value::Object(data))
    }
}

/// The place in a line of a stack: `at name (file:line:column)` or `at file:line:column`.
fn place(line: &str) -> Option<Place> {
    let line = line.trim().strip_prefix("at ")?;
    let inner = match line.rfind('(') {
        Some(open) => line[open + 1..].strip_suffix(')')?,
        None => line,
    };
    let mut parts = inner.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let row = parts.next()?.parse().ok()?;
    Some(Place { file: parts.next()?.to_owned(), line: row, column })
}
