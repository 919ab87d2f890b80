//! Differences between two texts, with the crate `similar`: as a unified diff that `patch` (this
//! plugin's, with the crate `diffy`, or any other) applies, as a list of changes, or marked in the
//! text.
//!
//! There is no deadline by a clock. The number of tokens is bounded, and on hard inputs the search
//! settles for a good difference rather than the smallest, as git does.
//!
//! Lines end at `\n` alone, as for `diff` and `git`; a lone `\r` is part of its line. With
//! `whitespace` other than `exact` it is a line end too.

mod comparing;
mod patching;

use ampoule_sdk::prelude::*;

use comparing::{diff, similarity};
use patching::patch;

export!(diff, similarity, patch);
