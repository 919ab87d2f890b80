//! Signs of life for the caller while the call runs. Open to everyone.

pub use crate::bindings::ampoule::plugin::progress::Signal;

use crate::bindings::ampoule::plugin::progress;
use crate::{Block, host};

/// Reports how far the work is, in a unit of the plugin's choice, and answers what the caller
/// wants next: [`Signal::Stop`] asks to finish soon with what there is. Natively: `Proceed`.
pub fn report(done: f64, total: Option<f64>, message: Option<&str>) -> Signal {
    if host::PRESENT { progress::report(done, total, message) } else { Signal::Proceed }
}

/// Hands out a piece of content now, before the call ends. Answers as [`report`].
pub fn emit(block: Block) -> Signal {
    if host::PRESENT { progress::emit(&block.into()) } else { Signal::Proceed }
}
