//! The allocator of the process.

use mimalloc::MiMalloc;

/// A call allocates and frees some hundreds of small things, and another thread frees part of them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` of mimalloc 2, whose bindings leave it out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How long freed memory is kept before the system has it back. mimalloc's own 10 ms are too short
/// where calls follow each other: the next ones take it again, with a page fault for each page.
const KEPT_MS: std::ffi::c_long = 100;

/// Sets how long freed memory is kept, where `MIMALLOC_PURGE_DELAY` does not.
pub(crate) fn keep_what_is_freed() {
    // SAFETY: it stores a number among the allocator's options, which any thread may do at any time.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, KEPT_MS) }
}
