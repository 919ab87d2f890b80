//! What plugins import, one file an interface of `wit/`, and the gate at the entrance of each.
//!
//! The first line of every function is a gate: [`Gate::granted`] asks the grants before anything
//! else, then charges the host call and its fuel; [`Gate::enter`] is for the four interfaces
//! everyone may have. Sizes a guest names are bounded before the host allocates.

pub(crate) mod ask;
pub(crate) mod blobs;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod llm;
mod loan;
pub(crate) mod log;
pub(crate) mod pending;
pub(crate) mod progress;
pub(crate) mod random;
pub(crate) mod secrets;
pub(crate) mod tools;
pub(crate) mod wasi;

use std::sync::atomic::Ordering;

use ampoule_contract::{Block, Breach, Denial, Meter, ToolError};
use wasmtime::component::{Access, HasSelf, Linker};
use wasmtime::{AsContextMut, Engine};

use crate::bindings::ampoule::plugin::types;
use crate::bindings::ampoule::{llm as llm_wit, plugin as wit};
use crate::grants::Grants;
use crate::replay;
use crate::state::CallState;

/// How an import meets the store.
pub(crate) type Host<'a> = Access<'a, CallState, HasSelf<CallState>>;

/// A linker with everything a plugin can import. Whether a call may use an import is asked at
/// each use, so one linker serves all bindings.
///
/// # Errors
/// Two imports have the same name: a fault of the host.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = replay::Linker::new(engine, |state| state);
    macro_rules! add {
        ($($interface:path),* $(,)?) => {{
            $({
                use $interface as interface;
                interface::add_to_linker::<CallState, HasSelf<CallState>>(&mut linker, |state| state)?;
            })*
        }};
    }
    add!(
        wit::types,
        wit::context,
        wit::log,
        wit::progress,
        wit::blobs,
        wit::clock,
        wit::random,
        wit::http,
        wit::secrets,
        wit::files,
        wit::tools,
        wit::ask,
        llm_wit::llm,
        llm_wit::waiting,
    );
    wasi::add_to_linker(linker.inner())?;
    replay::add_wasi(&mut linker)?;
    Ok(linker.into_inner())
}

impl types::Host for CallState {}

/// The gate at the entrance of every import.
pub(crate) trait Gate {
    /// Counts the call and charges `fuel`, for interfaces that everyone may use.
    ///
    /// # Errors
    /// A limit, which ends the call.
    fn enter(&mut self, fuel: u64) -> wasmtime::Result<()>;

    /// Asks `check` of the grants first, then counts and charges; a refusal is charged too, so
    /// that asking forever ends.
    ///
    /// # Errors
    /// Outside: a limit, which ends the call. Inside: the refusal, which the guest sees.
    fn granted(
        &mut self,
        fuel: u64,
        check: impl FnOnce(&Grants) -> Result<(), Denial>,
    ) -> wasmtime::Result<Result<(), types::Error>>;

    /// The fuel the guest has left.
    ///
    /// # Errors
    /// None while fuel is on, which it always is.
    fn fuel(&mut self) -> wasmtime::Result<u64>;

    /// Sets the fuel the guest has left.
    ///
    /// # Errors
    /// None while fuel is on, which it always is.
    fn set_fuel(&mut self, fuel: u64) -> wasmtime::Result<()>;
}

impl Gate for Host<'_> {
    fn enter(&mut self, fuel: u64) -> wasmtime::Result<()> {
        let refund = self.get().call.refund.swap(0, Ordering::AcqRel);
        let left = self.as_context_mut().get_fuel()?.saturating_add(refund);
        let account = &self.get().call.account;
        account.charge(Meter::HostCalls, 1)?;
        let Some(rest) = left.checked_sub(fuel) else {
            let limit = account.limits().get(Meter::Fuel);
            // What the guest had left is used up too: the receipt says the whole limit.
            self.as_context_mut().set_fuel(0)?;
            return Err(Breach { meter: Meter::Fuel, limit, above: false }.into());
        };
        self.as_context_mut().set_fuel(rest)
    }

    fn granted(
        &mut self,
        fuel: u64,
        check: impl FnOnce(&Grants) -> Result<(), Denial>,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        let refused = check(&self.get().call.grants).err();
        self.enter(fuel)?;
        Ok(match refused {
            None => Ok(()),
            Some(denial) => Err(self.get().call.deny(denial)),
        })
    }

    fn fuel(&mut self) -> wasmtime::Result<u64> {
        let refund = self.get().call.refund.swap(0, Ordering::AcqRel);
        let left = self.as_context_mut().get_fuel()?.saturating_add(refund);
        self.set_fuel(left)?;
        Ok(left)
    }

    fn set_fuel(&mut self, fuel: u64) -> wasmtime::Result<()> {
        self.as_context_mut().set_fuel(fuel)
    }
}

/// The gate as a statement: goes on where it is open, returns the refusal where not.
macro_rules! granted {
    ($host:ident, $fuel:expr, $check:expr) => {
        if let Err(refused) = $crate::imports::Gate::granted(&mut $host, $fuel, $check)? {
            return Ok(Err(refused));
        }
    };
}
pub(crate) use granted;

/// A result of host code as the guest sees it.
pub(crate) fn answer<T>(result: Result<T, ToolError>) -> wasmtime::Result<Result<T, types::Error>> {
    Ok(result.map_err(types::Error::from))
}

impl From<ToolError> for types::Error {
    fn from(error: ToolError) -> types::Error {
        types::Error {
            code: error.code,
            message: error.message,
            // What is for the operator stays with the operator.
            log: None,
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms,
            data: error.data.map(|data| data.to_string()),
        }
    }
}

impl From<types::Error> for ToolError {
    fn from(error: types::Error) -> ToolError {
        ToolError {
            code: error.code,
            message: error.message,
            log: error.log,
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms,
            data: error.data.and_then(|data| crate::json::parse(&data).ok()),
        }
    }
}

impl From<types::Block> for Block {
    fn from(block: types::Block) -> Block {
        Block {
            kind: block.kind,
            media_type: block.media_type,
            text: block.text,
            data: block.data,
            blob: block.blob,
            uri: block.uri,
            meta: block.meta.and_then(|meta| crate::json::parse(&meta).ok()),
        }
    }
}

impl From<Block> for types::Block {
    fn from(block: Block) -> types::Block {
        types::Block {
            kind: block.kind,
            media_type: block.media_type,
            text: block.text,
            data: block.data,
            blob: block.blob,
            uri: block.uri,
            meta: block.meta.map(|meta| meta.to_string()),
        }
    }
}

/// Bytes of a block, for the meters that count them.
pub(crate) fn block_bytes(block: &types::Block) -> u64 {
    let texts = [&block.media_type, &block.text, &block.blob, &block.uri, &block.meta];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    (texts + block.kind.len() + block.data.as_ref().map_or(0, Vec::len)) as u64
}
