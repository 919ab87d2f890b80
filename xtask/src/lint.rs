//! Invariants that the compiler cannot hold: who reaches the engine, who prints and exits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::project::Project;

/// The only crate of what ships that may name the engine (invariant 1).
const ENGINE_OWNER: &str = "ampoule";
/// Build tools and benchmarks may name it too.
const ENGINE_TOOLS: [&str; 3] = ["ampoule-bench", "ampoule-tests", "xtask"];
/// Crates that must not reach the engine by any way; plugins and guests must not either.
const FREE_OF_ENGINE: [&str; 6] = [
    "ampoule-agent",
    "ampoule-contract",
    "ampoule-journal",
    "ampoule-sdk",
    "ampoule-sdk-macros",
    "ampoule-services",
];

/// Programs, tables of tests, and a guest whose point is what it prints: only they may print and
/// exit (invariant 2).
const PROGRAMS: [&str; 6] =
    ["ampoule-bench", "ampoule-cli", "ampoule-examples", "ampoule-tests", "leaky", "xtask"];
/// What holds the others back, as long as nobody allows it.
const PROGRAM_LINTS: [&str; 3] = ["clippy::exit", "clippy::print_stderr", "clippy::print_stdout"];

/// Checks all invariants; the violations, one line each.
///
/// # Errors
/// When the workspace cannot be read.
pub(crate) fn check(project: &Project) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(project.at("Cargo.toml"))
        .exec()
        .context("`cargo metadata` failed")?;
    let mut violations = engine(&metadata)?;
    violations.extend(printing(&metadata)?);
    violations.extend(lock_file(&project.at("xtask/node/package-lock.json"))?);
    Ok(violations)
}

/// Invariant 1: only `host/runtime` names wasmtime, and the crates beside it do not reach it.
fn engine(metadata: &Metadata) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    let may_name = |name: &str| name == ENGINE_OWNER || ENGINE_TOOLS.contains(&name);
    for package in metadata.workspace_packages() {
        let named = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
        for dependency in named.filter(|dependency| is_engine(&dependency.name)) {
            if !may_name(&package.name) {
                violations.push(format!(
                    "invariant 1: `{}` depends on `{}`; only `{ENGINE_OWNER}` may",
                    package.name, dependency.name
                ));
            }
        }
    }

    let graph = Graph::new(metadata)?;
    let members: BTreeSet<_> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    for name in FREE_OF_ENGINE {
        anyhow::ensure!(members.contains(name), "`{name}` is not a crate of the workspace");
    }
    for package in metadata.workspace_packages() {
        let folder = package.manifest_path.as_str();
        let is_guest = folder.contains("/plugins/")
            || folder.contains("/plugins-shared/")
            || folder.contains("/tests/guests/");
        if (is_guest || FREE_OF_ENGINE.contains(&package.name.as_str()))
            && let Some(way) = graph.way_to_engine(&package.id)
        {
            violations.push(format!("invariant 1: the engine is reached by {}", way.join(" → ")));
        }
    }
    Ok(violations)
}

fn is_engine(name: &str) -> bool {
    name == "wasmtime" || name.starts_with("wasmtime-")
}

/// Who stands on whom, dependencies of tests left out.
struct Graph<'a> {
    names: BTreeMap<&'a PackageId, &'a str>,
    below: BTreeMap<&'a PackageId, Vec<&'a PackageId>>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Result<Graph<'a>> {
        let resolve = metadata.resolve.as_ref().context("`cargo metadata` resolved nothing")?;
        let names = metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
        let below = resolve.nodes.iter().map(|node| {
            let shipped = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
            });
            (&node.id, shipped.map(|dependency| &dependency.pkg).collect())
        });
        Ok(Graph { names, below: below.collect() })
    }

    /// The names on a shortest way from a package to the engine.
    fn way_to_engine(&self, from: &'a PackageId) -> Option<Vec<&'a str>> {
        let mut ways = vec![vec![from]];
        let mut seen = BTreeSet::from([from]);
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                for next in way.last().and_then(|at| self.below.get(at)).into_iter().flatten() {
                    if !seen.insert(next) {
                        continue;
                    }
                    let mut way = way.clone();
                    way.push(next);
                    if self.names.get(next).is_some_and(|name| is_engine(name)) {
                        return Some(
                            way.iter().filter_map(|id| self.names.get(id).copied()).collect(),
                        );
                    }
                    longer.push(way);
                }
            }
            ways = longer;
        }
        None
    }
}

