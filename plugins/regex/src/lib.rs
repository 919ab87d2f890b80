//! Regular expressions over text, with the crate `regex`: searching takes time linear in the text
//! whatever the pattern, so there is no look-around and no back-reference. What a compiled pattern
//! may take in memory is bounded, and so is what a replacement may grow to.
//!
//! Positions are counted in characters (Unicode code points), as Python counts them.
//!
//! Suites: `tests/suite.json` holds the cases of the crate's own tests that say what a search of
//! text finds; cases of other interfaces (sets of patterns, bytes, overlapping matches) are left out,
//! as the crate's own runner for text does. `tests/cases.json` is our own.

mod finding;
mod replacing;

use ampoule_sdk::from_cursor;
use ampoule_sdk::prelude::*;
use regex::{Regex, RegexBuilder};

use finding::find;
use replacing::replace;

/// Bytes a compiled pattern takes at most.
const MAX_PROGRAM: usize = 4 << 20;

/// Bytes of the tables that a search builds as it goes.
const MAX_TABLES: usize = 8 << 20;

/// How deep a pattern nests at most.
const MAX_NESTING: u32 = 100;

/// Groups in a pattern at most, the whole match among them.
const MAX_GROUPS: usize = 200;

/// Bytes of a message that shows the pattern.
const MAX_MESSAGE: usize = 2000;

/// Bytes of JSON after which an answer holds no more entries.
const PAGE_BYTES: usize = 8 << 20;

/// Makes the pattern ready to search with. `flags` has passed the schema.
fn compile(pattern: &str, flags: &str) -> Result<Regex> {
    let has = |flag| flags.contains(flag);
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(has('i'))
        .multi_line(has('m'))
        .dot_matches_new_line(has('s'))
        .ignore_whitespace(has('x'))
        .swap_greed(has('U'))
        .crlf(has('R'))
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_TABLES)
        .nest_limit(MAX_NESTING)
        .build();
    let regex = regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Error::too_large(format!(
            "the pattern takes more than {} MiB when compiled: make repetitions such as `{{1000}}` \
             smaller, or classes such as `\\w` narrower (`[0-9A-Za-z_]`)",
            MAX_PROGRAM >> 20
        )),
        error => {
            // A long pattern is shown whole, with a line below it: its last line says what is wrong.
            let text = error.to_string();
            let text = if text.len() > MAX_MESSAGE { text.lines().last() } else { Some(&*text) };
            Error::bad_arguments(format!("`pattern`: {}", text.unwrap_or_default()))
        }
    })?;
    if regex.captures_len() > MAX_GROUPS {
        return Err(Error::too_large(format!(
            "the pattern has more than {} groups: write those that are not needed as `(?:…)`",
            MAX_GROUPS - 1
        )));
    }
    Ok(regex)
}

/// A pattern and a text.
#[data]
struct Testing {
    /// The pattern, in the syntax of Rust's crate `regex` (near that of RE2): no look-around, no
    /// back-references.
    #[schemars(length(max = 10_000))]
    pattern: String,
    /// Letters for the whole pattern: `i` ignore case, `m` `^` and `$` match at lines, `s` `.`
    /// matches line breaks, `x` white space and `#` comments in the pattern, `U` lazy by default,
    /// `R` CRLF is a line break.
    #[serde(default)]
    #[schemars(regex(pattern = "^[imsxUR]*$"), length(max = 6))]
    flags: String,
    /// The text to search.
    text: Content,
}

/// Whether a pattern matches.
#[data]
struct Tested {
    /// Whether it matches anywhere in the text. For the whole text, put `^(?:` and `)$` around it.
    matches: bool,
}

/// Tell whether a regular expression matches anywhere in a text.
///
/// Linear in the length of the text; no look-around, no back-references. To know where or what
/// matches, use `find`.
#[tool]
fn test(testing: Testing) -> Result<Tested> {
    let regex = compile(&testing.pattern, &testing.flags)?;
    Ok(Tested { matches: regex.is_match(&testing.text.text()?) })
}

/// Where to split.
#[data]
struct Splitting {
    /// The pattern of what stands between the parts, in the syntax of Rust's crate `regex` (near
    /// that of RE2): no look-around, no back-references.
    #[schemars(length(max = 10_000))]
    pattern: String,
    /// Letters for the whole pattern: `i` ignore case, `m` `^` and `$` match at lines, `s` `.`
    /// matches line breaks, `x` white space and `#` comments in the pattern, `U` lazy by default,
    /// `R` CRLF is a line break.
    #[serde(default)]
    #[schemars(regex(pattern = "^[imsxUR]*$"), length(max = 6))]
    flags: String,
    /// The text to split.
    text: Content,
    /// Parts to split into at most; the last then holds the rest. Default: as many as there are.
    #[schemars(range(min = 1))]
    parts: Option<u32>,
    /// Parts in one answer at most; fewer where they are large.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100_000))]
    limit: u32,
    /// The `next` of an earlier answer, to go on after it.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

fn limit() -> u32 {
    1000
}

/// Split a text wherever a regular expression matches.
///
/// What matches is left out; parts may be empty. Answers the list of parts, in pages.
#[tool]
fn split(splitting: Splitting) -> Result<Output<Vec<String>>> {
    let Splitting { pattern, flags, text, parts, limit, cursor } = splitting;
    let regex = compile(&pattern, &flags)?;
    let text = text.text()?;
    let parts: Box<dyn Iterator<Item = &str>> = match parts {
        Some(parts) => Box::new(regex.splitn(&text, parts as usize)),
        None => Box::new(regex.split(&text)),
    };
    let offset: usize = from_cursor(cursor.as_deref())?.unwrap_or(0);
    let mut rest = parts.skip(offset).peekable();
    let (mut page, mut size) = (Vec::new(), 0);
    while page.len() < limit as usize
        && let Some(part) = rest.next_if(|part| page.is_empty() || size + part.len() <= PAGE_BYTES)
    {
        size += part.len() + 3;
        page.push(part.to_owned());
    }
    let next = rest.peek().map(|_| offset.saturating_add(page.len()).to_string());
    Ok(Output::new(page).with_truncated(next.is_some()).with_next(next))
}

export!(find, test, replace, split);
