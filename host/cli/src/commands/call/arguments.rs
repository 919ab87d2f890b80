//! Where the arguments of a call come from.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

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
    use serde_json::json;

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
