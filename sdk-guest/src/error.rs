//! Why something could not be done.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::bindings::ampoule::plugin::types;

/// A result whose error is [`Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done: the contract's `error`.
///
/// `code` is from an open list. The contract's own codes:
///
/// | code | meaning |
/// | --- | --- |
/// | `bad-arguments` | the arguments are wrong; `message` says which and how to mend them |
/// | `denied` | not granted; `message` names the gate, `data.allow` the line that allows it |
/// | `not-found` | there is no such thing |
/// | `conflict` | it exists already, or changed meanwhile |
/// | `too-large` | over a size, count or depth limit |
/// | `timeout` | it took too long |
/// | `unavailable` | the other side cannot be reached or does not answer properly |
/// | `rate-limited` | too many requests; see `retry_after_ms` |
/// | `unauthorized` | the other side refused the credentials |
/// | `unsupported` | known, but not offered here |
/// | `invalid-data` | data that was read is malformed |
/// | `limit` | a tool that was called met a limit; `data.limit` names it |
/// | `cancelled` | stopped from outside |
/// | `declined` | a person said no |
/// | `exhausted` | the budget of the run is used up |
/// | `internal` | a fault of the one who answers |
///
/// A plugin may use codes of its own, in kebab case.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// From the list above, or the plugin's own.
    pub code: String,
    /// For the caller, who may be a model: what was wrong and what to do instead.
    pub message: String,
    /// For the operator's log; never shown to a model.
    pub log: Option<String>,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// When to try again, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
    /// An object with details a program can act on.
    pub data: Option<Box<Value>>,
}

impl Error {
    /// An error with a code and a message, not to be retried.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Error {
        Error {
            code: code.into(),
            message: message.into(),
            log: None,
            retryable: false,
            retry_after_ms: None,
            data: None,
        }
    }

    /// The same with a text for the operator's log.
    #[must_use]
    pub fn with_log(mut self, log: impl Into<String>) -> Error {
        self.log = Some(log.into());
        self
    }

    /// The same with details a program can act on; `data` should be an object.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Error {
        self.data = Some(Box::new(data));
        self
    }

    /// The same, saying that the call may succeed later.
    #[must_use]
    pub fn with_retry(mut self) -> Error {
        self.retryable = true;
        self
    }

    /// The same, saying when the call may succeed.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Error {
        self.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.with_retry()
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// One constructor for each of the contract's codes that a plugin may have cause to use.
        impl Error {
            $(
                #[doc = concat!("`", $code, "`: ")]
                $(#[$doc])*
                pub fn $name(message: impl Into<String>) -> Error {
                    Error::new($code, message)
                }
            )*
        }
    };
}

constructors! {
    /// the arguments are wrong.
    bad_arguments = "bad-arguments";
    /// it exists already, or changed meanwhile.
    conflict = "conflict";
    /// a fault of this plugin.
    internal = "internal";
    /// data that was read is malformed.
    invalid_data = "invalid-data";
    /// there is no such thing.
    not_found = "not-found";
    /// too many requests; add [`Error::with_retry_after`] where the time is known.
    rate_limited = "rate-limited";
    /// it took too long.
    timeout = "timeout";
    /// over a size, count or depth limit.
    too_large = "too-large";
    /// the other side refused the credentials.
    unauthorized = "unauthorized";
    /// the other side cannot be reached or does not answer properly.
    unavailable = "unavailable";
    /// known, but not offered here.
    unsupported = "unsupported";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

/// Data that is not the JSON it should be.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::invalid_data(error.to_string())
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Error {
        Error {
            code: error.code,
            message: error.message,
            log: error.log,
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms,
            data: error.data.and_then(|data| serde_json::from_str(&data).ok()),
        }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> types::Error {
        types::Error {
            code: error.code,
            message: error.message,
            log: error.log,
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms,
            data: error.data.map(|data| data.to_string()),
        }
    }
}

/// Gives an error of another library a code: `text.parse::<f64>().or_code("bad-arguments")?`.
pub trait OrCode<T> {
    /// The value, or an [`Error`] with this code and the other error's text as its message.
    ///
    /// # Errors
    /// Where `self` is one.
    fn or_code(self, code: &str) -> Result<T>;
}

impl<T, E: fmt::Display> OrCode<T> for Result<T, E> {
    fn or_code(self, code: &str) -> Result<T> {
        self.map_err(|error| Error::new(code, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way() {
        let error = Error::rate_limited("slow down")
            .with_log("account 7")
            .with_retry_after(Duration::from_millis(1_500))
            .with_data(json!({ "limit": 3 }));
        assert!(error.retryable);
        assert_eq!(error.retry_after_ms, Some(1_500));
        assert_eq!(Error::from(types::Error::from(error.clone())), error);
    }

    #[test]
    fn other_errors_get_a_code() {
        let error = "x".parse::<u8>().or_code("bad-arguments").unwrap_err();
        assert_eq!(error, Error::bad_arguments("invalid digit found in string"));
        let error = Error::from(serde_json::from_str::<u8>("x").unwrap_err());
        assert_eq!(error.code, "invalid-data");
    }
}
