//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders of the repository and of what is generated; the latter all lie below `target`.
#[derive(Clone)]
pub(crate) struct Project {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, the one this program was built into.
    pub(crate) target: PathBuf,
}

impl Project {
    /// The project this program belongs to.
    ///
    /// # Errors
    /// When it is run from outside a target folder.
    pub(crate) fn find() -> Result<Project> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask has no parent folder")?.to_owned();
        let program = env::current_exe().context("the path of this program is not known")?;
        let target = program
            .parent()
            .and_then(Path::parent)
            .context("run this through `cargo xtask`, not from a copy")?;
        Ok(Project { root, target: target.to_owned() })
    }

    /// A path in the repository.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// A path of something generated.
    pub(crate) fn made(&self, path: impl AsRef<Path>) -> PathBuf {
        self.target.join(path)
    }

    /// A program of the workspace.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.made("debug").join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// The command `ampoule`.
    pub(crate) fn ampoule(&self) -> PathBuf {
        self.program("ampoule")
    }

    /// A packed plugin.
    pub(crate) fn plugin(&self, name: &str) -> PathBuf {
        self.made("plugins").join(format!("{name}.wasm"))
    }

    /// A test guest.
    pub(crate) fn guest(&self, name: &str) -> PathBuf {
        self.made("guests").join(format!("{name}.wasm"))
    }

    /// The names of the folders in `folder` that hold `file`, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn folders_with(&self, folder: &str, file: &str) -> Result<Vec<String>> {
        let path = self.at(folder);
        let mut names = Vec::new();
        for entry in path.read_dir().with_context(|| path.display().to_string())? {
            let entry = entry?;
            if entry.path().join(file).is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}
