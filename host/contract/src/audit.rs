//! What happened, for the record: each call, each grant it ran under, each refusal.
//!
//! The host makes an [`AuditEvent`] for each, passes it through [`Redact`] and hands it to
//! [`Audit`]. `ampoule-journal` keeps them in a hash-chained file; an embedder can bring another.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where events go.
pub trait Audit: Send + Sync {
    /// Takes an event, in the order in which things happen to a call.
    ///
    /// It is called on the call's own task, so it should not wait for a disk; where it must wait
    /// for room the call waits with it, since no event may be lost.
    ///
    /// # Errors
    /// Events cannot be kept. The host then begins no call: it ends as a fault before the plugin
    /// is entered. A call that is under way goes on to its end.
    fn record(&self, event: AuditEvent) -> Result<(), AuditError>;
}

/// Takes out of an event what must not be written, such as values of secrets.
///
/// Every event passes it before it reaches [`Audit`].
pub trait Redact: Send + Sync {
    /// Changes the event where it has to.
    fn redact(&self, event: &mut AuditEvent);
}

impl<F: Fn(&mut AuditEvent) + Send + Sync> Redact for F {
    fn redact(&self, event: &mut AuditEvent) {
        self(event);
    }
}

/// Why events cannot be kept, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditError(pub String);

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AuditError {}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditEvent {
    /// When.
    pub time: SystemTime,
    /// What.
    pub kind: AuditKind,
    /// The call it happened to.
    pub call: Option<String>,
    /// The call that made that call.
    pub parent: Option<String>,
    /// The tool's id; for `grants` the binding.
    pub tool: Option<String>,
    /// Who asked.
    pub principal: Option<String>,
    /// The run the call belongs to.
    pub run: Option<String>,
    /// The rest: an object, as [`AuditKind`] says.
    pub body: Value,
}

impl AuditEvent {
    /// An event of now, with nothing but its kind and body.
    pub fn new(kind: AuditKind, body: Value) -> AuditEvent {
        AuditEvent {
            time: SystemTime::now(),
            kind,
            call: None,
            parent: None,
            tool: None,
            principal: None,
            run: None,
            body,
        }
    }
}

/// Kinds of events, and what their bodies hold.
///
/// Arguments and values are never written, only told apart: `{"sha256", "bytes"}` of the JSON
/// text. Nor are messages a guest wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditKind {
    /// A process began to write: `version`, `process`.
    Opened,
    /// What a binding may do, when that has changed: `grants` (a name for all of it, which
    /// `call-started` repeats), `digest` of the plugin, `reach`, the operator's `grant`, `limits`,
    /// and the digest of the `settings`.
    Grants,
    /// A call was asked for: `digest` of the plugin and `grants`, where it is a plugin's, and
    /// `arguments`.
    CallStarted,
    /// A person has approved a call before it began: `arguments`, and the `rule` that asks for it.
    Approved,
    /// Something was refused: `gate`, `message`, and in `allow` the lines of `ampoule.toml` that
    /// would allow it. The first 32 of a call; the receipt counts the others.
    Denied,
    /// A call has ended: `end`, the `receipt` without those of the calls below it (which have lines
    /// of their own), `value` and the number of `blocks`, or `error`.
    CallEnded,
}

impl AuditKind {
    /// All of them.
    pub const ALL: [AuditKind; 6] = [
        AuditKind::Opened,
        AuditKind::Grants,
        AuditKind::CallStarted,
        AuditKind::Approved,
        AuditKind::Denied,
        AuditKind::CallEnded,
    ];

    /// Its name, as logs and command lines have it.
    pub const fn name(self) -> &'static str {
        match self {
            AuditKind::Opened => "opened",
            AuditKind::Grants => "grants",
            AuditKind::CallStarted => "call-started",
            AuditKind::Approved => "approved",
            AuditKind::Denied => "denied",
            AuditKind::CallEnded => "call-ended",
        }
    }
}

impl fmt::Display for AuditKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for AuditKind {
    type Err = String;

    /// # Errors
    /// There is no such kind.
    fn from_str(text: &str) -> Result<AuditKind, String> {
        AuditKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = AuditKind::ALL.map(AuditKind::name).join(", ");
            let shown: String = text.chars().take(40).collect();
            format!("`{shown}` is no kind of event; there are {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_one_name_everywhere() {
        for kind in AuditKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).ok(), Some(kind.name().into()));
        }
        assert!("call".parse::<AuditKind>().is_err());
    }
}
