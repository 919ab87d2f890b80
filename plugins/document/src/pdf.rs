//! PDF (ISO 32000).

use ampoule_sdk::prelude::*;
use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::hayro_syntax::object::DateTime;
use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro_interpret::kurbo::{BezPath, Point, Rect, Vec2};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps,
    InterpreterCache, InterpreterSettings, SoftMask, TransformExt, interpret_page,
};

use crate::Page;
use crate::pages::Pages;

/// Pages of a document.
const MAX_PAGES: usize = 100_000;

/// Bytes of text of a page.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Rows that a table has at least.
const MIN_ROWS: usize = 2;

/// Units of text space in the size of a font.
const UNITS: f64 = 1000.0;

/// Reads the pages.
pub(crate) fn read(
    bytes: Vec<u8>,
    password: &str,
    pages: &mut Pages,
) -> Result<(Option<String>, Map<String, Value>)> {
    let pdf = Pdf::new_with_password(bytes, password).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            Error::unauthorized("the PDF needs a password: give the right one in `password`")
        }
        LoadPdfError::Decryption(error) => {
            Error::unsupported(format!("the PDF is encrypted in a way that is not read: {error:?}"))
        }
        LoadPdfError::Invalid => Error::invalid_data("the PDF is malformed beyond repair"),
    })?;
    let count = pdf.pages().len();
    if count > MAX_PAGES {
        return Err(Error::too_large(format!(
            "the PDF has {count} pages and may have {MAX_PAGES}: split it"
        )));
    }
    let cache = InterpreterCache::new();
    for page in pdf.pages().iter() {
        if !pages.wanted() {
            pages.skip();
            continue;
        }
        let (width, height) = page.render_dimensions();
        let mut context = Context::new(
            page.initial_transform(true).to_kurbo(),
            Rect::new(0.0, 0.0, width.into(), height.into()),
            &cache,
            page.xref(),
            InterpreterSettings::default(),
        );
        let mut text = Text::default();
        interpret_page(page, &mut context, &mut text);
        pages.push(text.page());
    }
    Ok(metadata(&pdf))
}

/// What the PDF says of itself: its title and the rest.
fn metadata(pdf: &Pdf) -> (Option<String>, Map<String, Value>) {
    let info = pdf.metadata();
    let text = |bytes: &Option<Box<[u8]>>| bytes.as_deref().and_then(decode);
    let mut found = Map::new();
    for (name, value) in [
        ("author", text(&info.author)),
        ("subject", text(&info.subject)),
        ("keywords", text(&info.keywords)),
        ("created", info.creation_date.as_ref().map(show)),
        ("modified", info.modification_date.as_ref().map(show)),
        ("application", text(&info.creator).or_else(|| text(&info.producer))),
    ] {
        if let Some(value) = value {
            found.insert(name.to_owned(), value.into());
        }
    }
    (text(&info.title), found)
}

/// A text string: UTF-16 or UTF-8 by its mark, else near enough to PDFDocEncoding (ISO 32000-2,
/// 7.9.2.2).
fn decode(bytes: &[u8]) -> Option<String> {
    let bytes = &bytes[..bytes.len().min(4000)];
    let text = if let Some(utf16) = bytes.strip_prefix(&[0xfe, 0xff]) {
        let units = utf16.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect()
    } else if let Some(utf8) = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]) {
        String::from_utf8_lossy(utf8).into_owned()
    } else {
        bytes.iter().map(|&byte| char::from(byte)).collect()
    };
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    (!text.is_empty()).then(|| text.to_owned())
}

/// A time in RFC 3339.
fn show(time: &DateTime) -> String {
    let DateTime { year, month, day, hour, minute, second, utc_offset_hour, utc_offset_minute } =
        time;
    let zone = match (utc_offset_hour, utc_offset_minute) {
        (0, 0) => "Z".to_owned(),
        (hours, minutes) => {
            let sign = if *hours < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{minutes:02}", hours.unsigned_abs())
        }
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
}

/// Glyphs of a cell: text that stands together on a line.
struct Cell {
    /// Where it begins and ends along its line.
    start: f64,
    end: f64,
    text: String,
}

/// A line of text.
struct Line {
    /// The direction in which it is read.
    along: Vec2,
    /// Where it stands across that direction, and the size of its font.
    across: f64,
    size: f64,
    cells: Vec<Cell>,
}

/// The text of a page, put together from the places of its glyphs in the order in which the page
/// shows them.
#[derive(Default)]
struct Text {
    lines: Vec<Line>,
    bytes: usize,
    images: usize,
    /// Where the last run began: what is filled and stroked is shown twice.
    last_run: Option<(Point, usize)>,
}

impl Device<'_> for Text {
    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'_>, _: &DrawMode) {}

    fn push_clip_path(&mut self, _: &ClipPath) {}

    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'_>>, _: BlendMode) {}

    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, _: &DrawMode) {
        let glyphs = run.glyphs();
        let Some(first) = glyphs.first() else { return };
        let begin = props.transform * first.transform() * Point::ORIGIN;
        let this = (begin, glyphs.len());
        if self.last_run.replace(this) == Some(this) {
            return;
        }
        for glyph in glyphs {
            let transform = props.transform * glyph.transform();
            let origin = transform * Point::ORIGIN;
            let right = transform * Point::new(UNITS, 0.0) - origin;
            let up = transform * Point::new(0.0, UNITS) - origin;
            let size = up.hypot();
            let finite = origin.is_finite() && right.is_finite() && size.is_finite();
            if !finite || size <= 0.0 || right.hypot() <= 0.0 {
                continue;
            }
            let advance = match &**glyph {
                Glyph::Outline(glyph) => glyph.advance_width(),
                Glyph::Type3(_) => None,
            };
            let width = f64::from(advance.unwrap_or(500.0)) / UNITS * right.hypot();
            match glyph.as_unicode() {
                Some(BfString::Char(c)) => {
                    self.add(c.encode_utf8(&mut [0; 4]), origin, right, size, width);
                }
                Some(BfString::String(text)) => self.add(&text, origin, right, size, width),
                None => {}
            }
        }
    }

    fn draw_image(&mut self, _: Image<'_, '_>, _: ImageDrawProps<'_>) {
        self.images += 1;
    }

    fn pop_clip(&mut self) {}

    fn pop_transparency_group(&mut self) {}
}

