//! Times as they are asked for and told.

use ampoule_sdk::clock;
use ampoule_sdk::prelude::*;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned, civil};

use crate::patterns;
use crate::places::zone;

/// A time, as the caller has it.
#[data]
#[serde(untagged)]
#[schemars(description = "Milliseconds since 1970 as a number, or a text: RFC 3339 \
    (`2024-02-29T12:00:00Z`), with a zone (`2024-02-29T12:00[Europe/Paris]`), a date, RFC 2822, \
    `@` and seconds since 1970, or `now`.")]
pub(crate) enum Time {
    /// Milliseconds since 1970.
    Milliseconds(i64),
    /// A text.
    Text(#[schemars(length(min = 1, max = 200))] String),
}

impl Time {
    /// The time, in this zone where one is named, else in its own, else in UTC.
    pub(crate) fn zoned(&self, name: &str, zone: Option<&TimeZone>) -> Result<Zoned> {
        let utc = || zone.cloned().unwrap_or(TimeZone::UTC);
        let text = match self {
            Time::Milliseconds(milliseconds) => {
                let timestamp = Timestamp::from_millisecond(*milliseconds)
                    .map_err(|_| out_of_range(name, &milliseconds.to_string()))?;
                return Ok(timestamp.to_zoned(utc()));
            }
            Time::Text(text) => text.trim(),
        };
        if text.eq_ignore_ascii_case("now") {
            return Ok(timestamp()?.to_zoned(utc()));
        }
        if let Some(seconds) = text.strip_prefix('@') {
            let seconds: f64 = seconds.parse().map_err(|_| not_a_time(name, text))?;
            let nanoseconds = seconds * 1e9;
            // Beyond the years there are, the cast stays there.
            let timestamp = Timestamp::from_nanosecond(nanoseconds as i128)
                .ok()
                .filter(|_| seconds.is_finite())
                .ok_or_else(|| out_of_range(name, text))?;
            return Ok(timestamp.to_zoned(utc()));
        }
        if let Ok(pieces) = Pieces::parse(text) {
            return placed(&pieces, text, name, zone);
        }
        let zoned = jiff::fmt::rfc2822::parse(text).map_err(|_| not_a_time(name, text))?;
        Ok(in_zone(zoned, zone))
    }
}

fn in_zone(zoned: Zoned, zone: Option<&TimeZone>) -> Zoned {
    match zone {
        Some(zone) => zoned.with_time_zone(zone.clone()),
        None => zoned,
    }
}

/// A date, a time of day, an offset and a zone, as far as the text has them.
fn placed(pieces: &Pieces<'_>, text: &str, name: &str, zone: Option<&TimeZone>) -> Result<Zoned> {
    let refused = |error| Error::bad_arguments(format!("`{name}` {text:?}: {error}"));
    let local = pieces.date().to_datetime(pieces.time().unwrap_or(civil::Time::midnight()));
    if pieces.time_zone_annotation().is_some() {
        // The offset beside a zone is checked against it.
        let zoned: Zoned = text.parse().map_err(refused)?;
        return Ok(in_zone(zoned, zone));
    }
    if let Some(offset) = pieces.to_numeric_offset() {
        let own = if offset.seconds() == 0 { TimeZone::UTC } else { TimeZone::fixed(offset) };
        return Ok(in_zone(local.to_zoned(own).map_err(refused)?, zone));
    }
    local.to_zoned(zone.cloned().unwrap_or(TimeZone::UTC)).map_err(refused)
}

fn not_a_time(name: &str, text: &str) -> Error {
    Error::bad_arguments(format!(
        "`{name}` {text:?} is not a time: write it as `2024-02-29T12:00:00Z`, \
         `2024-02-29T12:00[Europe/Paris]`, `2024-02-29`, milliseconds since 1970 as a number, \
         `@` and seconds, or `now`; for other forms use `parse` with `format`"
    ))
}

fn out_of_range(name: &str, text: &str) -> Error {
    Error::bad_arguments(format!("`{name}` {text} is not between the years -9999 and 9999"))
}

/// The time of day.
fn timestamp() -> Result<Timestamp> {
    let now = clock::now()?
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| Error::internal("the clock says it is before 1970"))?;
    let nanoseconds = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_nanosecond(nanoseconds)
        .map_err(|_| Error::internal("the clock says it is after the year 9999"))
}

