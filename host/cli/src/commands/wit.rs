//! `ampoule wit`: the contract for other languages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::WitArgs;
use crate::exit::{Exit, Failure, file_error};
use crate::render::{CODE, Screen, paint};

/// The world a plugin begins with; its author's from then on.
const WORLD: &str = include_str!("../../templates/wit/world.wit");

macro_rules! packages {
    ($($folder:literal: $package:literal [$($file:literal),*];)*) => {
        /// The packages of the contract: folder under `deps`, file, text.
        const PACKAGES: &[(&str, &str, &str)] = &[$($((
            $package,
            $file,
            include_str!(concat!("../../../../wit/", $folder, "/", $file)),
        ),)*)*];

        /// The folders of `wit/` and the packages in them.
        #[cfg(test)]
        const FOLDERS: &[(&str, &str)] = &[$(($folder, $package)),*];
    };
}

packages! {
    "plugin": "ampoule-plugin" [
        "ambient.wit", "capabilities.wit", "exports.wit", "types.wit", "worlds.wit"
    ];
    "llm": "ampoule-llm" ["llm.wit"];
    "wasi-io": "wasi-io" ["poll.wit"];
}

pub(super) fn run(args: &WitArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let folder = &args.dir;
    let world = folder.join("world.wit");
    let is_kept = world.exists();
    let mut written = Vec::new();
    if !is_kept {
        written.push(write(&world, WORLD)?);
    }
    for (package, file, text) in PACKAGES {
        written.push(write(&folder.join("deps").join(package).join(file), text)?);
    }
    if screen.json {
        screen.document(&json!({ "folder": folder, "written": written }))?;
        return Ok(Exit::Ok);
    }
    for path in &written {
        writeln!(screen.out(), "{}", paint(CODE, path.display()))?;
    }
    if is_kept {
        screen.note(format_args!("{} was there and stays as it is", world.display()))?;
    }
    Ok(Exit::Ok)
}

fn write(path: &Path, text: &str) -> Result<PathBuf, Failure> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(file_error(parent))?;
    }
    fs::write(path, text).map_err(file_error(path))?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A file that is added to the contract must be written too.
    #[test]
    fn every_file_of_the_contract_is_written() {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut expected = BTreeSet::new();
        for folder in fs::read_dir(&wit).expect("the contract") {
            let folder = folder.expect("an entry").path();
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            let package = FOLDERS.iter().find(|(known, _)| *known == name);
            let (_, package) = package.unwrap_or_else(|| panic!("wit/{name} is not written"));
            for file in fs::read_dir(&folder).expect("a package") {
                let file = file.expect("an entry").file_name().to_string_lossy().into_owned();
                expected.insert(((*package).to_owned(), file));
            }
        }
        let written =
            PACKAGES.iter().map(|(package, file, _)| ((*package).to_owned(), (*file).to_owned()));
        assert_eq!(written.collect::<BTreeSet<_>>(), expected);
    }
}
