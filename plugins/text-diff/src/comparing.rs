//! Comparing two texts.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs, from_cursor};
use similar::{Algorithm, ChangeTag, DiffOp, TextDiff, WhitespaceMode};
use unicode_segmentation::UnicodeSegmentation as _;

/// Bytes of both texts together at most.
const MAX_BYTES: u64 = 32 << 20;

/// Bytes of a diff that go into the answer itself.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Bytes of changes in one answer.
const PAGE_BYTES: usize = 8 << 20;

/// What is compared with what.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Unit {
    /// Lines.
    #[default]
    Line,
    /// Words, and what stands between them.
    Word,
    /// Characters, as people count them (grapheme clusters).
    Character,
}

impl Unit {
    /// Units in both texts together at most.
    fn most(self) -> usize {
        match self {
            Unit::Line => 1_000_000,
            Unit::Word => 500_000,
            Unit::Character => 200_000,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Line => "lines",
            Unit::Word => "words",
            Unit::Character => "characters",
        }
    }
}

/// How white space counts.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Whitespace {
    /// As any character.
    #[default]
    Exact,
    /// Any run of it is one space, and at the end of a line it does not count.
    IgnoreChanges,
    /// Not at all.
    IgnoreAll,
}

/// How the difference is written.
#[data]
#[derive(Copy, PartialEq)]
enum Format {
    /// As a patch.
    Unified,
    /// As a list of what was kept, taken out and put in.
    Changes,
    /// As the text itself, with `[-what was taken out-]` and `{+what was put in+}`.
    Marked,
}

