//! Cases as data: what a suite's file holds.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use ampoule::{Blob, Blobs, HostError};
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The largest file of a suite.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A file of cases, `tests/<suite>.json` in a plugin's folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The name of the public suite that this is, for the catalogue, or of a part of one: files of
    /// one name count together. The cases of a plugin's own have none.
    #[serde(default)]
    pub name: Option<String>,
    /// Where the cases come from.
    #[serde(default)]
    pub source: Option<String>,
    /// Their licence.
    #[serde(default)]
    pub license: Option<String>,
    /// The cases.
    #[serde(default)]
    pub cases: Vec<Case>,
    /// In place of cases: how a suite went that a program of its own runs.
    #[serde(default)]
    pub ran: Option<Ran>,
}

/// How a suite went that is too large to be a file, or that needs more than calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ran {
    /// The command that runs it.
    pub by: String,
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// How many were left out.
    pub skipped: usize,
    /// Why they failed or were left out.
    pub why: String,
}

/// A call and how it must end: with `value`, with at least `partial`, with `error`; with any value
/// where it says none of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub title: String,
    /// The tool. Default: the only one of the plugin.
    #[serde(default)]
    pub tool: Option<String>,
    /// The arguments. `{"$file": "corpus/a.pdf"}` stands for that file as a blob; its path is
    /// relative to the folder of the suite.
    pub arguments: Value,
    /// The whole value. `{"$file": …}` in it stands for a blob of the same bytes.
    #[serde(default, deserialize_with = "given")]
    pub value: Option<Value>,
    /// What the value must hold at least: the named fields of objects, arrays item by item, all
    /// else as it is.
    #[serde(default, deserialize_with = "given")]
    pub partial: Option<Value>,
    /// The code of the error.
    #[serde(default)]
    pub error: Option<String>,
    /// A part of the error's message.
    #[serde(default)]
    pub message: Option<String>,
    /// Why it is left out.
    #[serde(default)]
    pub skip: Option<String>,
}

/// Tells `null` from what is absent.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Suite {
    /// Reads the suites of a folder: all its files of JSON, in the order of their names.
    ///
    /// # Errors
    /// A file cannot be read or is no suite; with the line.
    pub fn read_all(folder: &Path) -> Result<Vec<(PathBuf, Suite)>, HostError> {
        let io = |source| HostError::Io { path: folder.to_owned(), source };
        let mut files = Vec::new();
        for entry in folder.read_dir().map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                files.push(path);
            }
        }
        files.sort();
        files.into_iter().map(|path| Suite::read(&path).map(|suite| (path, suite))).collect()
    }

    /// Reads one suite.
    ///
    /// # Errors
    /// It cannot be read or is no suite; with the line.
    pub fn read(path: &Path) -> Result<Suite, HostError> {
        let malformed = |message: String| HostError::Config { path: path.to_owned(), message };
        let folder = path.parent().unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = read_file(folder, &name).map_err(malformed)?;
        let text = String::from_utf8(text).map_err(|error| malformed(error.to_string()))?;
        let suite: Suite = serde_json::from_str(&text).map_err(|e| malformed(e.to_string()))?;
        // No cases, as yet, is not the same as no `cases`.
        let keys: Value = serde_json::from_str(&text).map_err(|e| malformed(e.to_string()))?;
        if keys.get("cases").is_some() == suite.ran.is_some() {
            return Err(malformed("a suite has either `cases` or `ran`".to_owned()));
        }
        for case in &suite.cases {
            case.check().map_err(|problem| malformed(format!("{:?}: {problem}", case.title)))?;
        }
        Ok(suite)
    }
}

impl Case {
    fn check(&self) -> Result<(), &'static str> {
        let ends = [self.value.is_some(), self.partial.is_some(), self.error.is_some()];
        match ends.into_iter().filter(|end| *end).count() {
            0 | 1 if self.message.is_none() || self.error.is_some() => Ok(()),
            0 | 1 => Err("`message` is a part of an error's, and there is no `error`"),
            _ => Err("a case has one of `value`, `partial` and `error`"),
        }
    }
}

/// The file that a value `{"$file": "path"}` stands for.
pub(crate) fn file_of(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get("$file")?.as_str()
}

