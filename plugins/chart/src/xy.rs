//! Charts with two axes: lines, points, bars and histograms.

use ampoule_sdk::prelude::*;

use crate::axis::Axis;
use crate::data::{Along, Series, Table};
use crate::drawing::{Anchor, Drawing, Text, fitted, width};
use crate::{Charting, Kind};

/// Bars at most.
const MAX_BARS: usize = 2000;

/// Points that are marked on a line.
const MAX_MARKS: usize = 60;

/// Size of the texts at the axes and in the legend.
const SMALL: f64 = 12.0;

/// What is along the x axis of a frame.
enum Below {
    /// A number, or nothing beside it.
    Numbers(Axis),
    /// Labels, each with a place of its own.
    Labels(Vec<String>),
}

impl Below {
    /// The middle of a label's place, or where a number is, from 0 to 1.
    fn place(&self, at: usize, number: Option<f64>) -> Option<f64> {
        match self {
            Below::Labels(labels) => Some((at as f64 + 0.5) / labels.len() as f64),
            Below::Numbers(axis) => number.map(|number| axis.at(number)),
        }
    }
}

/// Lines, points or bars.
pub(crate) fn draw(charting: &Charting, table: &Table) -> Result<String> {
    let bars = charting.kind == Kind::Bar;
    if bars && table.values > MAX_BARS {
        return Err(Error::too_large(format!(
            "there are {} bars; {MAX_BARS} can be drawn: aggregate, or draw a line",
            table.values
        )));
    }
    if charting.stacked && !bars {
        return Err(Error::bad_arguments("`stacked` is for bars"));
    }
    let below = match &table.along {
        Along::Labels(labels) => Below::Labels(labels.clone()),
        Along::Numbers(numbers) => {
            let marks = marks(f64::from(charting.width), 90.0);
            Below::Numbers(Axis::new(numbers.iter().flatten().copied(), false, marks))
        }
    };
    let numbers = |at: usize| match &table.along {
        Along::Numbers(numbers) => numbers.get(at).copied().flatten(),
        Along::Labels(_) => None,
    };
    let stacks = charting.stacked.then(|| stacks(&table.series));
    let values: Box<dyn Iterator<Item = f64>> = match &stacks {
        Some(stacks) => Box::new(stacks.iter().flatten().flatten().flat_map(|(a, b)| [*a, *b])),
        None => Box::new(table.series.iter().flat_map(|series| &series.values).flatten().copied()),
    };
    let marks = marks(f64::from(charting.height), 55.0);
    let values = Axis::new(values, bars || charting.from_zero, marks);
    let names: Vec<&str> = table.series.iter().map(|series| series.name.as_str()).collect();
    let mut frame = Frame::new(charting, &names, &values, &below, names.first().copied());

    for (series_at, series) in table.series.iter().enumerate() {
        let color = charting.color(series_at);
        let points = series.values.iter().enumerate().map(|(at, value)| {
            let x = below.place(at, numbers(at))?;
            Some(frame.point(x, values.at((*value)?)))
        });
        match charting.kind {
            Kind::Scatter => {
                let points: Vec<_> = points.flatten().collect();
                let opacity = if points.len() > 500 { 0.5 } else { 0.8 };
                points.iter().for_each(|at| frame.drawing.circle(*at, 4.0, color, opacity));
            }
            Kind::Line => {
                let points: Vec<_> = points.collect();
                frame.drawing.path(points.iter().copied(), color);
                // A point without neighbours is no line: it shows by its mark alone.
                let marked = points.len() <= MAX_MARKS;
                for (at, point) in points.iter().enumerate() {
                    let alone = at.checked_sub(1).is_none_or(|before| points[before].is_none())
                        && points.get(at + 1).is_none_or(Option::is_none);
                    if let Some(point) = point
                        && (marked || alone)
                    {
                        frame.drawing.circle(*point, 3.0, color, 1.0);
                    }
                }
            }
            _ => {
                let places = series.values.len().max(1) as f64;
                let group = frame.size.0 / places * 0.8;
                let several = if stacks.is_some() { 1.0 } else { names.len() as f64 };
                let bar = group / several;
                for (at, value) in series.values.iter().enumerate() {
                    let Some(value) = value else { continue };
                    let part = stacks.as_ref().and_then(|stacks| stacks[series_at][at]);
                    let (from, to) = part.unwrap_or((0.0, *value));
                    let (left, y1) = frame.point((at as f64 + 0.5) / places, values.at(from));
                    let (_, y2) = frame.point(0.0, values.at(to));
                    let shift = if stacks.is_some() { 0.0 } else { bar * series_at as f64 };
                    let corner = (left - group / 2.0 + shift, y1.min(y2));
                    frame.drawing.rect(corner, (bar, (y1 - y2).abs()), color, 1.0);
                }
            }
        }
    }
    Ok(frame.finish(&values))
}

