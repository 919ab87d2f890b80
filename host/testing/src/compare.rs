//! What a value is held against, and the places where it differs, for people.

use std::path::Path;

use ampoule::Blobs;
use serde_json::{Number, Value};

use crate::MAX_DIFFERENCES;
use crate::suite::{file_of, read_file};

/// Characters of a value that a line shows.
const SHOWN: usize = 160;

/// What a value is compared with.
pub(crate) struct Comparison<'a> {
    /// Whether objects may have more fields than are expected.
    pub partial: bool,
    /// The folder of the files that the expected value names.
    pub files: Option<&'a Path>,
    /// The blobs that the found value names.
    pub blobs: &'a Blobs,
}

impl Comparison<'_> {
    /// The first places where `found` is not what is expected. Numbers are compared by their value:
    /// `1` is `1.0`.
    pub(crate) fn differences(&self, expected: &Value, found: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        self.compare(expected, found, "", &mut lines);
        lines
    }

    fn compare(&self, expected: &Value, found: &Value, at: &str, lines: &mut Vec<String>) {
        if lines.len() >= MAX_DIFFERENCES {
            return;
        }
        if let (Some(folder), Some(name)) = (self.files, file_of(expected)) {
            lines.extend(self.compare_file(folder, name, found).map(|what| line(at, &what)));
            return;
        }
        match (expected, found) {
            (Value::Object(expected), Value::Object(found)) => {
                for (name, value) in expected {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    match found.get(name) {
                        Some(found) => self.compare(value, found, &at, lines),
                        None => {
                            lines.push(line(&at, &format!("missing, expected {}", show(value))))
                        }
                    }
                }
                for (name, value) in found.iter().filter(|(name, _)| !expected.contains_key(*name))
                {
                    if !self.partial {
                        lines.push(line(at, &format!("has {name:?} beside: {}", show(value))));
                    }
                }
            }
            (Value::Array(expected), Value::Array(found)) => {
                for (i, (expected, found)) in expected.iter().zip(found).enumerate() {
                    self.compare(expected, found, &format!("{at}/{i}"), lines);
                }
                if expected.len() != found.len() {
                    let (wanted, got) = (expected.len(), found.len());
                    lines.push(line(at, &format!("expected {wanted} items, found {got}")));
                }
            }
            (Value::Number(a), Value::Number(b)) if same_number(a, b) => {}
            (Value::String(a), Value::String(b)) if a != b => {
                let (a, b) = around_difference(a, b);
                lines.push(line(at, &format!("expected {a}, found {b}")));
            }
            (expected, found) if expected != found => {
                let (expected, found) = (show(expected), show(found));
                lines.push(line(at, &format!("expected {expected}, found {found}")));
            }
            _ => {}
        }
        lines.truncate(MAX_DIFFERENCES);
    }

    /// How a blob differs from a file.
    fn compare_file(&self, folder: &Path, name: &str, found: &Value) -> Option<String> {
        let expected = match read_file(folder, name) {
            Ok(expected) => expected,
            Err(problem) => return Some(problem),
        };
        let id = found.get("$blob").and_then(Value::as_str);
        let Some(blob) = id.and_then(|id| self.blobs.get(id)) else {
            return Some(format!("expected a blob as {name}, found {}", show(found)));
        };
        let same = expected.iter().zip(&blob.data).take_while(|(a, b)| a == b).count();
        let (wanted, got) = (expected.len(), blob.data.len());
        (expected != blob.data).then(|| {
            format!("a blob of {got} bytes is not {name} of {wanted}: they differ at byte {same}")
        })
    }
}

fn line(at: &str, what: &str) -> String {
    let at = if at.is_empty() { "the value" } else { at };
    format!("{at}: {what}")
}

fn same_number(a: &Number, b: &Number) -> bool {
    let whole = |n: &Number| n.as_i64().map(i128::from).or(n.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_f64() == b.as_f64(),
    }
}