impl Text {
    /// Adds the text of a glyph at its place.
    fn add(&mut self, text: &str, origin: Point, right: Vec2, size: f64, width: f64) {
        if self.bytes > MAX_TEXT_BYTES {
            return;
        }
        self.bytes += text.len() + 1;
        let along = right / right.hypot();
        let start = origin.to_vec2().dot(along);
        let across = origin.to_vec2().cross(along);
        let end = start + width;
        let blank = text.chars().all(|c| c.is_whitespace() || c == '\0');
        if let Some(line) = self.lines.last_mut()
            && line.along.dot(along) > 0.99
            && (line.across - across).abs() < 0.4 * line.size.max(size)
            && let Some(cell) = line.cells.last_mut()
            && start > cell.end - 0.5 * line.size
        {
            let gap = start - cell.end;
            if blank {
                if !cell.text.ends_with(' ') {
                    cell.text.push(' ');
                }
                cell.end = cell.end.max(end);
            } else if gap > 1.5 * size {
                line.cells.push(Cell { start, end, text: text.to_owned() });
            } else {
                if gap > 0.2 * size && !cell.text.ends_with(' ') {
                    cell.text.push(' ');
                }
                cell.text.push_str(text);
                cell.end = cell.end.max(end);
            }
            line.size = line.size.max(size);
        } else if !blank {
            let cells = vec![Cell { start, end, text: text.to_owned() }];
            self.lines.push(Line { along, across, size, cells });
        }
    }

    fn page(mut self) -> Page {
        // Some pages place each cell by itself: what stands on one line belongs together.
        let mut lines: Vec<Line> = Vec::new();
        for mut line in std::mem::take(&mut self.lines) {
            match lines.last_mut() {
                Some(last)
                    if last.along.dot(line.along) > 0.99
                        && (last.across - line.across).abs() < 0.4 * last.size.max(line.size)
                        && last.cells.last().map(|cell| cell.end)
                            <= line.cells.first().map(|cell| cell.start) =>
                {
                    last.cells.append(&mut line.cells);
                }
                _ => lines.push(line),
            }
        }
        let mut text = String::new();
        let mut before: Option<&Line> = None;
        for line in &lines {
            if let Some(before) = before {
                text.push('\n');
                let distance = (line.across - before.across).abs();
                if distance > 1.8 * before.size.max(line.size) {
                    text.push('\n');
                }
            }
            for (index, cell) in line.cells.iter().enumerate() {
                if index > 0 {
                    text.push('\t');
                }
                text.push_str(cell.text.trim());
            }
            before = Some(line);
        }
        let cut = self.bytes > MAX_TEXT_BYTES;
        Page { text, tables: tables(&lines), images: self.images, cut, ..Page::default() }
    }
}

/// Tables: lines that follow one another with as many cells, each below the one above.
fn tables(lines: &[Line]) -> Vec<Vec<Vec<String>>> {
    let below = |above: &Line, line: &Line| {
        above.cells.len() == line.cells.len()
            && above.along.dot(line.along) > 0.99
            && (above.across - line.across).abs() < 4.0 * above.size.max(line.size)
            && above
                .cells
                .iter()
                .zip(&line.cells)
                .all(|(above, cell)| above.start <= cell.end && cell.start <= above.end)
    };
    let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
    let mut start = 0;
    for end in 1..=lines.len() {
        if lines.get(end).is_some_and(|line| below(&lines[end - 1], line)) {
            continue;
        }
        let rows = &lines[start..end];
        if rows.len() >= MIN_ROWS && rows[0].cells.len() > 1 {
            let row = |line: &Line| {
                line.cells.iter().map(|cell| cell.text.trim().to_owned()).collect::<Vec<_>>()
            };
            tables.push(rows.iter().map(row).collect());
        }
        start = end;
    }
    tables
}