/// From where to where each value's bar goes: on top of those of the same sign before it.
fn stacks(series: &[Series]) -> Vec<Vec<Option<(f64, f64)>>> {
    let rows = series.first().map_or(0, |series| series.values.len());
    let mut ends = vec![(0.0, 0.0); rows];
    let stack = |series: &Series| {
        let values = series.values.iter().zip(&mut ends).map(|(value, (up, down))| {
            let value = (*value)?;
            let end = if value < 0.0 { down } else { up };
            let from = *end;
            *end += value;
            Some((from, *end))
        });
        values.collect()
    };
    series.iter().map(stack).collect()
}

/// How often values fall into each part of their range.
pub(crate) fn histogram(charting: &Charting, table: &Table) -> Result<String> {
    let all = || table.series.iter().flat_map(|series| &series.values).flatten().copied();
    let most = table.series.iter().map(|series| series.values.iter().flatten().count()).max();
    let bins = match charting.bins {
        Some(bins) => bins as usize,
        None => (most.unwrap_or(1).max(1) as f64).log2().ceil() as usize + 1,
    };
    let (mut low, mut high) =
        all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), n| (low.min(n), high.max(n)));
    if high - low <= low.abs().max(high.abs()) * 1e-12 {
        let room = if low.abs() > 1e-280 { low.abs() * 0.1 } else { 0.5 };
        (low, high) = (low - room, high + room);
    }
    let counts = table.series.iter().map(|series| {
        let mut counts = vec![0_u32; bins];
        for value in series.values.iter().flatten() {
            // The greatest belongs to the last.
            let bin = ((value - low) / (high - low) * bins as f64) as usize;
            counts[bin.min(bins - 1)] += 1;
        }
        counts
    });
    let counts: Vec<Vec<u32>> = counts.collect();
    let below = Below::Numbers(Axis::exact(low, high, marks(f64::from(charting.width), 90.0)));
    let marks = marks(f64::from(charting.height), 55.0);
    let values = Axis::new(counts.iter().flatten().map(|n| f64::from(*n)), true, marks);
    let names: Vec<&str> = table.series.iter().map(|series| series.name.as_str()).collect();
    let mut frame = Frame::new(charting, &names, &values, &below, Some("count"));
    let opacity = if counts.len() > 1 { 0.6 } else { 1.0 };
    for (series, counts) in counts.iter().enumerate() {
        for (at, count) in counts.iter().enumerate() {
            let (left, top) = frame.point(at as f64 / bins as f64, values.at(f64::from(*count)));
            let (right, bottom) = frame.point((at + 1) as f64 / bins as f64, values.at(0.0));
            let size = ((right - left - 1.0).max(0.5), bottom - top);
            frame.drawing.rect((left, top), size, charting.color(series), opacity);
        }
    }
    Ok(frame.finish(&values))
}

/// Marks along an axis of this length, this far apart.
fn marks(length: f64, apart: f64) -> usize {
    ((length / apart) as usize).clamp(2, 12)
}

/// The drawing with its axes, and where the values go.
struct Frame {
    drawing: Drawing,
    /// The upper left corner of where the values go, and its size.
    corner: (f64, f64),
    size: (f64, f64),
}

impl Frame {
    fn new(
        charting: &Charting,
        names: &[&str],
        values: &Axis,
        below: &Below,
        y_name: Option<&str>,
    ) -> Frame {
        let (full_width, full_height) = (f64::from(charting.width), f64::from(charting.height));
        let mut drawing = Drawing::new(charting.width, charting.height, charting.title.as_deref());
        let y_name = y_name.filter(|_| names.len() == 1 || charting.kind == Kind::Histogram);
        let y_label = charting.y_label.as_deref().or(y_name).filter(|label| !label.is_empty());
        let x_name = match charting.kind {
            Kind::Histogram if names.len() == 1 => names.first().copied(),
            _ => charting.x.as_deref(),
        };
        let x_label = charting.x_label.as_deref().or(x_name).filter(|label| !label.is_empty());

        let mut top = 16.0;
        if let Some(title) = &charting.title {
            let text = fitted(title, 18.0, full_width - 20.0);
            let (x, y, size) = (full_width / 2.0, 28.0, 18.0);
            drawing.text(&Text { text: &text, x, y, size, anchor: Anchor::Middle, turn: 0.0 });
            top = 42.0;
        }
        if names.len() > 1 {
            top = legend(&mut drawing, charting, names, top, full_width);
        }

        let ticks = values.ticks();
        let widest = ticks.iter().map(|(_, text)| width(text, SMALL)).fold(0.0, f64::max);
        let left =
            (widest + 16.0 + if y_label.is_some() { 22.0 } else { 4.0 }).min(full_width * 0.4);
        // Half of the last mark's text stands beyond the axis.
        let right = match below {
            Below::Numbers(axis) => {
                axis.ticks().last().map_or(0.0, |(_, text)| width(text, SMALL)) / 2.0 + 8.0
            }
            Below::Labels(_) => 0.0,
        };
        let right = right.max(20.0);
        let wide = full_width - left - right;
        let written = Written::new(below, left, wide);
        let bottom = written.height + if x_label.is_some() { 26.0 } else { 8.0 };
        let high = (full_height - top - bottom).max(40.0);
        let mut frame = Frame { drawing, corner: (left, top), size: (wide, high) };

        for (tick, text) in &ticks {
            let (x, y) = frame.point(0.0, values.at(*tick));
            frame.drawing.line((x, y), (x + wide, y), "#e3e3e3");
            let (x, y, size) = (x - 8.0, y + 4.0, SMALL);
            frame.drawing.text(&Text { text, x, y, size, anchor: Anchor::End, turn: 0.0 });
        }
        for (place, text) in &written.texts {
            let (x, y) = frame.point(*place, 0.0);
            frame.drawing.line((x, y), (x, y + 4.0), "#888");
            let (anchor, x, y) = match written.turn {
                0.0 => (Anchor::Middle, x, y + 18.0),
                _ => (Anchor::End, x + 4.0, y + 14.0),
            };
            frame.drawing.text(&Text { text, x, y, size: SMALL, anchor, turn: written.turn });
        }
        if let Some(label) = x_label {
            let text = fitted(label, 13.0, wide);
            let (x, y, size) = (left + wide / 2.0, full_height - 8.0, 13.0);
            frame.drawing.text(&Text {
                text: &text,
                x,
                y,
                size,
                anchor: Anchor::Middle,
                turn: 0.0,
            });
        }
        if let Some(label) = y_label {
            let text = fitted(label, 13.0, high);
            let (x, y, size) = (18.0, top + high / 2.0, 13.0);
            let (anchor, turn) = (Anchor::Middle, -90.0);
            frame.drawing.text(&Text { text: &text, x, y, size, anchor, turn });
        }
        frame
    }

