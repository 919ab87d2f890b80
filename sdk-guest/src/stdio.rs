//! What Rust's standard library would ask WASI for: what is printed goes to the log, and there is
//! no environment.
//!
//! `write` and `getenv` are the two functions of the C library through which `println!`, the
//! message of an abort and the look for `RUST_BACKTRACE` reach a dozen WASI interfaces. Defined
//! here, the linker takes these, and a plugin imports no WASI unless its author asks for it.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

use crate::log::{self, Level};

/// `EBADF` of wasi-libc.
const BAD_DESCRIPTOR: c_int = 8;

unsafe extern "C" {
    /// A plain variable: plugins have one thread.
    static mut errno: c_int;
}

thread_local! {
    /// What was printed since the last end of a line.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Prints to the log; there is nothing else to write to.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(descriptor: c_int, bytes: *const c_void, count: usize) -> isize {
    let level = match descriptor {
        1 => Level::Info,
        2 => Level::Error,
        _ => {
            // SAFETY: one thread, and no reference to it is ever made.
            unsafe { errno = BAD_DESCRIPTOR };
            return -1;
        }
    };
    if count == 0 {
        return 0;
    }
    // SAFETY: that `bytes` points to `count` bytes is the contract of `write`.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count) };
    LINE.with_borrow_mut(|line| {
        line.extend(bytes);
        if line.ends_with(b"\n") {
            log::line(level, String::from_utf8_lossy(line).trim(), None);
            line.clear();
        }
    });
    count as isize
}

/// There is no environment.
#[unsafe(no_mangle)]
extern "C" fn getenv(_name: *const c_char) -> *mut c_char {
    null_mut()
}