/// Invariant 2: every crate but the programs has the workspace's lints and allows neither printing
/// nor exits.
fn printing(metadata: &Metadata) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    let root = metadata.workspace_root.as_std_path();
    let table: toml::Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    let lints = &table["workspace"]["lints"]["clippy"];
    for lint in PROGRAM_LINTS {
        let short = lint.trim_start_matches("clippy::");
        if lints.get(short).and_then(toml::Value::as_str) != Some("warn") {
            violations.push(format!("invariant 2: `{short}` must be \"warn\" in Cargo.toml"));
        }
    }
    for package in metadata.workspace_packages() {
        if PROGRAMS.contains(&package.name.as_str()) {
            continue;
        }
        let manifest = package.manifest_path.as_std_path();
        let table: toml::Table = fs::read_to_string(manifest)?.parse()?;
        let inherits = table.get("lints").and_then(|lints| lints.get("workspace"));
        if inherits.and_then(toml::Value::as_bool) != Some(true) {
            violations.push(format!(
                "invariant 2: {} needs `[lints] workspace = true`",
                manifest.display()
            ));
        }
        for folder in ["src", "tests", "benches", "examples"] {
            let folder = manifest.with_file_name(folder);
            if folder.is_dir() {
                allowed_printing(&folder, &mut violations)?;
            }
        }
    }
    Ok(violations)
}

/// A library has no use for the names of these lints, so any mention of them is a finding.
fn allowed_printing(folder: &Path, violations: &mut Vec<String>) -> Result<()> {
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            allowed_printing(&path, violations)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            for (number, line) in text.lines().enumerate() {
                for lint in PROGRAM_LINTS.iter().filter(|lint| line.contains(**lint)) {
                    violations.push(format!(
                        "invariant 2: {}:{} turns `{lint}` off; only programs may",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A lock file with addresses would install from them, past the mirror of whoever builds.
fn lock_file(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(match text.contains("\"resolved\"") {
        true => vec![format!(
            "{} names a registry; make it anew with `npm install` in its folder, where .npmrc \
             leaves addresses out",
            path.display()
        )],
        false => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn the_workspace_keeps_its_invariants() {
        let violations = check(&Project::find().unwrap()).unwrap();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }

    #[test]
    fn the_engine_is_found_where_it_is() {
        let project = Project::find().unwrap();
        let metadata =
            MetadataCommand::new().manifest_path(project.at("Cargo.toml")).exec().unwrap();
        let graph = Graph::new(&metadata).unwrap();
        let package = |name: &str| {
            &metadata.packages.iter().find(|package| package.name.as_str() == name).unwrap().id
        };
        let way = graph.way_to_engine(package(ENGINE_OWNER)).unwrap();
        assert_eq!(way, [ENGINE_OWNER, way[1]]);
        assert!(graph.way_to_engine(package("ampoule-cli")).is_some());
        assert!(graph.way_to_engine(package("ampoule-sdk")).is_none());
    }

    #[test]
    fn allowing_a_program_lint_is_found() {
        let folder = std::env::temp_dir().join(format!("xtask-lint-{}", std::process::id()));
        fs::create_dir_all(folder.join("below")).unwrap();
        fs::write(folder.join("below/a.rs"), "\n#![allow(clippy::print_stdout)]\n").unwrap();
        let mut violations = Vec::new();
        allowed_printing(&folder, &mut violations).unwrap();
        assert_eq!(violations.len(), 1);
        assert!(violations[0].contains("a.rs:2"), "{violations:?}");
        fs::remove_dir_all(folder).unwrap();
    }
}
