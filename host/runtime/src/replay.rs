//! Record and replay: a recorded call runs again bit for bit, offline, with the same receipt.
//!
//! A guest is a function of what its host calls answer, and of nothing else. So a recording holds
//! the arguments of the call and what came of each host call, in order: the result as the guest
//! got it (of a streamed body each piece as it was read, of a poll which of the things waited for
//! were ready), the fuel it cost, and what the meters said after it. A replay makes a fresh
//! instance under the same limits and answers its host calls from the file. None of them is made:
//! no request, no tool, no model, no file, no clock, no grant is asked.
//!
//! Where the guest asks for something else than it did, or comes to it with other fuel, the replay
//! stops and names that host call. At the end it compares the end, the value and every meter but
//! the time.
//!
//! WASI is held to the same: what reaches files, the network or a stream goes through the same hook
//! ([`wasi`]); clock and randomness (from a recorded seed) come from the recording too. What is left
//! of WASI runs as always, since it reaches nothing.
//!
//! The file: [`file`]. The bytes of results: [`wire`]. The hook, one for all imports: [`linker`].
//!
//! # Secrets
//! A recording holds what the guest read and answered, so it is as private as that. Secrets are
//! not in it: the guest never reads them, and where the value of a secret that was granted to it
//! stands in a result all the same (a server sent it back), the recording is given up and deleted.

mod file;
#[allow(unreachable_pub, reason = "the generated bindings name everything by a path of their own")]
mod linker;
mod tape;
mod wasi;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ampoule_contract::{Account, Breach, CallContext, End, Limits, Meter, Outcome, ToolCall};
use serde_json::{Value, json};

pub(crate) use self::linker::{Linker, interposed};
pub(crate) use self::tape::Tape;
pub(crate) use self::wasi::add_to_linker as add_wasi;

use self::file::{Header, Line, Reader};
use self::tape::Secrets;
use crate::call::Request;
use crate::host::{Callee, Host};
use crate::registry::BoundTool;

/// The longest a replay may take, whatever the recording says: 10 minutes.
const LONGEST_REPLAY: Duration = Duration::from_secs(600);

/// The deepest call that is replayed; the default limit is 8.
const DEEPEST: u64 = 1_000;

/// Why a call could not be recorded or replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is no whole recording. Nothing of it was run.
    #[error("{}, line {line}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// The call cannot be recorded; it was not made.
    #[error("the call cannot be recorded: {0}")]
    Refused(String),
    /// There is no plugin to replay the recording with.
    #[error("{0}")]
    Plugin(String),
}

/// A recording in a file, read through once and found whole.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    header: Header,
    limits: Limits,
    ending: file::Ending,
    calls: u64,
}

impl Recording {
    /// Opens a recording and reads it through; memory is bounded by its longest line.
    ///
    /// # Errors
    /// The file cannot be read, is of another version, or was cut or changed.
    pub fn open(path: impl AsRef<Path>) -> Result<Recording, ReplayError> {
        let path = path.as_ref();
        let mut reader = Reader::open(path)?;
        let Some(Line::Header(header)) = reader.line()? else {
            return Err(reader.refuse("a recording begins with a header"));
        };
        let limits = file::limits(&header.limits).map_err(|message| reader.refuse(message))?;
        if seed(&header.seed).is_none() || header.depth > DEEPEST {
            return Err(reader.refuse("the header's seed or depth is none"));
        }
        let mut calls = 0;
        let mut blobs = false;
        let ending = loop {
            match reader.line()? {
                Some(Line::Call(_)) if !blobs => calls += 1,
                Some(Line::Blob(_)) => blobs = true,
                Some(Line::End(ending)) => break ending,
                None => return Err(reader.refuse("the recording is cut off: it has no end")),
                Some(_) => return Err(reader.refuse("this line does not belong here")),
            }
        };
        file::usage(&ending.used).map_err(|message| reader.refuse(message))?;
        if reader.line()?.is_some() {
            return Err(reader.refuse("there is more after the end"));
        }
        Ok(Recording { path: path.to_owned(), header, limits, ending, calls })
    }

