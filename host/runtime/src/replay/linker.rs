//! The one place where recording and replaying meet host calls: a linker that stands between the
//! generated bindings and the engine's.
//!
//! `bindings.rs` is generated against [`interposed`] in place of `wasmtime`, and WASI is defined on it
//! by [`wasi`](super::wasi). What is handed to this linker is passed on to the engine wrapped: a call
//! without a tape goes straight on, after one branch; with one, the host call is recorded, or answered
//! from the recording without being made.

use std::sync::Arc;

use ampoule_contract::Meter;
use wasmtime::{AsContextMut, StoreContextMut};

use super::tape::{Asked, Tape, Turn};
use super::wire::Wire;
use crate::state::CallState;

/// `wasmtime` with a linker of its own.
pub(crate) mod interposed {
    pub use wasmtime::*;

    pub mod component {
        pub use super::super::{Linker, LinkerInstance};
        pub use wasmtime::component::*;
    }
}

/// Where the state of a call is found.
type State<T> = fn(&mut T) -> &mut CallState;

/// The engine's linker, of functions that can be recorded.
pub struct Linker<T: 'static> {
    inner: wasmtime::component::Linker<T>,
    state: State<T>,
}

/// One interface of a [`Linker`].
pub struct LinkerInstance<'a, T: 'static> {
    inner: wasmtime::component::LinkerInstance<'a, T>,
    /// Its name without the version.
    interface: String,
    state: State<T>,
}

impl<T: 'static> Linker<T> {
    pub(crate) fn new(engine: &wasmtime::Engine, state: State<T>) -> Linker<T> {
        Linker { inner: wasmtime::component::Linker::new(engine), state }
    }

    /// The engine's, for what is not recorded.
    pub(crate) fn inner(&mut self) -> &mut wasmtime::component::Linker<T> {
        &mut self.inner
    }

    pub(crate) fn into_inner(self) -> wasmtime::component::Linker<T> {
        self.inner
    }

    /// An interface to define.
    pub fn instance(&mut self, name: &str) -> wasmtime::Result<LinkerInstance<'_, T>> {
        let interface = name.split('@').next().unwrap_or(name).to_owned();
        Ok(LinkerInstance { inner: self.inner.instance(name)?, interface, state: self.state })
    }

    /// As the engine's.
    #[allow(dead_code, reason = "for generated code that is there and not called")]
    pub fn instantiate_pre(
        &self,
        component: &wasmtime::component::Component,
    ) -> wasmtime::Result<wasmtime::component::InstancePre<T>> {
        self.inner.instantiate_pre(component)
    }
}

/// The tape of a call, if it has one.
fn tape<T>(caller: &mut StoreContextMut<'_, T>, state: State<T>) -> Option<Arc<Tape>> {
    state(caller.data_mut()).call.tape.get().cloned()
}

/// Leaves a mark where a host call is dropped before it is over.
struct Under<'a> {
    tape: &'a Tape,
    asked: Option<Asked>,
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.tape.note_cut(asked);
        }
    }
}

/// What a host call comes to in a replay.
enum Played<R> {
    Result(R),
    /// The call was cancelled here.
    Cancelled,
}

/// Answers a host call from the tape.
fn play<T, R: Wire>(
    caller: &mut StoreContextMut<'_, T>,
    state: State<T>,
    tape: &Tape,
    asked: &Asked,
    fuel: u64,
) -> wasmtime::Result<Played<R>> {
    let call = state(caller.data_mut()).call.clone();
    match tape.turn(asked, Some(&call.account))? {
        Turn::Answer { cost, result } => {
            let left = match cost {
                0.. => fuel.saturating_sub(cost.unsigned_abs()),
                // What called tools left over comes back, so there is never more than at first.
                _ => fuel
                    .saturating_add(cost.unsigned_abs())
                    .min(call.account.limits().get(Meter::Fuel)),
            };
            caller.set_fuel(left)?;
            let table = &mut state(caller.data_mut()).table;
            result.and_then(|bytes| tape.read(asked, &bytes, table)).map(Played::Result)
        }
        Turn::Cut { left, breach } => {
            caller.set_fuel(left)?;
            match breach {
                Some(breach) => Err(breach.into()),
                None => {
                    call.context.cancel.cancel();
                    Ok(Played::Cancelled)
                }
            }
        }
    }
}

