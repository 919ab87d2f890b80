//! `random`: randomness fit for keys.

use ampoule_contract::ToolError;
use wasmtime::component::HasSelf;

use super::{Host, answer, granted};
use crate::bindings::ampoule::plugin::random;
use crate::bindings::ampoule::plugin::types::Error;
use crate::grants::Grants;
use crate::limits::price;
use crate::state::CallState;

/// The most bytes one call gives.
const MAX_BYTES: u32 = 65_536;

impl random::Host for CallState {}

impl random::HostWithStore<CallState> for HasSelf<CallState> {
    fn bytes(mut host: Host<'_>, length: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let fuel = price::WORK + price::bytes(length.min(MAX_BYTES) as usize);
        granted!(host, fuel, Grants::random);
        if length > MAX_BYTES {
            let message = format!("{length} random bytes at once; at most {MAX_BYTES}");
            return answer(Err(ToolError::new("too-large", message)));
        }
        let mut bytes = vec![0; length as usize];
        getrandom::fill(&mut bytes)
            .map_err(|error| crate::host::fault(format!("no randomness: {error}")))?;
        Ok(Ok(bytes))
    }
}
