//! Tables in CSV, as plugins read them: the delimiter, the names of the columns, the values of cells.
//!
//! Numbers with leading zeros and integers beyond 2^53 are text, so that codes and ids survive.

use std::collections::{BTreeMap, BTreeSet};

/// Delimiters that are guessed, the likeliest first.
pub const DELIMITERS: [u8; 4] = *b",;\t|";

/// Rows that are looked at to guess the delimiter.
const SAMPLE_ROWS: usize = 100;

/// Bytes that are looked at to guess the delimiter.
const SAMPLE_BYTES: usize = 256 << 10;

/// Integers up to this are the same in every reader of JSON: 2^53.
const MAX_INTEGER: u64 = 1 << 53;

/// Bytes of a number.
const MAX_NUMBER_BYTES: usize = 400;

/// What stands in a cell, by its text alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// `true` or `false`, in any case.
    Boolean(bool),
    /// A whole number to 2^53 either way.
    Integer(i64),
    /// A number with a point or an exponent.
    Number(f64),
    /// Anything else.
    Text(&'a str),
}

impl<'a> Cell<'a> {
    /// What a text is.
    pub fn of(text: &'a str) -> Cell<'a> {
        if text.eq_ignore_ascii_case("true") {
            Cell::Boolean(true)
        } else if text.eq_ignore_ascii_case("false") {
            Cell::Boolean(false)
        } else if let Some(integer) = integer(text) {
            Cell::Integer(integer)
        } else if let Some(number) = number(text) {
            Cell::Number(number)
        } else {
            Cell::Text(text)
        }
    }
}

/// A whole number, without leading zeros.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.len() <= 16
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    let number: i64 = if plain { text.parse().ok()? } else { return None };
    (number.unsigned_abs() <= MAX_INTEGER && text != "-0").then_some(number)
}

/// A decimal number as JSON writes it; also `.5` and `5.`. A long whole number is an id.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
    let begins = digits.starts_with(|first: char| first == '.' || first.is_ascii_digit());
    let code = whole.len() > 1 && whole.starts_with('0');
    if !begins || whole.len() == digits.len() || code || digits.len() > MAX_NUMBER_BYTES {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The delimiter among `candidates` that splits the most rows at the start of a text into as many
/// cells as the first has, many cells counting more; the first of them, or a comma, where none splits
/// a row. `reader` says how the text is read.
pub fn guess_delimiter(
    text: &[u8],
    candidates: impl IntoIterator<Item = u8>,
    reader: impl Fn(u8) -> csv::ReaderBuilder,
) -> u8 {
    let sample = &text[..text.len().min(SAMPLE_BYTES)];
    let mut best = None;
    for delimiter in candidates {
        let mut reader = reader(delimiter).from_reader(sample);
        let mut record = csv::ByteRecord::new();
        let mut widths = Vec::new();
        // Reading from memory does not fail, and rows may have any width.
        while widths.len() < SAMPLE_ROWS && reader.read_byte_record(&mut record).unwrap_or(false) {
            widths.push(record.len());
        }
        let first = widths.first().copied().unwrap_or(1);
        let alike = widths.iter().filter(|width| **width == first).count();
        let score = alike * first.saturating_sub(1);
        if best.is_none_or(|(_, most)| score > most) {
            best = Some((delimiter, score));
        }
    }
    best.map_or(b',', |(delimiter, _)| delimiter)
}

/// How CSV is read where nobody says otherwise: rows may have any width, the first among them.
pub fn reader(delimiter: u8) -> csv::ReaderBuilder {
    let mut builder = csv::ReaderBuilder::new();
    builder.delimiter(delimiter).has_headers(false).flexible(true);
    builder
}

/// The names of columns, made different from one another by `key`: an empty one is `column_N`, and
/// one that was there before gets a number.
pub fn unique_names(names: Vec<String>, key: impl Fn(&str) -> String) -> Vec<String> {
    let given: BTreeSet<String> = names.iter().map(|name| key(name)).collect();
    let mut taken = BTreeSet::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let names = names.into_iter().enumerate().map(|(at, name)| {
        let made_up = name.is_empty();
        let base = if made_up { format!("column_{}", at + 1) } else { name };
        let mut name = base.clone();
        let mut free = !made_up || !given.contains(&key(&name));
        while !free || !taken.insert(key(&name)) {
            let count = counts.entry(key(&base)).or_insert(1);
            *count += 1;
            name = format!("{base}_{count}");
            free = !given.contains(&key(&name));
        }
        name
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_what_they_look_like() {
        for (text, expected) in [
            ("TRUE", Cell::Boolean(true)),
            ("0", Cell::Integer(0)),
            ("-12", Cell::Integer(-12)),
            ("9007199254740992", Cell::Integer(1 << 53)),
            (".5", Cell::Number(0.5)),
            ("5.", Cell::Number(5.0)),
            ("-1e3", Cell::Number(-1000.0)),
        ] {
            assert_eq!(Cell::of(text), expected, "{text}");
        }
        for text in [
            "",
            "-",
            "007",
            "-0",
            "1_000",
            "9007199254740993",
            "00.5",
            "1e999",
            "inf",
            "nan",
            "+1",
            " 1",
            ".",
        ] {
            assert_eq!(Cell::of(text), Cell::Text(text));
        }
    }

    #[test]
    fn delimiters_are_guessed() {
        for (text, expected) in [
            ("a;b\n1;2", b';'),
            ("a;b\n1,5;2\n2,5;3", b';'),
            ("a\tb", b'\t'),
            ("a", b','),
            ("", b','),
        ] {
            assert_eq!(guess_delimiter(text.as_bytes(), DELIMITERS, reader), expected, "{text}");
        }
    }

    #[test]
    fn names_differ() {
        let of = |names: &[&str], key: fn(&str) -> String| {
            unique_names(names.iter().map(|&name| name.to_owned()).collect(), key)
        };
        assert_eq!(of(&["a", "", "A", "a"], str::to_owned), ["a", "column_2", "A", "a_2"]);
        assert_eq!(of(&["a", "A", "a_2"], str::to_ascii_lowercase), ["a", "A_3", "a_2"]);
        assert_eq!(of(&["", "column_1"], str::to_owned), ["column_1_2", "column_1"]);
    }
}
