//! What is found, and where.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ampoule_sdk::prelude::*;
use regex::{Regex, RegexBuilder};

use crate::Told;

/// The most memory of a compiled pattern of the caller's: 1 MiB.
const PATTERN_SIZE: usize = 1 << 20;

/// The same for all keywords together: 64 MiB.
const KEYWORDS_SIZE: usize = 64 << 20;

/// The most characters of an IBAN with its spaces.
const MAX_IBAN: usize = 42;

/// What is found without being named.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Kind {
    /// A mail address.
    Email,
    /// A phone number: international with `+`, or in one of the usual national forms.
    Phone,
    /// A card number of 13 to 19 digits with its check digit.
    Card,
    /// An international bank account number with its check digits and the length of its country.
    Iban,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A date: `2024-03-12`, with or without a time, `12.3.2024`, `3/12/24`, `12 March 2024`.
    Date,
    /// A URL with `http`, `https` or `ftp`, or beginning with `www.`.
    Url,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Email => "EMAIL",
            Kind::Phone => "PHONE",
            Kind::Card => "CARD",
            Kind::Iban => "IBAN",
            Kind::Ipv4 => "IPV4",
            Kind::Ipv6 => "IPV6",
            Kind::Date => "DATE",
            Kind::Url => "URL",
        }
    }

    /// What a candidate looks like. Word boundaries are those of ASCII, which keep to the fast
    /// engine; what is next to a candidate is looked at afterwards.
    const fn pattern(self) -> &'static str {
        match self {
            Kind::Email => {
                r#"[^\s@<>()\[\]\\,;:"'=|/*]{1,64}@(?:[^\s@<>()\[\]\\,;:"'=|/.*?!]+\.)+[^\s@<>()\[\]\\,;:"'=|/.*?!]{2,}"#
            }
            Kind::Phone => {
                r"\+[0-9][0-9 ().\-/]{5,24}[0-9]|\(?0[0-9]{1,5}\)?[ /\-]{1,3}[0-9](?:[ /\-]?[0-9]){4,11}|(?:\([0-9]{3}\) ?|[0-9]{3}[ .\-])[0-9]{3}[ .\-][0-9]{4}"
            }
            Kind::Card => r"[2-6][0-9](?:[ \-]?[0-9]){11,17}",
            Kind::Iban => r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,34}",
            Kind::Ipv4 => r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
            Kind::Ipv6 => r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{1,38}(?:(?:\.[0-9]{1,3}){3})?",
            Kind::Date => {
                r"(?i)[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[t ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:z|[+\-][0-9]{2}:?[0-9]{2})?)?|[0-9]{1,2}(?:\.[0-9]{1,2}\.|/[0-9]{1,2}/|-[0-9]{1,2}-)(?:[0-9]{4}|[0-9]{2})|[0-9]{1,2}(?:st|nd|rd|th|\.)? (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?,? [0-9]{4}|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.? [0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4}"
            }
            Kind::Url => r#"(?i)(?:(?:https?|ftp)://|www\.)[^\s<>"'`]{2,2048}"#,
        }
    }

    /// How much of a candidate it is, in bytes; `None` where it is none.
    fn length(self, text: &str) -> Option<usize> {
        let digits = || text.bytes().filter(u8::is_ascii_digit).count();
        match self {
            Kind::Email => {
                let trimmed = text.trim_end_matches(|char: char| !char.is_alphanumeric());
                let (_, domain) = trimmed.split_once('@')?;
                let (_, top) = domain.rsplit_once('.')?;
                (top.chars().count() >= 2 && !domain.starts_with(['.', '-']))
                    .then_some(trimmed.len())
            }
            Kind::Phone => (7..=15).contains(&digits()).then_some(text.len()),
            Kind::Card => {
                let number: String = text.chars().filter(char::is_ascii_digit).collect();
                ((13..=19).contains(&number.len()) && luhn::valid(&number)).then_some(text.len())
            }
            Kind::Iban => {
                // It may run on into what follows, so the longest beginning that is one counts.
                let ends = (15..=text.len().min(MAX_IBAN)).rev();
                let mut ends = ends.filter(|&end| {
                    let next = text.as_bytes().get(end);
                    text.as_bytes()[end - 1] != b' ' && !next.is_some_and(u8::is_ascii_alphanumeric)
                });
                ends.find(|&end| {
                    let plain: String = text[..end].chars().filter(|&char| char != ' ').collect();
                    plain.parse::<iban::Iban>().is_ok()
                })
            }
            Kind::Ipv4 => text.parse::<Ipv4Addr>().ok().map(|_| text.len()),
            Kind::Ipv6 => {
                let trimmed = text.strip_suffix(':').filter(|rest| !rest.ends_with(':'));
                let text = trimmed.unwrap_or(text);
                let named = text.bytes().any(|byte| byte.is_ascii_hexdigit());
                (named && text.parse::<Ipv6Addr>().is_ok()).then_some(text.len())
            }
            Kind::Date => is_date(text).then_some(text.len()),
            Kind::Url => {
                let trimmed = text.trim_end_matches(|char: char| ".,;:!?)]}*_~".contains(char));
                let rest = trimmed.split_once("//").map_or(trimmed, |(_, rest)| rest);
                rest.chars().any(char::is_alphanumeric).then_some(trimmed.len())
            }
        }
    }

    /// Whether it may stand between these two characters.
    fn stands_between(self, before: Option<char>, after: &str) -> bool {
        let mut rest = after.chars();
        let (next, second) = (rest.next(), rest.next());
        let word =
            |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
        let digit = |char: Option<char>| char.is_some_and(|char| char.is_ascii_digit());
        match self {
            Kind::Email => true,
            Kind::Url => !word(before),
            Kind::Ipv4 => {
                !(word(before)
                    || before == Some('.')
                    || word(next)
                    || next == Some('.') && digit(second))
            }
            Kind::Ipv6 => {
                let hex = |char: Option<char>| char.is_some_and(|char| char.is_ascii_hexdigit());
                !(word(before)
                    || before == Some(':')
                    || word(next)
                    || next == Some(':') && (second == Some(':') || hex(second)))
            }
            Kind::Phone | Kind::Card | Kind::Iban | Kind::Date => {
                let joined = |char: Option<char>| matches!(char, Some('-' | '/' | '.' | ','));
                !(word(before) || joined(before) || word(next) || joined(next) && digit(second))
            }
        }
    }
}