    /// The id of the tool that was called.
    pub fn tool(&self) -> &str {
        &self.header.tool
    }

    /// Digest of the plugin's file, `sha256:…`.
    pub fn digest(&self) -> &str {
        &self.header.digest
    }

    /// The arguments of the call, a JSON text.
    pub fn arguments(&self) -> &str {
        &self.header.arguments
    }

    /// How many host calls it has.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The receipt of the recorded call, as JSON.
    pub fn receipt(&self) -> &Value {
        &self.ending.receipt
    }
}

/// A call that was made, and what became of its recording.
#[derive(Debug)]
pub struct Recorded {
    /// What the call came to.
    pub outcome: Outcome,
    /// How many host calls the file holds; else why there is no file.
    pub recording: Result<u64, String>,
}

/// A recorded call that was run again.
#[derive(Debug)]
pub struct Replayed {
    /// What it came to. Denials and the receipts of called tools are in the recording's receipt
    /// alone: nothing was denied and no tool was called this time.
    pub outcome: Outcome,
    /// The first difference from the recording; `None` where there is none.
    pub divergence: Option<String>,
}

impl Host {
    /// Calls a tool of a plugin and records the call in a new file.
    ///
    /// # Errors
    /// The call cannot be recorded, and was not made.
    pub async fn record(&self, call: ToolCall, path: &Path) -> Result<Recorded, ReplayError> {
        let ToolCall { tool, arguments, context } = call;
        let refused = |message: String| Err(ReplayError::Refused(message));
        let tool = match self.find(&tool) {
            Some(Callee::Plugin(tool)) => tool,
            Some(Callee::Other(..)) => return refused(format!("`{tool}` is no plugin's tool")),
            None => return refused(format!("there is no tool `{tool}`")),
        };
        if let Some(denial) = self.refuses(&tool.definition.id, &context) {
            return refused(denial.to_string());
        }
        let binding = &tool.binding;
        let grants = binding.grants_for(context.principal.as_deref());
        if path.exists() {
            return refused(format!("{} is there already", path.display()));
        }
        let above = context.budget.clone().unwrap_or_else(|| self.run_account());
        let depth = above.used(Meter::ToolDepth);
        let account = above.child(binding.limits_for(context.principal.as_deref()));
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| ReplayError::Refused(error.to_string()))?;
        let digest = |text: &str| crate::digest::of(text.as_bytes());
        let header = Header {
            format: file::FORMAT,
            host: env!("CARGO_PKG_VERSION").to_owned(),
            tool: tool.definition.id.clone(),
            digest: binding.plugin.digest.clone(),
            arguments: arguments.to_string(),
            settings: digest(&binding.settings),
            grants: digest(&format!("{:?}", binding.config.grant)),
            limits: file::numbers(account.limits().iter()),
            // Known when it begins.
            fuel: 0,
            depth,
            blobs: context.blobs.is_some(),
            clock: grants.clock().is_ok(),
            random: grants.random().is_ok(),
            seed: crate::digest::hex(&random),
        };
        let mut secrets = Vec::new();
        for (name, source) in grants.secrets() {
            match self.secrets().get(source).await {
                Ok(Some(value)) => secrets.push((name.to_owned(), value)),
                Ok(None) => {}
                // One that cannot be had now may be had in the middle of the call.
                Err(_) => return refused(format!("the secret `{name}` cannot be had just now")),
            }
        }
        let tape = Arc::new(Tape::recorder(path, header, Secrets(secrets)));
        let tape_of = Some(tape.clone());
        let request = Request {
            arguments,
            context,
            account,
            depth,
            caller: None,
            observer: None,
            tape: tape_of,
        };
        let outcome = crate::call::invoke(self.clone(), tool, request).await.outcome;
        let mut recording = tape.recorded();
        if recording.is_ok() && !path.exists() {
            recording = Err(format!("the call ended before it began: {}", outcome.end.word()));
        }
        Ok(Recorded { outcome, recording })
    }

    /// Runs a recorded call again, with the plugin of the same digest, and compares.
    ///
    /// Of `context` only the token that cancels and the blobs count. With `any_digest` another
    /// build of the plugin will do: what it does otherwise is the difference that is reported.
    ///
    /// # Errors
    /// There is no such plugin, or the file has changed since it was opened.
    pub async fn replay(
        &self,
        recording: &Recording,
        context: CallContext,
        any_digest: bool,
    ) -> Result<Replayed, ReplayError> {
        let header = &recording.header;
        let tool = self.recorded_tool(header, any_digest)?;
        // A recording is a file like any other: it sets no limits, it only has to fit.
        let allowed = tool.binding.limits_for(None);
        // Waiting is not replayed: a replay has a deadline of its own.
        let waits = [Meter::WallTime, Meter::IdleTime];
        let beyond = |meter: &&Meter| {
            !waits.contains(*meter) && recording.limits.get(**meter) > allowed.get(**meter)
        };
        if let Some(&meter) = Meter::ALL.iter().find(beyond) {
            let [then, now] = [recording.limits, allowed].map(|of| meter.show(of.get(meter)));
            return Err(ReplayError::Refused(format!(
                "it was recorded with the limit {meter} of {then}, and `{}` may have {now} here; \
                 raise it for that: [bindings.{}.limits] in ampoule.toml",
                tool.binding.name, tool.binding.name
            )));
        }
        if header.fuel > recording.limits.get(Meter::Fuel) {
            let message = "it was recorded with more fuel than its own limit".to_owned();
            return Err(ReplayError::Refused(message));
        }
        let same = tool.binding.plugin.digest == header.digest;
        let tape = Arc::new(Tape::player(recording, same)?);
        let run = Account::root(Limits::UNLIMITED.with(Meter::Fuel, header.fuel));
        let context = CallContext {
            deadline: Some(Instant::now() + LONGEST_REPLAY),
            // A replay cancels it where the recorded call was cancelled.
            cancel: context.cancel.child_token(),
            blobs: header.blobs.then(|| context.blobs.unwrap_or_default()),
            ..CallContext::default()
        };
        let request = Request {
            arguments: header.arguments.as_str().into(),
            context,
            account: run.child(recording.limits),
            depth: header.depth,
            caller: None,
            observer: None,
            tape: Some(tape.clone()),
        };
        let outcome = crate::call::invoke(self.clone(), tool, request).await.outcome;
        let divergence = tape.divergence().or_else(|| difference(recording, &outcome));
        Ok(Replayed { outcome, divergence })
    }

    /// The tool to replay with: the one under the recorded id, or under another binding.
    fn recorded_tool(
        &self,
        header: &Header,
        any_digest: bool,
    ) -> Result<Arc<BoundTool>, ReplayError> {
        let registry = self.registry();
        let at_id = registry.tools.get(&header.tool);
        let name = header.tool.split_once('/').map_or("", |(_, name)| name);
        let of_name = |tool: &&Arc<BoundTool>| {
            let id = &tool.definition.id;
            id.split_once('/').map_or("", |(_, name)| name) == name
        };
        let same = |tool: &&Arc<BoundTool>| tool.binding.plugin.digest == header.digest;
        let found = at_id.filter(same);
        let found = found.or_else(|| registry.tools.values().filter(of_name).find(same));
        match (found, at_id) {
            (Some(tool), _) => Ok(tool.clone()),
            (None, Some(tool)) if any_digest => Ok(tool.clone()),
            (None, Some(tool)) => Err(ReplayError::Plugin(format!(
                "`{}` has the digest {}, the recording was made with {}",
                header.tool, tool.binding.plugin.digest, header.digest
            ))),
            (None, None) => Err(ReplayError::Plugin(format!(
                "there is no plugin with the tool `{}` and the digest {}",
                header.tool, header.digest
            ))),
        }
    }
}

