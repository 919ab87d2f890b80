//! Asking a model.

use super::{Event, Model, Request, Response};
use crate::bindings::ampoule::llm::{llm, waiting};
use crate::{Result, host, task};

/// The models of the binding that serves `llm`.
///
/// # Errors
/// `denied` without the capability, and the connector's own.
pub fn models() -> Result<Vec<Model>> {
    host::require("llm")?;
    llm::models()?.into_iter().map(Model::try_from).collect()
}

/// Asks and waits for the whole response. Dropping the future gives the request up.
///
/// # Errors
/// `denied` without the capability, and the connector's own.
pub async fn complete(request: &Request) -> Result<Response> {
    host::require("llm")?;
    let pending = waiting::start(&request.clone().into())?;
    task::ready(pending.subscribe()).await;
    Response::try_from(pending.take()?)
}

/// Asks and gives the response as it comes.
///
/// # Errors
/// `denied` without the capability, and the connector's own.
pub fn stream(request: &Request) -> Result<Events> {
    host::require("llm")?;
    Ok(Events(waiting::start_stream(&request.clone().into())?))
}

/// A response on its way. Dropping it gives the request up.
#[derive(Debug)]
pub struct Events(waiting::PendingEvents);

impl Events {
    /// The next event; `None` after the last. After an error the stream is over.
    ///
    /// # Errors
    /// The connector's own.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        task::ready(self.0.subscribe()).await;
        self.0.next()?.map(Event::try_from).transpose()
    }
}
