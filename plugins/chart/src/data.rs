//! The columns that are drawn.

use ampoule_sdk::prelude::*;

use crate::{Charting, Kind};

/// Values at most.
const MAX_VALUES: usize = 50_000;

/// Numbers beyond this either way are refused: sums and differences would overflow.
const MAX_NUMBER: f64 = 1e300;

/// Characters of a label that are kept.
const MAX_LABEL: usize = 100;

/// What is along the x axis.
pub(crate) enum Along {
    /// Numbers, one for each row; `None` where there is none.
    Numbers(Vec<Option<f64>>),
    /// Labels, one for each row.
    Labels(Vec<String>),
}

/// A column of values.
pub(crate) struct Series {
    pub(crate) name: String,
    /// One for each row; `None` where there is none.
    pub(crate) values: Vec<Option<f64>>,
}

/// The columns of a chart.
pub(crate) struct Table {
    pub(crate) along: Along,
    pub(crate) series: Vec<Series>,
    pub(crate) values: usize,
    pub(crate) left_out: usize,
}

impl Table {
    /// # Errors
    /// `bad-arguments` where a column is not there or holds no numbers; `too-large`.
    pub(crate) fn new(charting: &Charting) -> Result<Table> {
        let Charting { kind, data, x, .. } = charting;
        if *kind == Kind::Histogram && x.is_some() {
            return Err(Error::bad_arguments("a histogram has no `x`: name its columns in `y`"));
        }
        if *kind == Kind::Scatter && x.is_none() {
            return Err(Error::bad_arguments("a scatter chart needs `x`, a column of numbers"));
        }
        if let Some(x) = x
            && !data.iter().any(|row| row.contains_key(x))
        {
            return Err(unknown("x", x, data));
        }
        let names = match &charting.y {
            Some(names) => names.clone(),
            None => numeric(data, x.as_deref()),
        };
        if names.is_empty() {
            return Err(Error::bad_arguments("no column of `data` holds numbers beside `x`"));
        }
        if *kind == Kind::Pie && names.len() != 1 {
            return Err(Error::bad_arguments(format!(
                "a pie shows one column; name it in `y`: there are {}",
                names.join(", ")
            )));
        }
        if names.len().saturating_mul(data.len()) > MAX_VALUES {
            return Err(Error::too_large(format!(
                "there are more than {MAX_VALUES} values: aggregate them, or take fewer"
            )));
        }
        let mut table =
            Table { along: along(charting)?, series: Vec::new(), values: 0, left_out: 0 };
        for name in names {
            let mut values = Vec::with_capacity(data.len());
            for row in data {
                let number = row.get(&name).map_or(Ok(None), |value| number(value, &name))?;
                match number {
                    Some(_) => table.values += 1,
                    None => table.left_out += 1,
                }
                values.push(number);
            }
            if values.iter().all(Option::is_none) {
                return Err(if data.iter().any(|row| row.contains_key(&name)) {
                    Error::bad_arguments(format!("the column {name:?} of `y` holds no numbers"))
                } else {
                    unknown("y", &name, data)
                });
            }
            table.series.push(Series { name, values });
        }
        Ok(table)
    }
}

fn along(charting: &Charting) -> Result<Along> {
    let Charting { kind, data, x, .. } = charting;
    let Some(x) = x else {
        let numbers = (1..=data.len()).map(|number| number as f64);
        return Ok(match kind {
            Kind::Bar | Kind::Pie => Along::Labels(numbers.map(|n| n.to_string()).collect()),
            _ => Along::Numbers(numbers.map(Some).collect()),
        });
    };
    let cells = || data.iter().map(|row| row.get(x).unwrap_or(&Value::Null));
    let numbers = cells().map(|value| number(value, x)).collect::<Result<Vec<_>>>()?;
    let whole = cells().zip(&numbers).all(|(value, number)| value.is_null() || number.is_some());
    if *kind == Kind::Scatter || *kind == Kind::Line && whole {
        if numbers.iter().all(Option::is_none) {
            return Err(Error::bad_arguments(format!(
                "the column {x:?} of `x` holds no numbers, which a scatter chart needs"
            )));
        }
        return Ok(Along::Numbers(numbers));
    }
    let labels = cells().map(|value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().take(MAX_LABEL).collect(),
        other => other.to_string().chars().take(MAX_LABEL).collect(),
    });
    Ok(Along::Labels(labels.collect()))
}

/// A number, or a text that is one.
fn number(value: &Value, column: &str) -> Result<Option<f64>> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number.filter(|number| number.is_finite()) {
        Some(number) if number.abs() > MAX_NUMBER => Err(Error::bad_arguments(format!(
            "the column {column:?} holds {number:e}; numbers are drawn to 1e300 either way"
        ))),
        number => Ok(number),
    }
}

/// The columns but `x` whose first value that is there is a number.
fn numeric(data: &[Map<String, Value>], x: Option<&str>) -> Vec<String> {
    let mut names: Map<String, Value> = Map::new();
    for (name, value) in data.iter().take(1000).flatten() {
        if !value.is_null() && Some(name.as_str()) != x && !names.contains_key(name) {
            names.insert(name.clone(), value.is_number().into());
        }
    }
    names.into_iter().filter(|(_, number)| *number == true).map(|(name, _)| name).take(20).collect()
}

fn unknown(field: &str, name: &str, data: &[Map<String, Value>]) -> Error {
    let mut known: Vec<&str> =
        data.iter().take(100).flat_map(Map::keys).map(String::as_str).collect();
    known.sort_unstable();
    known.dedup();
    known.truncate(30);
    Error::bad_arguments(format!(
        "`{field}` names the column {name:?}, which no row has; there are {}",
        known.join(", ")
    ))
}
