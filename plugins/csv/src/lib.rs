//! Reads and writes CSV and other delimited text (RFC 4180 and its relatives), with the crate
//! `csv`.
//!
//! Where the seed systems load a table with pandas, `read` guesses the delimiter and, when asked,
//! the types, one for each column. Deliberate differences: a row that does not fit is reported
//! with its line, never padded or dropped without a word; a number with leading zeros stays text,
//! as do integers beyond 2^53, so that codes and ids survive; a quote that is never closed is a bad
//! row rather than the rest of the file in one cell.
//!
//! Suites: `tests/spectrum.json` is csv-spectrum, whole; `tests/cases.json` is our own.

mod reading;
mod types;
mod writing;

use ampoule_sdk::prelude::*;

use reading::read;
use writing::write;

/// Columns of a table at most.
const MAX_COLUMNS: usize = 100_000;

/// Bytes of all column names together at most.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// A character of an option, which the reader takes as one byte.
fn ascii(option: &str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n') => Ok(*byte),
        _ => Err(Error::bad_arguments(format!(
            "`{option}` is one ASCII character that is no line break; this is {text:?}"
        ))),
    }
}

/// Refuses characters with two meanings.
fn distinct(characters: &[(&str, Option<u8>)]) -> Result<()> {
    for (at, (name, byte)) in characters.iter().enumerate() {
        for (other, same) in &characters[..at] {
            if byte.is_some() && byte == same {
                return Err(Error::bad_arguments(format!(
                    "`{other}` and `{name}` are the same character"
                )));
            }
        }
    }
    Ok(())
}

/// Bytes a text takes in JSON, so that an answer is bounded before it is made.
fn json_len(text: &str) -> usize {
    let escapes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        0..0x20 => 5,
        _ => 0,
    });
    text.len() + 2 + escapes.sum::<usize>()
}

export!(read, write);
