//! Tests of built plugins, in whatever language they were written: what a plugin does is tested
//! from outside, through the host, as data.
//!
//! [`test()`] runs for each binding
//!
//! - the examples of its manifest;
//! - the cases of its suites, files of JSON in a folder `tests` ([`Suite`]);
//! - bad inputs, made from each tool's input schema and examples, the same at each run: no input
//!   may end in a trap, a fault, an answer that breaks the output schema, or an overflow of the
//!   stack;
//! - its limits: a call with half the fuel it needs or less, and one with hardly any memory, end by
//!   that limit, and the next call works.
//!
//! Every call checks the value against the tool's output schema, as the host always does.
//!
//! Examples and cases run under what the operator grants; a call that ends as `denied` without
//! being meant to is skipped, with the reason. The workspace is granted as the plugin asks, since
//! each call gets a folder of its own that goes with the call. Bad inputs reach nothing: HTTP is
//! granted for a name that cannot be resolved, tools and services for names that nobody has, so a
//! plugin that cannot do without them is entered all the same.

mod bindings;
mod compare;
mod inputs;
mod run;
mod suite;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ampoule::{Host, HostError};
use serde::Serialize;

pub use suite::{Case, Ran, Suite};

/// The origin that stands in examples and cases for the site of the test.
pub const SITE: &str = "http://fixture.test";

/// What plugins are tested with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folders of suites, by the names of plugins. A plugin without one has no cases.
    pub suites: BTreeMap<String, PathBuf>,
    /// The origin that [`SITE`] stands for. Without one, what names it is skipped.
    pub site: Option<String>,
}

/// How the tests of one binding went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The binding.
    pub binding: String,
    /// The examples of its manifest.
    pub examples: Count,
    /// The cases of its suites.
    pub cases: Count,
    /// Bad inputs.
    pub bad_inputs: Count,
    /// Calls that must end by a limit, each with the call after it.
    pub limits: Count,
    /// What failed.
    pub failures: Vec<Failure>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

impl Report {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// How many of a kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Count {
    /// Those that held.
    pub passed: usize,
    /// Those that did not.
    pub failed: usize,
    /// Those that were left out.
    pub skipped: usize,
}

/// A kind of test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An example of the manifest.
    Example,
    /// A case of a suite.
    Case,
    /// A bad input.
    BadInput,
    /// A call that must end by a limit.
    Limit,
}

/// A test that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// What it was.
    pub kind: Kind,
    /// The suite's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The tool, by its name in the plugin.
    pub tool: String,
    /// What the test shows.
    pub title: String,
    /// The arguments, shortened.
    pub arguments: String,
    /// What was expected.
    pub expected: String,
    /// How the call ended.
    pub found: String,
    /// Where the value differs, at most [`MAX_DIFFERENCES`] places.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// The most places that are named where a value differs.
pub const MAX_DIFFERENCES: usize = 12;

/// A test that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Skipped {
    /// What it was.
    pub kind: Kind,
    /// The tool, by its name in the plugin.
    pub tool: String,
    /// What the test shows.
    pub title: String,
    /// Why.
    pub why: String,
    /// Whether something that the call needs was not granted; otherwise the suite itself says why.
    pub denied: bool,
}

/// Tests the bindings that are named, several calls at once. The reports are in their order.
///
/// The host should be one for the purpose: it is reloaded with more bindings, and stays so. It
/// should have no journal, which would record each call.
///
/// # Errors
/// The configuration cannot be used with the bindings that tests need, a name is not bound, or a
/// suite cannot be read.
pub async fn test(
    host: &Host,
    names: &[String],
    options: &Options,
) -> Result<Vec<Report>, HostError> {
    let subjects = bindings::prepare(host, names, options).await?;
    Ok(run::all(host, subjects, options).await)
}

/// The folder of a plugin's suites, `plugins/NAME/tests` or `NAME/tests`, in one of `places` or the
/// nearest folder above it.
pub fn find_suites<'a>(name: &str, places: impl IntoIterator<Item = &'a Path>) -> Option<PathBuf> {
    let below = Path::new("plugins").join(name).join("tests");
    let folders = places.into_iter().flat_map(Path::ancestors);
    let mut folders = folders.map(|folder| folder.join(&below));
    folders.find(|folder| folder.is_dir())
}
