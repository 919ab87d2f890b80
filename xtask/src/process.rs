//! Running other programs.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::project::Project;

/// How many lines of a failed program's output are shown, half from each end.
const SHOWN_LINES: usize = 60;

/// The cargo that runs this program, in the repository.
pub(crate) fn cargo(project: &Project) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(&project.root);
    // What the cargo above says of this package would make build scripts run again.
    for (name, _) in env::vars_os() {
        let said = ["CARGO_MANIFEST_", "CARGO_PKG_"];
        if name.to_str().is_some_and(|name| said.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program that shows its own progress.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn loud(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| not_started(command))?;
    anyhow::ensure!(status.success(), "`{}` failed ({status})", line(command));
    Ok(())
}

/// Runs a program and returns what it printed; nothing is shown unless it fails.
///
/// # Errors
/// When it cannot be started or fails, with the end of what it printed.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| not_started(command))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        let mut lines: Vec<_> = all.lines().collect();
        if lines.len() > SHOWN_LINES {
            lines.splice(SHOWN_LINES / 2..lines.len() - SHOWN_LINES / 2, ["…"]);
        }
        bail!("`{}` failed ({}):\n{}", line(command), output.status, lines.join("\n"));
    }
    Ok(text.into_owned())
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(OsStr::to_string_lossy).map(|word| match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.into_owned(),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn not_started(command: &Command) -> String {
    format!("`{}` could not be started", command.get_program().to_string_lossy())
}