/// A time, told in every way that is often needed.
#[data]
pub(crate) struct Moment {
    /// As RFC 3339, with the offset of the zone.
    pub(crate) iso: String,
    /// The same in UTC.
    pub(crate) utc: String,
    /// Milliseconds since 1970.
    pub(crate) unix_ms: i64,
    /// The zone, by name or offset.
    pub(crate) zone: String,
    /// The day of the week.
    pub(crate) weekday: String,
    /// The week of the year (ISO 8601).
    pub(crate) week: String,
    /// The day of the year, from 1.
    pub(crate) day_of_year: i16,
    /// The time in the format asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

impl Moment {
    pub(crate) fn new(zoned: &Zoned, format: Option<&str>) -> Result<Moment> {
        let week = zoned.date().iso_week_date();
        Ok(Moment {
            iso: iso(zoned),
            utc: zoned.timestamp().to_string(),
            unix_ms: zoned.timestamp().as_millisecond(),
            zone: zone_name(zoned),
            weekday: zoned.strftime("%A").to_string(),
            week: format!("{:04}-W{:02}", week.year(), week.week()),
            day_of_year: zoned.day_of_year(),
            text: format.map(|format| patterns::write(zoned, format)).transpose()?,
        })
    }
}

/// RFC 3339 with the zone's offset, `Z` for UTC.
pub(crate) fn iso(zoned: &Zoned) -> String {
    if zoned.time_zone().iana_name() == Some("UTC") {
        zoned.timestamp().to_string()
    } else {
        zoned.timestamp().display_with_offset(zoned.offset()).to_string()
    }
}

fn zone_name(zoned: &Zoned) -> String {
    let name = zoned.time_zone().iana_name().map(str::to_owned);
    name.unwrap_or_else(|| zoned.offset().to_string())
}

/// Where, and how to write it.
#[data]
pub(crate) struct Asking {
    /// The zone: a name (`Europe/Paris`), an offset (`+02:00`). Default: UTC.
    #[schemars(length(min = 1, max = 100))]
    zone: Option<String>,
    /// How to write it in `text`; see the tool `format`.
    #[schemars(length(min = 1, max = 200))]
    format: Option<String>,
}

/// Tell what time it is: date, time, weekday and week, in any zone and format.
#[tool]
pub(crate) fn now(asking: Asking) -> Result<Moment> {
    let zone = zone(asking.zone.as_deref())?;
    let now = timestamp()?.to_zoned(zone.unwrap_or(TimeZone::UTC));
    Moment::new(&now, asking.format.as_deref())
}

/// A text that holds a time.
#[data]
pub(crate) struct Parsing {
    /// The text, for example `2024-02-29T12:00:00+01:00`, or in the form that `format` says.
    #[schemars(length(min = 1, max = 200))]
    text: String,
    /// The form of the text: `%d/%m/%Y %H:%M` as in strftime, or `DD/MM/YYYY HH:mm` as in dayjs.
    /// Default: RFC 3339, RFC 9557, RFC 2822, a date, `@` and seconds.
    #[schemars(length(min = 1, max = 200))]
    format: Option<String>,
    /// The zone of a text that names none, and the zone it is told in. Default: its own, or UTC.
    #[schemars(length(min = 1, max = 100))]
    zone: Option<String>,
}

/// Read a time from a text, in a standard form or one that `format` describes.
///
/// A time of day that a change of clocks skips is moved forward, and of one that comes twice the
/// first is meant.
#[tool]
pub(crate) fn parse(parsing: Parsing) -> Result<Moment> {
    let zone = zone(parsing.zone.as_deref())?;
    let zoned = match parsing.format {
        None => Time::Text(parsing.text).zoned("text", zone.as_ref())?,
        Some(format) => in_zone(patterns::read(&parsing.text, &format, zone.as_ref())?, None),
    };
    Moment::new(&zoned, None)
}

/// A time, and how to write it.
#[data]
pub(crate) struct Formatting {
    /// The time.
    time: Time,
    /// `iso` (default), `unix` or `timestamp` (milliseconds since 1970), `unix-seconds`,
    /// `rfc2822`, a pattern of strftime such as `%A, %d %B %Y %H:%M`, or one of dayjs such as
    /// `DD.MM.YYYY HH:mm`, where other letters stand in `[…]`.
    #[serde(default = "iso_format")]
    #[schemars(length(min = 1, max = 200))]
    format: String,
    /// The zone to write it in: a name (`Europe/Paris`), an offset (`+02:00`). Default: that of
    /// `time`, or UTC.
    #[schemars(length(min = 1, max = 100))]
    zone: Option<String>,
}

fn iso_format() -> String {
    "iso".into()
}

/// Write a time in a format and zone, and convert between zones.
///
/// Names of days and months are English.
#[tool]
pub(crate) fn format(formatting: Formatting) -> Result<Moment> {
    let zone = zone(formatting.zone.as_deref())?;
    let zoned = formatting.time.zoned("time", zone.as_ref())?;
    Moment::new(&zoned, Some(&formatting.format))
}
