//! An agent file.

use std::io::Read;
use std::path::Path;

use ampoule_contract::Tools;
use schemars::{Schema, schema_for};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::AgentError;
use crate::front_matter::{FrontMatter, ModelRef};
use crate::inputs::Inputs;
use crate::prompt::Prompt;
use crate::toolset::Toolset;

/// An agent as it is written: settings in YAML between two `---` lines, then its prompt.
///
/// ```markdown
/// ---
/// name: reviewer
/// description: Reads a file and says what is wrong with it.
/// model: openai/gpt-5
/// tools: [files/read, "json-*"]
/// inputs:
///   language: { type: string, default: English }
/// limits:
///   max-turns: 10
///   budget: { model-tokens: 200k, wall-time: 5 min }
/// options:
///   temperature: 0
/// ---
/// You review files. Answer in {{ language }}.
/// ```
///
/// The prompt is what the model reads first, as the system message; it is a strict Jinja template
/// of the inputs, which are therefore as trusted as the prompt is. The task comes from the caller
/// of [`Agent::run`](crate::Agent::run) and is the first message of the user.
///
/// A file that parses is valid: its front matter, each schema, each pattern and the template have
/// been checked.
#[derive(Clone, Debug)]
pub struct AgentFile {
    front_matter: FrontMatter,
    inputs: Inputs,
    prompt: Prompt,
    digest: String,
}

impl AgentFile {
    /// The largest agent file: 256 KiB.
    pub const MAX_BYTES: usize = 256 << 10;

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read or is not valid.
    pub fn open(path: &Path) -> Result<AgentFile, AgentError> {
        let read = |source| AgentError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(read)?;
        let mut text = String::new();
        file.take(AgentFile::MAX_BYTES as u64 + 1).read_to_string(&mut text).map_err(read)?;
        AgentFile::parse(&text)
    }

    /// Reads an agent file.
    ///
    /// # Errors
    /// What is wrong with it, with the line where there is one.
    pub fn parse(text: &str) -> Result<AgentFile, AgentError> {
        if text.len() > AgentFile::MAX_BYTES {
            return Err(AgentError::TooLarge);
        }
        let digest = digest(text.as_bytes());
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Sections { yaml, prompt, prompt_line } = sections(text)?;
        // Only as a plain value does YAML refuse a key that a map of ours would take twice.
        serde_norway::from_str::<serde_norway::Value>(yaml)?;
        let front_matter: FrontMatter = serde_norway::from_str(yaml)?;
        let inputs = Inputs::new(&front_matter.inputs)?;
        let prompt = Prompt::new(prompt, prompt_line, inputs.names())?;
        Ok(AgentFile { front_matter, inputs, prompt, digest })
    }

    /// Checks what only a host can tell: that each entry of `tools` matches a tool there is, and
    /// that a model can be offered those tools.
    ///
    /// # Errors
    /// The first entry that matches nothing, or the first tool with an unusable name.
    pub fn validate(&self, tools: &dyn Tools) -> Result<(), AgentError> {
        Toolset::snapshot(tools, &self.front_matter.tools, None).map(drop)
    }

    /// JSON Schema (2020-12) of the front matter.
    pub fn schema() -> Schema {
        schema_for!(FrontMatter)
    }

    /// The same agent with another model. Its digest stays that of the file.
    #[must_use]
    pub fn with_model(mut self, model: ModelRef) -> AgentFile {
        self.front_matter.model = model;
        self
    }

    /// The settings.
    pub fn front_matter(&self) -> &FrontMatter {
        &self.front_matter
    }

    /// The prompt as it is written, the template.
    pub fn prompt(&self) -> &str {
        self.prompt.text()
    }

    /// Digest of the file, `sha256:` and 64 hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The prompt with `inputs` put in: the system message of a run.
    ///
    /// # Errors
    /// The inputs are not those that are declared, or the template fails.
    pub fn render(&self, inputs: &Map<String, Value>) -> Result<String, AgentError> {
        let inputs = self.inputs.resolve(inputs).map_err(AgentError::Inputs)?;
        self.prompt.render(&inputs)
    }

    /// JSON Schema of the arguments of the agent as a tool: `task` and the inputs.
    pub fn tool_schema(&self) -> Value {
        self.inputs.tool_schema()
    }
}

/// The two parts of an agent file.
struct Sections<'a> {
    /// The front matter with its first `---`, which YAML knows too, so that lines are those of the
    /// file.
    yaml: &'a str,
    prompt: &'a str,
    prompt_line: usize,
}

fn sections(text: &str) -> Result<Sections<'_>, AgentError> {
    let is_fence = |line: &str| line.trim_end() == "---";
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().filter(|line| is_fence(line)).ok_or(AgentError::NoFrontMatter)?;
    let mut yaml_end = first.len();
    let mut fence_line = 1;
    for line in lines {
        fence_line += 1;
        if !is_fence(line) {
            yaml_end += line.len();
            continue;
        }
        let (yaml, rest) = text.split_at(yaml_end);
        let body = &rest[line.len()..];
        let prompt = body.trim();
        let blank = body.len() - body.trim_start().len();
        let prompt_line = fence_line + 1 + body[..blank].matches('\n').count();
        return Ok(Sections { yaml, prompt, prompt_line });
    }
    Err(AgentError::Unclosed)
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