    /// A place from 0 to 1 both ways, from the lower left corner, in pixels.
    fn point(&self, x: f64, y: f64) -> (f64, f64) {
        (self.corner.0 + x * self.size.0, self.corner.1 + (1.0 - y) * self.size.1)
    }

    /// The axes come last, above the bars.
    fn finish(mut self, values: &Axis) -> String {
        let zero = values.at(0.0).clamp(0.0, 1.0);
        let (start, end) = (self.point(0.0, zero), self.point(1.0, zero));
        self.drawing.line(start, end, "#888");
        let (start, end) = (self.point(0.0, 0.0), self.point(0.0, 1.0));
        self.drawing.line(start, end, "#888");
        self.drawing.finish()
    }
}

/// The names of the columns beside their colours, in as many lines as they need. Answers where it
/// ends.
fn legend(drawing: &mut Drawing, charting: &Charting, names: &[&str], top: f64, wide: f64) -> f64 {
    let (mut x, mut y) = (16.0, top);
    for (at, name) in names.iter().enumerate() {
        let text = fitted(name, SMALL, (wide - 60.0).min(240.0));
        let needed = width(&text, SMALL) + 36.0;
        if x > 16.0 && x + needed > wide {
            (x, y) = (16.0, y + 20.0);
        }
        drawing.rect((x, y), (12.0, 12.0), charting.color(at), 1.0);
        let place = (x + 18.0, y + 10.5);
        let text = Text {
            text: &text,
            x: place.0,
            y: place.1,
            size: SMALL,
            anchor: Anchor::Start,
            turn: 0.0,
        };
        drawing.text(&text);
        x += needed;
    }
    y + 26.0
}

/// What is written below the x axis.
struct Written {
    /// Places from 0 to 1, and texts.
    texts: Vec<(f64, String)>,
    /// Degrees.
    turn: f64,
    height: f64,
}

impl Written {
    /// Level where there is room; else turned; and of many, some.
    fn new(below: &Below, left: f64, wide: f64) -> Written {
        let labels = match below {
            Below::Numbers(axis) => {
                let texts = axis.ticks().into_iter().map(|(tick, text)| (axis.at(tick), text));
                return Written { texts: texts.collect(), turn: 0.0, height: 26.0 };
            }
            Below::Labels(labels) => labels,
        };
        let slot = wide / labels.len().max(1) as f64;
        let widest = labels.iter().map(|label| width(label, SMALL)).fold(0.0, f64::max);
        let level = widest + 8.0 <= slot;
        let (every, turn, most) = match level {
            true => (1, 0.0, slot),
            // The first must not begin left of the drawing: 0.77 is the cosine of 40 degrees.
            false => {
                let most = ((left + slot / 2.0) / 0.77).clamp(30.0, 110.0);
                ((18.0 / slot).ceil().max(1.0) as usize, -40.0, most)
            }
        };
        let texts: Vec<(f64, String)> = (0..labels.len())
            .step_by(every)
            .filter_map(|at| Some((below.place(at, None)?, fitted(&labels[at], SMALL, most))))
            .collect();
        let height = match level {
            true => 26.0,
            // The height of a text that is turned by 40 degrees.
            false => widest.min(most) * 0.65 + 24.0,
        };
        Written { texts, turn, height }
    }
}
