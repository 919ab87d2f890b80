//! How often something may happen: rates as files write them, and the count of them.
//!
//! The count is the generic cell rate algorithm: for each key one point in time, at which
//! everything that has happened would be paid off. It lets through what one period may hold at
//! once, and from then on evenly.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::state::lock;

/// So many times a second, minute or hour; `10/s`, `600/min`, `1000/h` in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Rate {
    times: u32,
    unit: Per,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

impl Per {
    const ALL: [Per; 3] = [Per::Second, Per::Minute, Per::Hour];

    const fn name(self) -> &'static str {
        match self {
            Per::Second => "s",
            Per::Minute => "min",
            Per::Hour => "h",
        }
    }

    const fn time(self) -> Duration {
        Duration::from_secs(match self {
            Per::Second => 1,
            Per::Minute => 60,
            Per::Hour => 3600,
        })
    }
}

/// The highest number a rate may name.
const MOST: u32 = 1_000_000;

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || {
            format!(
                "`{text}` is no rate: write a number from 1 to {MOST} and /s, /min or /h, as in `10/s`"
            )
        };
        let (times, unit) = text.split_once('/').ok_or_else(wrong)?;
        let unit = Per::ALL.into_iter().find(|per| per.name() == unit).ok_or_else(wrong)?;
        let digits = !times.is_empty() && times.bytes().all(|byte| byte.is_ascii_digit());
        let times = times.parse().ok().filter(|n| digits && (1..=MOST).contains(n));
        Ok(Rate { times: times.ok_or_else(wrong)?, unit })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.times, self.unit.name())
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Rate, String> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

/// The most keys that are counted at once. Guests choose some of them: names of hosts.
const MOST_KEYS: usize = 10_000;

/// Counts of a rate, one for each key.
pub(crate) struct Rates<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Rates<K> {
    fn default() -> Rates<K> {
        Rates(Mutex::default())
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// Counts one more of `key`.
    ///
    /// # Errors
    /// There were too many; how long to wait. Then nothing is counted.
    pub(crate) fn count(&self, key: K, rate: Rate) -> Result<(), Duration> {
        let now = Instant::now();
        let period = rate.unit.time();
        let mut paid_off = lock(&self.0);
        if paid_off.len() >= MOST_KEYS && !paid_off.contains_key(&key) {
            paid_off.retain(|_, at| *at > now);
            if paid_off.len() >= MOST_KEYS {
                return Err(period);
            }
        }
        let at = paid_off.entry(key).or_insert(now);
        let next = (*at).max(now) + period / rate.times;
        let ahead = next.saturating_duration_since(now);
        if ahead > period {
            return Err(ahead - period);
        }
        *at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    #[test]
    fn rates_are_read_strictly() {
        for good in ["1/s", "600/min", "1000000/h"] {
            assert_eq!(rate(good).to_string(), good);
        }
        for bad in ["", "10", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "10 /s", "10/sec", "1000001/s"]
        {
            assert!(bad.parse::<Rate>().is_err(), "{bad} was read");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_period_may_come_at_once_and_then_evenly() {
        let rates = Rates::default();
        let five = rate("5/s");
        for _ in 0..5 {
            assert_eq!(rates.count("a", five), Ok(()));
        }
        assert_eq!(rates.count("a", five), Err(Duration::from_millis(200)));
        assert_eq!(rates.count("b", five), Ok(()), "another key has its own count");
        tokio::time::advance(Duration::from_millis(199)).await;
        assert!(rates.count("a", five).is_err());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(rates.count("a", five), Ok(()));
        assert!(rates.count("a", five).is_err(), "what was refused is not saved up");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!((0..100).filter(|_| rates.count("a", five).is_ok()).count(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_keys_is_bounded() {
        let rates = Rates::default();
        let one = rate("1/s");
        for key in 0..MOST_KEYS {
            assert_eq!(rates.count(key, one), Ok(()));
        }
        assert!(rates.count(MOST_KEYS, one).is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rates.count(MOST_KEYS, one), Ok(()));
        assert_eq!(lock(&rates.0).len(), 1, "what is paid off is forgotten");
    }
}
