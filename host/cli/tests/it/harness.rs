//! Runs the command in a folder of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A folder with nothing in it, and a home beside it. Gone with the value.
pub(crate) struct Folder {
    root: tempfile::TempDir,
}

/// What a run of the command came to. The folder is written as `[DIR]`, a time as `[TIME]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder { root };
        std::fs::create_dir(folder.path()).unwrap();
        folder
    }

    /// The folder with the plugin of [`crate::plugin`] in `plugins/`, and its name.
    pub(crate) fn with_plugin() -> Folder {
        let folder = Folder::new();
        crate::plugin::pack_into(&folder);
        folder
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap().join("work")
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// The command, with an environment that holds nothing of the one who tests.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ampoule"));
        let home = self.root.path().join("home");
        command.args(arguments).current_dir(self.path()).env_clear().env("HOME", home);
        for kept in ["PATH", "CARGO_HOME", "RUSTUP_HOME", "SystemRoot"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.end(self.command(arguments).spawn().unwrap())
    }

    /// Runs the command with something on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ended {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // A command that needs no more of it may have closed it.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        self.end(child)
    }

    /// Waits for the command.
    pub(crate) fn end(&self, child: Child) -> Ended {
        let output = child.wait_with_output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: self.shown(&output.stdout),
            stderr: self.shown(&output.stderr),
        }
    }

    /// Runs the command and compares all three.
    #[track_caller]
    pub(crate) fn check(&self, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
        let expected = Ended { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        assert_eq!(self.run(arguments), expected, "ampoule {}", arguments.join(" "));
    }

    fn shown(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace(&shown(&self.path()), "[DIR]");
        text.split_inclusive('\n').map(without_time).collect()
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A line of a receipt ends with a time.
fn without_time(line: &str) -> String {
    let ended = line.trim_end_matches('\n');
    let is_time = |last: &str| {
        [" µs", " ms", " s"]
            .iter()
            .any(|unit| last.strip_suffix(unit).is_some_and(|number| number.parse::<f64>().is_ok()))
    };
    match ended.rsplit_once(" · ") {
        Some((before, last)) if is_time(last) => {
            format!("{before} · [TIME]{}", &line[ended.len()..])
        }
        _ => line.to_owned(),
    }
}
