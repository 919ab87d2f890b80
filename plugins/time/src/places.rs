//! Time zones.

use ampoule_sdk::prelude::*;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{self, TimeZone};

use crate::moments::Time;

/// The zone of this name or offset.
///
/// # Errors
/// `bad-arguments` where there is none.
pub(crate) fn zone(name: Option<&str>) -> Result<Option<TimeZone>> {
    let Some(name) = name.map(str::trim) else { return Ok(None) };
    if name.eq_ignore_ascii_case("z") {
        return Ok(Some(TimeZone::UTC));
    }
    // A rule of POSIX would do as well, but none is meant by who misspells a name.
    let zone = match name.starts_with(['+', '-']) {
        true => DateTimeParser::new().parse_time_zone(name).ok(),
        false => tz::db().get(name).ok(),
    };
    zone.map(Some).ok_or_else(|| {
        Error::bad_arguments(format!(
            "`zone` {name:?} is not known: use a name such as `Europe/Paris` (the tool `zones` \
             lists them), an offset such as `+02:00`, or `UTC`"
        ))
    })
}

/// Which zones.
#[data]
pub(crate) struct Listing {
    /// A part of the name, in any case. Default: all zones.
    #[schemars(length(max = 100))]
    search: Option<String>,
    /// When: adds the offset and abbreviation that hold then.
    at: Option<Time>,
    /// Zones in one answer at most.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// The `next` of an earlier answer, to go on after it.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

fn limit() -> u32 {
    100
}

/// A zone.
#[data]
pub(crate) struct Zone {
    /// Its name in the IANA database.
    name: String,
    /// Its offset from UTC at the time asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<String>,
    /// What its time is called then.
    #[serde(skip_serializing_if = "Option::is_none")]
    abbreviation: Option<String>,
    /// Whether it is summer time then.
    #[serde(skip_serializing_if = "Option::is_none")]
    summer_time: Option<bool>,
}

/// List the time zones whose names hold a text, with their offsets at a time.
///
/// Names are those of the IANA database, such as `Europe/Paris`.
#[tool]
pub(crate) fn zones(listing: Listing) -> Result<Output<Vec<Zone>>> {
    let at = listing.at.map(|at| at.zoned("at", None)).transpose()?;
    let search = listing.search.unwrap_or_default().trim().to_lowercase().replace(' ', "_");
    let mut names: Vec<String> = tz::db().available().map(|name| name.to_string()).collect();
    names.retain(|name| name.to_lowercase().contains(&search));
    names.sort_unstable();
    let zones = names.into_iter().map(|name| {
        let mut zone = Zone { name, offset: None, abbreviation: None, summer_time: None };
        if let (Some(at), Ok(there)) = (&at, tz::db().get(&zone.name)) {
            let info = there.to_offset_info(at.timestamp());
            zone.offset = Some(info.offset().to_string());
            zone.abbreviation = Some(info.abbreviation().to_owned());
            zone.summer_time = Some(info.dst().is_dst());
        }
        zone
    });
    Output::page(zones, listing.limit as usize, listing.cursor.as_deref())
}
