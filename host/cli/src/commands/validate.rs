//! `ampoule validate`: whether files are what they should be.

use std::io::Write;
use std::path::{Path, PathBuf};

use ampoule::manifest::{LimitValue, PluginFile};
use ampoule::{Config, Lock, Meter, package};
use ampoule_agent::AgentFile;
use ampoule_services::{Script, Scripted};
use serde::Serialize;
use serde_json::json;

use crate::args::{Global, SchemaKind, ValidateArgs};
use crate::exit::{Exit, Failure};
use crate::render::{BAD, FAINT, GOOD, Screen, indented, paint};
use crate::setup::{CONFIG_FILE, Setup};

/// What a file can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Config,
    Lock,
    Agent,
    Script,
    PluginFile,
    Examples,
    Plugin,
}

/// A file and what is wrong with it.
#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    kind: Option<Kind>,
    problem: Option<String>,
}

pub(super) async fn run(
    args: &ValidateArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    if let Some(kind) = args.schema {
        screen.document(&schema(kind))?;
        return Ok(Exit::Ok);
    }
    let mut files = args.files.clone();
    if files.is_empty() {
        let found = Setup::find(global)?.file.ok_or_else(|| {
            Failure::configuration(format!("there is no {CONFIG_FILE} here or above"))
                .hint("Name the files to check.")
        })?;
        files.push(found);
    }
    let mut all = Vec::new();
    for file in files {
        let kind = kind(&file);
        let problem = match kind {
            Some(kind) => check(kind, &file, global).await.err(),
            None => {
                Some("its name does not tell what it is; see `ampoule validate --help`".to_owned())
            }
        };
        all.push(Checked { file, kind, problem });
    }
    let good = all.iter().all(|checked| checked.problem.is_none());
    if screen.json {
        screen.document(&json!({ "files": all }))?;
    } else {
        let width = screen.width();
        for checked in &all {
            let file = checked.file.display();
            match &checked.problem {
                None => {
                    let kind = paint(FAINT, checked.kind.map_or("", Kind::words));
                    writeln!(screen.out(), "{}    {file}  {kind}", paint(GOOD, "ok"))?;
                }
                Some(problem) => {
                    writeln!(screen.out(), "{}   {file}", paint(BAD, "bad"))?;
                    // What points at a place in a line is not to be wrapped.
                    let width = width.filter(|_| !problem.contains('\n'));
                    writeln!(screen.out(), "{}", indented(problem, "      ", width))?;
                }
            }
        }
    }
    Ok(if good { Exit::Ok } else { Exit::Configuration })
}

impl Kind {
    const fn words(self) -> &'static str {
        match self {
            Kind::Config => "configuration",
            Kind::Lock => "lock",
            Kind::Agent => "agent",
            Kind::Script => "script",
            Kind::PluginFile => "plugin.toml",
            Kind::Examples => "examples",
            Kind::Plugin => "plugin",
        }
    }
}

/// What a file should be, by its name.
fn kind(file: &Path) -> Option<Kind> {
    let name = file.file_name()?.to_str()?;
    let ending = file.extension()?.to_str()?;
    match (name, ending) {
        ("plugin.toml", _) => Some(Kind::PluginFile),
        ("examples.json", _) => Some(Kind::Examples),
        ("Cargo.toml" | "Cargo.lock", _) => None,
        (_, "lock") => Some(Kind::Lock),
        (_, "toml") if name.ends_with(".script.toml") => Some(Kind::Script),
        (_, "toml") => Some(Kind::Config),
        (_, "md") => Some(Kind::Agent),
        (_, "wasm") => Some(Kind::Plugin),
        _ => None,
    }
}

/// What is wrong with a file.
async fn check(kind: Kind, file: &Path, global: &Global) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| without_path(&error.to_string(), file);
    match kind {
        Kind::Config => Config::read(file).map(drop).map_err(|error| told(&error)),
        Kind::Lock => match Lock::read(file).map_err(|error| told(&error))? {
            Some(_) => Ok(()),
            None => Err("there is no such file".to_owned()),
        },
        Kind::Agent => AgentFile::open(file).map(drop).map_err(|error| told(&error)),
        Kind::Script => Scripted::open(file).map(drop).map_err(|error| told(&error)),
        Kind::PluginFile => {
            let read = PluginFile::read(file).map_err(|error| told(&error))?;
            plugin_limits(&read)
        }
        Kind::Examples => package::read_examples(file).map(drop).map_err(|error| told(&error)),
        Kind::Plugin => {
            let inspected = super::inspect::of_file(global, file).await;
            inspected.map(drop).map_err(|failure| failure.message)
        }
    }
}

/// The limits of a `plugin.toml`, which its types alone do not check.
fn plugin_limits(file: &PluginFile) -> Result<(), String> {
    for (name, value) in &file.limits {
        let at = |error: String| format!("[limits]: {error}");
        let meter: Meter = name.parse().map_err(at)?;
        if let LimitValue::Text(text) = value {
            meter.parse(text).map_err(|error| format!("[limits] {name}: {error}"))?;
        }
    }
    Ok(())
}

/// A message without the path it may begin with, which is printed before it anyway.
fn without_path(message: &str, file: &Path) -> String {
    let path = format!("{}: ", file.display());
    message.strip_prefix(&path).unwrap_or(message).trim_end().to_owned()
}

fn schema(kind: SchemaKind) -> schemars::Schema {
    match kind {
        SchemaKind::Config => schemars::schema_for!(Config),
        SchemaKind::Agent => AgentFile::schema(),
        SchemaKind::Plugin => schemars::schema_for!(PluginFile),
        SchemaKind::Script => Script::schema(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_a_file_is() {
        for (name, expected) in [
            ("a/ampoule.toml", Some(Kind::Config)),
            ("prod.toml", Some(Kind::Config)),
            ("a/plugin.toml", Some(Kind::PluginFile)),
            ("x.script.toml", Some(Kind::Script)),
            ("examples.json", Some(Kind::Examples)),
            ("agents/x.md", Some(Kind::Agent)),
            ("x.wasm", Some(Kind::Plugin)),
            ("Cargo.toml", None),
            ("a/ampoule.lock", Some(Kind::Lock)),
            ("Cargo.lock", None),
            ("other.json", None),
            ("toml", None),
            ("", None),
        ] {
            assert_eq!(kind(Path::new(name)), expected, "{name}");
        }
    }
}
