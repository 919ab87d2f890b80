//! Formats: by name, as patterns of strftime, and as patterns of dayjs.

use std::borrow::Cow;

use ampoule_sdk::prelude::*;
use jiff::Zoned;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;

use crate::moments::iso;

/// Characters of a time that has been written, at most.
const MAX_WRITTEN: usize = 10_000;

/// Writes a time.
///
/// # Errors
/// `bad-arguments` where the format is none.
pub(crate) fn write(zoned: &Zoned, format: &str) -> Result<String> {
    Ok(match format {
        "iso" => iso(zoned),
        "unix" | "timestamp" => zoned.timestamp().as_millisecond().to_string(),
        "unix-seconds" => zoned.timestamp().as_second().to_string(),
        "rfc2822" => {
            jiff::fmt::rfc2822::to_string(zoned).map_err(|error| refused(format, &error))?
        }
        pattern => {
            let pattern = strftime(pattern)?;
            let text = strtime::format(pattern.as_bytes(), zoned)
                .map_err(|error| refused(format, &error))?;
            if text.len() > MAX_WRITTEN {
                return Err(refused(format, &"it writes more than 10,000 characters"));
            }
            text
        }
    })
}

/// Reads a time. What a text leaves open is midnight, and the zone named, or UTC.
///
/// # Errors
/// `bad-arguments` where the text is not of the form.
pub(crate) fn read(text: &str, format: &str, zone: Option<&TimeZone>) -> Result<Zoned> {
    let pattern = strftime(format)?;
    let wrong = |error: jiff::Error| {
        Error::bad_arguments(format!("`text` {text:?} is not of the form {format:?}: {error}"))
    };
    let time = BrokenDownTime::parse(pattern.as_bytes(), text.trim()).map_err(wrong)?;
    if time.offset().is_some() || time.iana_time_zone().is_some() {
        let zoned = time.to_zoned().map_err(wrong)?;
        return Ok(match zone {
            Some(zone) => zoned.with_time_zone(zone.clone()),
            None => zoned,
        });
    }
    let zone = zone.cloned().unwrap_or(TimeZone::UTC);
    if let Ok(timestamp) = time.to_timestamp() {
        return Ok(timestamp.to_zoned(zone));
    }
    let local = match time.to_datetime() {
        Ok(local) => local,
        Err(_) => time.to_date().map_err(wrong)?.at(0, 0, 0, 0),
    };
    local.to_zoned(zone).map_err(wrong)
}

fn refused(format: &str, error: &dyn std::fmt::Display) -> Error {
    Error::bad_arguments(format!("`format` {format:?}: {error}"))
}

/// The pattern in the language of strftime.
fn strftime(pattern: &str) -> Result<Cow<'_, str>> {
    if pattern.contains('%') {
        return Ok(pattern.into());
    }
    let unknown = |what: &str| {
        Error::bad_arguments(format!(
            "`format` {pattern:?} is no format: {what:?} means nothing in a pattern of dayjs; use \
             `YYYY-MM-DD HH:mm:ss` with other letters in `[…]`, `%Y-%m-%d %H:%M:%S` as in \
             strftime, or `iso`, `unix`, `unix-seconds`, `rfc2822`"
        ))
    };
    let mut translated = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some((literal, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        {
            translated.push_str(literal);
            rest = after;
            continue;
        }
        let after = rest.trim_start_matches(first);
        let token = &rest[..rest.len() - after.len()];
        rest = after;
        translated.push_str(match token {
            "YYYY" => "%Y",
            "YY" => "%y",
            "MMMM" => "%B",
            "MMM" => "%b",
            "MM" => "%m",
            "M" => "%-m",
            "DD" => "%d",
            "D" => "%-d",
            "dddd" => "%A",
            "ddd" => "%a",
            "d" => "%w",
            "HH" => "%H",
            "H" => "%-H",
            "hh" => "%I",
            "h" => "%-I",
            "mm" => "%M",
            "m" => "%-M",
            "ss" => "%S",
            "s" => "%-S",
            "S" => "%1f",
            "SS" => "%2f",
            "SSS" => "%3f",
            "A" => "%p",
            "a" => "%P",
            "ZZ" => "%z",
            "Z" => "%:z",
            "z" => "%Z",
            other if first.is_alphabetic() && first != 'T' => return Err(unknown(other)),
            literal => literal,
        });
    }
    Ok(translated.into())
}
