//! Spans of time.

use ampoule_sdk::prelude::*;
use jiff::fmt::friendly::{Designator, Spacing, SpanPrinter};
use jiff::{Span, Unit, ZonedDifference};

use crate::moments::{Moment, Time};
use crate::places::zone;

/// What to add to what.
#[data]
pub(crate) struct Adding {
    /// The time to begin from.
    time: Time,
    /// What to add: `3 days`, `1 month 2 weeks`, `2h 30m`, `-90 minutes`, `1 year ago`, or as ISO
    /// 8601, `P1M2DT3H`.
    #[schemars(length(min = 1, max = 200))]
    duration: String,
    /// The zone to count days in and to tell the answer in. Default: that of `time`, or UTC.
    #[schemars(length(min = 1, max = 100))]
    zone: Option<String>,
    /// How to write the answer in `text`; see the tool `format`.
    #[schemars(length(min = 1, max = 200))]
    format: Option<String>,
}

/// Add a duration to a time, or take one away.
///
/// Days and larger units go by the calendar and keep the time of day across changes of clocks;
/// hours and smaller are exact. A day that a month lacks becomes its last: 31 January and a month
/// is 28 or 29 February.
#[tool]
pub(crate) fn add(adding: Adding) -> Result<Moment> {
    let zone = zone(adding.zone.as_deref())?;
    let zoned = adding.time.zoned("time", zone.as_ref())?;
    let span: Span = adding.duration.trim().parse().map_err(|error| {
        Error::bad_arguments(format!(
            "`duration` {:?} is none: write `3 days`, `1 month 2 weeks`, `-90 minutes` or \
             `P1M2DT3H` ({error})",
            adding.duration
        ))
    })?;
    let sum = zoned.checked_add(span).map_err(|error| {
        Error::bad_arguments(format!("the sum is not between the years -9999 and 9999: {error}"))
    })?;
    Moment::new(&sum, adding.format.as_deref())
}

/// The largest unit of a difference.
#[data]
#[derive(Copy, Default)]
enum Largest {
    Year,
    Month,
    Week,
    #[default]
    Day,
    Hour,
    Minute,
    Second,
}

impl Largest {
    fn unit(self) -> Unit {
        match self {
            Largest::Year => Unit::Year,
            Largest::Month => Unit::Month,
            Largest::Week => Unit::Week,
            Largest::Day => Unit::Day,
            Largest::Hour => Unit::Hour,
            Largest::Minute => Unit::Minute,
            Largest::Second => Unit::Second,
        }
    }
}

/// Two times.
#[data]
pub(crate) struct Between {
    /// The earlier time; a later one makes the difference negative.
    from: Time,
    /// The later time.
    to: Time,
    /// The largest unit the difference is told in.
    #[serde(default)]
    largest: Largest,
    /// The zone to count days in. Default: that of `from`, or UTC.
    #[schemars(length(min = 1, max = 100))]
    zone: Option<String>,
}

/// The difference of two times.
#[data]
pub(crate) struct Difference {
    /// As ISO 8601, for example `P1M2DT3H`.
    iso: String,
    /// In words, for example `1 month, 2 days, 3 hours`.
    text: String,
    /// All of it in seconds.
    seconds: f64,
    /// The same in days of 24 hours.
    days: f64,
    /// Whether `to` is before `from`.
    negative: bool,
}

/// Tell how long it is from one time to another, in units of the calendar and in seconds.
#[tool]
pub(crate) fn difference(between: Between) -> Result<Difference> {
    let zone = zone(between.zone.as_deref())?;
    let from = between.from.zoned("from", zone.as_ref())?;
    let to = between.to.zoned("to", Some(from.time_zone()))?;
    let largest = between.largest.unit();
    let span = from
        .until(ZonedDifference::new(&to).largest(largest))
        .map_err(|error| Error::bad_arguments(format!("the difference cannot be told: {error}")))?;
    let printer = SpanPrinter::new()
        .designator(Designator::Verbose)
        .spacing(Spacing::BetweenUnitsAndDesignators)
        .comma_after_designator(true);
    let seconds = from.duration_until(&to).as_secs_f64();
    Ok(Difference {
        iso: span.to_string(),
        text: printer.span_to_string(&span),
        seconds,
        days: seconds / 86_400.0,
        negative: span.is_negative(),
    })
}
