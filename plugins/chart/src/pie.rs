//! Pie charts.

use std::f64::consts::TAU;

use ampoule_sdk::prelude::*;

use crate::Charting;
use crate::data::{Along, Table};
use crate::drawing::{Anchor, Drawing, Text, fitted};

/// Slices at most.
const MAX_SLICES: usize = 50;

/// Height of a line of the legend.
const LINE: f64 = 20.0;

pub(crate) fn draw(charting: &Charting, table: &Table) -> Result<String> {
    let labels = match &table.along {
        Along::Labels(labels) => labels.clone(),
        Along::Numbers(numbers) => {
            numbers.iter().map(|n| n.map(|n| n.to_string()).unwrap_or_default()).collect()
        }
    };
    let values = table.series.iter().flat_map(|series| &series.values);
    let slices: Vec<(String, f64)> = labels
        .into_iter()
        .zip(values)
        .filter_map(|(label, value)| Some((label, (*value)?)))
        .collect();
    if let Some((label, value)) = slices.iter().find(|(_, value)| *value < 0.0) {
        return Err(Error::bad_arguments(format!(
            "the slice {label:?} is {value}: a pie has no negative values; draw bars"
        )));
    }
    if slices.len() > MAX_SLICES {
        return Err(Error::too_large(format!(
            "there are {} slices; a pie has {MAX_SLICES} at most: put the small ones together, or \
             draw bars",
            slices.len()
        )));
    }
    let sum: f64 = slices.iter().map(|(_, value)| value).sum();
    if sum <= 0.0 || !sum.is_finite() {
        return Err(Error::bad_arguments("the values of a pie must have a sum above 0"));
    }

    let (width, height) = (f64::from(charting.width), f64::from(charting.height));
    let title = charting.title.as_deref();
    let mut drawing = Drawing::new(charting.width, charting.height, title);
    let top = match title {
        Some(title) => {
            let text = fitted(title, 18.0, width - 20.0);
            let (x, y, size) = (width / 2.0, 28.0, 18.0);
            drawing.text(&Text { text: &text, x, y, size, anchor: Anchor::Middle, turn: 0.0 });
            44.0
        }
        None => 14.0,
    };
    let room = height - top - 14.0;
    let radius = (room / 2.0).min(width * 0.28);
    let center = (width * 0.32, top + room / 2.0);
    let on = |turn: f64, radius: f64| {
        let angle = turn * TAU - TAU / 4.0;
        (center.0 + radius * angle.cos(), center.1 + radius * angle.sin())
    };
    let mut start = 0.0;
    let left = center.0 + radius + 30.0;
    // As many lines of the legend as there is room for.
    let lines = ((room / LINE) as usize).max(1);
    for (at, (label, value)) in slices.iter().enumerate() {
        let (color, share) = (charting.color(at), value / sum);
        let end = start + share;
        if share > 0.999_99 {
            drawing.circle(center, radius, color, 1.0);
        } else if share > 0.0 {
            let ((x1, y1), (x2, y2)) = (on(start, radius), on(end, radius));
            let large = u8::from(share > 0.5);
            drawing.shape(
                &format!(
                    "M{:.2} {:.2}L{x1:.2} {y1:.2}A{radius:.2} {radius:.2} 0 {large} 1 {x2:.2} \
                     {y2:.2}Z",
                    center.0, center.1
                ),
                color,
            );
        }
        start = end;
        let y = top + LINE * at as f64 + 6.0;
        let (text, mark) = if at + 1 == lines && slices.len() > lines {
            (format!("… and {} more", slices.len() - at), false)
        } else {
            (format!("{label} ({:.1}%)", share * 100.0), at < lines)
        };
        if at < lines {
            if mark {
                drawing.rect((left, y), (12.0, 12.0), color, 1.0);
            }
            let text = fitted(&text, 13.0, width - left - 30.0);
            let (x, y, size) = (left + 20.0, y + 11.0, 13.0);
            drawing.text(&Text { text: &text, x, y, size, anchor: Anchor::Start, turn: 0.0 });
        }
    }
    Ok(drawing.finish())
}
