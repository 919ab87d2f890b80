//! Fuel that a guest lends to work it begins: a tool, a model's connector.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ampoule_contract::{Account, Limits, Meter};
use tokio::sync::OwnedRwLockReadGuard;

use super::{Gate, Host};
use crate::state::Running;

/// How much of what the guest has left it lends.
#[derive(Clone, Copy)]
pub(super) enum Share {
    /// All of it: the guest waits.
    All,
    /// A part, because the guest goes on meanwhile and may begin more: a third, a quarter where
    /// one loan is out already, and so on. What is left after `n` loans is `2 / (n + 2)` of all.
    Part,
}

/// Fuel taken from a guest, with the account of the work it is for. When the loan is dropped,
/// what the account has not used goes back to the guest at its next host call.
pub(super) struct Loan {
    /// Draws from the caller's account in everything but fuel, of which it has what was lent.
    pub(super) account: Arc<Account>,
    fuel: u64,
    caller: Arc<Running>,
    /// Goes last: the caller waits for it before it settles.
    _underway: Option<OwnedRwLockReadGuard<()>>,
}

impl Loan {
    /// Lends a share of what the guest has left, at most `most`.
    ///
    /// # Errors
    /// None while fuel is on, which it always is.
    pub(super) fn take(
        host: &mut Host<'_>,
        caller: &Arc<Running>,
        most: u64,
        share: Share,
    ) -> wasmtime::Result<Loan> {
        let left = host.fuel()?;
        let loans = caller.loans.fetch_add(1, Ordering::AcqRel);
        let fuel = most.min(match share {
            Share::All => left,
            Share::Part => left / (3 + loans),
        });
        if let Err(error) = host.set_fuel(left - fuel) {
            caller.loans.fetch_sub(1, Ordering::AcqRel);
            return Err(error);
        }
        let limits = Limits::UNLIMITED.with(Meter::Fuel, fuel);
        let account = caller.account.child_apart(limits, Meter::Fuel);
        let _underway = caller.underway.clone().try_read_owned().ok();
        Ok(Loan { account, fuel, caller: caller.clone(), _underway })
    }

    /// The account of the call whose guest lends.
    pub(super) fn caller_account(&self) -> &Account {
        &self.caller.account
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let unused = self.fuel.saturating_sub(self.account.used(Meter::Fuel));
        self.caller.give_back(unused);
        self.caller.loans.fetch_sub(1, Ordering::AcqRel);
    }
}