/// Bytes of the letters and digits that a text begins with, or of its first character.
fn first_word(text: &str) -> usize {
    let end = text.find(|char: char| !char.is_alphanumeric()).unwrap_or(text.len());
    end.max(text.chars().next().map_or(1, char::len_utf8))
}

/// Whether a text in the form of a date can be one.
fn is_date(text: &str) -> bool {
    let numbers: Vec<u32> = text
        .split(|char: char| !char.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let day = |number: u32| (1..=31).contains(&number);
    let month = |number: u32| (1..=12).contains(&number);
    let written = text.chars().filter(char::is_ascii_alphabetic).count() > 2;
    match numbers[..] {
        [number, _] if written => day(number),
        [year, m, d, ..] if year > 31 => month(m) && day(d),
        [a, b, _, ..] => (day(a) && month(b)) || (month(a) && day(b)),
        _ => false,
    }
}

/// A pattern of the caller's.
#[data]
pub(crate) struct Pattern {
    /// What it finds, for the placeholder: capitals, digits and `_`.
    #[schemars(regex(pattern = "^[A-Z][A-Z0-9_]{0,39}$"))]
    kind: String,
    /// A regular expression, without look-around and back-references.
    #[schemars(length(min = 1, max = 1_000))]
    pattern: String,
}

/// Something that was found.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: &'a str,
    pub(crate) replacement: Option<&'a str>,
    /// Of two at one place and as long, the lower counts.
    order: usize,
}

/// All that is looked for.
pub(crate) struct Detectors {
    kinds: Vec<(Kind, Regex)>,
    patterns: Vec<(String, Regex)>,
    keywords: Option<Keywords>,
}

struct Keywords {
    regex: Regex,
    /// By the word itself.
    exact: BTreeMap<String, Told>,
    /// By the word in small letters.
    lower: BTreeMap<String, Told>,
    inside_words: bool,
}

impl Detectors {
    /// # Errors
    /// `bad-arguments` where a pattern or keyword cannot be used.
    pub(crate) fn new(
        find: &[Kind],
        words: &[Told],
        case_sensitive: bool,
        inside_words: bool,
        patterns: &[Pattern],
    ) -> Result<Detectors> {
        let kinds = find.iter().map(|&kind| {
            let regex = Regex::new(kind.pattern());
            Ok((kind, regex.map_err(|error| Error::internal(error.to_string()))?))
        });
        let patterns = patterns.iter().map(|Pattern { kind, pattern }| {
            check_kind(kind)?;
            let regex = RegexBuilder::new(pattern)
                .size_limit(PATTERN_SIZE)
                .dfa_size_limit(PATTERN_SIZE)
                .build()
                .map_err(|error| {
                    Error::bad_arguments(format!("the pattern of `{kind}` cannot be used: {error}"))
                })?;
            match regex.is_match("") {
                true => Err(Error::bad_arguments(format!(
                    "the pattern of `{kind}` matches nothing at all: let it match a character or \
                     more"
                ))),
                false => Ok((kind.clone(), regex)),
            }
        });
        Ok(Detectors {
            kinds: kinds.collect::<Result<_>>()?,
            patterns: patterns.collect::<Result<_>>()?,
            keywords: Keywords::new(words, case_sensitive, inside_words)?,
        })
    }

