//! Statistics of each column of a table.
//!
//! Parity with the `describe()` of pandas, which the seed systems call: count, mean, standard
//! deviation of a sample, least, quantiles with linear interpolation, greatest; distinct and most
//! frequent values. Deliberate differences: all columns are described in one answer, whatever their
//! types; texts have their lengths; what is missing is counted; numbers with leading zeros and
//! integers beyond 2^53 are text, so that codes and ids are not averaged.
//!
//! Suites: `tests/reference.json` compares with Python's module `statistics`, which computes
//! exactly, and with certified values of NIST's datasets NumAcc1 and Michelso; `tests/cases.json`
//! is our own.

mod column;
mod table;

use ampoule_sdk::from_cursor;
use ampoule_sdk::prelude::*;

use column::Column;
use table::Table;

/// Columns in one answer where the caller names no number.
const DEFAULT_LIMIT: u32 = 100;

/// What to describe.
#[data]
struct Describing {
    /// An array of objects by column name, or CSV (its first row holds the names).
    data: Data,
    /// Columns to describe, in this order. Default: all.
    #[schemars(length(min = 1, max = 100_000))]
    columns: Option<Vec<String>>,
    /// Quantiles to tell, from 0 to 1. Default: the quartiles, 0.25, 0.5 and 0.75.
    #[serde(default = "quartiles")]
    #[schemars(length(max = 100), inner(range(min = 0, max = 1)))]
    quantiles: Vec<f64>,
    /// How many of the most frequent values to tell for each column.
    #[serde(default = "five")]
    #[schemars(range(max = 1000))]
    top: u32,
    /// Texts that mean a value is missing, beside null. Default: the empty text.
    #[serde(default = "empty")]
    #[schemars(length(max = 100))]
    missing: Vec<String>,
    /// For CSV: the character between cells. Default: guessed among `,`, `;`, tab and `|`.
    #[schemars(length(min = 1, max = 1))]
    delimiter: Option<String>,
    /// Columns in one answer at most.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// The `next` of an earlier answer, to go on after it.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

/// A table.
#[data]
#[serde(untagged)]
enum Data {
    /// Objects by column name.
    Rows(Vec<Map<String, Value>>),
    /// CSV.
    Csv(Content),
}

fn quartiles() -> Vec<f64> {
    vec![0.25, 0.5, 0.75]
}

fn five() -> u32 {
    5
}

fn empty() -> Vec<String> {
    vec![String::new()]
}

fn limit() -> u32 {
    DEFAULT_LIMIT
}

/// What a table holds.
#[data]
struct Described {
    /// Rows.
    rows: usize,
    /// Columns in all.
    columns_total: usize,
    /// Rows of a CSV that have more or fewer cells than there are columns: what lacks is missing,
    /// what is too much does not count.
    uneven_rows: usize,
    /// The columns of this part.
    columns: Vec<column::Stats>,
}

/// Describe a table: for each column its type, missing and distinct values, least and greatest,
/// mean, standard deviation, quantiles and the most frequent values.
///
/// For a first look at data, before a query or a chart. Takes an array of objects or CSV. The
/// standard deviation is that of a sample, quantiles are interpolated. Go on with `cursor` where
/// there are more than `limit` columns.
#[tool]
fn table_stats(describing: Describing) -> Result<Output<Described>> {
    let Describing { data, columns, quantiles, top, missing, delimiter, limit, cursor } =
        describing;
    let offset: usize = from_cursor(cursor.as_deref())?.unwrap_or(0);
    let table = match data {
        Data::Rows(_) if delimiter.is_some() => {
            return Err(Error::bad_arguments("`delimiter` is for CSV; `data` is an array"));
        }
        Data::Rows(rows) => Table::Rows(rows),
        Data::Csv(csv) => Table::csv(csv, delimiter.as_deref())?,
    };
    let known = table.names()?;
    let chosen = match columns {
        None => known,
        Some(chosen) => {
            let unknown = chosen.iter().find(|name| !known.contains(name));
            if let Some(unknown) = unknown {
                let known: Vec<&str> = known.iter().take(50).map(String::as_str).collect();
                return Err(Error::bad_arguments(format!(
                    "there is no column {unknown:?}; there are {}",
                    known.join(", ")
                )));
            }
            chosen
        }
    };
    let columns_total = chosen.len();
    let part: Vec<String> = chosen.into_iter().skip(offset).take(limit as usize).collect();
    let end = offset.saturating_add(part.len());
    let mut columns: Vec<Column> = part.into_iter().map(Column::new).collect();
    let (rows, uneven_rows) = table.fill(&mut columns, &missing)?;
    let columns = columns.into_iter().map(|column| column.stats(&quantiles, top as usize));
    let described = Described { rows, columns_total, uneven_rows, columns: columns.collect() };
    let next = (end < columns_total).then(|| end.to_string());
    Ok(Output::new(described).with_truncated(next.is_some()).with_next(next))
}

export!(table_stats);
