//! Things under way: a task that works while the guest does something else.

use std::sync::Arc;

use ampoule_contract::ToolError;
use tokio::task::JoinHandle;
use wasmtime_wasi_io::poll::Pollable;

use crate::state::Running;

/// How many tools and models one call may have begun without having taken their results, which the
/// host holds meanwhile.
const MAX_BEGUN: usize = 64;

/// A task and, once it is done, its result. Dropping it stops the task.
pub struct Pending<T> {
    task: JoinHandle<T>,
    stage: Stage<T>,
    /// Until the result is taken.
    place: Option<Place>,
}

/// A place among what a call has begun.
pub(crate) struct Place {
    /// The call's own, of which there are as many as places.
    _begun: Arc<()>,
}

impl Place {
    /// # Errors
    /// All are taken.
    pub(crate) fn take(call: &Running) -> Result<Place, ToolError> {
        if Arc::strong_count(&call.begun) > MAX_BEGUN {
            let message = format!("{MAX_BEGUN} tools and models are under way; wait for some");
            let error = ToolError::new("rate-limited", message);
            return Err(ToolError { retryable: true, ..error });
        }
        Ok(Place { _begun: call.begun.clone() })
    }
}

enum Stage<T> {
    Working,
    Done(wasmtime::Result<T>),
    Taken,
}

impl<T: Send + 'static> Pending<T> {
    /// Starts a task.
    pub(crate) fn start(work: impl Future<Output = T> + Send + 'static) -> Pending<T> {
        Pending { task: tokio::spawn(work), stage: Stage::Working, place: None }
    }

    /// Has it hold a place until its result is taken.
    pub(crate) fn at(mut self, place: Place) -> Pending<T> {
        self.place = Some(place);
        self
    }

    /// The result, waiting for it if need be; `None` where it was taken before.
    ///
    /// # Errors
    /// The task has broken down, which is a fault of the host.
    pub(crate) async fn take(&mut self) -> wasmtime::Result<Option<T>> {
        self.ready().await;
        self.place = None;
        match std::mem::replace(&mut self.stage, Stage::Taken) {
            Stage::Done(result) => result.map(Some),
            Stage::Working | Stage::Taken => Ok(None),
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[wasmtime_wasi_io::async_trait]
impl<T: Send + 'static> Pollable for Pending<T> {
    async fn ready(&mut self) {
        if matches!(self.stage, Stage::Working) {
            let result = (&mut self.task).await;
            self.stage = Stage::Done(
                result.map_err(|error| crate::host::fault(format!("a task broke down: {error}"))),
            );
        }
    }
}
