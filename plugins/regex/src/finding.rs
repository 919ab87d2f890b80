//! Matches and what their groups hold.

use ampoule_sdk::from_cursor;
use ampoule_sdk::prelude::*;
use regex::{Captures, Match, Regex};

use crate::{PAGE_BYTES, compile};

/// Characters of one match or group that are shown.
const MAX_SHOWN: usize = 10_000;

/// What to find, and where.
#[data]
pub(crate) struct Finding {
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
    /// Matches in one answer at most; fewer where they are large.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: u32,
    /// The `next` of an earlier answer, to go on after it.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

fn limit() -> u32 {
    1000
}

/// A match.
#[data]
pub(crate) struct Found {
    /// What matched; of more than 10,000 characters the first.
    text: String,
    /// Characters of the text before it.
    start: usize,
    /// Characters of the text to its end.
    end: usize,
    /// What each group holds, from the first; null where it took no part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Option<Group>>,
    /// The groups that have names, once more by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    named: Map<String, Value>,
}

/// What a group holds.
#[data]
struct Group {
    /// The text; of more than 10,000 characters the first.
    text: String,
    /// Characters of the text before it.
    start: usize,
    /// Characters of the text to its end.
    end: usize,
}

/// Find all matches of a regular expression, with positions and what each group holds.
///
/// Matches do not overlap and come in order. `start` and `end` count characters from 0. `named`
/// holds the texts of named groups. Linear in the length of the text; no look-around, no
/// back-references. Go on with `cursor` where there are more than `limit`.
#[tool]
pub(crate) fn find(finding: Finding) -> Result<Output<Vec<Found>>> {
    let regex = compile(&finding.pattern, &finding.flags)?;
    let text = finding.text.text()?;
    let offset: usize = from_cursor(finding.cursor.as_deref())?.unwrap_or(0);
    let mut rest = regex.captures_iter(&text).skip(offset).peekable();
    let mut ruler = Ruler { text: &text, byte: 0, chars: 0 };
    let (mut page, mut size) = (Vec::new(), 0);
    while page.len() < finding.limit as usize
        && size < PAGE_BYTES
        && let Some(captures) = rest.next()
    {
        if let Some(found) = found(&regex, &captures, &mut ruler) {
            size += found.size();
            page.push(found);
        }
    }
    let next = rest.peek().map(|_| offset.saturating_add(page.len()).to_string());
    Ok(Output::new(page).with_truncated(next.is_some()).with_next(next))
}

fn found(regex: &Regex, captures: &Captures<'_>, ruler: &mut Ruler<'_>) -> Option<Found> {
    let whole = captures.get(0)?;
    let start = ruler.chars_before(whole.start());
    // Without look-around, a group lies within its match.
    let place = |group: Match<'_>| Group {
        text: shown(group.as_str()),
        start: start + ruler.text[whole.start()..group.start()].chars().count(),
        end: start + ruler.text[whole.start()..group.end()].chars().count(),
    };
    let groups: Vec<_> = captures.iter().skip(1).map(|group| group.map(place)).collect();
    let names = regex.capture_names().skip(1).zip(&groups).filter_map(|(name, group)| {
        let text = group.as_ref().map(|group| group.text.clone());
        Some((name?.to_owned(), Value::from(text)))
    });
    Some(Found {
        text: shown(whole.as_str()),
        start,
        end: start + whole.as_str().chars().count(),
        named: names.collect(),
        groups,
    })
}

impl Found {
    /// Bytes it takes, near enough; a named group stands there twice.
    fn size(&self) -> usize {
        let groups = self.groups.iter().flatten().map(|group| 2 * group.text.len() + 100);
        self.text.len() + groups.sum::<usize>() + 100
    }
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// Counts characters from where it last was, so that a whole search counts each once.
struct Ruler<'a> {
    text: &'a str,
    byte: usize,
    chars: usize,
}

impl Ruler<'_> {
    /// Characters before a byte that is no earlier than the last one asked for.
    fn chars_before(&mut self, byte: usize) -> usize {
        self.chars += self.text[self.byte..byte].chars().count();
        self.byte = byte;
        self.chars
    }
}
