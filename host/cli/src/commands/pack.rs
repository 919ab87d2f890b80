//! `ampoule pack`: a component and its `plugin.toml` become one file.

use std::io::Write;
use std::path::{Path, PathBuf};

use ampoule::HostError;
use ampoule::package::{self, Package};
use serde_json::json;

use crate::args::PackArgs;
use crate::exit::{Exit, Failure, file_error};
use crate::render::{CODE, Screen, bytes, paint};

pub(super) async fn run(args: &PackArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    if !args.folder.is_dir() {
        let message = format!("{} is not a folder", args.folder.display());
        return Err(Failure::usage(message).hint("Name the folder that holds plugin.toml."));
    }
    let wasm = std::fs::read(&args.wasm).map_err(file_error(&args.wasm))?;
    let package = pack(&wasm, &args.wasm, &args.folder).await?;
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| PathBuf::from(format!("{}.wasm", package.manifest.name)));
    write(&package, &output)?;
    report(&package, &output, screen)?;
    Ok(Exit::Ok)
}

/// Packs the component read from `path`.
///
/// # Errors
/// It and the folder do not make a plugin.
pub(super) async fn pack(wasm: &[u8], path: &Path, folder: &Path) -> Result<Package, Failure> {
    package::pack(wasm, folder).await.map_err(|error| match error {
        // What is wrong with the component is not the folder's fault.
        HostError::Plugin { message, .. } => {
            Failure::configuration(format!("{}: {message}", path.display()))
        }
        error => error.into(),
    })
}

/// Writes a plugin's file whole or not at all.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(package: &Package, output: &Path) -> Result<(), Failure> {
    replace(output, &package.wasm)
}

/// Writes a file whole or not at all, in place of one that is there.
///
/// # Errors
/// It cannot be written.
pub(super) fn replace(output: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let written = || {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new();
        // As any file that is made, where the default is a file for its owner alone.
        #[cfg(unix)]
        file.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = file.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(output)?;
        Ok(())
    };
    written().map_err(file_error(output))
}

/// Says what was made, what it can reach, and what is declared without need.
///
/// # Errors
/// It cannot be printed.
pub(super) fn report(package: &Package, output: &Path, screen: &mut Screen) -> Result<(), Failure> {
    let manifest = &package.manifest;
    let reach = manifest.reach();
    if screen.json {
        let document = json!({
            "path": output,
            "size": package.wasm.len(),
            "name": manifest.name,
            "version": manifest.version,
            "reach": reach,
            "unused": package.unused,
        });
        screen.document(&document)?;
        return Ok(());
    }
    let size = bytes(package.wasm.len() as u64);
    let path = paint(CODE, super::shown(output));
    writeln!(screen.out(), "{path}  {} {}, {size}", manifest.name, manifest.version)?;
    for tool in &manifest.tools {
        writeln!(screen.out(), "  provides {}", tool.name)?;
    }
    for service in &manifest.services {
        writeln!(screen.out(), "  serves {service}")?;
    }
    if reach.is_empty() {
        writeln!(screen.out(), "  reaches nothing")?;
    }
    for reach in &reach {
        writeln!(screen.out(), "  can {}", crate::render::safe(&reach.action))?;
    }
    for unused in &package.unused {
        screen.warn(format_args!(
            "plugin.toml declares `{unused}`, which the code does not use; take it out"
        ))?;
    }
    Ok(())
}
