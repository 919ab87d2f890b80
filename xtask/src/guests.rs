//! The test guests, in Rust and other languages.

mod c;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::components::{add_guests, add_host, choose, finish};
use crate::plan::{Plan, Step};
use crate::process::quiet;
use crate::project::Project;
use crate::stamp::Stamp;
use crate::tools::{Tool, node_module, node_program, venv_program};

/// What says which tools build a guest, and how.
const TOOLS: [&str; 5] = [
    "xtask/node",
    "xtask/src/compiler.rs",
    "xtask/src/guests",
    "xtask/src/guests.rs",
    "xtask/src/tools.rs",
];

/// Adds the test guests: all, or those named.
///
/// # Errors
/// When a name is not that of a guest, or sources cannot be read.
pub(crate) fn add(plan: &mut Plan, project: &Project, names: &[String]) -> Result<()> {
    let rust = project.folders_with("tests/guests", "Cargo.toml")?;
    let foreign = project.folders_with("tests/guests", "world.wit")?;
    let all = rust.iter().chain(&foreign).cloned().collect();
    let chosen = choose("guest", all, names)?;
    let is_chosen = |name: &&String| chosen.contains(name);

    add_guests(plan, project, &rust.iter().filter(is_chosen).collect::<Vec<_>>())?;
    for name in foreign.iter().filter(is_chosen) {
        match name.as_str() {
            "python" => python(plan, project)?,
            "javascript" => javascript(plan, project)?,
            "c" => c::add(plan, project)?,
            other => anyhow::bail!("nobody knows how to build tests/guests/{other}"),
        }
    }
    Ok(())
}

fn python(plan: &mut Plan, project: &Project) -> Result<()> {
    Tool::ComponentizePy.add_to(plan, project)?;
    let python = venv_program(project, "python");
    foreign(plan, project, "python", "componentize-py", "", move |stage, wasm| {
        let mut build = Command::new(&python);
        // As a module, since the length of the path in a script's first line is limited.
        build.args(["-c", "from componentize_py import script; script()"]);
        build.arg("-d").arg(stage.join("wit")).args(["-w", "probe", "componentize"]);
        // Without `--stub-wasi`: it would cut `wasi:io/poll` off, which waiting stands on.
        build.arg("-p").arg(stage).arg("app").arg("-o").arg(wasm);
        quiet(&mut build).map(drop)
    })
}

fn javascript(plan: &mut Plan, project: &Project) -> Result<()> {
    Tool::NodePackages.add_to(plan, project)?;
    let node = node_program(project);
    let componentize = node_module(project, "@bytecodealliance/componentize-js/src/cli.js");
    foreign(plan, project, "javascript", "componentize-js", "", move |stage, wasm| {
        let mut build = Command::new(&node);
        build.arg(&componentize).arg(stage.join("app.js"));
        build.arg("-w").arg(stage.join("wit")).args(["-n", "probe"]);
        // Everything the engine would ask WASI for; what is left are the world's own imports.
        build.args(["-d", "stdio", "random", "clocks", "http", "fetch-event"]);
        quiet(build.arg("-o").arg(wasm)).map(drop)
    })
}

/// Adds the guest of a language: `build` makes the component from a folder that holds the guest's
/// files and, under `wit`, its world with everything that stands on; `compiler` decides, beside
/// the sources and the pinned tools, when it has to be built again.
fn foreign(
    plan: &mut Plan,
    project: &Project,
    language: &'static str,
    how: &str,
    compiler: &str,
    build: impl Fn(&Path, &Path) -> Result<()> + 'static,
) -> Result<()> {
    let folder = project.at("tests/guests").join(language);
    let built = project.made("guests/build").join(format!("{language}.wasm"));
    let output = project.guest(language);

    let mut inputs = vec![folder.clone(), project.at("wit")];
    inputs.extend(TOOLS.iter().map(|path| project.at(path)));
    let outputs = std::slice::from_ref(&built);
    let stamp =
        Stamp::new(project, &format!("guest-{language}-built"), compiler, &inputs, outputs)?;
    let (at, from, to) = (project.clone(), folder.clone(), built.clone());
    plan.add(Step {
        name: format!("Guest {language}"),
        how: how.to_owned(),
        stamp,
        talks: false,
        work: Box::new(move || build(&stage(&at, language, &from)?, &to)),
    });

    add_host(plan, project)?;
    inputs.push(project.at("host"));
    let outputs = std::slice::from_ref(&output);
    let stamp = Stamp::new(project, &format!("guest-{language}"), compiler, &inputs, outputs)?;
    let at = project.clone();
    plan.add(Step {
        name: format!("Guest {language}, packed"),
        how: "ampoule pack".to_owned(),
        stamp,
        talks: false,
        work: Box::new(move || finish(&at, &built, &folder, &output)),
    });
    Ok(())
}

/// Copies a guest's files to where its toolchain may leave its own beside them, and lays its world
/// and all packages out as every toolchain wants it: `wit/world.wit`, `wit/deps/<package>/`.
fn stage(project: &Project, language: &str, folder: &Path) -> Result<PathBuf> {
    let stage = project.made("guests/build").join(language);
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    copy(folder, &stage)?;
    copy(&project.at("wit"), &stage.join("wit/deps"))?;
    fs::rename(stage.join("world.wit"), stage.join("wit/world.wit"))?;
    Ok(stage)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in from.read_dir().with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
