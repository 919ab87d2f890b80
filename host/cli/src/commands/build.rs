//! `ampoule build`: from the folder of a Rust plugin to its file.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use cargo_metadata::Message;

use crate::args::BuildArgs;
use crate::exit::{Exit, Failure, file_error};
use crate::render::Screen;
use crate::toolchain::{self, TARGET};

/// The Cargo profile of plugins. Where the folder does not define it, it is the profile `release`.
const PROFILE: &str = "plugin";

pub(super) async fn run(args: &BuildArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let folder = &args.dir;
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Failure::usage(format!("there is no {}", manifest.display())).hint(
            "Name the folder of a Rust plugin, or make one with `ampoule new`. A component of \
             another toolchain needs no build: use `ampoule pack`.",
        ));
    }
    let manifest = manifest.canonicalize().map_err(file_error(&manifest))?;
    match toolchain::has_target(folder) {
        Some(true) => {}
        Some(false) => {
            screen.note(format_args!("adding the target {TARGET} to the toolchain"))?;
            toolchain::add_target(folder)?;
        }
        None => return Err(toolchain::no_cargo()),
    }
    let built = cargo_build(folder, &manifest)?;
    let wasm = std::fs::read(&built).map_err(file_error(&built))?;
    let package = super::pack::pack(&wasm, &built, folder).await?;
    let output = output(&built, &package.manifest.name);
    super::pack::write(&package, &output)?;
    super::pack::report(&package, &output, screen)?;
    Ok(Exit::Ok)
}

/// Compiles the package of a manifest and tells where the component is. Cargo's own words go to
/// stderr as they come.
fn cargo_build(folder: &Path, manifest: &Path) -> Result<PathBuf, Failure> {
    let mut command = toolchain::cargo(folder);
    command
        .args(["build", "--lib", "--target", TARGET, "--profile", PROFILE])
        .args(["--config", &format!("profile.{PROFILE}.inherits=\"release\"")])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(manifest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|_| toolchain::no_cargo())?;
    let mut built = None;
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(std::io::BufReader::new(stdout)) {
            let message = message.map_err(|error| Failure::fault(format!("cargo: {error}")))?;
            if let Message::CompilerArtifact(artifact) = message
                && artifact.manifest_path == manifest
            {
                built =
                    artifact.filenames.into_iter().find(|file| file.extension() == Some("wasm"));
            }
        }
    }
    let status = child.wait().map_err(|error| Failure::fault(format!("cargo: {error}")))?;
    if !status.success() {
        return Err(Failure::new(Exit::Failed, "the plugin does not compile"));
    }
    built.map(Into::into).ok_or_else(|| {
        Failure::configuration(format!("{} makes no component", manifest.display())).hint(
            "A plugin is a library of the type `cdylib`. Add to Cargo.toml:\n\n  [lib]\n  \
             crate-type = [\"cdylib\"]",
        )
    })
}

/// `<target folder>/plugins/<name>.wasm`, from `<target folder>/<target>/<profile>/<file>`.
fn output(built: &Path, name: &str) -> PathBuf {
    let target = built.ancestors().nth(3).unwrap_or(Path::new("."));
    target.join("plugins").join(format!("{name}.wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_lies_in_the_target_folder() {
        let built = Path::new("/x/target/wasm32-wasip2/plugin/word_count.wasm");
        assert_eq!(output(built, "word-count"), Path::new("/x/target/plugins/word-count.wasm"));
    }
}
