//! `clock`: reading the time and waiting.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::component::{HasSelf, Resource};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::{Host, granted};
use crate::bindings::ampoule::plugin::clock;
use crate::bindings::ampoule::plugin::types::Error;
use crate::grants::Grants;
use crate::limits::price;
use crate::state::CallState;

/// Where the monotonic clock begins: when the process first looks at it.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl clock::Host for CallState {}

impl clock::HostWithStore<CallState> for HasSelf<CallState> {
    fn now(mut host: Host<'_>) -> wasmtime::Result<Result<u64, Error>> {
        granted!(host, price::LOOK, Grants::clock);
        Ok(Ok(now()))
    }

    fn monotonic(mut host: Host<'_>) -> wasmtime::Result<Result<u64, Error>> {
        granted!(host, price::LOOK, Grants::clock);
        Ok(Ok(monotonic()))
    }

    async fn sleep(mut host: Host<'_>, milliseconds: u64) -> wasmtime::Result<Result<(), Error>> {
        granted!(host, price::LEAVE, Grants::clock);
        // The deadline of the call ends a longer wait.
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        Ok(Ok(()))
    }

    fn start_sleep(
        mut host: Host<'_>,
        milliseconds: u64,
    ) -> wasmtime::Result<Result<Resource<DynPollable>, Error>> {
        granted!(host, price::LEAVE, Grants::clock);
        let until = Instant::now() + Duration::from_millis(milliseconds.min(MAX_MILLISECONDS));
        let table = &mut host.get().table;
        let timer = table.push(Timer(until))?;
        Ok(Ok(subscribe(table, timer)?))
    }
}

/// Longer waits than a year are a year: no call lives so long.
const MAX_MILLISECONDS: u64 = 365 * 24 * 3600 * 1000;

struct Timer(Instant);

#[wasmtime_wasi_io::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        tokio::time::sleep_until(self.0.into()).await;
    }
}

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Nanoseconds since the process first looked at the clock.
pub(super) fn monotonic() -> u64 {
    nanoseconds(START.elapsed())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
