//! What is found out about a column.

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use ampoule_sdk::shortened;
use shared_table::Cell;

/// Characters of a value that are shown.
const MAX_SHOWN: usize = 200;

/// The type of a column.
#[data]
#[derive(Copy, PartialEq)]
enum Type {
    /// Nothing but missing values.
    Empty,
    Boolean,
    /// Whole numbers to 2^53 either way.
    Integer,
    Number,
    Text,
    /// Arrays or objects.
    Json,
    /// Several of these.
    Mixed,
}

impl Type {
    fn with(self, other: Type) -> Type {
        match (self, other) {
            (Type::Empty, other) => other,
            (one, other) if one == other => one,
            (Type::Integer, Type::Number) | (Type::Number, Type::Integer) => Type::Number,
            _ => Type::Mixed,
        }
    }
}

/// Statistics of a column.
#[data]
pub(crate) struct Stats {
    /// Its name.
    name: String,
    /// Its type. In CSV, `boolean` is `true` and `false`, and what is not of one kind is text.
    #[serde(rename = "type")]
    kind: Type,
    /// Values that are there.
    count: usize,
    /// Values that are missing.
    missing: usize,
    /// Different values.
    distinct: usize,
    /// The least: a number, or the first text by code point, of 200 characters at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Value>,
    /// The greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Value>,
    /// The sum, of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<f64>,
    /// The mean, of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    /// The standard deviation of a sample, of two numbers at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    std: Option<f64>,
    /// Quantiles of numbers, interpolated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    quantiles: Vec<Quantile>,
    /// Characters of the shortest text.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_length: Option<usize>,
    /// Characters of the longest text.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<usize>,
    /// The most frequent values; of several as frequent, the least first.
    top: Vec<Frequent>,
}

/// A quantile.
#[data]
struct Quantile {
    /// Which, from 0 to 1.
    q: f64,
    /// The value that this part of the values does not exceed.
    value: f64,
}

/// A frequent value.
#[data]
struct Frequent {
    /// The value; a text of 200 characters at most.
    value: Value,
    /// How often it is there.
    count: usize,
}

/// A column in the making.
pub(crate) struct Column {
    name: String,
    /// The type of all values so far, and of CSV taken for text or not.
    kind: Type,
    from_text: bool,
    missing: usize,
    numbers: Vec<f64>,
    /// How often each value is there, by its text.
    values: BTreeMap<String, (usize, Type)>,
}