    /// What is found in a text: in order, and nothing inside of another. Of two that overlap, the
    /// one that begins first counts, then the longer.
    pub(crate) fn find<'a>(&'a self, text: &str) -> Vec<Found<'a>> {
        let mut all = Vec::new();
        if let Some(keywords) = &self.keywords {
            keywords.find(text, &mut all);
        }
        for (kind, regex) in &self.patterns {
            all.extend(regex.find_iter(text).filter(|found| !found.is_empty()).map(|found| {
                Found { start: found.start(), end: found.end(), kind, replacement: None, order: 1 }
            }));
        }
        for (order, (kind, regex)) in self.kinds.iter().enumerate() {
            let mut at = 0;
            while let Some(found) = regex.find_at(text, at) {
                let (start, end) = (found.start(), found.end());
                let is_one =
                    kind.length(found.as_str()).map(|length| start + length).filter(|&end| {
                        kind.stands_between(text[..start].chars().next_back(), &text[end..])
                    });
                match is_one {
                    Some(end) => {
                        let (kind, order) = (kind.name(), 2 + order);
                        all.push(Found { start, end, kind, replacement: None, order });
                        at = end;
                    }
                    // The rest of a mail address that was refused is none.
                    None if *kind == Kind::Email => at = end,
                    // What follows may still be one, though not from within a word.
                    None => at = start + first_word(&text[start..]),
                }
            }
        }
        all.sort_by_key(|found| (found.start, usize::MAX - found.end, found.order));
        let mut end = 0;
        all.retain(|found| {
            let free = found.start >= end;
            if free {
                end = found.end;
            }
            free
        });
        all
    }
}

impl Keywords {
    fn new(words: &[Told], case_sensitive: bool, inside_words: bool) -> Result<Option<Keywords>> {
        if words.is_empty() {
            return Ok(None);
        }
        let mut words = words.to_vec();
        // The first that fits wins, and the longest shall.
        words.sort_by_key(|word| usize::MAX - word.text.len());
        for word in &words {
            if let Some(kind) = &word.kind {
                check_kind(kind)?;
            }
            if word.text.trim().is_empty() {
                return Err(Error::bad_arguments("a keyword is empty or white space"));
            }
        }
        let pattern: Vec<String> = words.iter().map(|word| regex::escape(&word.text)).collect();
        let regex = RegexBuilder::new(&pattern.join("|"))
            .case_insensitive(!case_sensitive)
            .size_limit(KEYWORDS_SIZE)
            .dfa_size_limit(KEYWORDS_SIZE / 4)
            .build()
            .map_err(|_| Error::too_large("`keywords` are too many or too long together"))?;
        let by = |name: fn(&str) -> String| {
            words.iter().rev().map(|word| (name(&word.text), word.clone())).collect()
        };
        let (exact, lower) = (by(str::to_owned), by(str::to_lowercase));
        Ok(Some(Keywords { regex, exact, lower, inside_words }))
    }

    fn find<'a>(&'a self, text: &str, all: &mut Vec<Found<'a>>) {
        let letter = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        let mut at = 0;
        while let Some(found) = self.regex.find_at(text, at) {
            let (start, end) = (found.start(), found.end());
            let matched = found.as_str();
            let joined = (letter(matched.chars().next())
                && letter(text[..start].chars().next_back()))
                || (letter(matched.chars().next_back()) && letter(text[end..].chars().next()));
            if joined && !self.inside_words {
                at = start + matched.chars().next().map_or(1, char::len_utf8);
                continue;
            }
            let word = self.exact.get(matched).or_else(|| self.lower.get(&matched.to_lowercase()));
            all.push(Found {
                start,
                end,
                kind: word.and_then(|word| word.kind.as_deref()).unwrap_or("KEYWORD"),
                replacement: word.and_then(|word| word.replacement.as_deref()),
                order: 0,
            });
            at = end;
        }
    }
}

fn check_kind(kind: &str) -> Result<()> {
    let fits = kind.starts_with(|char: char| char.is_ascii_uppercase())
        && kind.len() <= 40
        && kind
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    match fits {
        true => Ok(()),
        false => Err(Error::bad_arguments(format!(
            "the kind {kind:?} is not capitals, digits and `_` (at most 40)"
        ))),
    }
}
