//! The operating system that SQLite sees: none. Databases and temporary tables are in memory, so it
//! is asked for no file; what it asks nevertheless is refused or answered alike each time.
//!
//! SQLite must be compiled with `SQLITE_OS_OTHER=1`, by which it calls [`sqlite3_os_init`], and
//! `SQLITE_TEMP_STORE=3`, by which it keeps temporary tables in memory.

use std::ffi::{c_char, c_int};
use std::ptr::null_mut;

use rusqlite::ffi::{
    SQLITE_CANTOPEN, SQLITE_ERROR, SQLITE_IOERR, SQLITE_OK, sqlite3_file, sqlite3_int64,
    sqlite3_vfs, sqlite3_vfs_register,
};

/// Called by SQLite once, at its start.
///
/// # Safety
/// SQLite calls it while nothing else runs.
#[unsafe(no_mangle)]
unsafe extern "C" fn sqlite3_os_init() -> c_int {
    let none = Box::new(sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<sqlite3_file>() as c_int,
        mxPathname: 64,
        pNext: null_mut(),
        zName: c"none".as_ptr(),
        pAppData: null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path_name),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: Some(current_time_int64),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    });
    // SAFETY: it lives as long as the instance, as SQLite asks.
    unsafe { sqlite3_vfs_register(Box::into_raw(none), 1) }
}

/// Called by SQLite at its end.
///
/// # Safety
/// It does nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn sqlite3_os_end() -> c_int {
    SQLITE_OK
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    _: *const c_char,
    file: *mut sqlite3_file,
    _: c_int,
    _: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands a file to fill in; without methods it is not closed.
    unsafe { (*file).pMethods = null_mut() };
    SQLITE_CANTOPEN
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, _: *const c_char, _: c_int) -> c_int {
    SQLITE_IOERR
}

unsafe extern "C" fn access(
    _: *mut sqlite3_vfs,
    _: *const c_char,
    _: c_int,
    there: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands a place for the answer.
    unsafe { *there = 0 };
    SQLITE_OK
}

unsafe extern "C" fn full_path_name(
    _: *mut sqlite3_vfs,
    _: *const c_char,
    room: c_int,
    path: *mut c_char,
) -> c_int {
    if room < 1 {
        return SQLITE_CANTOPEN;
    }
    // SAFETY: SQLite hands `room` bytes.
    unsafe { *path = 0 };
    SQLITE_OK
}

unsafe extern "C" fn randomness(_: *mut sqlite3_vfs, length: c_int, bytes: *mut c_char) -> c_int {
    // SAFETY: SQLite hands `length` bytes.
    unsafe { bytes.write_bytes(0, usize::try_from(length).unwrap_or_default()) };
    length
}

unsafe extern "C" fn sleep(_: *mut sqlite3_vfs, _: c_int) -> c_int {
    0
}

unsafe extern "C" fn current_time(_: *mut sqlite3_vfs, _: *mut f64) -> c_int {
    SQLITE_ERROR
}

unsafe extern "C" fn current_time_int64(_: *mut sqlite3_vfs, _: *mut sqlite3_int64) -> c_int {
    SQLITE_ERROR
}
