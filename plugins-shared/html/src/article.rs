//! The main content of a page, as dom_smoothie, a port of Mozilla's Readability, makes it out.

use ampoule_sdk::prelude::*;
use dom_smoothie::{Article, Config, Readability, ReadabilityError};

use crate::Document;

pub use dom_smoothie::TextMode;

/// Elements that a page may have.
const MAX_ELEMENTS: usize = 100_000;

/// Characters of a content that does not look like one.
const MIN_CHARS: usize = 200;

/// Finds the main content of a page from the URL `base`.
///
/// # Errors
/// `not-found` where none can be made out, `too-large` where the page has too many elements.
pub fn article(document: Document, base: Option<&str>, text_mode: TextMode) -> Result<Article> {
    let config = Config { max_elements_to_parse: MAX_ELEMENTS, text_mode, ..Config::default() };
    let none = || {
        Error::not_found(
            "no main content can be made out on this page; convert it whole with \
             `html-to-markdown`",
        )
    };
    let read = Readability::with_document(document, base, Some(config))
        .and_then(|mut readability| Ok((readability.is_probably_readable(), readability.parse()?)));
    let (likely, article) = read.map_err(|error| match error {
        ReadabilityError::TooManyElements(count, _) => Error::too_large(format!(
            "the page has {count} elements and may have {MAX_ELEMENTS}: pass a part of it"
        )),
        _ => none(),
    })?;
    // With nothing better it takes what there is, be it a menu.
    match likely || article.length >= MIN_CHARS {
        true => Ok(article),
        false => Err(none()),
    }
}