impl Column {
    pub(crate) fn new(name: String) -> Column {
        Column {
            name,
            kind: Type::Empty,
            from_text: false,
            missing: 0,
            numbers: Vec::new(),
            values: BTreeMap::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn add_missing(&mut self) {
        self.missing += 1;
    }

    /// A value of JSON.
    pub(crate) fn add(&mut self, value: &Value) {
        match value {
            Value::Bool(value) => self.count(&value.to_string(), Type::Boolean),
            Value::String(text) => self.count(text, Type::Text),
            Value::Number(number) => {
                let text = number.to_string();
                let kind = match Cell::of(&text) {
                    Cell::Integer(_) => Type::Integer,
                    _ => Type::Number,
                };
                self.numbers.extend(number.as_f64());
                self.count(&text, kind);
            }
            other => self.count(&other.to_string(), Type::Json),
        }
    }

    /// A cell of CSV, whose type is guessed.
    pub(crate) fn add_text(&mut self, text: &str) {
        self.from_text = true;
        let kind = match Cell::of(text) {
            Cell::Boolean(_) => Type::Boolean,
            Cell::Integer(number) => {
                self.numbers.push(number as f64);
                Type::Integer
            }
            Cell::Number(number) => {
                self.numbers.push(number);
                Type::Number
            }
            Cell::Text(_) => Type::Text,
        };
        self.count(text, kind);
    }

    fn count(&mut self, text: &str, kind: Type) {
        self.kind = self.kind.with(kind);
        match self.values.get_mut(text) {
            Some((count, known)) => {
                *count += 1;
                *known = known.with(kind);
            }
            None => drop(self.values.insert(text.to_owned(), (1, kind))),
        }
    }

    pub(crate) fn stats(mut self, quantiles: &[f64], top: usize) -> Stats {
        let kind = match self.kind {
            Type::Mixed if self.from_text => Type::Text,
            kind => kind,
        };
        let count = self.values.values().map(|(count, _)| count).sum();
        let numeric = matches!(kind, Type::Integer | Type::Number);
        if !numeric {
            self.numbers.clear();
        }
        self.numbers.sort_unstable_by(f64::total_cmp);
        let numbers = &self.numbers;
        let (mut min, mut max) = (None, None);
        let (mut min_length, mut max_length) = (None, None);
        match kind {
            Type::Integer | Type::Number => {
                min = numbers.first().map(|n| told(*n, kind));
                max = numbers.last().map(|n| told(*n, kind));
            }
            Type::Text => {
                min = self.values.keys().next().map(|text| shown(text));
                max = self.values.keys().next_back().map(|text| shown(text));
                let lengths = || self.values.keys().map(|text| text.chars().count());
                (min_length, max_length) = (lengths().min(), lengths().max());
            }
            Type::Empty | Type::Boolean | Type::Json | Type::Mixed => {}
        }
        let sum = sum(numbers.iter().copied());
        let mean = sum / numbers.len() as f64;
        // What rounding the mean has moved the deviations by is taken off again.
        let squares = self::sum(numbers.iter().map(|n| (n - mean) * (n - mean)));
        let rest = self::sum(numbers.iter().map(|n| n - mean));
        let squares = squares - rest * rest / numbers.len() as f64;
        let variance = squares / (numbers.len().saturating_sub(1)) as f64;
        let distinct = self.values.len();
        let mut frequent: Vec<(String, (usize, Type))> = self.values.into_iter().collect();
        // Stable: of those as frequent, the least text stays first.
        frequent.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let top = frequent.into_iter().take(top).map(|(text, (count, own))| Frequent {
            value: value(&text, if self.from_text { kind } else { own }),
            count,
        });
        Stats {
            kind,
            count,
            missing: self.missing,
            distinct,
            min,
            max,
            sum: finite(numeric, sum),
            mean: finite(numeric, mean),
            std: finite(numeric && numbers.len() > 1, variance.sqrt()),
            quantiles: if numeric {
                let told = quantiles.iter().map(|q| Some((*q, quantile(numbers, *q)?)));
                told.flatten().map(|(q, value)| Quantile { q, value }).collect()
            } else {
                Vec::new()
            },
            min_length,
            max_length,
            top: top.collect(),
            name: self.name,
        }
    }
}

/// The sum, with what is lost of each addition added at the end (Neumaier).
fn sum(numbers: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for number in numbers {
        let next = sum + number;
        lost +=
            if sum.abs() >= number.abs() { (sum - next) + number } else { (number - next) + sum };
        sum = next;
    }
    if lost.is_finite() { sum + lost } else { sum }
}

/// JSON has no infinity: what overflows is left out.
fn finite(there: bool, number: f64) -> Option<f64> {
    Some(number).filter(|number| there && number.is_finite())
}

/// The quantile of numbers in order, interpolated between the two nearest (type 7, as numpy).
fn quantile(numbers: &[f64], q: f64) -> Option<f64> {
    let place = q * numbers.len().checked_sub(1)? as f64;
    let (below, part) = (place.floor(), place.fract());
    let low = numbers.get(below as usize)?;
    let high = numbers.get(below as usize + 1).unwrap_or(low);
    // Weighted, so that no difference of two large numbers overflows.
    let value = if part == 0.0 { *low } else { low * (1.0 - part) + high * part };
    value.is_finite().then_some(value)
}

fn told(number: f64, kind: Type) -> Value {
    match kind {
        // A column of integers holds none beyond 2^53.
        Type::Integer => (number as i64).into(),
        _ => number.into(),
    }
}

fn value(text: &str, kind: Type) -> Value {
    match (kind, Cell::of(text)) {
        (Type::Boolean, Cell::Boolean(value)) => value.into(),
        (Type::Integer | Type::Number, Cell::Integer(number)) => number.into(),
        (Type::Integer | Type::Number, Cell::Number(number)) => number.into(),
        // A number of JSON beyond 2^53.
        (Type::Number, _) => text.parse::<f64>().map_or_else(|_| shown(text), Value::from),
        _ => shown(text),
    }
}

fn shown(text: &str) -> Value {
    shortened(text, MAX_SHOWN).into()
}
