//! `progress`: signs of life for the caller.

use ampoule_contract::{CallEvent, Meter, Signal};
use wasmtime::component::HasSelf;

use super::{Gate, Host, block_bytes};
use crate::bindings::ampoule::plugin::progress;
use crate::bindings::ampoule::plugin::types::Block;
use crate::limits::price;
use crate::state::CallState;

impl progress::Host for CallState {}

impl progress::HostWithStore<CallState> for HasSelf<CallState> {
    fn report(
        mut host: Host<'_>,
        done: f64,
        total: Option<f64>,
        mut message: Option<String>,
    ) -> wasmtime::Result<progress::Signal> {
        let bytes = message.as_ref().map_or(0, String::len);
        host.enter(price::WORK + price::bytes(bytes))?;
        let call = &host.get().call;
        call.account.charge(Meter::EventBytes, bytes as u64 + 16)?;
        call.clean("a progress message", |cleaner| cleaner.texts([&mut message]));
        Ok(signal(call.event(CallEvent::Progress { done, total, message })))
    }

    fn emit(mut host: Host<'_>, block: Block) -> wasmtime::Result<progress::Signal> {
        let bytes = block_bytes(&block);
        host.enter(price::WORK + price::bytes(bytes as usize))?;
        let call = &host.get().call;
        call.account.charge(Meter::EventBytes, bytes)?;
        let mut block = block.into();
        call.clean("an emitted block", |cleaner| cleaner.block(&mut block));
        Ok(signal(call.event(CallEvent::Block { block })))
    }
}

fn signal(signal: Signal) -> progress::Signal {
    match signal {
        Signal::Proceed => progress::Signal::Proceed,
        Signal::Stop => progress::Signal::Stop,
    }
}
