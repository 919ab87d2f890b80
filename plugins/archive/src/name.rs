//! Names of entries, which anybody may have written.

use std::collections::BTreeSet;

use ampoule_sdk::prelude::*;

/// Bytes of a name in the workspace.
const MAX_NAME_BYTES: usize = 1024;

/// What is wrong with an entry.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Problem {
    /// Its name begins at the root or with a drive.
    AbsoluteName,
    /// Its name climbs out with `..`.
    ClimbsOut,
    /// Its name is empty, too long, not text, or has `\`, control characters, or parts that are
    /// empty or `.`.
    BadName,
    /// An entry before it has the same name.
    DuplicateName,
    /// It is a link, which is not followed.
    Link,
    /// It is a device, a pipe or the like.
    Special,
    /// It is encrypted, and no passwords are tried.
    Encrypted,
    /// It is compressed in a way that is not read here.
    UnsupportedMethod,
}

impl Problem {
    /// Whether only its name is at fault, so that its content can be had all the same.
    pub(crate) fn is_name(self) -> bool {
        matches!(
            self,
            Problem::AbsoluteName | Problem::ClimbsOut | Problem::BadName | Problem::DuplicateName
        )
    }
}

/// What is wrong with a name; the `/` at the end of a directory's is passed over.
pub(crate) fn judge(name: &str) -> Option<Problem> {
    let drive = matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if name.starts_with(['/', '\\']) || drive {
        return Some(Problem::AbsoluteName);
    }
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.split(['/', '\\']).any(|part| part == "..") {
        return Some(Problem::ClimbsOut);
    }
    let bad = name.len() > MAX_NAME_BYTES
        || name.contains(|c: char| c == '\\' || c == '\u{fffd}' || c.is_control())
        || name.split('/').any(|part| part.is_empty() || part == ".");
    bad.then_some(Problem::BadName)
}

/// The names that were met.
#[derive(Default)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    /// What is wrong with the next name.
    pub(crate) fn judge(&mut self, name: &str) -> Option<Problem> {
        let first = self.0.insert(name.strip_suffix('/').unwrap_or(name).to_owned());
        judge(name).or((!first).then_some(Problem::DuplicateName))
    }
}
