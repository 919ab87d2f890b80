//! Whether there is a host to call.

use crate::{Error, Result};

/// True in Wasm. Natively, in unit tests, there is no host: imports that can fail answer
/// `unavailable`, the others answer as for a call without settings that nobody watches.
pub(crate) const PRESENT: bool = cfg!(target_arch = "wasm32");

/// Bytes to ask for at once: as many as the host gives.
pub(crate) const CHUNK: u64 = 1 << 20;

/// Refuses an import where there is no host.
pub(crate) fn require(import: &str) -> Result<()> {
    if PRESENT {
        return Ok(());
    }
    Err(Error::unavailable(format!("`{import}` needs the Ampoule host; this code runs natively")))
}
