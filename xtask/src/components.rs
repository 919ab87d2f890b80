//! The command `ampoule`, and Rust components: plugins and Rust test guests, built and packed one
//! by one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{MetadataCommand, Package};
use serde_json::Value;

use crate::compiler::Compiler;
use crate::foreign::{self, Foreign};
use crate::plan::{Lane, Plan, Step};
use crate::process::{cargo, loud, quiet};
use crate::project::Project;
use crate::stamp::{Stamp, digest};
use crate::tools::{Tool, WASM_TARGET};

/// What decides how the host comes out, and, beside its own folder, a component.
const SHARED: [&str; 6] =
    ["Cargo.lock", "Cargo.toml", "rust-toolchain.toml", "sdk-guest", "wit", "host"];

/// For all C: an interpreter or a database is there for its speed.
const C_FLAGS: &str = "-O3";

/// A Rust component in the making.
struct Component {
    /// `Plugin` or `Guest`.
    kind: &'static str,
    /// The package's name, which need not be the folder's.
    package: String,
    folder: PathBuf,
    output: PathBuf,
    /// The flags for its C, where it says that it has some: `[package.metadata.ampoule]
    /// c-compiler = true`, with `c-flags` and `c-header`, a file of its folder that is included
    /// before all C.
    c_flags: Option<String>,
    /// The folders of the crates of this project that it stands on.
    below: Vec<PathBuf>,
    /// Whether it has unit tests that run on this machine.
    has_tests: bool,
}

/// The packages of plugins, and of what they share, that have unit tests of their own.
///
/// # Errors
/// When the workspace cannot be read.
pub(crate) fn tested(project: &Project) -> Result<Vec<String>> {
    let packages = Packages::read(project)?;
    let all = packages.components(project)?.into_iter().filter(|component| component.has_tests);
    let plugins = all.map(|component| component.package);
    Ok(plugins.chain(packages.shared(project)).collect())
}

/// Checks every Rust component, and what plugins share, with clippy, as it is built: for Wasm.
///
/// # Errors
/// When it finds something, or a C compiler cannot be had.
pub(crate) fn clippy(project: &Project) -> Result<()> {
    let mut plan = Plan::new(project)?;
    Tool::WasmTarget.add_to(&mut plan, project)?;
    let compiler = Compiler::choose(&mut plan, project)?;
    plan.run()?;
    let packages = Packages::read(project)?;
    let (with_c, plain): (Vec<_>, Vec<_>) = packages
        .components(project)?
        .into_iter()
        .partition(|component| component.c_flags.is_some());
    let check = |packages: &[String], flags: Option<&String>| {
        let mut clippy = cargo(project);
        if let Some(flags) = flags {
            clippy.envs(compiler.environment(project, flags)?);
        }
        clippy.args(["clippy", "--keep-going", "--profile", "plugin", "--target", WASM_TARGET]);
        for package in packages {
            clippy.args(["--package", package]);
        }
        loud(clippy.args(["--", "-D", "warnings"]))
    };
    let plain = plain.into_iter().map(|component| component.package);
    check(&plain.chain(packages.shared(project)).collect::<Vec<_>>(), None)?;
    // One by one, with the flags they are built with: other flags would have the C compiled anew.
    with_c.into_iter().try_for_each(|one| check(&[one.package], one.c_flags.as_ref()))
}

/// The packages of the workspace, by their folders.
struct Packages(BTreeMap<PathBuf, Package>);

impl Packages {
    fn read(project: &Project) -> Result<Packages> {
        let metadata = MetadataCommand::new()
            .manifest_path(project.at("Cargo.toml"))
            .no_deps()
            .exec()
            .context("`cargo metadata` failed")?;
        let packages = metadata.packages.into_iter().filter_map(|package| {
            let folder = package.manifest_path.parent()?.as_std_path().to_owned();
            Some((folder, package))
        });
        Ok(Packages(packages.collect()))
    }

