//! Time. Capability `clock`. A recorded call replays the same times.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};

use crate::bindings::ampoule::plugin::clock;
use crate::{Error, Result, host, task};

/// The time of day.
///
/// # Errors
/// `denied` without the capability.
pub fn now() -> Result<SystemTime> {
    host::require("clock")?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(clock::now()?))
}

/// Time on a clock that never goes back, from an unspecified start.
///
/// # Errors
/// `denied` without the capability.
pub fn monotonic() -> Result<Duration> {
    host::require("clock")?;
    Ok(Duration::from_nanos(clock::monotonic()?))
}

/// Waits, at the host's precision of a millisecond.
///
/// # Errors
/// `denied` without the capability.
pub async fn sleep(duration: Duration) -> Result<()> {
    host::require("clock")?;
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    task::ready(clock::start_sleep(milliseconds)?).await;
    Ok(())
}

/// The output of `future`, unless `duration` passes first; what it began is then given up.
///
/// # Errors
/// `timeout` where it took too long, `denied` without the capability.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output> {
    match select(pin!(future), pin!(sleep(duration))).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right((slept, _)) => {
            slept?;
            Err(Error::timeout(format!("it took longer than {duration:?}")).with_retry())
        }
    }
}
