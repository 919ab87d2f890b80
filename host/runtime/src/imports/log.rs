//! `log`: lines for the operator.

use ampoule_contract::{CallEvent, Meter};
use wasmtime::component::HasSelf;

use super::{Gate, Host};
use crate::bindings::ampoule::plugin::log::{self, Level};
use crate::limits::price;
use crate::state::{CallState, Running};

impl log::Host for CallState {}

impl log::HostWithStore<CallState> for HasSelf<CallState> {
    fn log(
        mut host: Host<'_>,
        level: Level,
        message: String,
        fields: Option<String>,
    ) -> wasmtime::Result<()> {
        let bytes = message.len() + fields.as_ref().map_or(0, String::len);
        host.enter(price::WORK + price::bytes(bytes))?;
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        write(&host.get().call, level, message, fields)
    }
}

/// Writes a guest's line to the operator's log and to whoever listens to the call.
///
/// # Errors
/// The limit of log bytes, which ends the call.
pub(crate) fn write(
    call: &Running,
    level: &'static str,
    mut message: String,
    mut fields: Option<String>,
) -> wasmtime::Result<()> {
    let bytes = message.len() + fields.as_ref().map_or(0, String::len) + 1;
    call.account.charge(Meter::LogBytes, bytes as u64)?;
    call.clean("a log line", |cleaner| {
        cleaner.text(&mut message);
        fields.iter_mut().for_each(|fields| cleaner.json(fields));
    });
    say(call, level, message, fields);
    Ok(())
}

/// Writes a line that is paid for and holds no secret.
pub(super) fn say(call: &Running, level: &'static str, message: String, fields: Option<String>) {
    let details = fields.as_deref().unwrap_or("");
    match level {
        "trace" => {
            tracing::trace!(target: "guest", call = call.id, tool = call.tool, details, "{message}")
        }
        "debug" => {
            tracing::debug!(target: "guest", call = call.id, tool = call.tool, details, "{message}")
        }
        "warn" => {
            tracing::warn!(target: "guest", call = call.id, tool = call.tool, details, "{message}")
        }
        "error" => {
            tracing::error!(target: "guest", call = call.id, tool = call.tool, details, "{message}")
        }
        _ => {
            tracing::info!(target: "guest", call = call.id, tool = call.tool, details, "{message}")
        }
    }
    if call.context.events.is_some() {
        let fields = fields.and_then(|fields| crate::json::parse(&fields).ok());
        call.event(CallEvent::Log { level, message, fields });
    }
}
