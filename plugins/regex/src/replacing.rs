//! Replacements.

use ampoule_sdk::prelude::*;
use regex::Regex;
use regex_automata::util::interpolate;

use crate::compile;

/// Bytes of the new text at most.
const MAX_BYTES: usize = 32 << 20;

/// What to replace, and with what.
#[data]
pub(crate) struct Replacing {
    /// The pattern, in the syntax of Rust's crate `regex` (near that of RE2): no look-around, no
    /// back-references. Groups are `(…)` or `(?<name>…)`.
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
    /// What is put in place of a match. `$1`, `$name` and `${name}` stand for groups, `$0` for the
    /// match, `$$` for a dollar. `$1a` is the group called `1a`: write `${1}a`.
    #[schemars(length(max = 100_000))]
    replacement: String,
    /// Put the replacement in as it is, `$` and all.
    #[serde(default)]
    literal: bool,
    /// Matches to replace at most, from the start. Default: all.
    #[schemars(range(min = 1))]
    count: Option<u32>,
}

/// The new text.
#[data]
pub(crate) struct Replaced {
    /// The text, matches replaced.
    text: String,
    /// How many matches were replaced.
    count: u32,
}

/// Replace the matches of a regular expression in a text.
///
/// The replacement may name groups: `$1`, `${name}`. Replaces all matches unless `count` says
/// otherwise. Linear in the length of the text; a new text of more than 32 MiB is refused.
#[tool]
pub(crate) fn replace(replacing: Replacing) -> Result<Replaced> {
    let Replacing { pattern, flags, text, replacement, literal, count } = replacing;
    let regex = compile(&pattern, &flags)?;
    if !literal {
        check(&regex, &replacement)?;
    }
    let text = text.text()?;
    let most = count.unwrap_or(u32::MAX);
    let mut new = String::new();
    let (mut end, mut count) = (0, 0);
    for captures in regex.captures_iter(&text).take(most as usize) {
        let Some(whole) = captures.get(0) else { continue };
        new.push_str(&text[end..whole.start()]);
        if literal {
            new.push_str(&replacement);
        } else {
            let mut full = false;
            let append = |at: usize, new: &mut String| {
                let group = captures.get(at).map_or("", |group| group.as_str());
                if new.len() + group.len() <= MAX_BYTES {
                    new.push_str(group);
                } else {
                    full = true;
                }
            };
            interpolate::string(&replacement, append, |name| index(&regex, name), &mut new);
            if full {
                return Err(too_large());
            }
        }
        if new.len() > MAX_BYTES {
            return Err(too_large());
        }
        end = whole.end();
        count += 1;
    }
    new.push_str(&text[end..]);
    if new.len() > MAX_BYTES {
        return Err(too_large());
    }
    Ok(Replaced { text: new, count })
}

fn too_large() -> Error {
    let most = MAX_BYTES >> 20;
    Error::too_large(format!("the new text is larger than {most} MiB: replace less"))
}

/// The number of a named group.
fn index(regex: &Regex, name: &str) -> Option<usize> {
    regex.capture_names().position(|known| known == Some(name))
}

/// Refuses a replacement that names a group which is not there: it would stand for nothing.
fn check(regex: &Regex, replacement: &str) -> Result<()> {
    let mut unknown = None;
    let mut numbers = Vec::new();
    let names = |name: &str| {
        let found = index(regex, name);
        if found.is_none() && unknown.is_none() {
            unknown = Some(name.to_owned());
        }
        found
    };
    interpolate::string(replacement, |at, _| numbers.push(at), names, &mut String::new());
    let number = numbers.into_iter().find(|at| *at >= regex.captures_len());
    let Some(unknown) = unknown.or(number.map(|at| at.to_string())) else { return Ok(()) };
    let names: Vec<&str> = regex.capture_names().flatten().collect();
    let groups = regex.captures_len() - 1;
    let hint = match unknown.find(|c: char| !c.is_ascii_digit()) {
        Some(digits) if digits > 0 => {
            format!("for group {0} followed by text write `${{{0}}}`", &unknown[..digits])
        }
        _ => "for a dollar write `$$`, or set `literal`".into(),
    };
    Err(Error::bad_arguments(format!(
        "`replacement` names the group `{unknown}`, which the pattern does not have; it has \
         {groups} by number{}; {hint}",
        if names.is_empty() {
            String::new()
        } else {
            format!(", and by name {}", names.join(", "))
        }
    )))
}
