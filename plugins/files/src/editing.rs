//! `edit`: exact replacements in a text file, all or none.

use ampoule_sdk::files;
use ampoule_sdk::prelude::*;

/// What to change.
#[data]
pub(crate) struct Editing {
    /// Relative to the workspace, parts separated by `/`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// The changes, made one after the other; if one cannot be made, none is.
    #[schemars(length(min = 1, max = 100))]
    edits: Vec<Edit>,
}

/// One replacement.
#[data]
pub(crate) struct Edit {
    /// The text to replace, exactly as it stands in the file; it must stand there once.
    #[schemars(length(min = 1))]
    old: String,
    /// What to put there.
    new: String,
    /// Replace it wherever it stands.
    #[serde(default)]
    all: bool,
}

/// A file that was edited.
#[data]
pub(crate) struct Edited {
    /// Its path.
    path: String,
    /// How many places were changed.
    replaced: usize,
    /// Its length now, in bytes.
    size: u64,
}

/// Replace exact texts in a file. Each must stand there exactly once, unless `all` is set.
#[tool]
pub(crate) fn edit(editing: Editing) -> Result<Edited> {
    let Editing { path, edits } = editing;
    let (text, replaced) = apply(files::read_to_string(&path)?, &edits)?;
    files::write(&path, &text)?;
    Ok(Edited { path, replaced, size: text.len() as u64 })
}

fn apply(mut text: String, edits: &[Edit]) -> Result<(String, usize)> {
    let mut replaced = 0;
    for (at, edit) in edits.iter().enumerate() {
        let found = text.matches(&edit.old).count();
        match found {
            0 => {
                let message = format!("edit {}: the text `old` is not in the file", at + 1);
                return Err(Error::not_found(message));
            }
            2.. if !edit.all => {
                return Err(Error::conflict(format!(
                    "edit {}: the text `old` stands in {found} places; give more of what is \
                     around it, or set `all`",
                    at + 1
                )));
            }
            _ => {
                text = text.replace(&edit.old, &edit.new);
                replaced += found;
            }
        }
    }
    Ok((text, replaced))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(edits: &[(&str, &str, bool)]) -> Vec<Edit> {
        let edit =
            |&(old, new, all): &(&str, &str, bool)| Edit { old: old.into(), new: new.into(), all };
        edits.iter().map(edit).collect()
    }

    #[test]
    fn all_or_none() {
        let text = || "one two one".to_owned();
        let done = apply(text(), &edits(&[("two", "2", false), ("one", "1", true)]));
        assert_eq!(done.expect("applied"), ("1 2 1".into(), 3));
        assert_eq!(
            apply(text(), &edits(&[("one", "1", false)])).expect_err("twice").code,
            "conflict"
        );
        assert_eq!(
            apply(text(), &edits(&[("six", "6", true)])).expect_err("absent").code,
            "not-found"
        );
        let chained = apply(text(), &edits(&[("two", "three", false), ("three", "four", false)]));
        assert_eq!(chained.expect("in order").0, "one four one");
    }
}
