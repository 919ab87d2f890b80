//! Brings JSON values together: merges objects, combines lists, and sorts, groups and thins out the
//! items of one.
//!
//! Three tools, because that is how a caller thinks of it: what to do with objects, with several
//! lists, and with one. All of them are stable and depend on nothing but their arguments. Values
//! are compared as RFC 8785 writes them, so that 1 and 1.0 are equal and the order of members does
//! not matter.

mod arranging;
mod combining;
mod merging;

use ampoule_sdk::prelude::*;

use crate::arranging::arrange;
use crate::combining::lists;
use crate::merging::objects;

/// How many items there are where the caller names no number.
pub(crate) const DEFAULT_LIMIT: u32 = 1000;

pub(crate) fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

export!(objects, lists, arrange);