/// What differs at the end of a replay.
fn difference(recording: &Recording, outcome: &Outcome) -> Option<String> {
    let then = recording.ending.end.get();
    let now = end_text(&outcome.end)?;
    if then != now {
        let parse = |text: &str| crate::json::parse(text).unwrap_or_default();
        let (at, then, now) = first_difference(String::new(), &parse(then), &parse(&now));
        return Some(format!("the end differs at `{at}`: recorded {then}, replayed {now}"));
    }
    let used = file::usage(&recording.ending.used).ok()?;
    let meters = Meter::ALL.iter().filter(|&&meter| meter != Meter::WallTime);
    let mut differ = meters.filter(|&&meter| used.get(meter) != outcome.receipt.used.get(meter));
    differ.next().map(|&meter| {
        let (then, now) = (used.get(meter), outcome.receipt.used.get(meter));
        format!("the receipt differs in {}: recorded {then}, replayed {now}", meter.name())
    })
}

/// Where two values differ first, as a JSON Pointer, and what stands there.
fn first_difference(at: String, then: &Value, now: &Value) -> (String, String, String) {
    let below = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (then, now) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys());
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key));
                let b = b.unwrap_or(&Value::Null);
                if a != b {
                    return first_difference(below(key), a, b);
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for i in 0..a.len().max(b.len()) {
                let (a, b) = (a.get(i).unwrap_or(&Value::Null), b.get(i).unwrap_or(&Value::Null));
                if a != b {
                    return first_difference(below(&i.to_string()), a, b);
                }
            }
        }
        _ => {}
    }
    let short = |value: &Value| {
        let text = value.to_string();
        match text.char_indices().nth(200) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    (at, short(then), short(now))
}

