//! Schedules in the language of cron.

use ampoule_sdk::prelude::*;
use croner::Direction;
use croner::parser::{CronParser, Seconds};

use crate::moments::{Time, iso};
use crate::places::zone;

/// A schedule, and from when on.
#[data]
pub(crate) struct Schedule {
    /// The schedule: minute, hour, day of the month, month, day of the week, with seconds before
    /// and a year after them at will: `30 9 * * MON-FRI`. Also `L` (last), `#` (which of a month),
    /// `W` (nearest working day), `@daily` and the like.
    #[schemars(length(min = 1, max = 200))]
    expression: String,
    /// Times after this one. Default: now.
    #[serde(default = "from_now")]
    from: Time,
    /// The zone the schedule is kept in. Default: that of `from`, or UTC.
    #[schemars(length(min = 1, max = 100))]
    zone: Option<String>,
    /// How many times to tell.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 100))]
    count: u32,
    /// The times before `from` instead, the latest first.
    #[serde(default)]
    backwards: bool,
}

fn from_now() -> Time {
    Time::Text("now".into())
}

fn five() -> u32 {
    5
}

/// When a schedule runs.
#[data]
pub(crate) struct Runs {
    /// The times, as RFC 3339.
    times: Vec<String>,
    /// The same in milliseconds since 1970.
    unix_ms: Vec<i64>,
    /// The schedule in words.
    description: String,
}

/// Tell when a cron schedule runs next, or ran last, in any zone.
///
/// Where both a day of the month and a day of the week are named, either will do, as in crontab. A
/// time that a change of clocks skips runs right after it. Fewer times than `count` where the
/// schedule has an end; `not-found` where it never runs.
#[tool]
pub(crate) fn cron_next(schedule: Schedule) -> Result<Runs> {
    let zone = zone(schedule.zone.as_deref())?;
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    let cron = parser.parse(&schedule.expression).map_err(|error| {
        Error::bad_arguments(format!(
            "`expression` {:?} is no schedule: {error}; write `minute hour day month weekday`, for \
             example `30 9 * * MON-FRI`",
            schedule.expression
        ))
    })?;
    let mut at = schedule.from.zoned("from", zone.as_ref())?;
    let direction = if schedule.backwards { Direction::Backward } else { Direction::Forward };
    let mut runs = Runs { times: Vec::new(), unix_ms: Vec::new(), description: cron.describe() };
    while runs.times.len() < schedule.count as usize {
        let found = match direction {
            Direction::Forward => cron.find_next_occurrence(&at, false),
            Direction::Backward => cron.find_previous_occurrence(&at, false),
        };
        let Ok(next) = found else { break };
        runs.times.push(iso(&next));
        runs.unix_ms.push(next.timestamp().as_millisecond());
        at = next;
    }
    if runs.times.is_empty() {
        return Err(Error::not_found(format!(
            "the schedule {:?} has no time {} {}",
            schedule.expression,
            if schedule.backwards { "before" } else { "after" },
            iso(&at)
        )));
    }
    Ok(runs)
}
