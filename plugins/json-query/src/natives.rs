//! Functions that are not definitions: the part of jq's library that stands behind features of
//! `jaq-std` which also bring clock, environment and files.

mod math;
mod paths;
mod regex;
mod text;
mod time;

use ampoule_sdk::log;
use jaq_core::native::{Filter, Fun, v};
use jaq_core::{Error, RunPtr};
use jaq_json::Val;
use jaq_std::ValT as _;

use crate::program::Data;

/// Name, arguments and implementation.
type Native = Filter<RunPtr<Data>>;

/// Definitions of the library that stand on functions not given here. `definitions.jq` has them
/// otherwise.
pub(crate) const LEFT_OUT: &[&str] = &[
    "@htmld",
    "capture",
    "capture_of_match",
    "delpaths",
    "gsub",
    "join",
    "match",
    "scan",
    "scan_",
    "split",
    "splits",
    "sub",
    "test",
    "type",
];

/// All functions there are.
pub(crate) fn all() -> impl Iterator<Item = Fun<Data>> {
    let ours = [
        math::natives(),
        paths::natives(),
        regex::natives(),
        text::natives(),
        time::natives(),
        log(),
    ];
    jaq_core::funs()
        .chain(jaq_std::base_funs())
        .chain(jaq_json::funs())
        .chain(ours.into_iter().flatten().map(jaq_core::native::run::<Data>))
}

/// `debug` and `stderr` write to the operator's log.
fn log() -> Vec<Native> {
    vec![
        ("debug_empty", v(0), |cv| {
            log::debug(cv.1.to_string());
            Box::new(std::iter::empty())
        }),
        ("stderr_empty", v(0), |cv| {
            log::info(cv.1.to_string());
            Box::new(std::iter::empty())
        }),
    ]
}

type Result<T> = std::result::Result<T, Error<Val>>;

/// The text of a value that is one.
fn text(value: &Val) -> Result<&str> {
    let bytes = value.as_utf8_bytes().ok_or_else(|| Error::typ(value.clone(), "string"))?;
    std::str::from_utf8(bytes).map_err(Error::str)
}

/// The number of a value that is one.
fn number(value: &Val) -> Result<f64> {
    value.as_f64().ok_or_else(|| Error::typ(value.clone(), "number"))
}

/// The items of a value that is an array.
fn list(value: &Val) -> Result<&[Val]> {
    match value {
        Val::Arr(items) => Ok(items),
        value => Err(Error::typ(value.clone(), "array")),
    }
}
