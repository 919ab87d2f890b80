//! `files`: the run's workspace.

use std::sync::Arc;

use ampoule_contract::{Meter, ToolError};
use wasmtime::component::HasSelf;

use super::{Gate, Host, answer, blobs, granted};
use crate::bindings::ampoule::plugin::files::{self, Entry, Page};
use crate::bindings::ampoule::plugin::types::Error;
use crate::limits::price;
use crate::manifest::FileAccess::{Read, ReadWrite};
use crate::state::CallState;
use crate::workspace::{self, Overlay, READ_BYTES};

impl files::Host for CallState {}

impl files::HostWithStore<CallState> for HasSelf<CallState> {
    async fn stat(mut host: Host<'_>, path: String) -> wasmtime::Result<Result<Entry, Error>> {
        granted!(host, price::LEAVE, |grants| grants.files(Read));
        let result = on_files(&mut host, move |files| {
            let entry = files.stat(&path)?;
            Ok(show(path, entry))
        });
        answer(result.await?)
    }

    async fn list(
        mut host: Host<'_>,
        path: String,
        cursor: Option<String>,
    ) -> wasmtime::Result<Result<Page, Error>> {
        granted!(host, price::LEAVE, |grants| grants.files(Read));
        let result = on_files(&mut host, move |files| {
            let (entries, more) = files.list(&path, cursor.as_deref())?;
            let next = entries.last().filter(|_| more).map(|(name, _)| name.clone());
            let below = |name: String| match path.as_str() {
                "" => name,
                path => format!("{path}/{name}"),
            };
            let entries = entries.into_iter().map(|(name, entry)| show(below(name), entry));
            Ok(Page { entries: entries.collect(), next })
        });
        let result = result.await?;
        if let Ok(page) = &result {
            host.enter(page.entries.len() as u64 * price::LOOK)?;
        }
        answer(result)
    }

    async fn read(
        mut host: Host<'_>,
        path: String,
        offset: u64,
        length: u64,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let length = length.min(READ_BYTES);
        let fuel = price::LEAVE + price::bytes(length as usize);
        granted!(host, fuel, |grants| grants.files(Read));
        answer(on_files(&mut host, move |files| files.read(&path, offset, length)).await?)
    }

    async fn write(
        mut host: Host<'_>,
        path: String,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let fuel = price::LEAVE + price::bytes(data.len());
        granted!(host, fuel, |grants| grants.files(ReadWrite));
        if let Err(refused) = refuse(&mut host, [path.as_bytes(), &data]) {
            return Ok(Err(refused));
        }
        charge(&mut host, data.len() as u64)?;
        answer(on_files(&mut host, move |files| files.write(&path, data)).await?)
    }

    async fn append(
        mut host: Host<'_>,
        path: String,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let fuel = price::LEAVE + price::bytes(data.len());
        granted!(host, fuel, |grants| grants.files(ReadWrite));
        if let Some(scanner) = host.get().call.secrets.scanner() {
            // A secret may begin in what is there already.
            let (of, most) = (path.clone(), scanner.overlap());
            let tail = on_files(&mut host, move |files| {
                let size = files.stat(&of)?.size;
                files.read(&of, size.saturating_sub(most), most)
            });
            let whole = [tail.await?.unwrap_or_default(), data.clone()].concat();
            if let Err(refused) = refuse(&mut host, [path.as_bytes(), &whole]) {
                return Ok(Err(refused));
            }
        }
        charge(&mut host, data.len() as u64)?;
        // What is appended to is brought into memory once, so it counts like a write.
        let most = host.get().call.account.left(Meter::FileBytes);
        match on_files(&mut host, move |files| files.append(&path, &data, most)).await? {
            Ok(brought) => {
                host.enter(price::bytes(brought as usize))?;
                charge(&mut host, brought)?;
                Ok(Ok(()))
            }
            Err(error) => answer(Err(error)),
        }
    }

    async fn remove(mut host: Host<'_>, path: String) -> wasmtime::Result<Result<(), Error>> {
        granted!(host, price::LEAVE, |grants| grants.files(ReadWrite));
        answer(on_files(&mut host, move |files| files.remove(&path)).await?)
    }

    async fn rename(
        mut host: Host<'_>,
        from: String,
        to: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        granted!(host, price::LEAVE, |grants| grants.files(ReadWrite));
        if let Err(refused) = refuse(&mut host, [to.as_bytes()]) {
            return Ok(Err(refused));
        }
        let most = host.get().call.account.left(Meter::FileBytes);
        match on_files(&mut host, move |files| files.rename(&from, &to, most)).await? {
            Ok(moved) => {
                host.enter(price::bytes(moved as usize))?;
                charge(&mut host, moved)?;
                Ok(Ok(()))
            }
            Err(error) => answer(Err(error)),
        }
    }

    async fn to_blob(
        mut host: Host<'_>,
        path: String,
        media_type: Option<String>,
    ) -> wasmtime::Result<Result<String, Error>> {
        granted!(host, price::LEAVE, |grants| grants.files(Read));
        let media_type = media_type.unwrap_or_else(|| "application/octet-stream".into());
        if let Err(error) = blobs::check_media_type(&media_type) {
            return answer(Err(error));
        }
        let most = host.get().call.account.left(Meter::BlobBytes);
        match on_files(&mut host, move |files| files.read_all(&path, most)).await? {
            Ok(data) => {
                host.enter(price::bytes(data.len()))?;
                Ok(Ok(blobs::make(&host.get().call, media_type, data.into())?))
            }
            Err(error) => answer(Err(error)),
        }
    }

    async fn from_blob(
        mut host: Host<'_>,
        path: String,
        blob: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        granted!(host, price::LEAVE, |grants| grants.files(ReadWrite));
        let data = match blobs::data(&host.get().call, &blob) {
            Ok(data) => data,
            Err(error) => return answer(Err(error)),
        };
        host.enter(price::bytes(data.len()))?;
        if let Err(refused) = refuse(&mut host, [path.as_bytes(), &data]) {
            return Ok(Err(refused));
        }
        charge(&mut host, data.len() as u64)?;
        answer(on_files(&mut host, move |files| files.write(&path, data.to_vec())).await?)
    }
}

/// Refuses a write that carries a secret: others read the file.
fn refuse<'a>(host: &mut Host<'_>, parts: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Error> {
    host.get().call.refuse_secrets("the write to the workspace", parts)
}

fn charge(host: &mut Host<'_>, bytes: u64) -> wasmtime::Result<()> {
    Ok(host.get().call.account.charge(Meter::FileBytes, bytes)?)
}

/// Runs work on the workspace in a thread where it may wait for the disk.
async fn on_files<T: Send + 'static>(
    host: &mut Host<'_>,
    work: impl FnOnce(&Overlay) -> Result<T, ToolError> + Send + 'static,
) -> wasmtime::Result<Result<T, ToolError>> {
    let Some(files) = host.get().call.workspace.clone() else {
        let message = "this call has no workspace; the caller gives it one (`--workspace DIR`)";
        return Ok(Err(ToolError::new("unavailable", message)));
    };
    let files: Arc<Overlay> = files;
    let work = tokio::task::spawn_blocking(move || work(&files));
    work.await.map_err(|error| crate::host::fault(format!("file work broke down: {error}")))
}

fn show(path: String, entry: workspace::Entry) -> Entry {
    Entry {
        path,
        kind: if entry.directory { "directory" } else { "file" }.into(),
        size: entry.size,
        modified_ms: entry.modified_ms,
    }
}
