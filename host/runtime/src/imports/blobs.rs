//! `blobs`: bytes too large for JSON.

use ampoule_contract::{Blob, Meter, ToolError};
use bytes::Bytes;
use wasmtime::component::{HasSelf, Resource};

use super::{Gate, Host, answer};
use crate::bindings::ampoule::plugin::blobs;
use crate::bindings::ampoule::plugin::types::Error;
use crate::limits::price;
use crate::state::{CallState, Running};

/// The most bytes one read gives.
pub(crate) const READ_BYTES: u64 = 1 << 20;

/// The longest media type.
const MAX_MEDIA_TYPE_BYTES: usize = 255;

/// A blob a guest has opened.
pub struct OpenBlob {
    id: String,
    blob: Blob,
}

/// A blob a guest is writing.
pub struct BlobWriter {
    media_type: String,
    /// `None` once it is finished.
    data: Option<Vec<u8>>,
}

impl blobs::Host for CallState {}
impl blobs::HostBlob for CallState {}
impl blobs::HostWriter for CallState {}

impl blobs::HostWithStore<CallState> for HasSelf<CallState> {
    fn open(mut host: Host<'_>, id: String) -> wasmtime::Result<Result<Resource<OpenBlob>, Error>> {
        host.enter(price::WORK)?;
        let state = host.get();
        // Possession of the id is the grant, and only if it was passed to this call.
        match find(&state.call, &id) {
            Ok(blob) => Ok(Ok(state.table.push(OpenBlob { id, blob })?)),
            Err(error) => answer(Err(error)),
        }
    }

    fn create(
        mut host: Host<'_>,
        media_type: String,
    ) -> wasmtime::Result<Result<Resource<BlobWriter>, Error>> {
        host.enter(price::WORK)?;
        if let Err(error) = check_media_type(&media_type) {
            return answer(Err(error));
        }
        let writer = BlobWriter { media_type, data: Some(Vec::new()) };
        Ok(Ok(host.get().table.push(writer)?))
    }
}

impl blobs::HostBlobWithStore<CallState> for HasSelf<CallState> {
    fn drop(mut host: Host<'_>, blob: Resource<OpenBlob>) -> wasmtime::Result<()> {
        host.get().table.delete(blob)?;
        Ok(())
    }

    fn id(mut host: Host<'_>, blob: Resource<OpenBlob>) -> wasmtime::Result<String> {
        host.enter(price::LOOK)?;
        Ok(host.get().table.get(&blob)?.id.clone())
    }

    fn size(mut host: Host<'_>, blob: Resource<OpenBlob>) -> wasmtime::Result<u64> {
        host.enter(price::LOOK)?;
        Ok(host.get().table.get(&blob)?.blob.data.len() as u64)
    }

    fn media_type(mut host: Host<'_>, blob: Resource<OpenBlob>) -> wasmtime::Result<String> {
        host.enter(price::LOOK)?;
        Ok(host.get().table.get(&blob)?.blob.media_type.clone())
    }

    fn read(
        mut host: Host<'_>,
        blob: Resource<OpenBlob>,
        offset: u64,
        length: u64,
    ) -> wasmtime::Result<Vec<u8>> {
        let data = host.get().table.get(&blob)?.blob.data.clone();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let end = start.saturating_add(length.min(READ_BYTES) as usize).min(data.len());
        host.enter(price::WORK + price::bytes(end - start))?;
        Ok(data[start..end].to_vec())
    }
}

impl blobs::HostWriterWithStore<CallState> for HasSelf<CallState> {
    fn drop(mut host: Host<'_>, writer: Resource<BlobWriter>) -> wasmtime::Result<()> {
        host.get().table.delete(writer)?;
        Ok(())
    }

    fn write(
        mut host: Host<'_>,
        writer: Resource<BlobWriter>,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        host.enter(price::WORK + price::bytes(data.len()))?;
        let state = host.get();
        state.call.account.charge(Meter::BlobBytes, data.len() as u64)?;
        match &mut state.table.get_mut(&writer)?.data {
            Some(whole) => {
                whole.extend_from_slice(&data);
                Ok(Ok(()))
            }
            None => answer(Err(finished())),
        }
    }

    fn finish(
        mut host: Host<'_>,
        writer: Resource<BlobWriter>,
    ) -> wasmtime::Result<Result<Resource<OpenBlob>, Error>> {
        host.enter(price::WORK)?;
        let state = host.get();
        let writer = state.table.get_mut(&writer)?;
        let Some(data) = writer.data.take() else { return answer(Err(finished())) };
        let blob = Blob { media_type: writer.media_type.clone(), data: data.into() };
        let id = keep(&state.call, blob.clone());
        // As it is kept, which is without secrets.
        let blob = state.call.blobs.get(&id).unwrap_or(blob);
        Ok(Ok(state.table.push(OpenBlob { id, blob })?))
    }
}

/// Checks what a guest gives as a media type.
pub(super) fn check_media_type(text: &str) -> Result<(), ToolError> {
    if text.len() > MAX_MEDIA_TYPE_BYTES || text.chars().any(char::is_control) {
        return Err(ToolError::new("bad-arguments", "that is no media type"));
    }
    Ok(())
}

/// Puts a new blob of a call into the run's store and returns its id. Its bytes are charged
/// where they come from.
pub(crate) fn keep(call: &Running, mut blob: Blob) -> String {
    call.clean("a blob", |cleaner| cleaner.blob(&mut blob));
    let id = crate::digest::secret_id();
    call.pass_blob(&id);
    crate::state::lock(&call.made).push(id.clone());
    call.blobs.insert(id.clone(), blob);
    id
}

/// Makes a blob of `data` for a call, charged to its account.
///
/// # Errors
/// The limit of blob bytes, which ends the call.
pub(crate) fn make(call: &Running, media_type: String, data: Bytes) -> wasmtime::Result<String> {
    call.account.charge(Meter::BlobBytes, data.len() as u64)?;
    Ok(keep(call, Blob { media_type, data }))
}

/// A blob that a call names in a request.
pub(crate) fn find(call: &Running, id: &str) -> Result<Blob, ToolError> {
    call.may_open(id).then(|| call.blobs.get(id)).flatten().ok_or_else(not_found)
}

/// The bytes of a blob that a call names in a request.
pub(crate) fn data(call: &Running, id: &str) -> Result<Bytes, ToolError> {
    find(call, id).map(|blob| blob.data)
}

fn not_found() -> ToolError {
    ToolError::new("not-found", "there is no such blob, or it was not passed to this call")
}

fn finished() -> ToolError {
    ToolError::new("conflict", "the blob is finished")
}