/// Writes what a host call came to on the tape.
fn note<T, R: Wire>(
    caller: &mut StoreContextMut<'_, T>,
    state: State<T>,
    tape: &Tape,
    asked: Asked,
    result: wasmtime::Result<R>,
) -> wasmtime::Result<R> {
    let fuel = caller.get_fuel()?;
    let call = &state(caller.data_mut()).call;
    // A limit that WASI's own code met ends the call here, so that it does so again.
    let result = call.breach.now().map_or(result, |breach| Err(breach.into()));
    tape.note(asked, fuel, &call.account, &result);
    result
}

impl<T: 'static> LinkerInstance<'_, T> {
    /// Defines a function.
    ///
    /// # Errors
    /// The name is taken.
    pub fn func_wrap<F, Params, Return>(&mut self, name: &str, func: F) -> wasmtime::Result<()>
    where
        F: Fn(StoreContextMut<'_, T>, Params) -> wasmtime::Result<Return> + Send + Sync + 'static,
        Params:
            wasmtime::component::ComponentNamedList + wasmtime::component::Lift + Wire + 'static,
        Return:
            wasmtime::component::ComponentNamedList + wasmtime::component::Lower + Wire + 'static,
    {
        let (state, full) = (self.state, format!("{}.{name}", self.interface));
        self.inner.func_wrap(name, move |mut caller: StoreContextMut<'_, T>, params: Params| {
            let Some(tape) = tape(&mut caller, state) else { return func(caller, params) };
            let fuel = caller.get_fuel()?;
            let asked = tape.asked(&full, &params, fuel);
            if tape.plays() {
                return match play(&mut caller, state, &tape, &asked, fuel)? {
                    Played::Result(result) => Ok(result),
                    Played::Cancelled => Err(crate::host::fault("cancelled in the recording")),
                };
            }
            let result = func(caller.as_context_mut(), params);
            note(&mut caller, state, &tape, asked, result)
        })
    }

