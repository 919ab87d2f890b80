//! The Rust toolchain that builds plugins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::exit::Failure;

/// What plugins are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Cargo, run in a folder, so that the folder's own choice of a toolchain counts.
pub(crate) fn cargo(folder: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(folder);
    command
}

/// The first line of what a program prints; `None` where it cannot be run or fails.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next().unwrap_or_default().to_owned();
    output.status.success().then_some(line)
}

/// Whether the toolchain of a folder can compile for [`TARGET`]; `None` where there is none.
pub(crate) fn has_target(folder: &Path) -> Option<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.current_dir(folder).args(["--print", "target-libdir", "--target", TARGET]);
    first_line(&mut command).map(|folder| Path::new(&folder).is_dir())
}

/// Adds [`TARGET`] to the toolchain of a folder.
///
/// # Errors
/// There is no rustup, or it could not get it.
pub(crate) fn add_target(folder: &Path) -> Result<(), Failure> {
    let mut command = Command::new("rustup");
    command.current_dir(folder).args(["target", "add", TARGET]);
    // What it says belongs to stderr: stdout is for what was built.
    let status = command.stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::configuration(format!("`rustup target add {TARGET}` failed"))),
        Err(_) => Err(Failure::configuration(format!(
            "the Rust target {TARGET} is not installed, and there is no rustup to add it"
        ))
        .hint(format!(
            "Install Rust with rustup, or the package of your system that holds the standard \
             library for {TARGET}."
        ))),
    }
}

/// What is to be done where there is no cargo.
pub(crate) fn no_cargo() -> Failure {
    Failure::configuration("there is no `cargo`, which building a Rust plugin needs")
        .hint("Install Rust with rustup, and see that `cargo` is in the PATH.")
}

/// The SDK in the source tree this command was built from, where that is still there.
pub(crate) fn sdk() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk-guest");
    folder.join("Cargo.toml").is_file().then(|| folder.canonicalize().ok()).flatten()
}

/// A path as a file of TOML can hold it.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn text_of(path: &Path) -> Result<String, Failure> {
    OsString::from(path)
        .into_string()
        .map_err(|_| Failure::usage(format!("the path {} is not UTF-8", path.display())))
}
