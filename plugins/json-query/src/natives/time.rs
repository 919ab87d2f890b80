//! Dates, all in UTC: seconds since 1970 and "broken down time", a list of year, month (from 0),
//! day, hours, minutes, seconds, weekday (from Sunday, 0) and day of the year (from 0).

use jaq_core::Error;
use jaq_core::native::{bome, unary, v};
use jaq_json::Val;
use jaq_std::ValT as _;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone};

use super::{Native, Result, number, text};

pub(super) fn natives() -> Vec<Native> {
    vec![
        ("fromdateiso8601", v(0), |cv| {
            bome(text(&cv.1).and_then(|text| {
                let time: Timestamp = text.parse().map_err(Error::str)?;
                Ok(integer(time.as_second()))
            }))
        }),
        ("todateiso8601", v(0), |cv| {
            bome(timestamp(&cv.1).and_then(|time| {
                let whole = Timestamp::from_second(floor_second(time)).map_err(Error::str)?;
                Ok(whole.to_string().into())
            }))
        }),
        ("gmtime", v(0), |cv| {
            bome(timestamp(&cv.1).map(|time| broken_down(Offset::UTC.to_datetime(time))))
        }),
        ("mktime", v(0), |cv| {
            bome(datetime(&cv.1).and_then(|time| {
                let time = Offset::UTC.to_timestamp(time).map_err(Error::str)?;
                Ok(integer(floor_second(time)))
            }))
        }),
        ("strftime", v(1), |cv| {
            unary(cv, |value, format| {
                let time = match value {
                    Val::Arr(_) => {
                        Offset::UTC.to_timestamp(datetime(&value)?).map_err(Error::str)?
                    }
                    value => timestamp(&value)?,
                };
                let time = time.to_zoned(TimeZone::UTC);
                Ok(strtime::format(text(&format)?, &time).map_err(Error::str)?.into())
            })
        }),
        ("strptime", v(1), |cv| {
            unary(cv, |value, format| {
                let mut time =
                    BrokenDownTime::parse(text(&format)?, text(&value)?).map_err(Error::str)?;
                if time.offset().is_none() {
                    time.set_offset(Some(Offset::UTC));
                }
                Ok(broken_down(time.to_zoned().map_err(Error::str)?.datetime()))
            })
        }),
    ]
}

/// The point in time of a number of seconds since 1970, to the microsecond.
fn timestamp(value: &Val) -> Result<Timestamp> {
    Timestamp::from_microsecond((number(value)? * 1e6) as i64).map_err(Error::str)
}

fn floor_second(time: Timestamp) -> i64 {
    time.as_microsecond().div_euclid(1_000_000)
}

/// The time of a list; only its first six items count.
fn datetime(value: &Val) -> Result<DateTime> {
    let fail = || Error::str(format_args!("{value} is not a broken down time"));
    let Val::Arr(items) = value else { return Err(fail()) };
    let part = |i: usize| items.get(i).and_then(|item| item.as_f64()).ok_or_else(fail);
    let seconds = part(5)?;
    DateTime::new(
        part(0)? as i16,
        (part(1)? + 1.0) as i8,
        part(2)? as i8,
        part(3)? as i8,
        part(4)? as i8,
        seconds.floor() as i8,
        ((seconds - seconds.floor()) * 1e9) as i32,
    )
    .map_err(Error::str)
}

fn broken_down(time: DateTime) -> Val {
    let seconds = f64::from(time.second()) + f64::from(time.subsec_nanosecond()) / 1e9;
    let small = |n: i16| Val::from(n as isize);
    [
        small(time.year()),
        small(i16::from(time.month()) - 1),
        small(time.day().into()),
        small(time.hour().into()),
        small(time.minute().into()),
        if time.subsec_nanosecond() == 0 { small(time.second().into()) } else { seconds.into() },
        small(time.weekday().to_sunday_zero_offset().into()),
        small(time.day_of_year() - 1),
    ]
    .into_iter()
    .collect()
}

fn integer(n: i64) -> Val {
    Val::Num(jaq_json::Num::from_integral(n))
}
