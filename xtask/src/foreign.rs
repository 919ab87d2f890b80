//! Components in other languages than Rust: plugins and test guests whose folder has a
//! `world.wit` and a source that tells the language.

mod c;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::components::{add_host, finish};
use crate::plan::{Lane, Plan, Step};
use crate::process::quiet;
use crate::project::Project;
use crate::stamp::Stamp;
use crate::tools::{Tool, node_module, node_program, venv_program};

/// The file that makes a folder such a component: the one world it is built against.
pub(crate) const WORLD: &str = "world.wit";

/// What says which tools build a component, and how.
const TOOLS: [&str; 5] = [
    "xtask/node",
    "xtask/src/compiler.rs",
    "xtask/src/foreign",
    "xtask/src/foreign.rs",
    "xtask/src/tools.rs",
];

/// Where toolchains work.
const STAGE: &str = "foreign";

/// A component in the making.
pub(crate) struct Foreign {
    /// `Plugin` or `Guest`.
    kind: &'static str,
    name: String,
    folder: PathBuf,
    output: PathBuf,
}

impl Foreign {
    /// The component of a folder, to be packed into `output`.
    pub(crate) fn new(kind: &'static str, name: &str, folder: PathBuf, output: PathBuf) -> Foreign {
        Foreign { kind, name: name.to_owned(), folder, output }
    }

    /// Adds what makes it, by the toolchain of its language.
    ///
    /// # Errors
    /// When no source tells the language, or sources cannot be read.
    pub(crate) fn add_to(self, plan: &mut Plan, project: &Project) -> Result<()> {
        let has = |file: &str| self.folder.join(file).is_file();
        if has("app.py") {
            self.python(plan, project)
        } else if has("app.js") {
            self.javascript(plan, project)
        } else if has(c::SOURCE) {
            c::add(self, plan, project)
        } else {
            let folder = self.folder.display();
            anyhow::bail!("{folder} needs an `app.py`, an `app.js` or a `{}`", c::SOURCE)
        }
    }

    fn python(self, plan: &mut Plan, project: &Project) -> Result<()> {
        Tool::ComponentizePy.add_to(plan, project)?;
        let python = venv_program(project, "python");
        self.add(plan, project, "componentize-py", "", move |stage, wasm| {
            let requirements = stage.join("requirements.txt");
            if requirements.is_file() {
                let mut pip = Command::new(&python);
                pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
                // Nothing but what is pinned, and nothing that would have to be built.
                pip.args(["--no-deps", "--only-binary", ":all:", "--target"]).arg(stage);
                quiet(pip.arg("--requirement").arg(&requirements))?;
            }
            let mut build = Command::new(&python);
            // As a module, since the length of the path in a script's first line is limited.
            build.args(["-c", "from componentize_py import script; script()"]);
            build.arg("-d").arg(stage.join("wit")).arg("componentize");
            // Without `--stub-wasi`: it would cut `wasi:io/poll` off, which waiting stands on.
            build.arg("-p").arg(stage).arg("app").arg("-o").arg(wasm);
            // An empty environment, so that no package of this machine gets in.
            quiet(build.env("VIRTUAL_ENV", stage.join("wit"))).map(drop)
        })
    }

    fn javascript(self, plan: &mut Plan, project: &Project) -> Result<()> {
        Tool::NodePackages.add_to(plan, project)?;
        let node = node_program(project);
        let componentize = node_module(project, "@bytecodealliance/componentize-js/src/cli.js");
        self.add(plan, project, "componentize-js", "", move |stage, wasm| {
            let mut build = Command::new(&node);
            build.arg(&componentize).arg(stage.join("app.js"));
            build.arg("-w").arg(stage.join("wit")).args(["-n", "probe"]);
            // Everything the engine would ask WASI for; what is left are the world's own imports.
            build.args(["-d", "stdio", "random", "clocks", "http", "fetch-event"]);
            quiet(build.arg("-o").arg(wasm)).map(drop)
        })
    }

    /// Adds the steps: `build` makes the component from a folder that holds the sources and, under
    /// `wit`, the world with everything that stands on; `compiler` decides, beside the sources and
    /// the pinned tools, when it has to be built again.
    fn add(
        self,
        plan: &mut Plan,
        project: &Project,
        how: &str,
        compiler: &str,
        build: impl Fn(&Path, &Path) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let Foreign { kind, name, folder, output } = self;
        let id = format!("{}-{name}", kind.to_lowercase());
        let built = project.made(STAGE).join(format!("{id}.wasm"));

        let mut inputs = vec![folder.clone(), project.at("wit")];
        inputs.extend(TOOLS.iter().map(|path| project.at(path)));
        let outputs = std::slice::from_ref(&built);
        let stamp = Stamp::new(project, &format!("{id}-built"), compiler, &inputs, outputs)?;
        let at = project.clone();
        let (from, to) = (folder.clone(), built.clone());
        plan.add(Step {
            name: format!("{kind} {name}"),
            how: how.to_owned(),
            stamp,
            talks: false,
            lane: Some(Lane::of(&name)),
            work: Box::new(move || build(&stage(&at, &id, &from)?, &to)),
        });

        add_host(plan, project)?;
        inputs.push(project.at("host"));
        let outputs = std::slice::from_ref(&output);
        let stamp_name = format!("{}-{name}-packed", kind.to_lowercase());
        let stamp = Stamp::new(project, &stamp_name, compiler, &inputs, outputs)?;
        let at = project.clone();
        plan.add(Step {
            name: format!("{kind} {name}, packed"),
            how: "ampoule pack".to_owned(),
            stamp,
            talks: false,
            lane: Some(Lane::of(&name)),
            work: Box::new(move || finish(&at, &built, &folder, &output)),
        });
        Ok(())
    }
}

/// Copies sources to where a toolchain may leave its own beside them, and lays their world and all
/// packages out as every toolchain wants it: `wit/world.wit`, `wit/deps/<package>/`.
fn stage(project: &Project, id: &str, folder: &Path) -> Result<PathBuf> {
    let stage = project.made(STAGE).join(id);
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    copy(folder, &stage)?;
    copy(&project.at("wit"), &stage.join("wit/deps"))?;
    fs::rename(stage.join(WORLD), stage.join("wit").join(WORLD))?;
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
