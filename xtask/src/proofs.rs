//! The proofs that `THREAT_MODEL.md` names: each is a test, and has to have run and passed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};

use crate::plan::table;
use crate::project::Project;

/// What the threat model says of one attack.
struct Attack {
    what: String,
    gate: String,
    /// The tests that prove it, as `MODULE::TEST`.
    proofs: Vec<String>,
}

/// The attacks of the threat model.
pub(crate) struct Attacks(Vec<Attack>);

impl Attacks {
    /// Reads the tables of `THREAT_MODEL.md` that have an attack, a gate and a proof.
    ///
    /// # Errors
    /// It cannot be read, or has no such table.
    pub(crate) fn read(project: &Project) -> Result<Attacks> {
        let path = project.at("THREAT_MODEL.md");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let attacks = Attacks::parse(&text);
        anyhow::ensure!(!attacks.0.is_empty(), "{} names no attack", path.display());
        Ok(attacks)
    }

    fn parse(text: &str) -> Attacks {
        let mut attacks = Vec::new();
        let mut inside = false;
        for line in text.lines() {
            let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
            match cells.as_slice() {
                ["attack", "gate", "proof"] => inside = true,
                [what, gate, proof] if inside && !what.starts_with("---") => {
                    let quoted = proof.split('`').skip(1).step_by(2);
                    let proofs = quoted.filter(|name| name.contains("::")).map(str::to_owned);
                    let (what, gate) = ((*what).to_owned(), gate.replace('`', ""));
                    attacks.push(Attack { what, gate, proofs: proofs.collect() });
                }
                [_, _, _] => {}
                _ => inside = false,
            }
        }
        Attacks(attacks)
    }

    /// What `cargo test` has to be told to run the proofs, and all that stands beside them in
    /// their modules.
    pub(crate) fn filters(&self) -> BTreeSet<String> {
        let proofs = self.0.iter().flat_map(|attack| &attack.proofs);
        let names = proofs.filter_map(|proof| proof.rsplit_once("::"));
        names.flat_map(|(module, test)| [format!("{module}::"), test.to_owned()]).collect()
    }

    /// Each attack with its gate and how its proofs went, and the proofs that have not passed.
    /// `ran` are the tests that ran, and whether they passed.
    pub(crate) fn judge(&self, ran: &BTreeMap<String, bool>) -> (String, Vec<String>) {
        let mut failures = Vec::new();
        let mut rows = vec![["attack", "gate", "proofs"].map(str::to_owned).to_vec()];
        for attack in &self.0 {
            let mut passed = 0;
            for proof in &attack.proofs {
                let found = ran.iter().filter(|(path, _)| is_named(path, proof));
                let verdicts: Vec<_> = found.map(|(_, passed)| *passed).collect();
                match verdicts.as_slice() {
                    [] => failures.push(format!("`{proof}` did not run")),
                    verdicts if verdicts.contains(&false) => {
                        failures.push(format!("`{proof}` failed"));
                    }
                    _ => passed += 1,
                }
            }
            let count = format!("{passed} of {}", attack.proofs.len());
            rows.push(vec![cut(&attack.what, 72), cut(&attack.gate, 72), count]);
        }
        (table(&rows), failures)
    }
}

/// Whether the test at `path` is the one that is named `MODULE::TEST`.
fn is_named(path: &str, name: &str) -> bool {
    let Some((module, test)) = name.rsplit_once("::") else { return false };
    path.rsplit_once("::").is_some_and(|(modules, last)| {
        last == test && modules.split("::").any(|found| found == module)
    })
}

fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_read_from_tables_and_found_among_what_ran() {
        let attacks = Attacks::parse(
            "| asset | whose |\n| --- | --- |\n| `a::b` | c |\n\n\
             | attack | gate | proof |\n| --- | --- | --- |\n\
             | one | `first` | `url::it_holds`, rows `x-*`; `lock::all_of_it` |\n\
             | two | second | the engine's own tests |\n\nText.\n\n| x | y | `z::z` |\n",
        );
        assert_eq!(attacks.0.len(), 2);
        let filters: Vec<_> = attacks.filters().into_iter().collect();
        assert_eq!(filters, ["all_of_it", "it_holds", "lock::", "url::"]);
        let ran = |rows: &[(&str, bool)]| {
            let rows = rows.iter().map(|(path, passed)| ((*path).to_owned(), *passed)).collect();
            attacks.judge(&rows)
        };
        let good = [("egress::url::tests::it_holds", true), ("lock::tests::all_of_it", true)];
        let (shown, failures) = ran(&good);
        assert_eq!(failures, Vec::<String>::new());
        assert!(shown.contains("first   2 of 2"), "{shown}");
        let (_, failures) = ran(&[("egress::url::it_holds", false), ("other::all_of_it", true)]);
        assert_eq!(failures, ["`url::it_holds` failed", "`lock::all_of_it` did not run"]);
    }
}