/// What to compare, and how.
#[data]
pub(crate) struct Comparison {
    /// The old text.
    old: Content,
    /// The new text.
    new: Content,
    /// What is compared with what.
    #[serde(default)]
    unit: Unit,
    /// How the difference is written: `unified` (for lines only), `changes` or `marked`. Default:
    /// `unified` for lines, else `marked`.
    format: Option<Format>,
    /// Unchanged lines around each change of a unified diff.
    #[serde(default = "three")]
    #[schemars(range(max = 1000))]
    context: u16,
    /// Name of the old text in the head of a unified diff.
    #[serde(default = "old")]
    #[schemars(length(min = 1, max = 1000), regex(pattern = r"^[^\x00-\x1f\x7f]*$"))]
    old_name: String,
    /// Name of the new text in the head of a unified diff.
    #[serde(default = "new")]
    #[schemars(length(min = 1, max = 1000), regex(pattern = r"^[^\x00-\x1f\x7f]*$"))]
    new_name: String,
    /// How white space in lines counts. A patch made without regard to it may not apply.
    #[serde(default)]
    whitespace: Whitespace,
    /// Changes in one answer at most; fewer where they are large.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100_000))]
    limit: u32,
    /// The `next` of an earlier answer, to go on after it; for `changes`.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

fn three() -> u16 {
    3
}

fn old() -> String {
    "old".into()
}

fn new() -> String {
    "new".into()
}

fn limit() -> u32 {
    1000
}

/// The difference.
#[data]
pub(crate) struct Difference {
    /// Whether nothing differs.
    equal: bool,
    /// How alike they are, from 0 to 1: twice the units that match, by the units of both.
    ratio: f64,
    /// Units (lines, words, characters) that were put in.
    inserted: usize,
    /// Units that were taken out.
    deleted: usize,
    /// The unified diff or marked text, where it is no longer than 1 MiB; empty where nothing
    /// differs in a unified diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The same as a blob, where it is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
    /// The changes of this part.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Change>>,
}

/// A run of units with one fate.
#[data]
struct Change {
    /// What became of it.
    kind: Kind,
    /// The text.
    text: String,
    /// Units of the old text before it.
    old: usize,
    /// Units of the new text before it.
    new: usize,
}

/// What became of some text.
#[data]
#[derive(Copy, PartialEq)]
enum Kind {
    Equal,
    Delete,
    Insert,
}

/// Compare two texts: a unified diff, a list of changes, or the text with its changes marked.
///
/// By line (the default, for code and files: answers a patch), by word or by character (for prose:
/// answers the text with `[-old-]{+new+}`). For texts of 32 MiB together, 1,000,000 lines, 500,000
/// words or 200,000 characters; on very different texts the difference is good, not always the
/// smallest.
#[tool]
pub(crate) fn diff(comparison: Comparison) -> Result<Output<Difference>> {
    let Comparison { unit, whitespace, .. } = comparison;
    let format = comparison.format.unwrap_or(match unit {
        Unit::Line => Format::Unified,
        Unit::Word | Unit::Character => Format::Marked,
    });
    if format == Format::Unified && unit != Unit::Line {
        return Err(Error::bad_arguments(format!(
            "a unified diff is by line: for {} use the format `marked` or `changes`",
            unit.name()
        )));
    }
    if whitespace != Whitespace::Exact && unit != Unit::Line {
        return Err(Error::bad_arguments("`whitespace` is for the unit `line`"));
    }
    if comparison.cursor.is_some() && format != Format::Changes {
        return Err(Error::bad_arguments("`cursor` is for the format `changes`"));
    }
    let (old, new) = texts(comparison.old, comparison.new)?;
    let diff = compared(&old, &new, unit, whitespace)?;
    let (mut inserted, mut deleted) = (0, 0);
    for op in diff.ops().iter().filter(|op| !matches!(op, DiffOp::Equal { .. })) {
        inserted += op.new_range().len();
        deleted += op.old_range().len();
    }
    let mut difference = Difference {
        equal: inserted + deleted == 0,
        ratio: ratio(&diff),
        inserted,
        deleted,
        text: None,
        blob: None,
        changes: None,
    };
    let (text, media_type) = match format {
        Format::Changes => {
            let offset: usize = from_cursor(comparison.cursor.as_deref())?.unwrap_or(0);
            let mut rest = changes(&diff).skip(offset).peekable();
            let (mut page, mut size) = (Vec::new(), 0);
            while page.len() < comparison.limit as usize
                && let Some(change) =
                    rest.next_if(|change| page.is_empty() || size + change.text.len() <= PAGE_BYTES)
            {
                size += change.text.len() + 60;
                page.push(change);
            }
            let next = rest.peek().map(|_| offset.saturating_add(page.len()).to_string());
            difference.changes = Some(page);
            return Ok(Output::new(difference).with_truncated(next.is_some()).with_next(next));
        }
        Format::Unified => {
            let mut unified = diff.unified_diff();
            unified.context_radius(comparison.context.into());
            unified.header(&comparison.old_name, &comparison.new_name);
            (unified.to_string(), "text/x-diff; charset=utf-8")
        }
        Format::Marked => (marked(&diff), "text/plain; charset=utf-8"),
    };
    if text.len() > MAX_TEXT_BYTES {
        difference.blob = Some(blobs::store(media_type, text.as_bytes())?);
    } else {
        difference.text = Some(text);
    }
    Ok(Output::new(difference))
}

/// Two texts.
#[data]
pub(crate) struct Pair {
    /// A text.
    a: Content,
    /// The other.
    b: Content,
    /// What is compared with what. Default: characters.
    #[serde(default = "character")]
    unit: Unit,
}

fn character() -> Unit {
    Unit::Character
}

/// How alike two texts are.
#[data]
pub(crate) struct Similarity {
    /// From 0 (nothing in common) to 1 (equal): twice the units that match in order, by the units
    /// of both.
    ratio: f64,
}

/// Tell how alike two texts are, from 0 to 1.
///
/// The ratio of Python's `difflib`: twice what matches in order, by the length of both. By
/// character (default), word or line.
#[tool]
pub(crate) fn similarity(pair: Pair) -> Result<Similarity> {
    let (a, b) = texts(pair.a, pair.b)?;
    let diff = compared(&a, &b, pair.unit, Whitespace::Exact)?;
    Ok(Similarity { ratio: ratio(&diff) })
}

fn texts(old: Content, new: Content) -> Result<(String, String)> {
    if old.size()?.saturating_add(new.size()?) > MAX_BYTES {
        let most = MAX_BYTES >> 20;
        let message = format!("the texts are larger than {most} MiB together: compare parts");
        return Err(Error::too_large(message));
    }
    Ok((old.text()?, new.text()?))
}

fn compared<'a>(
    old: &'a str,
    new: &'a str,
    unit: Unit,
    whitespace: Whitespace,
) -> Result<TextDiff<'a, 'a, str>> {
    let old_units = units(old, unit)?;
    let new_units = units(new, unit)?;
    if old_units.len() + new_units.len() > unit.most() {
        return Err(too_many(unit));
    }
    let mut config = TextDiff::configure();
    config.algorithm(Algorithm::Myers);
    Ok(match whitespace {
        Whitespace::Exact => {
            config.newline_terminated(unit == Unit::Line);
            config.diff_slices(&old_units, &new_units)
        }
        Whitespace::IgnoreChanges => {
            config.whitespace_mode(WhitespaceMode::IgnoreChanges).diff_lines(old, new)
        }
        Whitespace::IgnoreAll => {
            config.whitespace_mode(WhitespaceMode::IgnoreAll).diff_lines(old, new)
        }
    })
}

