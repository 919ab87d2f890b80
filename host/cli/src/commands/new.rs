//! `ampoule new`: the folder of a new Rust plugin.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::args::NewArgs;
use crate::exit::{Exit, Failure, file_error};
use crate::render::{CODE, Screen, Table, paint};
use crate::toolchain;

/// The files of a plugin's folder, with the templates they are made from.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../../templates/plugin/Cargo.toml.template")),
    ("plugin.toml", include_str!("../../templates/plugin/plugin.toml.template")),
    ("examples.json", include_str!("../../templates/plugin/examples.json.template")),
    ("src/lib.rs", include_str!("../../templates/plugin/lib.rs.template")),
    (".gitignore", include_str!("../../templates/plugin/gitignore.template")),
];

/// Names that a crate, or a function with its type, cannot have or should not take: the keywords of
/// Rust, its primitive types, and what stands beside them in a plugin's code.
const RESERVED: &str = "abstract alloc ampoule-sdk as async await become bool box break char const \
    continue core crate do dyn else enum extern f32 f64 false final fn for gen i128 i16 i32 i64 i8 \
    if impl in isize let loop macro match mod move mut override priv proc-macro pub ref return \
    self static std str struct super test tests trait true try type typeof u128 u16 u32 u64 u8 \
    unsafe unsized use usize virtual where while yield";

pub(super) fn run(args: &NewArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let name = &args.name;
    if RESERVED.split(' ').any(|reserved| reserved == name) {
        let message = format!("`{name}` has a meaning of its own in Rust");
        return Err(Failure::usage(message).hint("Choose another name, such as `my-tool`."));
    }
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(name));
    if is_taken(&folder)? {
        let message = format!("{} is there already and not empty", folder.display());
        return Err(Failure::usage(message).hint("Name another folder with --dir."));
    }
    let sdk = sdk(args.sdk.as_deref())?;
    for (file, template) in FILES {
        let text = fill(template, name, &sdk);
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(file_error(parent))?;
        }
        fs::write(&path, text).map_err(file_error(&path))?;
    }
    if screen.json {
        let files = FILES.map(|(file, _)| file);
        screen.document(&json!({ "folder": folder, "files": files }))?;
        return Ok(Exit::Ok);
    }
    let shown = folder.display().to_string();
    writeln!(screen.out(), "{} is made. Next:\n", paint(CODE, &shown))?;
    let call = format!("ampoule call {name} --plugins {shown}/target/plugins --arg text='one two'");
    let mut table = Table::plain().indent(2);
    for (command, what) in [
        (format!("cargo test --manifest-path {shown}/Cargo.toml"), "runs its unit tests"),
        (format!("ampoule build {shown}"), "makes the plugin"),
        (call, "calls it"),
    ] {
        table.row([paint(CODE, command), what.to_owned()]);
    }
    let width = screen.width();
    table.print(screen.out(), width)?;
    Ok(Exit::Ok)
}

/// Whether something is there that must not be written over.
fn is_taken(folder: &Path) -> Result<bool, Failure> {
    match folder.read_dir() {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(file_error(folder)(error)),
    }
}

/// The SDK that was named, or the one in the source tree.
fn sdk(named: Option<&Path>) -> Result<String, Failure> {
    let folder = match named {
        Some(folder) if folder.join("Cargo.toml").is_file() => {
            folder.canonicalize().map_err(file_error(folder))?
        }
        Some(folder) => {
            let message = format!("{} is not the folder of ampoule-sdk", folder.display());
            return Err(Failure::usage(message));
        }
        None => toolchain::sdk().ok_or_else(|| {
            Failure::usage("the source tree this command was built from is gone")
                .hint("Name the folder of ampoule-sdk with --sdk PATH (`sdk-guest` in Ampoule's repository).")
        })?,
    };
    toolchain::text_of(&folder)
}

fn fill(template: &str, name: &str, sdk: &str) -> String {
    // JSON's escapes are among TOML's.
    let sdk = Value::from(sdk).to_string();
    template
        .replace("__NAME__", name)
        .replace("__FUNCTION__", &name.replace('-', "_"))
        .replace("__SDK__", &sdk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_filled() {
        for (file, template) in FILES {
            let text = fill(template, "word-count", "/a \"b\"/sdk");
            assert!(!text.contains("__"), "{file}: {text}");
        }
        let text = fill(FILES[0].1, "word-count", "/a \"b\"/sdk");
        assert!(text.contains(r#"path = "/a \"b\"/sdk""#), "{text}");
    }
}