/// Reads a file of a suite or one that a suite names; a suite comes with a plugin, and is trusted no
/// more than that.
///
/// # Errors
/// It leads out of the folder, also by links; it is no regular file, too large, or cannot be read.
pub(crate) fn read_file(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    let path = Path::new(name);
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(format!("`{name}` leads out of {}", folder.display()));
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.join(path).display());
    let inside = Dir::open_ambient_dir(folder, ambient_authority()).map_err(failed)?;
    // Looked at first: opening a named pipe would wait for its other end.
    if !inside.metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{}: it is not a regular file", folder.join(path).display()));
    }
    let file = inside.open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(format!(
            "{}: it is larger than {MAX_FILE_BYTES} bytes",
            folder.join(path).display()
        )),
        false => Ok(bytes),
    }
}

/// Puts the files that `arguments` name into `blobs`, and blobs in their place.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn place_files(
    arguments: &mut Value,
    folder: &Path,
    blobs: &Blobs,
) -> Result<(), String> {
    if let Some(name) = file_of(arguments) {
        let data = Bytes::from(read_file(folder, name)?);
        // The store is this call's own; nobody else could guess at it.
        let id = format!("file-{}", blobs.len());
        blobs.insert(id.clone(), Blob { media_type: "application/octet-stream".into(), data });
        *arguments = serde_json::json!({ "$blob": id });
        return Ok(());
    }
    match arguments {
        Value::Array(items) => {
            items.iter_mut().try_for_each(|item| place_files(item, folder, blobs))
        }
        Value::Object(fields) => {
            fields.values_mut().try_for_each(|field| place_files(field, folder, blobs))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[cfg(unix)]
    #[test]
    fn a_suite_reads_nothing_outside_of_its_folder() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("tests");
        std::fs::create_dir(&folder).expect("made");
        std::fs::write(place.path().join("key"), "secret").expect("written");
        std::fs::write(folder.join("a.txt"), "fine").expect("written");
        for (name, to) in [("link", "../key"), ("zero", "/dev/zero"), ("inside", "a.txt")] {
            std::os::unix::fs::symlink(to, folder.join(name)).expect("linked");
        }
        let pipe = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("run");
        assert!(made.success());
        assert_eq!(read_file(&folder, "a.txt").expect("read"), b"fine");
        assert_eq!(read_file(&folder, "inside").expect("read"), b"fine");
        for name in ["../key", "/etc/passwd", "link", "zero", "pipe", "."] {
            assert!(read_file(&folder, name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_suite_is_strict_and_null_is_a_value() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        let read = |case: Value| {
            let text = json!({ "source": "here", "cases": [case] }).to_string();
            std::fs::write(&path, text).expect("written");
            Suite::read(&path).map(|suite| suite.cases[0].clone()).map_err(|e| e.to_string())
        };
        let case = read(json!({ "title": "t", "arguments": {}, "value": null })).expect("a case");
        assert_eq!((case.value, case.partial), (Some(Value::Null), None));
        for (bad, problem) in [
            (json!({ "title": "t", "arguments": {}, "values": 1 }), "unknown field `values`"),
            (json!({ "title": "t", "arguments": {}, "value": 1, "error": "x" }), "\"t\": a case"),
            (json!({ "title": "t", "arguments": {}, "message": "x" }), "there is no `error`"),
            (json!({ "arguments": {} }), "missing field `title`"),
        ] {
            let error = read(bad).expect_err("refused");
            assert!(error.contains(problem) && error.contains("a.json"), "{error}");
        }
        let ran = json!({ "by": "make", "passed": 1, "failed": 0, "skipped": 0, "why": "" });
        for (file, whole) in
            [(json!({ "ran": ran }), true), (json!({}), false), (json!({ "cases": [] }), true)]
        {
            std::fs::write(&path, file.to_string()).expect("written");
            assert_eq!(Suite::read(&path).is_ok(), whole, "{file}");
        }
    }

    #[test]
    fn files_become_blobs_and_stay_within_their_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.bin"), b"\0\xff").expect("written");
        let blobs = Blobs::default();
        let mut arguments = json!({ "list": [{ "$file": "a.bin" }], "x": { "$file": 1 } });
        place_files(&mut arguments, folder.path(), &blobs).expect("placed");
        let id = arguments["list"][0]["$blob"].as_str().expect("an id").to_owned();
        assert_eq!(blobs.get(&id).map(|blob| blob.data), Some(Bytes::from_static(b"\0\xff")));
        assert_eq!(arguments["x"], json!({ "$file": 1 }));
        for bad in ["../a.bin", "/etc/hostname", "gone"] {
            let mut arguments = json!({ "$file": bad });
            assert!(place_files(&mut arguments, folder.path(), &blobs).is_err(), "{bad}");
        }
    }
}
