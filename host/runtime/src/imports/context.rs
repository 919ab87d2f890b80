//! `context`: where this call stands.

use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::component::HasSelf;

use super::{Gate, Host};
use crate::bindings::ampoule::plugin::context;
use crate::limits::price;
use crate::state::CallState;

impl context::Host for CallState {}

impl context::HostWithStore<CallState> for HasSelf<CallState> {
    fn settings(mut host: Host<'_>) -> wasmtime::Result<String> {
        let bytes = host.get().call.binding.settings.len();
        host.enter(price::LOOK + price::bytes(bytes))?;
        Ok(host.get().call.binding.settings.clone())
    }

    fn get(mut host: Host<'_>, key: String) -> wasmtime::Result<Option<String>> {
        host.enter(price::LOOK)?;
        let call = &host.get().call;
        Ok(match key.as_str() {
            "call" => Some(call.id.clone()),
            "run" => call.context.run.clone(),
            "binding" => Some(call.binding.name.clone()),
            "principal" => call.context.principal.clone(),
            "session" => call.context.session.as_ref().map(|session| session.id.clone()),
            "locale" => call.context.locale.clone(),
            "deadline" => {
                let at = SystemTime::now() + call.deadline.left();
                at.duration_since(UNIX_EPOCH).ok().map(|time| time.as_millis().to_string())
            }
            _ => None,
        })
    }
}
