//! SVG in the making, and how wide texts are.

use std::fmt::Write as _;

use quick_xml::escape::escape;
use skrifa::MetadataProvider as _;
use skrifa::instance::{LocationRef, Size};

/// The font of all texts.
pub(crate) const FONT: &[u8] = include_bytes!("../font/Roboto-Regular.ttf");

/// Points of one path at most.
const MAX_PATH: usize = 500;

/// Where a text stands relative to its place.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text to write.
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) x: f64,
    /// Of its base line.
    pub(crate) y: f64,
    /// In pixels.
    pub(crate) size: f64,
    pub(crate) anchor: Anchor,
    /// In degrees, clockwise.
    pub(crate) turn: f64,
}

/// A drawing.
pub(crate) struct Drawing(String);

impl Drawing {
    pub(crate) fn new(width: u32, height: u32, title: Option<&str>) -> Drawing {
        let mut drawing = Drawing(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"Roboto, Helvetica, Arial, sans-serif\" \
             fill=\"#222\" role=\"img\">\n"
        ));
        if let Some(title) = title {
            drawing.push(format_args!("<title>{}</title>\n", clean(title)));
        }
        drawing.push(format_args!("<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"));
        drawing
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str) {
        let (x1, y1, x2, y2) = (Px(from.0), Px(from.1), Px(to.0), Px(to.1));
        self.push(format_args!(
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{color}\"/>\n"
        ));
    }

    /// A line through these points, broken where there is none. A long one is several paths: one
    /// of many thousand points takes the more time to fill the longer it is.
    pub(crate) fn path(&mut self, points: impl Iterator<Item = Option<(f64, f64)>>, color: &str) {
        let mut last = None;
        let (mut length, mut open) = (MAX_PATH, false);
        for point in points {
            if let Some((x, y)) = point {
                if length >= MAX_PATH {
                    if open {
                        self.push(format_args!("\"/>\n"));
                    }
                    self.push(format_args!(
                        "<path fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" \
                         stroke-linejoin=\"round\" stroke-linecap=\"round\" d=\""
                    ));
                    if let Some((x, y)) = last {
                        self.push(format_args!("M{} {}", Px(x), Px(y)));
                    }
                    (length, open) = (0, true);
                }
                let to = if last.is_some() { 'L' } else { 'M' };
                self.push(format_args!("{to}{} {}", Px(x), Px(y)));
                length += 1;
            }
            last = point;
        }
        if open {
            self.push(format_args!("\"/>\n"));
        }
    }

    /// A shape by its path data, which is ours.
    pub(crate) fn shape(&mut self, data: &str, color: &str) {
        self.push(format_args!("<path fill=\"{color}\" stroke=\"#fff\" d=\"{data}\"/>\n"));
    }

    pub(crate) fn rect(&mut self, at: (f64, f64), size: (f64, f64), color: &str, opacity: f64) {
        let (x, y, width, height) = (Px(at.0), Px(at.1), Px(size.0), Px(size.1));
        self.push(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{color}\""
        ));
        if opacity < 1.0 {
            self.push(format_args!(" fill-opacity=\"{opacity}\""));
        }
        self.push(format_args!("/>\n"));
    }

    pub(crate) fn circle(&mut self, at: (f64, f64), radius: f64, color: &str, opacity: f64) {
        let (x, y, r) = (Px(at.0), Px(at.1), Px(radius));
        self.push(format_args!(
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" fill=\"{color}\" fill-opacity=\"{opacity}\"/>\n"
        ));
    }

    pub(crate) fn text(&mut self, text: &Text<'_>) {
        let (x, y) = (Px(text.x), Px(text.y));
        let anchor = match text.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.push(format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" text-anchor=\"{anchor}\"",
            text.size
        ));
        if text.turn != 0.0 {
            self.push(format_args!(" transform=\"rotate({} {x} {y})\"", Px(text.turn)));
        }
        self.push(format_args!(">{}</text>\n", clean(text.text)));
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a text does not fail.
        let _ = self.0.write_fmt(text);
    }
}

/// A place in hundredths of a pixel, without noughts at the end.
struct Px(f64);

impl std::fmt::Display for Px {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Adding nothing makes nothing of what is nearly nothing below it.
        write!(f, "{}", (self.0 * 100.0).round() / 100.0 + 0.0)
    }
}

/// A text from outside, in which nothing is markup and every character is one of XML.
fn clean(text: &str) -> String {
    let allowed = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    let text: String = text.chars().map(|c| if allowed(c) { c } else { ' ' }).collect();
    escape(text.as_str()).into_owned()
}

/// The width of a text in pixels.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let Ok(font) = skrifa::FontRef::new(FONT) else { return text.len() as f64 * size * 0.6 };
    let metrics = font.glyph_metrics(Size::new(size as f32), LocationRef::default());
    let map = font.charmap();
    let widths = text.chars().map(|c| {
        let glyph = map.map(c);
        // What the font lacks is as wide as it is high in most scripts it lacks.
        glyph.and_then(|glyph| metrics.advance_width(glyph)).map_or(size, f64::from)
    });
    widths.sum()
}

/// The text, cut to a width.
pub(crate) fn fitted(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let mut fitted = String::new();
    let room = most - width("…", size);
    let mut used = 0.0;
    for c in text.chars() {
        used += width(c.encode_utf8(&mut [0; 4]), size);
        if used > room {
            break;
        }
        fitted.push(c);
    }
    fitted.push('…');
    fitted
}
