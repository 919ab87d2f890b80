//! Printing. Text from plugins, models and pages is passed through [`safe`] before it reaches a
//! terminal, which would obey the control sequences in it.

mod ends;
mod live;
mod parameters;
mod receipt;
mod table;

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::exit::Failure;

pub(crate) use ends::{allow, collect_denials, denial, end, end_json, file_lines};
pub(crate) use live::{Live, describe};
pub(crate) use parameters::{list as parameter_list, parameters};
pub(crate) use receipt::{receipt_line, receipt_table, time};
pub(crate) use table::Table;

/// Headings and names.
pub(crate) const STRONG: Style = Style::new().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What deserves a look.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// What is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What can be typed: ids, commands, lines of a file.
pub(crate) const CODE: Style = AnsiColor::Cyan.on_default();

/// Where the command prints to.
pub(crate) struct Screen {
    /// Whether a machine reads it.
    pub(crate) json: bool,
    out: AutoStream<io::Stdout>,
    err: AutoStream<io::Stderr>,
    terminal: bool,
    width: Option<usize>,
}

impl Screen {
    pub(crate) fn new(json: bool, colour: ColorChoice) -> Screen {
        let terminal = io::stdout().is_terminal();
        let width = terminal_size::terminal_size().filter(|_| terminal);
        Screen {
            json,
            out: AutoStream::new(io::stdout(), colour),
            err: AutoStream::new(io::stderr(), colour),
            terminal,
            width: width.map(|(width, _)| usize::from(width.0).max(40)),
        }
    }

    /// Standard output, for text with styles.
    pub(crate) fn out(&mut self) -> &mut AutoStream<io::Stdout> {
        &mut self.out
    }

    /// Standard error, for text with styles.
    pub(crate) fn err(&mut self) -> &mut AutoStream<io::Stderr> {
        &mut self.err
    }

    /// Columns to fill; `None` where standard output is no terminal and lines may be of any length.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Prints text that is somebody else's: as it is into a file or pipe, made safe on a terminal.
    pub(crate) fn data(&mut self, text: &str) -> io::Result<()> {
        let text = if self.terminal { safe(text) } else { text.into() };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Prints a JSON document: over several lines on a terminal, else in one.
    pub(crate) fn document(&mut self, document: &impl Serialize) -> io::Result<()> {
        let text = if self.terminal {
            escaped(&serde_json::to_string_pretty(document)?).into_owned()
        } else {
            serde_json::to_string(document)?
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Prints a JSON document in one line of several.
    pub(crate) fn json_line(&mut self, document: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(document)?;
        let text = if self.terminal { escaped(&text).into_owned() } else { text };
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Says something in passing, on stderr.
    pub(crate) fn note(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.err, "{FAINT}{text}{FAINT:#}")
    }

    /// Says what deserves a look, on stderr.
    pub(crate) fn warn(&mut self, text: impl Display) -> io::Result<()> {
        let text = text.to_string();
        let text = safe(text.trim_end()).replace('\n', "\n  ");
        writeln!(self.err, "{WARN}warning:{WARN:#} {text}")
    }

    /// Says why the command failed.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        // Where neither can be written there is nobody to tell.
        let _ = writeln!(self.err, "{BAD}error:{BAD:#} {}", safe(&failure.message));
        if let Some(hint) = &failure.hint {
            let _ = writeln!(self.err, "\n{}", safe(hint));
        }
        if self.json {
            let _ = self.document(&failure.to_json());
        }
    }
}

/// Whether stderr is to be coloured.
pub(crate) fn colours_stderr(colour: ColorChoice) -> bool {
    let choice = match colour {
        ColorChoice::Auto => AutoStream::choice(&io::stderr()),
        choice => choice,
    };
    choice != ColorChoice::Never
}

/// `text` in a style.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// `text` without what a terminal would obey, or what would make it read as something else: control
/// characters other than line breaks and tabs, and marks that change the direction of writing.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return text.into();
    }
    let shown = |c: char| if is_unsafe(c) { c.escape_unicode().collect() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// JSON whose unsafe characters are written as escapes; the same value.
fn escaped(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_unsafe) {
        return json.into();
    }
    // Outside of strings JSON holds none of them, and all are in the basic plane.
    let shown = |c: char| match is_unsafe(c) {
        true => format!("\\u{:04x}", u32::from(c)),
        false => c.to_string(),
    };
    json.chars().map(shown).collect()
}

fn is_unsafe(c: char) -> bool {
    let marks =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    marks || (c.is_control() && c != '\n' && c != '\t')
}

/// A text in one line, made safe, at most `max` characters.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    let text = safe(&text);
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.into_owned(),
    }
}

/// The first sentence of a text, in one line.
pub(crate) fn first_sentence(text: &str) -> String {
    let paragraph = text.trim().split("\n\n").next().unwrap_or_default();
    let line = one_line(paragraph, 400);
    // A small letter goes on with the sentence, as after `e.g.`.
    let goes_on = |at: usize| line[at + 2..].starts_with(char::is_lowercase);
    let end = line.match_indices(". ").map(|(at, _)| at).find(|&at| !goes_on(at));
    line[..end.unwrap_or(line.len())].trim_end_matches('.').to_owned()
}

/// A text wrapped to `width` and indented; as it is, but indented, where there is no width.
pub(crate) fn indented(text: &str, indent: &str, width: Option<usize>) -> String {
    let text = safe(text.trim_end());
    match width {
        Some(width) => {
            let options = textwrap::Options::new(width)
                .initial_indent(indent)
                .subsequent_indent(indent)
                .break_words(false);
            textwrap::fill(&text, options)
        }
        None => textwrap::indent(&text, indent),
    }
}

/// Bytes as a person reads them.
pub(crate) fn bytes(n: u64) -> String {
    ampoule::Meter::OutputBytes.show(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(safe("a\tb\nc"), "a\tb\nc");
        assert_eq!(safe("\u{1b}[2Jx\r\u{9b}31m\u{202e}"), "\\u{1b}[2Jx\\u{d}\\u{9b}31m\\u{202e}");
        let json = serde_json::Value::from("\u{9b}\u{202e}\u{7f}").to_string();
        let shown = escaped(&json);
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(
            serde_json::from_str::<String>(&shown).ok().as_deref(),
            Some("\u{9b}\u{202e}\u{7f}")
        );
    }

    #[test]
    fn texts_are_shortened_at_whole_characters() {
        assert_eq!(one_line(" é é\n é ", 3), "é é…");
        assert_eq!(first_sentence("Hashes e.g. bytes. And more.\n\nRest"), "Hashes e.g. bytes");
        assert_eq!(first_sentence("One line.\nstill. Rest"), "One line. still");
    }
}
