//! Where the arguments of a call come from.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use ampoule::{Blob, Blobs};
use serde_json::{Map, Value, json};

use crate::exit::Failure;

/// Reads the arguments: inline, from `@FILE`, from standard input (`-`), or from pairs.
///
/// Of a file or stream no more than `most` bytes and one are read; the host then refuses them for
/// their size.
///
/// # Errors
/// The file cannot be read, or the text is not UTF-8.
pub(super) fn read(
    arguments: Option<OsString>,
    pairs: Vec<(String, Value)>,
    most: u64,
) -> Result<String, Failure> {
    let Some(arguments) = arguments else {
        return Ok(Value::Object(Map::from_iter(pairs)).to_string());
    };
    if arguments == "-" {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Err(Failure::usage("standard input is a terminal; pipe the arguments into it"));
        }
        return bounded(stdin.lock(), most, Path::new("standard input"));
    }
    match file(&arguments) {
        Some(path) => bounded(File::open(&path).map_err(unreadable(&path))?, most, &path),
        None => text(arguments.into_encoded_bytes(), "the arguments"),
    }
}

/// The largest file that becomes a blob: 512 MiB, which is all a plugin may ask to hold.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Puts each file into `blobs` and `{"$blob": id}` into the arguments, under its key.
///
/// # Errors
/// A file cannot be read or is too large, or the arguments are no object to put it into.
pub(super) fn with_files(
    arguments: String,
    files: Vec<(String, PathBuf)>,
    blobs: &Blobs,
) -> Result<String, Failure> {
    if files.is_empty() {
        return Ok(arguments);
    }
    let Ok(Value::Object(mut fields)) = serde_json::from_str(&arguments) else {
        return Err(Failure::usage("with --file the arguments must be a JSON object"));
    };
    for (key, path) in files {
        let mut data = Vec::new();
        let file = File::open(&path).map_err(unreadable(&path))?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut data).map_err(unreadable(&path))?;
        if data.len() as u64 > MAX_FILE_BYTES {
            let most = MAX_FILE_BYTES >> 20;
            return Err(Failure::usage(format!("{} is larger than {most} MiB", path.display())));
        }
        // The store is this call's own; nobody else could guess at it.
        let id = format!("file-{}", blobs.len());
        let media_type = "application/octet-stream".to_owned();
        blobs.insert(id.clone(), Blob { media_type, data: data.into() });
        fields.insert(key, json!({ "$blob": id }));
    }
    Ok(Value::Object(fields).to_string())
}

/// The path in `@PATH`.
fn file(arguments: &OsString) -> Option<PathBuf> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let path = arguments.as_bytes().strip_prefix(b"@")?;
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
    }
    #[cfg(not(unix))]
    {
        arguments.to_str()?.strip_prefix('@').map(PathBuf::from)
    }
}

fn bounded(source: impl Read, most: u64, from: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let enough = most.saturating_add(1);
    source.take(enough).read_to_end(&mut bytes).map_err(unreadable(from))?;
    if bytes.len() as u64 > most {
        // The host looks at its length alone. The last character may be cut.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    text(bytes, &from.display().to_string())
}

fn unreadable(from: &Path) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |error| {
        Failure::usage(format!("the arguments cannot be read: {}: {error}", from.display()))
    }
}

fn text(bytes: Vec<u8>, from: &str) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::usage(format!("bad arguments: {from}: not UTF-8 at byte {at}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_blobs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        std::fs::write(&path, b"\xff").expect("written");
        let blobs = Blobs::default();
        let files = || vec![("data".to_owned(), path.clone())];
        let arguments = with_files(r#"{"n":1}"#.into(), files(), &blobs).expect("an object");
        let arguments: Value = serde_json::from_str(&arguments).expect("JSON");
        let id = arguments["data"]["$blob"].as_str().expect("an id");
        assert_eq!(blobs.get(id).expect("there").data, b"\xff"[..]);
        assert_eq!(arguments["n"], 1);
        assert!(with_files("[]".into(), files(), &blobs).is_err());
        let gone = vec![("data".to_owned(), folder.path().join("gone"))];
        assert!(with_files("{}".into(), gone, &blobs).is_err());
    }

    #[test]
    fn no_more_is_read_than_is_needed_to_refuse_it() {
        let endless = io::repeat(b'1');
        assert_eq!(bounded(endless, 10, Path::new("x")).expect("read").len(), 11);
        // Cut within a character: still longer than the bound.
        let text = bounded("ééééé".as_bytes(), 4, Path::new("x")).expect("read");
        assert!(text.len() > 4);
        assert_eq!(bounded(&b"{}"[..], 2, Path::new("x")).expect("read"), "{}");
        let bad = &b"{\"a\": \"\xff\"}"[..];
        let error = bounded(bad, 99, Path::new("x")).expect_err("not UTF-8");
        assert_eq!(error.message, "bad arguments: x: not UTF-8 at byte 7");
    }

    #[test]
    fn pairs_make_an_object_and_nothing_makes_an_empty_one() {
        let pairs = vec![("a".to_owned(), json!("1")), ("b".to_owned(), json!([2]))];
        assert_eq!(read(None, pairs, 9).expect("read"), r#"{"a":"1","b":[2]}"#);
        assert_eq!(read(None, Vec::new(), 9).expect("read"), "{}");
        assert_eq!(read(Some("{\"x\":1}".into()), Vec::new(), 9).expect("read"), "{\"x\":1}");
        assert!(read(Some("@/does/not/exist".into()), Vec::new(), 9).is_err());
    }
}
