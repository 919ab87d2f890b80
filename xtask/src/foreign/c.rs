//! Components in C: bindings by wit-bindgen, a core module by the C compiler, a component by
//! wit-component.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::ComponentEncoder;

use super::Foreign;
use crate::compiler::Compiler;
use crate::plan::Plan;
use crate::process::quiet;
use crate::project::Project;

/// The source that tells the language.
pub(super) const SOURCE: &str = "checksum.c";

pub(super) fn add(component: Foreign, plan: &mut Plan, project: &Project) -> Result<()> {
    let compiler = Compiler::choose(plan, project)?;
    let (how, at) = (compiler.line(), project.clone());
    component.add(plan, project, "wit-bindgen and a C compiler", &how, move |stage, wasm| {
        bind(stage)?;
        let module = stage.join("checksum.core.wasm");
        let mut cc = compiler.command(&at);
        cc.args(["-Os", "-Wall", "-Wextra", "-mexec-model=reactor"]);
        cc.args([SOURCE, "bindings.c", "bindings_component_type.o", "-o"]).arg(&module);
        quiet(cc.current_dir(stage))?;

        let core = fs::read(&module).with_context(|| module.display().to_string())?;
        let component = ComponentEncoder::default().validate(true).module(&core)?.encode()?;
        Ok(fs::write(wasm, component)?)
    })
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