/// The text in its units; refused as soon as there are too many.
fn units(text: &str, unit: Unit) -> Result<Vec<&str>> {
    let most = unit.most();
    let units: Vec<&str> = match unit {
        Unit::Line => text.split_inclusive('\n').take(most + 1).collect(),
        Unit::Word => text.split_word_bounds().take(most + 1).collect(),
        Unit::Character => text.graphemes(true).take(most + 1).collect(),
    };
    if units.len() > most { Err(too_many(unit)) } else { Ok(units) }
}

fn too_many(unit: Unit) -> Error {
    let instead = match unit {
        Unit::Line => "compare parts",
        Unit::Word => "compare by line",
        Unit::Character => "compare by word or line",
    };
    let (most, name) = (unit.most(), unit.name());
    Error::too_large(format!("the texts have more than {most} {name} together: {instead}"))
}

fn ratio(diff: &TextDiff<'_, '_, str>) -> f64 {
    let units = diff.old_len() + diff.new_len();
    let kept = diff.ops().iter().map(|op| match op {
        DiffOp::Equal { len, .. } => *len,
        _ => 0,
    });
    match units {
        0 => 1.0,
        units => 2.0 * kept.sum::<usize>() as f64 / units as f64,
    }
}

/// The runs of units that have one fate, in order.
fn changes<'a>(diff: &'a TextDiff<'_, '_, str>) -> impl Iterator<Item = Change> + 'a {
    diff.ops().iter().flat_map(move |op| {
        let (old, new) = (op.old_range().start, op.new_range().start);
        let run = |kind, tag| {
            let units = diff.iter_changes(op).filter(|change| change.tag() == tag);
            let text: String = units.map(|change| change.value()).collect();
            (!text.is_empty()).then_some(Change { kind, text, old, new })
        };
        [
            run(Kind::Equal, ChangeTag::Equal),
            run(Kind::Delete, ChangeTag::Delete),
            run(Kind::Insert, ChangeTag::Insert),
        ]
        .into_iter()
        .flatten()
    })
}

fn marked(diff: &TextDiff<'_, '_, str>) -> String {
    let mut text = String::new();
    for change in changes(diff) {
        let (open, close) = match change.kind {
            Kind::Equal => ("", ""),
            Kind::Delete => ("[-", "-]"),
            Kind::Insert => ("{+", "+}"),
        };
        text.extend([open, &change.text, close]);
    }
    text
}
