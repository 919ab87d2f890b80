//! Times, with the crate `jiff` and the time zones of the world inside the plugin, and schedules
//! in the language of cron with the crate `croner`.
//!
//! Parity with SmythOS's FTimestamp: `now` and `format` take its formats `unix` and `timestamp`
//! (both are milliseconds there and here), `iso`, and patterns of dayjs. Deliberate differences: a
//! pattern is written in the zone that is named (UTC without one) where SmythOS takes that of its
//! server; letters that mean nothing to dayjs are refused unless they stand in `[…]`.
//!
//! Only `now`, the word `now` as a time and a schedule without `from` need the capability `clock`.
//!
//! Suites: `tests/cases.json` is our own; its cases of schedules are those that the manual of
//! crontab and the documentation of croner describe.

mod moments;
mod patterns;
mod places;
mod schedules;
mod spans;

use ampoule_sdk::prelude::*;

use moments::{format, now, parse};
use places::zones;
use schedules::cron_next;
use spans::{add, difference};

export!(now, parse, format, add, difference, zones, cron_next);
