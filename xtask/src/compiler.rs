//! A C compiler with a WASI libc: for the test guest in C, and for plugins with C inside.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::plan::Plan;
use crate::process::quiet;
use crate::project::Project;
use crate::tools::{Tool, WASM_TARGET, venv_program};

/// A compiler, and the archiver that goes with it.
#[derive(Clone)]
pub(crate) struct Compiler {
    cc: Words,
    ar: Words,
}

/// A program and its first arguments.
#[derive(Clone)]
struct Words {
    program: PathBuf,
    arguments: &'static [&'static str],
}

impl Compiler {
    /// `$WASI_SDK`, or a clang on the path that can link for WASI, or else the one from PyPI, which
    /// gets into the plan.
    ///
    /// # Errors
    /// When the state of the machine cannot be read.
    pub(crate) fn choose(plan: &mut Plan, project: &Project) -> Result<Compiler> {
        if let Some(compiler) = find(project) {
            return Ok(compiler);
        }
        Tool::Zig.add_to(plan, project)?;
        let zig = |arguments| Words { program: venv_program(project, "python"), arguments };
        Ok(Compiler {
            cc: zig(&["-m", "ziglang", "cc", "-target", "wasm32-wasi"]),
            ar: zig(&["-m", "ziglang", "ar"]),
        })
    }

    /// The compiler as one would type it.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.cc.program.display(), self.cc.arguments.join(" "))
    }

    /// The compiler, to be given files.
    pub(crate) fn command(&self, project: &Project) -> Command {
        let mut command = Command::new(&self.cc.program);
        command.args(self.cc.arguments).envs(caches(project));
        command
    }

    /// What tells the build scripts of crates with C in them to use this compiler, with `flags`.
    /// A compiler that the environment names for the target stays in force.
    ///
    /// # Errors
    /// When the scripts that stand for it cannot be written.
    pub(crate) fn environment(
        &self,
        project: &Project,
        flags: &str,
    ) -> Result<Vec<(OsString, OsString)>> {
        let name = |tool: &str| OsString::from(format!("{tool}_{}", WASM_TARGET.replace('-', "_")));
        let mut variables: Vec<(OsString, OsString)> =
            caches(project).map(|(name, value)| (name.into(), value.into())).into();
        variables.push(("RQUICKJS_SYS_NO_WASI_SDK".into(), "1".into()));
        variables.push((name("CFLAGS"), flags.into()));
        for (tool, words) in [("CC", &self.cc), ("AR", &self.ar)] {
            if env::var_os(name(tool)).is_none() {
                let script =
                    project.made("tools/bin").join(format!("wasm-{}", tool.to_lowercase()));
                words.write(&script)?;
                variables.push((name(tool), script.into()));
            }
        }
        Ok(variables)
    }
}

impl Words {
    /// Writes a script that runs the program without the target that crates name: each compiler
    /// has its own word for it, which stands among the first arguments.
    fn write(&self, script: &Path) -> Result<()> {
        let text = format!(
            "#!/bin/sh\nfor word do\n  shift\n  case $word in\n    --target=*) ;;\n    *) set -- \"$@\" \
             \"$word\" ;;\n  esac\ndone\nexec '{}' {} \"$@\"\n",
            self.program.display(),
            self.arguments.join(" ")
        );
        if fs::read_to_string(script).is_ok_and(|there| there == text) {
            return Ok(());
        }
        if let Some(folder) = script.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(script, text).with_context(|| script.display().to_string())?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

/// Where zig keeps what it has compiled.
fn caches(project: &Project) -> [(&'static str, PathBuf); 2] {
    ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"]
        .map(|name| (name, project.made("tools/zig-cache")))
}

fn find(project: &Project) -> Option<Compiler> {
    const TARGET: &[&str] = &["--target=wasm32-wasi"];
    if let Some(sdk) = env::var_os("WASI_SDK") {
        let program = |name: &str| Path::new(&sdk).join("bin").join(name);
        return Some(Compiler {
            cc: Words { program: program("clang"), arguments: TARGET },
            ar: Words { program: program("llvm-ar"), arguments: &[] },
        });
    }
    let (source, object) = (project.made("tools/probe.c"), project.made("tools/probe.wasm"));
    fs::create_dir_all(project.made("tools")).ok()?;
    fs::write(&source, "#include <stdlib.h>\nint main(void) { return rand(); }\n").ok()?;
    let mut clang = Command::new("clang");
    quiet(clang.args(TARGET).arg(source).arg("-o").arg(object)).ok()?;
    Some(Compiler {
        cc: Words { program: "clang".into(), arguments: TARGET },
        ar: Words { program: "llvm-ar".into(), arguments: &[] },
    })
}