/// Two texts, from a little before the first place where they differ.
fn around_difference(a: &str, b: &str) -> (String, String) {
    /// Characters before it.
    const BEFORE: usize = 24;
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let skip = if a.chars().count().max(b.chars().count()) <= SHOWN { 0 } else { same };
    let cut = |text: &str| {
        let from = skip.saturating_sub(BEFORE);
        let shown: String = text.chars().skip(from).take(SHOWN).collect();
        let more = text.chars().count() > from + SHOWN;
        let quoted = Value::from(shown).to_string();
        format!("{}{quoted}{}", if from > 0 { "…" } else { "" }, if more { "…" } else { "" })
    };
    (cut(a), cut(b))
}

/// A value in a line, shortened.
pub(crate) fn show(value: &Value) -> String {
    shorten(&value.to_string(), SHOWN)
}

/// At most so many characters of a text.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(expected: &Value, found: &Value, partial: bool) -> Vec<String> {
        let blobs = Blobs::default();
        Comparison { partial, files: None, blobs: &blobs }.differences(expected, found)
    }

    #[test]
    fn each_place_is_named() {
        let expected = json!({ "a": [1, 2.0, { "b/c": "x" }], "d": null });
        let found = json!({ "d": false, "a": [1.0, 3, { "b/c": "y" }, 4], "e": 1 });
        assert_eq!(
            differences(&expected, &found, false),
            [
                "/a/1: expected 2.0, found 3",
                "/a/2/b~1c: expected \"x\", found \"y\"",
                "/a: expected 3 items, found 4",
                "/d: expected null, found false",
                "the value: has \"e\" beside: 1",
            ]
        );
        assert!(differences(&expected, &expected, false).is_empty());
        assert_eq!(differences(&json!(1), &json!("1"), true).len(), 1);
    }

    #[test]
    fn a_part_is_enough_for_objects_and_not_for_arrays() {
        let found = json!({ "a": { "b": 1, "c": 2 }, "list": [{ "x": 1, "y": 2 }] });
        let part = json!({ "a": { "c": 2 }, "list": [{ "y": 2 }] });
        assert!(differences(&part, &found, true).is_empty());
        assert_eq!(differences(&part, &found, false).len(), 2);
        assert_eq!(differences(&json!({ "list": [] }), &found, true).len(), 1);
        assert_eq!(differences(&json!({ "z": 1 }), &found, true), ["/z: missing, expected 1"]);
    }

    #[test]
    fn large_numbers_are_not_rounded() {
        let same = |a: Value, b: Value| differences(&a, &b, false).is_empty();
        assert!(!same(json!(9007199254740993_u64), json!(9007199254740992_u64)));
        assert!(same(json!(1), json!(1.0)) && same(json!(-0.0), json!(0)));
    }

    #[test]
    fn long_texts_are_shown_where_they_differ() {
        let long = "é".repeat(5000);
        let lines = differences(&json!(format!("{long}a")), &json!(format!("{long}b")), false);
        assert!(lines[0].contains("éa\"") && lines[0].len() < 400, "{lines:?}");
        let many: Vec<_> = (0..100).collect();
        let none: Vec<_> = (1..101).collect();
        assert_eq!(differences(&json!(many), &json!(none), false).len(), MAX_DIFFERENCES);
    }

    #[test]
    fn a_blob_is_compared_with_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.txt"), "one").expect("written");
        let blobs = Blobs::default();
        let blob = |text: &'static str| ampoule::Blob {
            media_type: "text/plain".into(),
            data: text.into(),
        };
        blobs.insert("1".into(), blob("one"));
        blobs.insert("2".into(), blob("other"));
        let comparison = Comparison { partial: false, files: Some(folder.path()), blobs: &blobs };
        let differ = |found: Value| comparison.differences(&json!({ "$file": "a.txt" }), &found);
        assert!(differ(json!({ "$blob": "1" })).is_empty());
        assert_eq!(
            differ(json!({ "$blob": "2" })),
            ["the value: a blob of 5 bytes is not a.txt of 3: they differ at byte 1"]
        );
        assert!(differ(json!("one"))[0].contains("expected a blob as a.txt"));
    }
}
