//! Where this call stands: the binding's settings and facts about the call. Open to everyone.

use serde::de::DeserializeOwned;

use crate::bindings::ampoule::plugin::context;
use crate::{Error, Result, host};

/// The settings of the binding. `export!(…; settings: Settings)` puts their schema into the
/// manifest, so that they are checked when the binding is made. Natively: those of `{}`.
///
/// # Errors
/// `invalid-data` where they do not fit `T`.
pub fn settings<T: DeserializeOwned>() -> Result<T> {
    let settings = if host::PRESENT { context::settings() } else { "{}".into() };
    serde_json::from_str(&settings).map_err(|error| {
        Error::invalid_data(format!("the settings of this binding are wrong: {error}"))
    })
}

/// A fact about this call. Known keys: `call` (its id), `run`, `binding`, `principal`, `deadline`
/// (milliseconds since 1970 by the call's own clock), `locale` (BCP 47), `session`. `None` where
/// it does not apply, and natively.
pub fn get(key: &str) -> Option<String> {
    if host::PRESENT { context::get(key) } else { None }
}