    /// All Rust plugins and guests.
    fn components(&self, project: &Project) -> Result<Vec<Component>> {
        let mut components = Vec::new();
        for (kind, folder) in [("Plugin", "plugins"), ("Guest", "tests/guests")] {
            for name in project.folders_with(folder, "Cargo.toml")? {
                let output = project.plugin(&name);
                let folder = project.at(folder).join(name);
                components.push(self.component(project, kind, folder, output)?);
            }
        }
        Ok(components)
    }

    /// The names of the crates that plugins share.
    fn shared(&self, project: &Project) -> impl Iterator<Item = String> {
        let folder = project.at("plugins-shared");
        let shared = self.0.iter().filter(move |(path, _)| path.starts_with(&folder));
        shared.map(|(_, package)| package.name.to_string())
    }

    /// The folders of the crates that the one in `folder` stands on.
    fn below(&self, folder: &Path) -> Vec<PathBuf> {
        let mut below = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(package) = open.pop().and_then(|folder| self.0.get(&folder)) {
            let paths = package.dependencies.iter().filter_map(|it| it.path.as_ref());
            for path in paths.map(|path| path.as_std_path()) {
                if !below.iter().any(|there| there == path) {
                    below.push(path.to_owned());
                    open.push(path.to_owned());
                }
            }
        }
        below.sort();
        below
    }

    fn component(
        &self,
        project: &Project,
        kind: &'static str,
        folder: PathBuf,
        output: PathBuf,
    ) -> Result<Component> {
        let package = self
            .0
            .get(&folder)
            .with_context(|| format!("{} is no package of the workspace", folder.display()))?;
        let said = |key: &str| package.metadata.get("ampoule").and_then(|ours| ours.get(key));
        let has_c = said("c-compiler").and_then(Value::as_bool) == Some(true);
        let mut c_flags = has_c.then(|| C_FLAGS.to_owned());
        if let Some(flags) = &mut c_flags {
            if let Some(own) = said("c-flags").and_then(Value::as_str) {
                *flags += &format!(" {own}");
            }
            if let Some(header) = said("c-header").and_then(Value::as_str) {
                let header = folder.join(header);
                // Build scripts compile anew where flags change, and do not see that a header does.
                let content = digest(project, "", std::slice::from_ref(&header))?;
                *flags += &format!(" -include {} -DHEADER_{content}", header.display());
            }
        }
        Ok(Component {
            kind,
            package: package.name.to_string(),
            output,
            c_flags,
            below: self.below(&folder),
            has_tests: package.targets.iter().any(|target| target.test),
            folder,
        })
    }
}

/// Adds the command `ampoule`, which packs plugins and runs the demo.
///
/// # Errors
/// When its sources cannot be read.
pub(crate) fn add_host(plan: &mut Plan, project: &Project) -> Result<()> {
    let key = shared(project)?;
    let stamp = Stamp::new(project, "host", &key, &[], &[project.ampoule()])?;
    let mut build = cargo(project);
    // With all that runs here selected, dependencies get the features that `cargo test` gives them,
    // and the engine is compiled once for both.
    build.args(["build", "--bin", "ampoule"]);
    plan.add(Step {
        name: "Host".to_owned(),
        how: "cargo build, about a quarter of an hour the first time on two cores".to_owned(),
        stamp,
        talks: true,
        lane: None,
        work: Box::new(move || loud(&mut build)),
    });
    Ok(())
}

/// Adds the plugins: all, or those named.
///
/// # Errors
/// When a name is not that of a plugin, or sources cannot be read.
pub(crate) fn add_plugins(plan: &mut Plan, project: &Project, names: &[String]) -> Result<()> {
    let rust = project.folders_with("plugins", "Cargo.toml")?;
    let foreign = project.folders_with("plugins", foreign::WORLD)?;
    let chosen = choose("plugin", rust.iter().chain(&foreign).cloned().collect(), names)?;
    let is_chosen = |name: &&String| chosen.contains(name);
    let packages = Packages::read(project)?;
    let components = rust.iter().filter(is_chosen).map(|name| {
        let folder = project.at("plugins").join(name);
        packages.component(project, "Plugin", folder, project.plugin(name))
    });
    add(plan, project, components.collect::<Result<_>>()?)?;
    for name in foreign.iter().filter(is_chosen) {
        let folder = project.at("plugins").join(name);
        Foreign::new("Plugin", name, folder, project.plugin(name)).add_to(plan, project)?;
    }
    Ok(())
}

