//! Where limits act inside a call: memory and tables as they grow, fuel and counts at every
//! host call, and the reading of which limit it was that ended a call.
//!
//! What limits there are, their units and defaults, and the accounts that count, stand in
//! [`ampoule_contract::limits`].

use std::sync::Arc;

use ampoule_contract::{Account, Breach, Limits, Meter};
use wasmtime::{ResourceLimiter, Trap};

/// Fuel a host call costs beside the bytes it moves, in the unit of guest instructions: about
/// what the guest could have computed in the same time.
pub(crate) mod price {
    /// A call that only looks something up.
    pub(crate) const LOOK: u64 = 500;
    /// A call that does work: writes a line, draws random bytes, opens a blob.
    pub(crate) const WORK: u64 = 2_000;
    /// A call that leaves the process, a thread or the instance: files, requests, tools, models.
    pub(crate) const LEAVE: u64 = 20_000;

    /// Moving `n` bytes between guest and host.
    pub(crate) const fn bytes(n: usize) -> u64 {
        n as u64 / 4
    }
}

/// Core instances of one component instance; CPython has 14.
const MAX_INSTANCES: usize = 64;

/// Counts memories and tables of one call as they grow, all of them together.
pub(crate) struct Limiter {
    account: Arc<Account>,
    memory: u64,
    elements: u64,
}

impl Limiter {
    pub(crate) fn new(account: Arc<Account>) -> Limiter {
        Limiter { account, memory: 0, elements: 0 }
    }

    /// For code that is run while its plugin is made, on no account.
    pub(crate) fn of(memory: u64) -> Limiter {
        let elements = Meter::TableElements.default_limit();
        let limits = Limits::UNLIMITED.with(Meter::Memory, memory);
        Limiter::new(Account::root(limits.with(Meter::TableElements, elements)))
    }

    /// Bytes of all memories now.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    /// Goes on with what an instance has already, for a call with another account.
    ///
    /// # Errors
    /// It is more than this call may have.
    pub(crate) fn pass_on(&self, account: Arc<Account>) -> Result<Limiter, Breach> {
        for (meter, has) in [(Meter::Memory, self.memory), (Meter::TableElements, self.elements)] {
            let limit = account.limits().get(meter);
            if has > limit {
                return Err(Breach { meter, limit, above: false });
            }
            account.peak(meter, has);
        }
        Ok(Limiter { account, memory: self.memory, elements: self.elements })
    }

    fn grow(
        &self,
        meter: Meter,
        total: u64,
        current: usize,
        desired: usize,
    ) -> wasmtime::Result<u64> {
        let sum = total + (desired as u64).saturating_sub(current as u64);
        let limit = self.account.limits().get(meter);
        if sum > limit {
            return Err(Breach { meter, limit, above: false }.into());
        }
        Ok(sum)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.grow(Meter::Memory, self.memory, current, desired)?;
        let may = may_grow(desired, maximum, &mut self.memory, total);
        self.account.peak(Meter::Memory, self.memory);
        Ok(may)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.grow(Meter::TableElements, self.elements, current, desired)?;
        let may = may_grow(desired, maximum, &mut self.elements, total);
        self.account.peak(Meter::TableElements, self.elements);
        Ok(may)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_INSTANCES
    }
}

/// Within our limit, the module's own maximum still holds; beyond it the guest is told that
/// growing failed, as WebAssembly has it.
fn may_grow(desired: usize, maximum: Option<usize>, counted: &mut u64, total: u64) -> bool {
    let may = maximum.is_none_or(|maximum| desired <= maximum);
    if may {
        *counted = total;
    }
    may
}

/// The limit behind an error of the engine, if it was one.
///
/// Most are typed. Two the engine tells only in words: the bytes of one host call, and the
/// number of handles; the words are recognised here and nowhere else, and a test holds them.
pub(crate) fn breach(error: &wasmtime::Error, account: &Account) -> Option<Breach> {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        return Some(breach.clone());
    }
    let of = |meter: Meter| Breach { meter, limit: account.limits().get(meter), above: false };
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Some(of(Meter::Fuel)),
        Some(Trap::StackOverflow) => {
            return Some(Breach {
                limit: crate::engine::GUEST_STACK_BYTES as u64,
                ..of(Meter::Stack)
            });
        }
        _ => {}
    }
    if let Some(wasmtime::component::ResourceTableError::Full) = error.downcast_ref() {
        return Some(of(Meter::Handles));
    }
    let words = error.root_cause().to_string();
    if words.contains(HOST_CALL_BYTES_WORDS) {
        Some(of(Meter::HostCallBytes))
    } else if words.contains(HANDLES_WORDS) {
        Some(of(Meter::Handles))
    } else {
        None
    }
}

/// What the engine says when one host call hands over more than `set_hostcall_fuel` allows.
const HOST_CALL_BYTES_WORDS: &str = "too much data is being copied between the host and the guest";

/// What the engine says when a guest holds more handles than `set_max_component_handles` allows.
const HANDLES_WORDS: &str = "store handle limit exceeded";
