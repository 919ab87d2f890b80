//! `search`: lines that match, in all text files below a directory.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{files, shortened};
use regex::RegexBuilder;

use crate::{glob, walk};

/// Matches given where nobody says how many.
const USUAL: usize = 100;

/// The longest file that is searched.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Characters of a line that are shown.
const MAX_LINE_CHARS: usize = 300;

/// Bytes a compiled pattern may take.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// What to look for.
#[data]
pub(crate) struct Searching {
    /// A regular expression, matched line by line in linear time.
    #[schemars(length(min = 1, max = 1000))]
    pattern: String,
    /// Take the pattern as plain text.
    #[serde(default)]
    literal: bool,
    /// Upper and lower case are the same.
    #[serde(default)]
    ignore_case: bool,
    /// The directory; the workspace itself where it is empty.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    path: String,
    /// Only files whose paths match, such as `**/*.rs`; `*` stays within a part.
    #[schemars(length(max = 500))]
    files: Option<String>,
    /// How many matches at most. Default: 100.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
}

/// What was found.
#[data]
pub(crate) struct Found {
    /// The lines, file by file.
    matches: Vec<Match>,
    /// How many files were searched.
    searched: u32,
    /// Files that were passed over: longer than 4 MiB, or no UTF-8 text.
    passed_over: u32,
}

/// A line that matches.
#[data]
pub(crate) struct Match {
    /// The file.
    path: String,
    /// The number of the line, from 1.
    line: u32,
    /// The line, its end cut where it is long.
    text: String,
}

/// Search the text files of the workspace for lines that match a pattern.
#[tool]
pub(crate) fn search(searching: Searching) -> Result<Output<Found>> {
    let Searching { pattern, literal, ignore_case, path, files: only, limit } = searching;
    let limit = limit.unwrap_or(USUAL);
    let only = glob(only.as_deref())?;
    let pattern = if literal { regex::escape(&pattern) } else { pattern };
    let pattern = RegexBuilder::new(&pattern)
        .case_insensitive(ignore_case)
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .or_code("bad-arguments")?;
    let mut found = Found { matches: Vec::new(), searched: 0, passed_over: 0 };
    walk(&path, &mut |entry| {
        let wanted = only.as_ref().is_none_or(|glob| glob.is_match(&entry.path));
        if entry.kind != "file" || !wanted {
            return Ok(true);
        }
        if entry.size > MAX_FILE_BYTES {
            found.passed_over += 1;
            return Ok(true);
        }
        match String::from_utf8(files::read(&entry.path)?) {
            Err(_) => found.passed_over += 1,
            Ok(text) => {
                found.searched += 1;
                found.matches.extend(lines(&entry.path, &text, &pattern).take(limit + 1));
            }
        }
        Ok(found.matches.len() <= limit)
    })?;
    let more = found.matches.len() > limit;
    found.matches.truncate(limit);
    Ok(Output::new(found).with_truncated(more))
}

fn lines<'a>(
    path: &'a str,
    text: &'a str,
    pattern: &'a regex::Regex,
) -> impl Iterator<Item = Match> + 'a {
    let numbered = (1..).zip(text.lines());
    numbered.filter(|(_, line)| pattern.is_match(line)).map(|(number, line)| Match {
        path: path.to_owned(),
        line: number,
        text: shortened(line, MAX_LINE_CHARS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_cut() {
        let text = format!("one\ntwo {}\nthree", "x".repeat(400));
        let pattern = regex::Regex::new("^t").expect("valid");
        let found: Vec<_> = lines("a", &text, &pattern).collect();
        assert_eq!(found.iter().map(|m| m.line).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(found[0].text.chars().count(), MAX_LINE_CHARS + 1);
        assert_eq!(found[1].text, "three");
    }
}