/// Adds the Rust test guests of these names.
///
/// # Errors
/// When sources cannot be read.
pub(crate) fn add_guests(plan: &mut Plan, project: &Project, names: &[&String]) -> Result<()> {
    let packages = Packages::read(project)?;
    let components = names.iter().map(|name| {
        let folder = project.at("tests/guests").join(name);
        packages.component(project, "Guest", folder, project.guest(name))
    });
    add(plan, project, components.collect::<Result<_>>()?)
}

/// Those of `all` that are named, or all.
///
/// # Errors
/// When a name is not among them, with those there are.
pub(crate) fn choose(what: &str, all: Vec<String>, names: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        anyhow::bail!("there is no {what} `{unknown}`; there are {}", all.join(", "));
    }
    Ok(match names {
        [] => all,
        names => names.to_vec(),
    })
}

/// Packs a built component into `output`, or copies it where its folder has no `plugin.toml`:
/// such a component knows nothing of Ampoule.
///
/// # Errors
/// When the component is missing or its manifest is refused.
pub(crate) fn finish(project: &Project, built: &Path, folder: &Path, output: &Path) -> Result<()> {
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent)?;
    }
    if folder.join("plugin.toml").is_file() {
        let mut pack = Command::new(project.ampoule());
        quiet(pack.arg("pack").arg(built).arg(folder).arg("-o").arg(output)).map(drop)
    } else {
        fs::copy(built, output).map(drop).with_context(|| built.display().to_string())
    }
}

/// A digest of [`SHARED`].
fn shared(project: &Project) -> Result<String> {
    digest(project, "", &SHARED.map(|path| project.at(path)))
}

/// Each component is built by a cargo of its own. Built together, they would share the features of
/// their dependencies, and what a plugin imports would depend on its neighbours.
fn add(plan: &mut Plan, project: &Project, components: Vec<Component>) -> Result<()> {
    Tool::WasmTarget.add_to(plan, project)?;
    add_host(plan, project)?;
    let key = shared(project)?;
    let compiler = match components.iter().any(|component| component.c_flags.is_some()) {
        true => Some(Compiler::choose(plan, project)?),
        false => None,
    };
    for component in components {
        let compiler = compiler.clone();
        let inputs: Vec<_> =
            std::iter::once(&component.folder).chain(&component.below).cloned().collect();
        let stamp = Stamp::new(
            project,
            &format!("component-{}", component.package),
            &key,
            &inputs,
            std::slice::from_ref(&component.output),
        )?;
        let project = project.clone();
        plan.add(Step {
            name: format!("{} {}", component.kind, component.package),
            how: format!("cargo build --target {WASM_TARGET}"),
            stamp,
            talks: false,
            lane: Some(Lane::of(&component.package)),
            work: Box::new(move || component.make(&project, compiler.as_ref())),
        });
    }
    Ok(())
}

impl Component {
    fn make(&self, project: &Project, compiler: Option<&Compiler>) -> Result<()> {
        let mut build = cargo(project);
        if let (Some(compiler), Some(flags)) = (compiler, &self.c_flags) {
            build.envs(compiler.environment(project, flags)?);
        }
        let target = match Lane::of(&self.package) {
            Lane::First => project.target.clone(),
            Lane::Second => project.made("second"),
        };
        build.args(["build", "--profile", "plugin", "--target", WASM_TARGET]);
        quiet(build.args(["--package", &self.package]).arg("--target-dir").arg(&target))?;
        let file = format!("{}.wasm", self.package.replace('-', "_"));
        let built = target.join(WASM_TARGET).join("plugin").join(file);
        finish(project, &built, &self.folder, &self.output)
    }
}
