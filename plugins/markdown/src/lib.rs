//! Markdown as HTML, plain text, outline, links and front matter.
//!
//! The language is CommonMark 0.31.2 with the extensions of GitHub that pulldown-cmark reads: bare
//! URLs are no links, and there is no list of forbidden tags, because raw HTML is not passed on
//! unless the caller asks for it. `tests/commonmark.json` is the specification's own suite.
//!
//! pulldown-cmark keeps link definitions in hash maps, which asks WASI for a seed; it gets a fixed
//! one.

mod front;
mod headings;
mod html;
mod text;

use ampoule_sdk::prelude::*;
use pulldown_cmark::{Options, Parser};

use front::front_matter;
use headings::{links, outline};
use html::to_html;
use text::to_text;

export!(to_html, to_text, outline, links, front_matter);

/// Bytes of a document.
const MAX_BYTES: u64 = 16 << 20;

/// What a document may use beyond CommonMark.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Extension {
    /// Tables with `|`.
    Tables,
    /// `~~Struck~~` text.
    Strikethrough,
    /// `- [x]` list items.
    Tasks,
    /// `[^1]` and its definition.
    Footnotes,
    /// Quotes that begin with `[!NOTE]` and the like.
    Alerts,
    /// Terms with `: definition` below.
    DefinitionLists,
    /// `$x$` and `$$x$$`.
    Math,
    /// Quotation marks, dashes and ellipses are set as in print.
    SmartPunctuation,
    /// YAML between `---` or TOML between `+++` at the beginning; it is left out.
    FrontMatter,
}

/// What GitHub reads, and front matter.
pub(crate) fn usual() -> Vec<Extension> {
    use Extension::{Alerts, Footnotes, FrontMatter, Strikethrough, Tables, Tasks};
    vec![Tables, Strikethrough, Tasks, Footnotes, Alerts, FrontMatter]
}

fn options(extensions: &[Extension]) -> Options {
    extensions.iter().fold(Options::empty(), |options, extension| {
        options
            | match extension {
                Extension::Tables => Options::ENABLE_TABLES,
                Extension::Strikethrough => Options::ENABLE_STRIKETHROUGH,
                Extension::Tasks => Options::ENABLE_TASKLISTS,
                Extension::Footnotes => Options::ENABLE_FOOTNOTES,
                Extension::Alerts => Options::ENABLE_GFM,
                Extension::DefinitionLists => Options::ENABLE_DEFINITION_LIST,
                Extension::Math => Options::ENABLE_MATH,
                Extension::SmartPunctuation => Options::ENABLE_SMART_PUNCTUATION,
                Extension::FrontMatter => Options::empty(),
            }
    })
}

/// The text of a document that is not too large.
///
/// # Errors
/// `too-large`, and those of [`Content::text`].
pub(crate) fn read(document: Content) -> Result<String> {
    let text = document.at_most(MAX_BYTES)?.text()?;
    // CommonMark 0.31.2, 2.3.
    Ok(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text })
}

/// Where the text begins: after the front matter, where that is read.
pub(crate) fn start(text: &str, extensions: &[Extension]) -> usize {
    match extensions.contains(&Extension::FrontMatter) {
        true => front::split(text).map_or(0, |front| front.end),
        false => 0,
    }
}

/// The events of a document from a place on.
pub(crate) fn parse<'a>(text: &'a str, extensions: &[Extension]) -> Parser<'a> {
    Parser::new_ext(text, options(extensions))
}