    /// Defines a function that waits.
    ///
    /// # Errors
    /// The name is taken.
    pub fn func_wrap_async<Params, Return, F>(
        &mut self,
        name: &str,
        func: F,
    ) -> wasmtime::Result<()>
    where
        T: Send,
        F: Fn(
                StoreContextMut<'_, T>,
                Params,
            ) -> Box<dyn Future<Output = wasmtime::Result<Return>> + Send + '_>
            + Send
            + Sync
            + 'static,
        Params: wasmtime::component::ComponentNamedList
            + wasmtime::component::Lift
            + Wire
            + Send
            + 'static,
        Return: wasmtime::component::ComponentNamedList
            + wasmtime::component::Lower
            + Wire
            + Send
            + 'static,
    {
        let (state, func) = (self.state, Arc::new(func));
        let full: Arc<str> = format!("{}.{name}", self.interface).into();
        self.inner.func_wrap_async(
            name,
            move |mut caller: StoreContextMut<'_, T>, params: Params| {
                let Some(tape) = tape(&mut caller, state) else { return func(caller, params) };
                let (func, full) = (func.clone(), full.clone());
                Box::new(async move {
                    let fuel = caller.get_fuel()?;
                    let asked = tape.asked(&full, &params, fuel);
                    if tape.plays() {
                        return match play(&mut caller, state, &tape, &asked, fuel)? {
                            Played::Result(result) => Ok(result),
                            // The call ends here by its token.
                            Played::Cancelled => std::future::pending().await,
                        };
                    }
                    let mut under = Under { tape: &tape, asked: Some(asked) };
                    let work = Box::into_pin(func(caller.as_context_mut(), params));
                    let result = work.await;
                    match under.asked.take() {
                        Some(asked) => note(&mut caller, state, &tape, asked, result),
                        None => result,
                    }
                })
            },
        )
    }

    /// Defines a resource. In a replay there is nothing behind its handles to be dropped; that
    /// dropping one ended the call is recorded.
    ///
    /// # Errors
    /// The name is taken.
    pub fn resource(
        &mut self,
        name: &str,
        ty: wasmtime::component::ResourceType,
        drop: impl Fn(StoreContextMut<'_, T>, u32) -> wasmtime::Result<()> + Send + Sync + 'static,
    ) -> wasmtime::Result<()> {
        let (state, full) = (self.state, format!("{}.[drop]{name}", self.interface));
        self.inner.resource(name, ty, move |mut caller, rep| {
            let Some(tape) = tape(&mut caller, state) else { return drop(caller, rep) };
            let fuel = caller.get_fuel()?;
            if tape.plays() {
                return match drop_again(&mut caller, state, &tape, &full, fuel)? {
                    Played::Result(()) => Ok(()),
                    Played::Cancelled => Err(crate::host::fault("cancelled in the recording")),
                };
            }
            let asked = tape.asked(&full, &(), fuel);
            let result = drop(caller.as_context_mut(), rep);
            note_drop(&mut caller, state, &tape, asked, result)
        })
    }

    /// Defines a resource whose dropping waits.
    ///
    /// # Errors
    /// The name is taken.
    pub fn resource_async<F>(
        &mut self,
        name: &str,
        ty: wasmtime::component::ResourceType,
        drop: F,
    ) -> wasmtime::Result<()>
    where
        T: Send,
        F: Fn(
                StoreContextMut<'_, T>,
                u32,
            ) -> Box<dyn Future<Output = wasmtime::Result<()>> + Send + '_>
            + Send
            + Sync
            + 'static,
    {
        let (state, drop) = (self.state, Arc::new(drop));
        let full: Arc<str> = format!("{}.[drop]{name}", self.interface).into();
        self.inner.resource_async(name, ty, move |mut caller: StoreContextMut<'_, T>, rep| {
            let Some(tape) = tape(&mut caller, state) else { return drop(caller, rep) };
            let (drop, full) = (drop.clone(), full.clone());
            Box::new(async move {
                let fuel = caller.get_fuel()?;
                if tape.plays() {
                    return match drop_again(&mut caller, state, &tape, &full, fuel)? {
                        Played::Result(()) => Ok(()),
                        // The call ends here by its token.
                        Played::Cancelled => std::future::pending().await,
                    };
                }
                let asked = tape.asked(&full, &(), fuel);
                let mut under = Under { tape: &tape, asked: Some(asked) };
                let result = Box::into_pin(drop(caller.as_context_mut(), rep)).await;
                match under.asked.take() {
                    Some(asked) => note_drop(&mut caller, state, &tape, asked, result),
                    None => result,
                }
            })
        })
    }
}

/// Drops a handle in a replay, of which the tape knows something only where it ended the call.
fn drop_again<T>(
    caller: &mut StoreContextMut<'_, T>,
    state: State<T>,
    tape: &Tape,
    name: &str,
    fuel: u64,
) -> wasmtime::Result<Played<()>> {
    if !tape.is_next(name) {
        return Ok(Played::Result(()));
    }
    let asked = tape.asked(name, &(), fuel);
    play(caller, state, tape, &asked, fuel)
}

/// Writes on the tape that dropping a handle ended the call.
fn note_drop<T>(
    caller: &mut StoreContextMut<'_, T>,
    state: State<T>,
    tape: &Tape,
    asked: Asked,
    result: wasmtime::Result<()>,
) -> wasmtime::Result<()> {
    match result {
        Ok(()) => Ok(()),
        ended => note(caller, state, tape, asked, ended),
    }
}
