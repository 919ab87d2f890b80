//! Randomness fit for keys. Capability `random`. A recorded call replays the same bytes.

use crate::bindings::ampoule::plugin::random;
use crate::{Result, host};

/// As many random bytes as `buffer` holds.
///
/// # Errors
/// `denied` without the capability.
pub fn fill(buffer: &mut [u8]) -> Result<()> {
    host::require("random")?;
    // The contract gives at most this many at once.
    for part in buffer.chunks_mut(65_536) {
        part.copy_from_slice(&random::bytes(part.len() as u32)?);
    }
    Ok(())
}

/// A random number, each equally likely.
///
/// # Errors
/// `denied` without the capability.
pub fn u64() -> Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
