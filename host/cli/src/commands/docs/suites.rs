//! The public suites that a plugin is tested with, and how they go.

use std::collections::BTreeMap;

use ampoule::{BindingInfo, Manifest};
use ampoule_testing::Suite;

use crate::commands::test::found_suites;
use crate::exit::Failure;

/// How a public suite goes. The cases of a file that are not left out pass, or `ampoule test` fails.
#[derive(Default)]
pub(super) struct Tally {
    /// How many pass.
    pub(super) passed: usize,
    /// How many fail: in a suite that a program of its own runs.
    pub(super) failed: usize,
    /// How many are left out.
    pub(super) skipped: usize,
    /// Why some fail or are left out, with how many.
    pub(super) reasons: BTreeMap<String, usize>,
}

impl Tally {
    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.passed + self.failed + self.skipped
    }

    fn add(&mut self, suite: &Suite) {
        for case in &suite.cases {
            match &case.skip {
                None => self.passed += 1,
                Some(reason) => {
                    self.skipped += 1;
                    *self.reasons.entry(reason.clone()).or_default() += 1;
                }
            }
        }
        if let Some(ran) = &suite.ran {
            self.passed += ran.passed;
            self.failed += ran.failed;
            self.skipped += ran.skipped;
            let why = format!("run by `{}`: {}", ran.by, ran.why);
            *self.reasons.entry(why).or_default() += ran.failed + ran.skipped;
        }
    }
}

/// The public suites of a plugin, by name.
///
/// # Errors
/// One cannot be read.
pub(super) fn of_plugin(
    binding: &BindingInfo,
    manifest: &Manifest,
) -> Result<BTreeMap<String, Tally>, Failure> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    if let Some(folder) = found_suites(binding, &manifest.name)? {
        for (_, suite) in Suite::read_all(&folder)? {
            if let Some(name) = &suite.name {
                tallies.entry(name.clone()).or_default().add(&suite);
            }
        }
    }
    Ok(tallies)
}
