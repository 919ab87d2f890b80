//! Regular expressions, in linear time: no look-around and no references back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jaq_core::Error;
use jaq_core::native::{bome, v};
use jaq_json::Val;
use regex::{Captures, Regex, RegexBuilder};

use super::{Native, Result, text};

/// Bytes a compiled expression may take.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Expressions kept compiled: a filter meets the same one for each item.
const MAX_KEPT: usize = 32;

thread_local! {
    static KEPT: RefCell<BTreeMap<(String, String), Rc<Regex>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Functions of an expression and flags, on which `definitions.jq` builds what jq documents.
pub(super) fn natives() -> Vec<Native> {
    vec![
        // Whether there is a match.
        ("regex_test", v(2), |mut cv| {
            let flags = cv.0.pop_var();
            let expression = cv.0.pop_var();
            bome(
                search(&expression, &flags, &cv.1)
                    .map(|search| search.matches().next().is_some().into()),
            )
        }),
        // The matches, in the form of jq's `match`.
        ("regex_matches", v(2), |mut cv| {
            let flags = cv.0.pop_var();
            let expression = cv.0.pop_var();
            bome(search(&expression, &flags, &cv.1).map(|search| {
                let mut characters = Characters::new(search.text);
                search.matches().map(|found| describe(&search, &found, &mut characters)).collect()
            }))
        }),
        // The text in pieces: what lies between the matches, and for each match the object of its
        // named groups.
        ("regex_pieces", v(2), |mut cv| {
            let flags = cv.0.pop_var();
            let expression = cv.0.pop_var();
            bome(search(&expression, &flags, &cv.1).map(|search| {
                let (mut pieces, mut end) = (Vec::new(), 0);
                for found in search.matches() {
                    let whole = found.get_match();
                    pieces.push(string(&search.text[end..whole.start()]));
                    pieces.push(named(&search, &found));
                    end = whole.end();
                }
                pieces.push(string(&search.text[end..]));
                pieces.into_iter().collect()
            }))
        }),
    ]
}

/// A text and what is looked for in it.
struct Search<'a> {
    regex: Rc<Regex>,
    text: &'a str,
    all: bool,
    skip_empty: bool,
}

impl Search<'_> {
    fn matches(&self) -> impl Iterator<Item = Captures<'_>> {
        let count = if self.all { usize::MAX } else { 1 };
        self.regex
            .captures_iter(self.text)
            .filter(|found| !(self.skip_empty && found.get_match().is_empty()))
            .take(count)
    }
}

fn search<'a>(expression: &Val, flags: &Val, input: &'a Val) -> Result<Search<'a>> {
    let text = text(input)?;
    let flags = if matches!(flags, Val::Null) { "" } else { super::text(flags)? };
    Ok(Search {
        regex: compile(super::text(expression)?, flags)?,
        text,
        all: flags.contains('g'),
        skip_empty: flags.contains('n'),
    })
}

fn compile(expression: &str, flags: &str) -> Result<Rc<Regex>> {
    let key = (expression.to_owned(), flags.to_owned());
    KEPT.with_borrow_mut(|kept| {
        if let Some(regex) = kept.get(&key) {
            return Ok(Rc::clone(regex));
        }
        let regex = Rc::new(build(expression, flags)?);
        if kept.len() == MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, Rc::clone(&regex));
        Ok(regex)
    })
}

fn build(expression: &str, flags: &str) -> Result<Regex> {
    let mut builder = RegexBuilder::new(expression);
    builder.size_limit(MAX_COMPILED_BYTES);
    for flag in flags.chars() {
        match flag {
            'g' | 'n' => {}
            'i' => drop(builder.case_insensitive(true)),
            's' | 'p' => drop(builder.dot_matches_new_line(true)),
            'x' => drop(builder.ignore_whitespace(true)),
            flag => {
                return Err(Error::str(format_args!(
                    "`{flag}` is not a flag of regular expressions; there are g, i, n, p, s, x"
                )));
            }
        }
    }
    builder.build().map_err(|error| Error::str(format_args!("regular expression: {error}")))
}

/// A match as jq describes it: offsets and lengths are in characters, a group that took no part
/// has the offset -1.
fn describe(search: &Search<'_>, found: &Captures<'_>, characters: &mut Characters<'_>) -> Val {
    let whole = found.get_match();
    let offset = characters.before(whole.start());
    let group = |bytes: std::ops::Range<usize>| {
        let offset = offset + search.text[whole.start()..bytes.start].chars().count();
        let text = &search.text[bytes];
        [
            ("offset", offset.into()),
            ("length", text.chars().count().into()),
            ("string", string(text)),
        ]
    };
    let captures = search.regex.capture_names().enumerate().skip(1).map(|(i, name)| {
        let fields = found.get(i).map_or_else(
            || [("offset", (-1_isize).into()), ("length", 0_usize.into()), ("string", Val::Null)],
            |found| group(found.range()),
        );
        object(fields.into_iter().chain([("name", name.map_or(Val::Null, string))]))
    });
    object(group(whole.range()).into_iter().chain([("captures", captures.collect())]))
}

/// The object of a match's named groups.
fn named(search: &Search<'_>, found: &Captures<'_>) -> Val {
    object(
        search
            .regex
            .capture_names()
            .flatten()
            .map(|name| (name, found.name(name).map_or(Val::Null, |found| string(found.as_str())))),
    )
}

fn object<'a>(fields: impl Iterator<Item = (&'a str, Val)>) -> Val {
    Val::obj(fields.map(|(name, value)| (string(name), value)).collect())
}

fn string(text: &str) -> Val {
    text.to_owned().into()
}

/// Counts the characters before places of a text that come in rising order.
struct Characters<'a> {
    text: &'a str,
    bytes: usize,
    characters: usize,
}

impl<'a> Characters<'a> {
    fn new(text: &'a str) -> Characters<'a> {
        Characters { text, bytes: 0, characters: 0 }
    }

    fn before(&mut self, bytes: usize) -> usize {
        self.characters += self.text[self.bytes..bytes].chars().count();
        self.bytes = bytes;
        self.characters
    }
}
