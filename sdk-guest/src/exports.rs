//! From the exported functions of the component to the traits of this crate.

use std::cell::RefCell;

use crate::bindings::ampoule::plugin::types;
use crate::bindings::catalog::exports::ampoule::plugin::catalog;
use crate::bindings::component::exports::ampoule::plugin::component;
use crate::bindings::connector::exports::ampoule::llm::llm;
use crate::bindings::describe::exports::ampoule::plugin::describe;
use crate::bindings::tool::exports::ampoule::plugin::tool;
use crate::llm::{Connector, EventStream, Request};
use crate::plugin::{self, Plugin};
use crate::{Catalog, Result, block_on, log};

impl<P: Plugin> tool::Guest for P {
    fn call(name: String, arguments: String) -> Result<types::Output, types::Error> {
        log_panics();
        Ok(plugin::call::<P>(&name, &arguments)?)
    }
}

impl<P: Plugin> component::Guest for P {
    fn process(name: String, settings: String, inputs: String) -> Result<String, types::Error> {
        log_panics();
        Ok(plugin::process::<P>(&name, &settings, &inputs)?)
    }
}

impl<P: Plugin> describe::Guest for P {
    fn describe() -> String {
        plugin::describe::<P>().to_string()
    }
}

impl<C: Catalog> catalog::Guest for C {
    fn discover() -> Result<Vec<catalog::ToolDefinition>, types::Error> {
        log_panics();
        Ok(block_on(C::discover())?.into_iter().map(Into::into).collect())
    }
}

impl<C: Connector> llm::Guest for C {
    type Events = Events;

    fn models() -> Result<Vec<llm::Model>, types::Error> {
        log_panics();
        Ok(block_on(C::models())?.into_iter().map(Into::into).collect())
    }

    fn complete(request: llm::Request) -> Result<llm::Response, types::Error> {
        log_panics();
        Ok(block_on(C::complete(Request::try_from(request)?))?.into())
    }

    fn stream(request: llm::Request) -> Result<llm::Events, types::Error> {
        log_panics();
        let events = block_on(C::stream(Request::try_from(request)?))?;
        Ok(llm::Events::new(Events(RefCell::new(Some(Box::new(events))))))
    }
}

/// The resource behind a response on its way; empty once the stream has ended.
pub struct Events(RefCell<Option<Box<dyn NextEvent>>>);

impl llm::GuestEvents for Events {
    fn next(&self) -> Result<Option<llm::Event>, types::Error> {
        let Some(mut events) = self.0.take() else { return Ok(None) };
        let event = events.next_event()?;
        if event.is_some() {
            self.0.replace(Some(events));
        }
        Ok(event.map(Into::into))
    }
}

/// An [`EventStream`] whose type is forgotten.
trait NextEvent {
    fn next_event(&mut self) -> Result<Option<crate::llm::Event>>;
}

impl<S: EventStream> NextEvent for S {
    fn next_event(&mut self) -> Result<Option<crate::llm::Event>> {
        block_on(self.next())
    }
}

/// Makes a panic write its message to the log, in one line, before it traps.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| log::error(panic.to_string())));
}
