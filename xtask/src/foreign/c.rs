//! Components in C: bindings by wit-bindgen, a core module by the C compiler, a component by
//! wit-component.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::ComponentEncoder;

use super::Foreign;
use crate::plan::Plan;
use crate::process::quiet;
use crate::project::Project;
use crate::tools::{Tool, venv_program};

/// The source that tells the language.
pub(super) const SOURCE: &str = "checksum.c";

/// A C compiler with a WASI libc.
struct Compiler {
    program: PathBuf,
    arguments: &'static [&'static str],
}

pub(super) fn add(component: Foreign, plan: &mut Plan, project: &Project) -> Result<()> {
    let compiler = match find(project) {
        Some(compiler) => compiler,
        None => {
            Tool::Zig.add_to(plan, project)?;
            Compiler {
                program: venv_program(project, "python"),
                arguments: &["-m", "ziglang", "cc", "-target", "wasm32-wasi"],
            }
        }
    };
    let how = format!("{} {}", compiler.program.display(), compiler.arguments.join(" "));
    let cache = project.made("tools/zig-cache");
    component.add(plan, project, "wit-bindgen and a C compiler", &how, move |stage, wasm| {
        bind(stage)?;
        let module = stage.join("checksum.core.wasm");
        let mut cc = Command::new(&compiler.program);
        cc.args(compiler.arguments).args(["-Os", "-Wall", "-Wextra", "-mexec-model=reactor"]);
        cc.args([SOURCE, "bindings.c", "bindings_component_type.o", "-o"]).arg(&module);
        cc.env("ZIG_GLOBAL_CACHE_DIR", &cache).env("ZIG_LOCAL_CACHE_DIR", &cache);
        quiet(cc.current_dir(stage))?;

        let core = fs::read(&module).with_context(|| module.display().to_string())?;
        let component = ComponentEncoder::default().validate(true).module(&core)?.encode()?;
        Ok(fs::write(wasm, component)?)
    })
}

/// `$WASI_SDK`, or a clang on the path that can link for WASI.
fn find(project: &Project) -> Option<Compiler> {
    const TARGET: &[&str] = &["--target=wasm32-wasi"];
    if let Some(sdk) = env::var_os("WASI_SDK") {
        return Some(Compiler { program: Path::new(&sdk).join("bin/clang"), arguments: TARGET });
    }
    let (source, object) = (project.made("tools/probe.c"), project.made("tools/probe.wasm"));
    fs::create_dir_all(project.made("tools")).ok()?;
    fs::write(&source, "#include <stdlib.h>\nint main(void) { return rand(); }\n").ok()?;
    let mut clang = Command::new("clang");
    quiet(clang.args(TARGET).arg(source).arg("-o").arg(object)).ok()?;
    Some(Compiler { program: "clang".into(), arguments: TARGET })
}

/// Writes `bindings.h`, `bindings.c` and `bindings_component_type.o`.
fn bind(stage: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(stage.join("wit"))?;
    let world = resolve.select_world(&[package], Some("checksum"))?;
    let options = wit_bindgen_c::Opts {
        rename_world: Some("bindings".to_owned()),
        ..wit_bindgen_c::Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        fs::write(stage.join(name), content)?;
    }
    Ok(())
}
