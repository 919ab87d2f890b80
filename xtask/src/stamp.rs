//! Knowing that something need not be done again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::project::Project;

/// A digest of everything a step depends on, kept in a file once the step is done.
pub(crate) struct Stamp {
    file: PathBuf,
    digest: String,
    outputs: Vec<PathBuf>,
}

impl Stamp {
    /// The stamp `name` of a step that makes `outputs` from the files at `inputs` (folders count
    /// to the bottom) and from what `key` says, such as the versions of tools.
    ///
    /// # Errors
    /// When an input cannot be read.
    pub(crate) fn new(
        project: &Project,
        name: &str,
        key: &str,
        inputs: &[PathBuf],
        outputs: &[PathBuf],
    ) -> Result<Stamp> {
        Ok(Stamp {
            file: project.made("stamps").join(name),
            digest: digest(project, key, inputs)?,
            outputs: outputs.to_vec(),
        })
    }

    /// Whether the step was done with the same inputs and its outputs are still there.
    pub(crate) fn is_fresh(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|kept| kept == self.digest)
            && self.outputs.iter().all(|output| output.exists())
    }

    /// Says that the step is done.
    ///
    /// # Errors
    /// When an output is missing after all, or the stamp cannot be written.
    pub(crate) fn write(&self) -> Result<()> {
        for output in &self.outputs {
            anyhow::ensure!(output.exists(), "{} was not made", output.display());
        }
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&self.file, &self.digest).with_context(|| self.file.display().to_string())
    }
}

/// A digest of `key` and of what lies at `inputs`: names and contents, folders to the bottom.
///
/// # Errors
/// When an input cannot be read.
pub(crate) fn digest(project: &Project, key: &str, inputs: &[PathBuf]) -> Result<String> {
    let mut hash = Sha256::new();
    field(&mut hash, key.as_bytes());
    for input in inputs {
        let input = input.strip_prefix(&project.root).unwrap_or(input);
        add(&mut hash, &project.root, input)?;
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Adds names and contents, in the order of the names, so that the digest is the same everywhere.
fn add(hash: &mut Sha256, root: &Path, path: &Path) -> Result<()> {
    let full = root.join(path);
    let name = path.to_string_lossy().replace('\\', "/");
    if full.is_dir() {
        let mut below: Vec<_> = full
            .read_dir()
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
            .with_context(|| full.display().to_string())?;
        below.sort();
        for entry in below {
            add(hash, root, &path.join(entry))?;
        }
    } else if full.exists() {
        let content = fs::read(&full).with_context(|| full.display().to_string())?;
        field(hash, name.as_bytes());
        field(hash, &content);
    } else {
        // Absent is a content too: the digest changes when the file appears.
        field(hash, name.as_bytes());
        hash.update([0xff; 8]);
    }
    Ok(())
}

/// Lengths keep one field from running into the next.
fn field(hash: &mut Sha256, content: &[u8]) {
    hash.update((content.len() as u64).to_le_bytes());
    hash.update(content);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn a_stamp_goes_stale_with_content_key_and_output() {
        let root = std::env::temp_dir().join(format!("xtask-stamp-{}", std::process::id()));
        fs::create_dir_all(root.join("in/below")).unwrap();
        let project = Project { root: root.clone(), target: root.join("target") };
        let output = root.join("out");
        let stamp = |key: &str| {
            Stamp::new(&project, "s", key, &[root.join("in")], std::slice::from_ref(&output))
                .unwrap()
        };

        fs::write(root.join("in/below/a"), "1").unwrap();
        assert!(!stamp("k").is_fresh(), "never written");
        assert!(stamp("k").write().is_err(), "the output is missing");
        fs::write(&output, "").unwrap();
        stamp("k").write().unwrap();
        assert!(stamp("k").is_fresh());
        assert!(!stamp("other").is_fresh());

        fs::write(root.join("in/below/a"), "2").unwrap();
        assert!(!stamp("k").is_fresh(), "content");
        fs::write(root.join("in/below/a"), "1").unwrap();
        fs::write(root.join("in/b"), "").unwrap();
        assert!(!stamp("k").is_fresh(), "a new file");
        fs::remove_file(root.join("in/b")).unwrap();
        assert!(stamp("k").is_fresh());
        fs::remove_file(&output).unwrap();
        assert!(!stamp("k").is_fresh(), "output gone");
        fs::remove_dir_all(root).unwrap();
    }
}
