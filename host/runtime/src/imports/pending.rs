//! Things under way: a task that works while the guest does something else.

use tokio::task::JoinHandle;
use wasmtime_wasi_io::poll::Pollable;

/// A task and, once it is done, its result. Dropping it stops the task.
pub struct Pending<T> {
    task: JoinHandle<T>,
    stage: Stage<T>,
}

enum Stage<T> {
    Working,
    Done(wasmtime::Result<T>),
    Taken,
}

impl<T: Send + 'static> Pending<T> {
    /// Starts a task.
    pub(crate) fn start(work: impl Future<Output = T> + Send + 'static) -> Pending<T> {
        Pending { task: tokio::spawn(work), stage: Stage::Working }
    }

    /// The result, waiting for it if need be; `None` where it was taken before.
    ///
    /// # Errors
    /// The task has broken down, which is a fault of the host.
    pub(crate) async fn take(&mut self) -> wasmtime::Result<Option<T>> {
        self.ready().await;
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