/// An end as a recording holds it, one JSON text; `None` where it has none.
fn end_text(end: &End) -> Option<String> {
    let value = match end {
        End::Value(output) => serde_json::to_value(output).ok()?,
        End::Failed(error) => {
            let mut value = serde_json::to_value(error).ok()?;
            value["log"] = json!(error.log);
            value
        }
        End::BadArguments(problem) | End::BadOutput(problem) => {
            serde_json::to_value(problem).ok()?
        }
        End::Denied(denial) => serde_json::to_value(denial).ok()?,
        End::Limit(Breach { meter, limit, above }) => {
            json!({ "meter": meter.name(), "limit": limit, "above": above })
        }
        End::Trap(text) | End::Overloaded(text) | End::Suspended(text) | End::Fault(text) => {
            json!(text)
        }
        End::Cancelled => Value::Null,
    };
    Some(json!({ end.word(): value }).to_string())
}

/// A seed from its 64 hexadecimal digits.
fn seed(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut seed = [0; 32];
    for (i, byte) in seed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let then = json!({"value": {"a": [1, {"b/c": true}], "d": 1}});
        let now = json!({"value": {"a": [1, {"b/c": false}], "d": 2}});
        let (at, then, now) = first_difference(String::new(), &then, &now);
        assert_eq!(
            (at.as_str(), then.as_str(), now.as_str()),
            ("/value/a/1/b~1c", "true", "false")
        );
        let (at, then, _) = first_difference(String::new(), &json!([]), &json!([7]));
        assert_eq!((at.as_str(), then.as_str()), ("/0", "null"));
    }

    #[test]
    fn a_seed_has_64_digits() {
        assert_eq!(seed(&"0f".repeat(32)), Some([15; 32]));
        assert_eq!(seed("0f"), None);
        assert_eq!(seed(&"é".repeat(32)), None);
        assert_eq!(seed(&"+1".repeat(32)), None);
    }
}
