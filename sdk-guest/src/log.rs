//! Lines for the operator. Open to everyone; natively they go nowhere.

use serde::Serialize;

pub use crate::bindings::ampoule::plugin::log::Level;

use crate::bindings::ampoule::plugin::log;
use crate::host;

/// Writes a line with structured details, an object.
pub fn write(level: Level, message: &str, fields: &impl Serialize) {
    line(level, message, serde_json::to_string(fields).ok());
}

pub(crate) fn line(level: Level, message: &str, fields: Option<String>) {
    if host::PRESENT {
        log::log(level, message, fields.as_deref());
    }
}

macro_rules! levels {
    ($($(#[$doc:meta])* $name:ident = $level:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(message: impl AsRef<str>) {
                line(Level::$level, message.as_ref(), None);
            }
        )*
    };
}

levels! {
    /// For whoever follows each step.
    trace = Trace;
    /// For whoever looks for a fault.
    debug = Debug;
    /// For the record.
    info = Info;
    /// Something is odd, the call goes on.
    warn = Warn;
    /// Something failed.
    error = Error;
}
