//! Charts as SVG and PNG.
//!
//! The seed systems have `matplotlib_chart` and `visualize`: a chart of columns of a table, here
//! without their code. Plotters, the first crate tried, draws no text on this target; the layout
//! is therefore this plugin's own and writes SVG, and the crate `resvg` turns that into PNG with
//! the font that is in the plugin (Roboto: Latin, Greek, Cyrillic; other scripts show in the SVG
//! wherever it is viewed, and as boxes in the PNG).
//!
//! Every text from outside is escaped; the SVG holds no script, no link and nothing that is loaded.
//!
//! Suite: `tests/cases.json`, our own.

mod axis;
mod data;
mod drawing;
mod pie;
mod png;
mod xy;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs};

use data::Table;

/// Colours told apart by most people who see few (after Okabe and Ito).
const PALETTE: [&str; 10] = [
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#882255", "#999933",
    "#44aa99", "#555555",
];

/// What to draw.
#[data]
struct Charting {
    /// The kind of chart.
    kind: Kind,
    /// The rows: objects by column name, as the tools that read tables answer them.
    #[schemars(length(min = 1, max = 50_000))]
    data: Vec<Map<String, Value>>,
    /// The column along the x axis, or of the names of the slices: numbers, or labels in the order
    /// they come. Default: the number of the row; a scatter chart needs it. A histogram has none.
    #[schemars(length(min = 1, max = 200))]
    x: Option<String>,
    /// The columns of the values; a pie has one. Default: all other columns that hold numbers.
    #[schemars(length(min = 1, max = 20))]
    y: Option<Vec<String>>,
    /// Title.
    #[schemars(length(max = 200))]
    title: Option<String>,
    /// What stands below the x axis. Default: the column's name.
    #[schemars(length(max = 200))]
    x_label: Option<String>,
    /// What stands beside the y axis. Default: the column's name, where there is one.
    #[schemars(length(max = 200))]
    y_label: Option<String>,
    /// Width in pixels.
    #[serde(default = "width")]
    #[schemars(range(min = 200, max = 4000))]
    width: u32,
    /// Height in pixels.
    #[serde(default = "height")]
    #[schemars(range(min = 150, max = 4000))]
    height: u32,
    /// Put the bars of several columns on top of one another.
    #[serde(default)]
    stacked: bool,
    /// Begin the y axis at zero. Bars always do.
    #[serde(default)]
    from_zero: bool,
    /// Bars of a histogram. Default: by Sturges' rule.
    #[schemars(range(min = 1, max = 200))]
    bins: Option<u32>,
    /// Colours of the columns or slices, as `#rrggbb`, used in turn.
    #[schemars(length(min = 1, max = 100), inner(regex(pattern = "^#[0-9A-Fa-f]{6}$")))]
    colors: Option<Vec<String>>,
    /// Make a PNG beside the SVG.
    #[serde(default = "yes")]
    png: bool,
}

/// Kinds of charts.
#[data]
#[derive(Copy, PartialEq)]
enum Kind {
    Line,
    Bar,
    Scatter,
    Pie,
    Histogram,
}

fn width() -> u32 {
    800
}

fn height() -> u32 {
    500
}

fn yes() -> bool {
    true
}

/// A chart.
#[data]
struct Drawn {
    /// The SVG, a blob.
    svg: BlobRef,
    /// The PNG, a blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    png: Option<BlobRef>,
    /// Values that were drawn.
    values: usize,
    /// Values that were left out, because they are no numbers.
    left_out: usize,
}

/// Draw a line, bar, scatter or pie chart or a histogram of columns of a table, as SVG and PNG.
///
/// `data` is an array of objects; `x` names one column and `y` the columns of values. Numbers that
/// are texts count as numbers; what is neither is left out. For 50,000 values, 2,000 bars or 50
/// slices at most: aggregate before. Answers blobs, which are also shown as blocks.
#[tool]
fn chart(charting: Charting) -> Result<Output<Drawn>> {
    let table = Table::new(&charting)?;
    let svg = match charting.kind {
        Kind::Pie => pie::draw(&charting, &table)?,
        Kind::Histogram => xy::histogram(&charting, &table)?,
        Kind::Line | Kind::Bar | Kind::Scatter => xy::draw(&charting, &table)?,
    };
    let alt = charting.title.clone().unwrap_or_else(|| "chart".into());
    let svg_blob = blobs::store("image/svg+xml", svg.as_bytes())?;
    let mut block = Block::blob("svg", "image/svg+xml", svg_blob.clone());
    block.meta = Some(json!({ "alt": alt }));
    let png = match charting.png {
        true => Some(blobs::store("image/png", &png::render(&svg)?)?),
        false => None,
    };
    let drawn =
        Drawn { svg: svg_blob, png: png.clone(), values: table.values, left_out: table.left_out };
    let mut output = Output::new(drawn).with_block(block);
    if let Some(png) = png {
        let mut block = Block::blob("image", "image/png", png);
        block.meta = Some(json!({ "alt": alt }));
        output = output.with_block(block);
    }
    Ok(output)
}

impl Charting {
    fn color(&self, at: usize) -> &str {
        match &self.colors {
            Some(colors) if !colors.is_empty() => &colors[at % colors.len()],
            _ => PALETTE[at % PALETTE.len()],
        }
    }
}

export!(chart);
