//! Cuts texts into chunks for an index or a model.
//!
//! Parity with SmythOS's indexer, which uses LangChain's recursive splitter with 512 and 100: the
//! mode `recursive` is that algorithm, and `tests/langchain.json` holds what LangChain's own
//! JavaScript answers. Deliberate differences: sizes count characters (Unicode code points), not
//! UTF-16 units, and no character is cut in two; a piece without any separator is cut at the size
//! instead of being left too large; each chunk says where it stands in the text.
//!
//! The crate `text-splitter` was tried first: it brings a random seed from the host, and its
//! chunks are not LangChain's.
//!
//! Tokens are those of `cl100k_base` (crate `tiktoken-rs`), counted once over the whole text, so a
//! chunk encoded by itself may differ by a token at either end. Other models count within some
//! percent of it.

mod cutting;
mod levels;
mod tokens;

use ampoule_sdk::from_cursor;
use ampoule_sdk::prelude::*;

use cutting::{Cutter, Span};
use levels::{Heading, Level};
use tokens::Measure;

/// Characters or tokens of a chunk where the caller names no number.
const DEFAULT_SIZE: u32 = 512;

/// Those that two neighbours share, at most, where the caller names no number.
const DEFAULT_OVERLAP: u32 = 100;

/// Bytes of a text at most.
const MAX_BYTES: u64 = 16 << 20;

/// Bytes of chunks in one answer.
const PAGE_BYTES: usize = 8 << 20;

/// What to cut, and how.
#[data]
struct Chunking {
    /// The text.
    text: Content,
    /// Where to cut.
    #[serde(default)]
    by: By,
    /// What `size` and `overlap` count.
    #[serde(default)]
    unit: Unit,
    /// Size of a chunk at most. Default: 512.
    #[serde(default = "size")]
    #[schemars(range(min = 1, max = 100_000))]
    size: u32,
    /// How much of a chunk's end the next begins with, at most. Default: 100, or a fifth of `size`
    /// where that is less.
    #[schemars(range(max = 99_999))]
    overlap: Option<u32>,
    /// For `recursive`: where to cut, the best first. Default: blank line, line, space.
    #[schemars(length(min = 1, max = 20), inner(length(max = 100)))]
    separators: Option<Vec<String>>,
    /// Take white space off both ends of each chunk.
    #[serde(default = "yes")]
    trim: bool,
    /// Chunks in one answer at most; fewer where they are large.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: u32,
    /// The `next` of an earlier answer, to go on after it.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

fn size() -> u32 {
    DEFAULT_SIZE
}

fn yes() -> bool {
    true
}

fn limit() -> u32 {
    1000
}

/// Where to cut.
#[data]
#[derive(Copy, Default, PartialEq)]
enum By {
    /// At blank lines; where a part is still too large at lines, then at spaces, then anywhere.
    #[default]
    Recursive,
    /// Between sentences (Unicode's rules); long sentences at spaces.
    Sentence,
    /// At headings, then between blocks, then at list items and table rows, lines, spaces.
    Markdown,
    /// Anywhere: each chunk is as large as it may be.
    Fixed,
}

/// What is counted.
#[data]
#[derive(Copy, Default)]
enum Unit {
    /// Unicode characters.
    #[default]
    Character,
    /// Tokens of the encoding `cl100k_base`.
    Token,
}

/// A chunk.
#[data]
struct Chunk {
    /// Its text.
    text: String,
    /// Characters of the text before it.
    start: usize,
    /// Characters of the text to its end.
    end: usize,
    /// Its size, in the unit asked for.
    size: usize,
    /// For Markdown: the headings it stands below, the outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headings: Vec<String>,
}

/// Cut a text into chunks for an index or a model, with overlap and the position of each.
///
/// Sizes count characters or tokens (`cl100k_base`). `recursive` suits most texts; `markdown` keeps
/// sections and blocks together and names the headings above each chunk; `sentence` never cuts a
/// sentence that fits. `start` and `end` count characters from 0. For texts to 16 MiB; go on with
/// `cursor`.
#[tool]
fn text_chunk(chunking: Chunking) -> Result<Output<Vec<Chunk>>> {
    let Chunking { by, size, .. } = chunking;
    let overlap = chunking.overlap.unwrap_or(DEFAULT_OVERLAP.min(size / 5));
    if overlap >= size {
        return Err(Error::bad_arguments(format!(
            "`overlap` ({overlap}) must be less than `size` ({size})"
        )));
    }
    if chunking.separators.is_some() && by != By::Recursive {
        return Err(Error::bad_arguments("`separators` is for the mode `recursive`"));
    }
    let offset: usize = from_cursor(chunking.cursor.as_deref())?.unwrap_or(0);
    let text = chunking.text.at_most(MAX_BYTES)?.text()?;
    let measure = match chunking.unit {
        Unit::Character => Measure::Characters,
        Unit::Token => Measure::tokens(&text)?,
    };
    let mut headings: Vec<Heading> = Vec::new();
    let levels = match by {
        By::Recursive => Level::separators(chunking.separators),
        By::Sentence => Level::sentences(&text),
        By::Markdown => Level::markdown(&text, &mut headings),
        By::Fixed => vec![Level::Anywhere],
    };
    let cutter = Cutter::new(&text, &measure, size as usize, overlap as usize, chunking.trim);
    let spans = cutter.cut(&levels)?;

    let mut ruler = Ruler { text: &text, byte: 0, characters: 0 };
    let mut outline = Outline { headings: headings.into_iter().peekable(), above: Vec::new() };
    let (mut page, mut bytes) = (Vec::new(), 0);
    for span in spans.iter().skip(offset).take(chunking.limit as usize) {
        let part = &text[span.clone()];
        bytes += part.len();
        if bytes > PAGE_BYTES && !page.is_empty() {
            break;
        }
        let start = ruler.characters_before(span.start);
        page.push(Chunk {
            text: part.to_owned(),
            start,
            end: start + part.chars().count(),
            size: measure.told(&text, span),
            headings: outline.at(span),
        });
    }
    let end = offset.saturating_add(page.len());
    let next = (end < spans.len()).then(|| end.to_string());
    Ok(Output::new(page).with_truncated(next.is_some()).with_next(next))
}

/// Counts characters from where it last was: chunks begin one after the other.
struct Ruler<'a> {
    text: &'a str,
    byte: usize,
    characters: usize,
}

impl Ruler<'_> {
    fn characters_before(&mut self, byte: usize) -> usize {
        self.characters += self.text[self.byte..byte].chars().count();
        self.byte = byte;
        self.characters
    }
}

/// The headings above a place, from where it last was.
struct Outline<I: Iterator<Item = Heading>> {
    headings: std::iter::Peekable<I>,
    above: Vec<Heading>,
}

impl<I: Iterator<Item = Heading>> Outline<I> {
    /// Those above the start of a chunk; a heading it begins with is one of them.
    fn at(&mut self, chunk: &Span) -> Vec<String> {
        while let Some(heading) = self.headings.next_if(|heading| heading.at <= chunk.start) {
            self.above.retain(|above| above.level < heading.level);
            self.above.push(heading);
        }
        self.above.iter().map(|heading| heading.title.clone()).collect()
    }
}

export!(text_chunk);
