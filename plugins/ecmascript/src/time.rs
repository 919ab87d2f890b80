//! The clock of the C library, on which `Date` stands: the contract's clock, moved on by what the
//! program has waited on virtual time. Defined here, the linker takes it and the plugin imports no
//! clock from WASI.

use std::cell::Cell;
use std::ffi::c_int;
use std::time::Duration;

use ampoule_sdk::clock;

thread_local! {
    /// Whether there is a host: not while the interpreter is made.
    static LIVE: Cell<bool> = const { Cell::new(false) };
    /// How far virtual time is ahead.
    static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// From now on there is a host.
pub(crate) fn live() {
    LIVE.set(true);
}

/// Moves virtual time on.
pub(crate) fn pass(duration: Duration) {
    AHEAD.set(AHEAD.get().saturating_add(duration));
}

/// Time that never goes back, virtual waits included.
pub(crate) fn monotonic() -> Duration {
    let now = if LIVE.get() { clock::monotonic().unwrap_or_default() } else { Duration::ZERO };
    now.saturating_add(AHEAD.get())
}

fn now() -> Duration {
    if !LIVE.get() {
        return Duration::ZERO;
    }
    let now = clock::now().unwrap_or(std::time::SystemTime::UNIX_EPOCH);
    let now = now.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_add(AHEAD.get())
}

/// `struct timespec` of wasi-libc.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i32,
}

/// `struct timeval` of wasi-libc.
#[repr(C)]
struct Timeval {
    seconds: i64,
    microseconds: i64,
}

/// The time of day.
#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(time: *mut Timeval, _zone: *mut std::ffi::c_void) -> c_int {
    let now = now();
    let value = Timeval {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        microseconds: now.subsec_micros().into(),
    };
    // SAFETY: that `time` points to a `timeval` is the contract of `gettimeofday`.
    unsafe { time.write(value) };
    0
}

/// Any clock: the monotonic one, which is all that QuickJS asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(_clock: *const std::ffi::c_void, time: *mut Timespec) -> c_int {
    let now = monotonic();
    let value = Timespec {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i32::try_from(now.subsec_nanos()).unwrap_or_default(),
    };
    // SAFETY: that `time` points to a `timespec` is the contract of `clock_gettime`.
    unsafe { time.write(value) };
    0
}
