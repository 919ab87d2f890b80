//! Looks at pictures and changes them: PNG, JPEG, GIF, WebP and BMP.
//!
//! The size that a file's head names is bounded before anything is decoded, so that a small file
//! cannot become a large picture. Of a moving picture the first frame is taken. WebP is written
//! without loss, which is what the library offers. A picture that is written keeps its colour
//! profile and nothing else: no EXIF, no place where it was taken.

mod changing;
mod looking;
mod reading;
mod writing;

use ampoule_sdk::prelude::*;

use changing::transform;
use looking::info;

export!(info, transform);
