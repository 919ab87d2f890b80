//! Where a text may be cut, from the best place to the worst.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::cutting::Span;

/// Characters of a heading that are kept.
const MAX_TITLE: usize = 200;

/// Places of one kind.
pub(crate) enum Level {
    /// Before each of these texts.
    Before(String),
    /// At these bytes, in order.
    At(Vec<usize>),
    /// Between any two characters.
    Anywhere,
}

/// A heading.
pub(crate) struct Heading {
    /// The byte where it begins.
    pub(crate) at: usize,
    pub(crate) level: HeadingLevel,
    pub(crate) title: String,
}

impl Level {
    /// The separators, or LangChain's; at last, anywhere.
    pub(crate) fn separators(separators: Option<Vec<String>>) -> Vec<Level> {
        let separators =
            separators.unwrap_or_else(|| ["\n\n", "\n", " "].map(str::to_owned).into());
        let texts = separators.into_iter().take_while(|text| !text.is_empty());
        texts.map(Level::Before).chain([Level::Anywhere]).collect()
    }

    pub(crate) fn sentences(text: &str) -> Vec<Level> {
        let starts = text.split_sentence_bound_indices().map(|(at, _)| at).collect();
        vec![Level::At(starts), Level::Before(" ".into()), Level::Anywhere]
    }

    /// Headings from the highest to the lowest, blocks, items and rows. The headings are noted.
    pub(crate) fn markdown(text: &str, headings: &mut Vec<Heading>) -> Vec<Level> {
        let mut sections: [Vec<usize>; 6] = Default::default();
        let (mut blocks, mut items) = (Vec::new(), Vec::new());
        let mut depth = 0_usize;
        let mut in_heading = false;
        let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
        for (event, span) in Parser::new_ext(text, options).into_offset_iter() {
            if depth == 0 && !matches!(event, Event::End(_)) {
                blocks.push(line_start(text, span.start));
            }
            match event {
                Event::Start(tag) => {
                    match tag {
                        Tag::Heading { level, .. } => {
                            let at = line_start(text, span.start);
                            // A heading in a quotation or an item is none of the text's own.
                            if depth == 0 {
                                sections[level as usize - 1].push(at);
                                headings.push(Heading { at, level, title: String::new() });
                                in_heading = true;
                            }
                        }
                        Tag::Item | Tag::TableRow => items.push(line_start(text, span.start)),
                        _ => {}
                    }
                    depth += 1;
                }
                Event::End(end) => {
                    depth = depth.saturating_sub(1);
                    if matches!(end, TagEnd::Heading(_)) {
                        in_heading = false;
                    }
                }
                Event::Text(part) | Event::Code(part) if in_heading => {
                    if let Some(heading) = headings.last_mut() {
                        let room = MAX_TITLE.saturating_sub(heading.title.chars().count());
                        heading.title.extend(part.chars().take(room));
                    }
                }
                _ => {}
            }
        }
        // A list begins inside another before that one's next item.
        items.sort_unstable();
        items.dedup();
        let lines = ["\n", " "].map(|text| Level::Before(text.into()));
        let places = sections.into_iter().chain([blocks, items]).map(Level::At);
        places.chain(lines).chain([Level::Anywhere]).collect()
    }

    /// Whether there is such a place inside the part.
    pub(crate) fn occurs(&self, text: &str, span: &Span) -> bool {
        match self {
            Level::Before(separator) => text[span.clone()].contains(separator.as_str()),
            Level::At(places) => !inside(places, span).is_empty(),
            Level::Anywhere => true,
        }
    }

    /// The part cut at each such place.
    pub(crate) fn pieces<'a>(
        &'a self,
        text: &'a str,
        span: Span,
    ) -> Box<dyn Iterator<Item = Span> + 'a> {
        let Span { start, end } = span;
        match self {
            Level::Before(separator) => Box::new(pieces(span, before(text, separator, start..end))),
            Level::At(places) => {
                Box::new(pieces(start..end, inside(places, &span).iter().copied()))
            }
            Level::Anywhere => {
                let characters = text[span.clone()].char_indices().skip(1);
                Box::new(pieces(span, characters.map(move |(at, _)| start + at)))
            }
        }
    }
}

/// The part cut at places inside it, which come in order.
fn pieces(span: Span, places: impl Iterator<Item = usize>) -> impl Iterator<Item = Span> {
    let mut start = span.start;
    let pieces = places.chain([span.end]).map(move |place| {
        let piece = start..place;
        start = place;
        piece
    });
    pieces.filter(|piece| !piece.is_empty())
}

/// Wherever the separator stands after the start of the part, also where it overlaps itself.
fn before<'a>(text: &'a str, separator: &'a str, span: Span) -> impl Iterator<Item = usize> + 'a {
    let step = separator.chars().next().map_or(1, char::len_utf8);
    let mut from = span.start;
    std::iter::from_fn(move || {
        let at = from + text[from..span.end].find(separator)?;
        from = at + step;
        Some(at)
    })
    .filter(move |at| *at > span.start)
}

/// The places inside the part, its ends left out.
fn inside<'a>(places: &'a [usize], span: &Span) -> &'a [usize] {
    let first = places.partition_point(|place| *place <= span.start);
    let last = places.partition_point(|place| *place < span.end);
    places.get(first..last).unwrap_or_default()
}

/// Where the line of a block begins, so that what it is set in with stays with it.
fn line_start(text: &str, at: usize) -> usize {
    let before = &text[..at];
    let start = before.trim_end_matches([' ', '\t']).len();
    if start == 0 || before[..start].ends_with('\n') { start } else { at }
}
