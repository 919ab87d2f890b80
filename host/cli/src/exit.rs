//! How the command ends: a number a script can act on, and a message for a person.

use std::io;
use std::process::ExitCode;

use ampoule::{End, HostError, ReplayError, ToolError};
use serde_json::{Value, json};

/// The exit codes, as `ampoule --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It did what it should.
    Ok = 0,
    /// The tool answered an error of its own, an agent's run could not be finished, or a replay
    /// differs from its recording.
    Failed = 1,
    /// The command line, or the arguments of the tool, are wrong.
    Usage = 2,
    /// Something was not granted, or there is no such tool.
    Denied = 3,
    /// A limit ended the call or run.
    Limit = 4,
    /// The plugin broke down, or answered what its own schema does not allow.
    Trap = 5,
    /// It was cancelled.
    Cancelled = 6,
    /// A file of configuration, an agent or a plugin is missing or refused.
    Configuration = 7,
    /// The host itself failed.
    Fault = 8,
    /// Not now: too much is running, or a person has to answer first.
    Later = 9,
}

/// The codes, for `--help`.
pub(crate) const HELP: &str = r"  0  it did what it should
  1  the tool's own error; an agent that could not finish; a replay that differs
  2  wrong usage: the command line, or the arguments of the tool
  3  denied: something was not granted, or there is no such tool
  4  a limit ended the call or run
  5  the plugin broke down, or answered what its own schema does not allow
  6  cancelled, by Ctrl-C
  7  configuration: a file is missing or malformed, a plugin is refused
  8  a fault of the host
  9  not now: too much is running, or a person has to answer first";

impl Exit {
    /// The code for the end of a call.
    pub(crate) const fn of(end: &End) -> Exit {
        match end {
            End::Value(_) => Exit::Ok,
            End::Failed(_) => Exit::Failed,
            End::BadArguments(_) => Exit::Usage,
            End::Denied(_) => Exit::Denied,
            End::Limit(_) => Exit::Limit,
            End::Trap(_) | End::BadOutput(_) => Exit::Trap,
            End::Cancelled => Exit::Cancelled,
            End::Fault(_) => Exit::Fault,
            End::Overloaded(_) | End::Suspended(_) => Exit::Later,
        }
    }

    /// The code for an error of a model or tool that ended a run.
    pub(crate) fn of_error(error: &ToolError) -> Exit {
        match error.code.as_str() {
            "denied" => Exit::Denied,
            "limit" | "exhausted" => Exit::Limit,
            "cancelled" => Exit::Cancelled,
            _ => Exit::Failed,
        }
    }

    /// One word for it, as `--json` gives it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Exit::Ok => "ok",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Denied => "denied",
            Exit::Limit => "limit",
            Exit::Trap => "trap",
            Exit::Cancelled => "cancelled",
            Exit::Configuration => "configuration",
            Exit::Fault => "fault",
            Exit::Later => "later",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not do what it should.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What went wrong; empty where there is nobody left to read it.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Configuration, message)
    }

    pub(crate) fn fault(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Fault, message)
    }

    /// The same with what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// What `--json` prints of it.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.exit.word(), "message": self.message });
        if let Some(hint) = &self.hint {
            error["hint"] = hint.as_str().into();
        }
        json!({ "error": error })
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Failure {
        let exit = match error {
            HostError::Config { .. } | HostError::Plugin { .. } | HostError::Io { .. } => {
                Exit::Configuration
            }
            HostError::Engine(_) => Exit::Fault,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Failure {
        let exit = match error {
            ReplayError::Io { .. } | ReplayError::Malformed { .. } | ReplayError::Plugin(_) => {
                Exit::Configuration
            }
            ReplayError::Refused(_) => Exit::Usage,
        };
        Failure::new(exit, error.to_string())
    }
}

/// Of printing. A reader that has gone (`ampoule list | head -1`) is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Exit::Ok, ""),
            _ => Failure::fault(format!("cannot write the output: {error}")),
        }
    }
}

/// What a file operation could not do to which file.
pub(crate) fn file_error(path: &std::path::Path) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |error| Failure::configuration(format!("{}: {error}", path.display()))
}
