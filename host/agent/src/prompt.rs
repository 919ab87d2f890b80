//! The prompt: a strict template.

use std::collections::BTreeSet;

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value};

use crate::error::{AgentError, list};

/// Steps that rendering may take.
const FUEL: u64 = 1_000_000;

/// The longest rendered prompt, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The text below the front matter.
///
/// A Jinja template of the inputs: a variable that is not an input is an error, so is anything
/// undefined; it reaches no file and no other template.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    text: String,
    line: usize,
}

impl Prompt {
    /// Reads a template that begins at `line` of the agent file and may use `inputs`.
    ///
    /// # Errors
    /// It is empty or not a template, or it uses something that is not an input.
    pub(crate) fn new<'a>(
        text: &str,
        line: usize,
        inputs: impl Iterator<Item = &'a str>,
    ) -> Result<Prompt, AgentError> {
        let prompt = Prompt { text: text.to_owned(), line };
        if text.is_empty() {
            return Err(prompt.error(None, "is empty: say who the agent is and how it works"));
        }
        let environment = environment();
        let template =
            environment.template_from_str(&prompt.text).map_err(|error| prompt.failure(&error))?;
        let mut known: BTreeSet<_> = inputs.collect();
        let inputs: Vec<_> = known.iter().copied().collect();
        known.extend(environment.globals().map(|(name, _)| name));
        let mut used: Vec<_> = template.undeclared_variables(false).into_iter().collect();
        used.sort();
        match used.iter().find(|name| !known.contains(name.as_str())) {
            None => Ok(prompt),
            Some(name) => {
                let what =
                    format!("uses `{name}`, which is not an input; there are: {}", list(&inputs));
                Err(prompt.error(line_of(&prompt.text, name), what))
            }
        }
    }

    /// The prompt with `inputs` put in.
    ///
    /// # Errors
    /// Something is undefined, rendering takes too many steps, or the result is too long.
    pub(crate) fn render(&self, inputs: &Map<String, Value>) -> Result<String, AgentError> {
        let context = minijinja::Value::from(minijinja::value::Serde(inputs));
        let text = environment()
            .template_from_str(&self.text)
            .and_then(|template| template.render(context))
            .map_err(|error| self.failure(&error))?;
        if text.len() > MAX_BYTES {
            return Err(self.error(None, format!("is longer than {MAX_BYTES} bytes when rendered")));
        }
        Ok(text)
    }

    /// As it is written in the file.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn failure(&self, error: &minijinja::Error) -> AgentError {
        let mut what = format!("has an error: {}", error.kind());
        if let Some(detail) = error.detail() {
            what = format!("{what}: {detail}");
        }
        if let Some(source) = error.range().and_then(|range| self.text.get(range)) {
            let source: String = source.chars().take(80).collect();
            what = format!("{what}, in `{source}`");
        }
        self.error(error.line(), what)
    }

    fn error(&self, line: Option<usize>, what: impl ToString) -> AgentError {
        let line = self.line + line.map_or(0, |line| line.saturating_sub(1));
        AgentError::Prompt { line, message: what.to_string() }
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

fn line_of(text: &str, name: &str) -> Option<usize> {
    text.lines().position(|line| line.contains(name)).map(|index| index + 1)
}
