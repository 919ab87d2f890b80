//! WASI's functions that reach files, the network or a stream, defined anew with the hook of
//! [`linker`](super::linker): what comes of them is part of a recording, and a replay makes none of
//! them. So is what was ready when (`wasi:io/poll`): all waiting of a guest ends there or in one of
//! our own functions.
//!
//! Clocks and randomness are recorded where WASI asks the host for them; environment, arguments,
//! exit and sockets (of which there are none) are the same in every call.

use wasmtime::StoreContextMut;
use wasmtime::component::{Resource, ResourceTable, ResourceType};
use wasmtime_wasi::cli::{WasiCliCtxView, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystemCtxView, WasiFilesystemView as _};
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::cli::{stderr, stdin, stdout};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self as files, Descriptor, DirectoryEntryStream, HostDescriptor as Dir,
    HostDirectoryEntryStream,
};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::bindings::http::types::{
    self as http, Fields, FutureIncomingResponse, FutureTrailers, HostFields,
    HostFutureIncomingResponse, HostFutureTrailers, HostIncomingBody, HostIncomingResponse,
    HostOutgoingBody, HostOutgoingRequest, HostOutgoingResponse, HostRequestOptions, IncomingBody,
    IncomingResponse, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions,
};
use wasmtime_wasi_http::p2::{HeaderError, HttpError};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView as _};
use wasmtime_wasi_io::bindings::wasi::io::error::HostError;
use wasmtime_wasi_io::bindings::wasi::io::poll::{self, HostPollable};
use wasmtime_wasi_io::bindings::wasi::io::streams::{
    self, Host as _, HostInputStream as Input, HostOutputStream as Output, InputStream,
    OutputStream,
};
use wasmtime_wasi_io::streams::StreamError;

// What `HostError` is about.
use wasmtime_wasi_io::streams::Error as IoError;

use super::Linker;
use crate::imports::wasi;
use crate::state::CallState;

fn table(state: &mut CallState) -> &mut ResourceTable {
    use wasmtime_wasi::WasiView as _;
    state.ctx().table
}

fn directory(state: &mut CallState) -> WasiFilesystemCtxView<'_> {
    state.filesystem()
}

fn web(state: &mut CallState) -> WasiHttpCtxView<'_> {
    state.http()
}

fn console(state: &mut CallState) -> WasiCliCtxView<'_> {
    state.cli()
}

/// What WASI's own code comes to, as a guest gets it.
trait Settle {
    type Result;

    /// # Errors
    /// The guest traps.
    fn settle(self, table: &mut ResourceTable) -> wasmtime::Result<Self::Result>;
}

impl<T> Settle for wasmtime::Result<T> {
    type Result = T;

    fn settle(self, _: &mut ResourceTable) -> wasmtime::Result<T> {
        self
    }
}

impl<T> Settle for Result<T, StreamError> {
    type Result = Result<T, streams::StreamError>;

    fn settle(self, table: &mut ResourceTable) -> wasmtime::Result<Self::Result> {
        self.map_or_else(|error| table.convert_stream_error(error).map(Err), |value| Ok(Ok(value)))
    }
}

macro_rules! settle {
    ($($trapping:ty => $error:ty),* $(,)?) => {$(
        impl<T> Settle for Result<T, $trapping> {
            type Result = Result<T, $error>;

            fn settle(self, _: &mut ResourceTable) -> wasmtime::Result<Self::Result> {
                self.map_or_else(|error| error.downcast().map(Err), |value| Ok(Ok(value)))
            }
        }
    )*};
}

settle!(FsError => files::ErrorCode, HttpError => http::ErrorCode, HeaderError => http::HeaderError);

/// Defines the functions of one interface: where in the state each finds what it works on, its
/// name, the code, and its arguments. The interfaces have the version that `wasmtime-wasi` defines,
/// which is the one that guests of every 0.2 are linked to.
macro_rules! interface {
    ($linker:ident, $name:literal, $view:path: $($kind:ident $function:literal $code:path, ($($argument:ident),*);)*) => {{
        let mut instance = $linker.instance(concat!($name, "@0.2.12"))?;
        $(interface!(@$kind instance, $view, $function, $code, ($($argument),*));)*
    }};
    (@func $instance:ident, $view:path, $function:literal, $code:path, ($($argument:ident),*)) => {
        $instance.func_wrap(
            $function,
            |mut caller: StoreContextMut<'_, CallState>, ($($argument,)*)| {
                let result = $code(&mut $view(caller.data_mut()), $($argument),*);
                Ok((result.settle(&mut caller.data_mut().table)?,))
            },
        )?;
    };
    (@waits $instance:ident, $view:path, $function:literal, $code:path, ($($argument:ident),*)) => {
        $instance.func_wrap_async(
            $function,
            |mut caller: StoreContextMut<'_, CallState>, ($($argument,)*)| {
                Box::new(async move {
                    let result = $code(&mut $view(caller.data_mut()), $($argument),*).await;
                    Ok((result.settle(&mut caller.data_mut().table)?,))
                })
            },
        )?;
    };
    (@drop $instance:ident, $view:path, $resource:literal, $code:path, ($type:ident)) => {
        $instance.resource(
            $resource,
            ResourceType::host::<$type>(),
            |mut caller: StoreContextMut<'_, CallState>, rep| {
                $code(&mut $view(caller.data_mut()), Resource::new_own(rep))
            },
        )?;
    };
    (@closes $instance:ident, $view:path, $resource:literal, $code:path, ($type:ident)) => {
        $instance.resource_async(
            $resource,
            ResourceType::host::<$type>(),
            |mut caller: StoreContextMut<'_, CallState>, rep| {
                Box::new(async move {
                    $code(&mut $view(caller.data_mut()), Resource::new_own(rep)).await
                })
            },
        )?;
    };
}

/// Defines the functions, over those of `wasmtime-wasi`.
///
/// # Errors
/// None while the names are those of `wasmtime-wasi`.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.inner().allow_shadowing(true);
    add_io(linker)?;
    add_files(linker)?;
    add_http(linker)?;
    linker.inner().allow_shadowing(false);
    Ok(())
}

fn add_io(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    interface!(linker, "wasi:io/poll", table:
        waits "poll" poll::Host::poll, (pollables);
        waits "[method]pollable.ready" HostPollable::ready, (pollable);
    );
    let mut poll = linker.instance("wasi:io/poll@0.2.12")?;
    poll.func_wrap_async(
        "[method]pollable.block",
        |mut caller: StoreContextMut<'_, CallState>, (pollable,)| {
            Box::new(async move { HostPollable::block(table(caller.data_mut()), pollable).await })
        },
    )?;
    interface!(linker, "wasi:io/error", table:
        func "[method]error.to-debug-string" HostError::to_debug_string, (error);
        drop "error" HostError::drop, (IoError);
    );
    interface!(linker, "wasi:io/streams", table:
        func "[method]input-stream.read" Input::read, (stream, len);
        waits "[method]input-stream.blocking-read" Input::blocking_read, (stream, len);
        func "[method]input-stream.skip" Input::skip, (stream, len);
        waits "[method]input-stream.blocking-skip" Input::blocking_skip, (stream, len);
        func "[method]input-stream.subscribe" Input::subscribe, (stream);
        closes "input-stream" Input::drop, (InputStream);
        func "[method]output-stream.check-write" Output::check_write, (stream);
        func "[method]output-stream.write" Output::write, (stream, bytes);
        waits "[method]output-stream.blocking-write-and-flush"
            Output::blocking_write_and_flush, (stream, bytes);
        func "[method]output-stream.flush" Output::flush, (stream);
        waits "[method]output-stream.blocking-flush" Output::blocking_flush, (stream);
        func "[method]output-stream.subscribe" Output::subscribe, (stream);
        func "[method]output-stream.write-zeroes" Output::write_zeroes, (stream, len);
        waits "[method]output-stream.blocking-write-zeroes-and-flush"
            Output::blocking_write_zeroes_and_flush, (stream, len);
        func "[method]output-stream.splice" Output::splice, (stream, from, len);
        waits "[method]output-stream.blocking-splice" Output::blocking_splice, (stream, from, len);
        closes "output-stream" Output::drop, (OutputStream);
    );
    interface!(linker, "wasi:cli/stdin", console: func "get-stdin" stdin::Host::get_stdin, (););
    interface!(linker, "wasi:cli/stdout", console: func "get-stdout" stdout::Host::get_stdout, (););
    interface!(linker, "wasi:cli/stderr", console: func "get-stderr" stderr::Host::get_stderr, (););
    Ok(())
}

fn add_files(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    interface!(linker, "wasi:filesystem/preopens", directory:
        func "get-directories" preopens::Host::get_directories, ();
    );
    interface!(linker, "wasi:filesystem/types", directory:
        func "filesystem-error-code" files::Host::filesystem_error_code, (error);
        func "[method]descriptor.read-via-stream" Dir::read_via_stream, (file, offset);
        func "[method]descriptor.write-via-stream" Dir::write_via_stream, (file, offset);
        func "[method]descriptor.append-via-stream" Dir::append_via_stream, (file);
        waits "[method]descriptor.advise" Dir::advise, (file, offset, len, advice);
        waits "[method]descriptor.sync-data" Dir::sync_data, (file);
        waits "[method]descriptor.get-flags" Dir::get_flags, (file);
        waits "[method]descriptor.get-type" Dir::get_type, (file);
        waits "[method]descriptor.set-size" Dir::set_size, (file, size);
        waits "[method]descriptor.set-times" Dir::set_times, (file, accessed, modified);
        waits "[method]descriptor.read" Dir::read, (file, len, offset);
        waits "[method]descriptor.write" Dir::write, (file, bytes, offset);
        waits "[method]descriptor.read-directory" Dir::read_directory, (at);
        waits "[method]descriptor.sync" Dir::sync, (file);
        waits "[method]descriptor.create-directory-at" Dir::create_directory_at, (at, path);
        waits "[method]descriptor.stat" Dir::stat, (file);
        waits "[method]descriptor.stat-at" Dir::stat_at, (at, how, path);
        waits "[method]descriptor.set-times-at"
            Dir::set_times_at, (at, how, path, accessed, modified);
        waits "[method]descriptor.link-at" Dir::link_at, (at, how, path, to, as_path);
        waits "[method]descriptor.open-at" wasi::open_at, (at, how, path, open, flags);
        waits "[method]descriptor.readlink-at" Dir::readlink_at, (at, path);
        waits "[method]descriptor.remove-directory-at" Dir::remove_directory_at, (at, path);
        waits "[method]descriptor.rename-at" Dir::rename_at, (at, path, to, as_path);
        waits "[method]descriptor.symlink-at" Dir::symlink_at, (at, path, as_path);
        waits "[method]descriptor.unlink-file-at" Dir::unlink_file_at, (at, path);
        waits "[method]descriptor.is-same-object" Dir::is_same_object, (file, other);
        waits "[method]descriptor.metadata-hash" Dir::metadata_hash, (file);
        waits "[method]descriptor.metadata-hash-at" Dir::metadata_hash_at, (at, how, path);
        drop "descriptor" Dir::drop, (Descriptor);
        waits "[method]directory-entry-stream.read-directory-entry"
            HostDirectoryEntryStream::read_directory_entry, (entries);
        drop "directory-entry-stream" HostDirectoryEntryStream::drop, (DirectoryEntryStream);
    );
    Ok(())
}

fn add_http(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    interface!(linker, "wasi:http/outgoing-handler", web:
        func "handle" outgoing_handler::Host::handle, (request, options);
    );
    interface!(linker, "wasi:http/types", web:
        func "http-error-code" http::Host::http_error_code, (error);
        func "[constructor]fields" HostFields::new, ();
        func "[static]fields.from-list" HostFields::from_list, (entries);
        func "[method]fields.get" HostFields::get, (fields, name);
        func "[method]fields.has" HostFields::has, (fields, name);
        func "[method]fields.set" HostFields::set, (fields, name, values);
        func "[method]fields.delete" HostFields::delete, (fields, name);
        func "[method]fields.append" HostFields::append, (fields, name, value);
        func "[method]fields.entries" HostFields::entries, (fields);
        func "[method]fields.clone" HostFields::clone, (fields);
        drop "fields" HostFields::drop, (Fields);
        func "[constructor]outgoing-request" HostOutgoingRequest::new, (headers);
        func "[method]outgoing-request.body" HostOutgoingRequest::body, (request);
        func "[method]outgoing-request.method" HostOutgoingRequest::method, (request);
        func "[method]outgoing-request.set-method" wasi::set_method, (request, method);
        func "[method]outgoing-request.path-with-query"
            HostOutgoingRequest::path_with_query, (request);
        func "[method]outgoing-request.set-path-with-query"
            HostOutgoingRequest::set_path_with_query, (request, path);
        func "[method]outgoing-request.scheme" HostOutgoingRequest::scheme, (request);
        func "[method]outgoing-request.set-scheme"
            HostOutgoingRequest::set_scheme, (request, scheme);
        func "[method]outgoing-request.authority" HostOutgoingRequest::authority, (request);
        func "[method]outgoing-request.set-authority" wasi::set_authority, (request, authority);
        func "[method]outgoing-request.headers" HostOutgoingRequest::headers, (request);
        drop "outgoing-request" HostOutgoingRequest::drop, (OutgoingRequest);
        func "[constructor]request-options" HostRequestOptions::new, ();
        func "[method]request-options.connect-timeout"
            HostRequestOptions::connect_timeout, (options);
        func "[method]request-options.set-connect-timeout"
            HostRequestOptions::set_connect_timeout, (options, time);
        func "[method]request-options.first-byte-timeout"
            HostRequestOptions::first_byte_timeout, (options);
        func "[method]request-options.set-first-byte-timeout"
            HostRequestOptions::set_first_byte_timeout, (options, time);
        func "[method]request-options.between-bytes-timeout"
            HostRequestOptions::between_bytes_timeout, (options);
        func "[method]request-options.set-between-bytes-timeout"
            HostRequestOptions::set_between_bytes_timeout, (options, time);
        drop "request-options" HostRequestOptions::drop, (RequestOptions);
        func "[method]outgoing-body.write" HostOutgoingBody::write, (body);
        func "[static]outgoing-body.finish" HostOutgoingBody::finish, (body, trailers);
        drop "outgoing-body" HostOutgoingBody::drop, (OutgoingBody);
        func "[method]future-incoming-response.subscribe"
            HostFutureIncomingResponse::subscribe, (response);
        func "[method]future-incoming-response.get" HostFutureIncomingResponse::get, (response);
        drop "future-incoming-response"
            HostFutureIncomingResponse::drop, (FutureIncomingResponse);
        func "[method]incoming-response.status" HostIncomingResponse::status, (response);
        func "[method]incoming-response.headers" HostIncomingResponse::headers, (response);
        func "[method]incoming-response.consume" HostIncomingResponse::consume, (response);
        drop "incoming-response" HostIncomingResponse::drop, (IncomingResponse);
        func "[method]incoming-body.stream" HostIncomingBody::stream, (body);
        func "[static]incoming-body.finish" HostIncomingBody::finish, (body);
        drop "incoming-body" HostIncomingBody::drop, (IncomingBody);
        func "[method]future-trailers.subscribe" HostFutureTrailers::subscribe, (trailers);
        func "[method]future-trailers.get" HostFutureTrailers::get, (trailers);
        drop "future-trailers" HostFutureTrailers::drop, (FutureTrailers);
        func "[constructor]outgoing-response" HostOutgoingResponse::new, (headers);
        func "[method]outgoing-response.status-code" HostOutgoingResponse::status_code, (response);
        func "[method]outgoing-response.set-status-code"
            HostOutgoingResponse::set_status_code, (response, status);
        func "[method]outgoing-response.headers" HostOutgoingResponse::headers, (response);
        func "[method]outgoing-response.body" HostOutgoingResponse::body, (response);
        drop "outgoing-response" HostOutgoingResponse::drop, (OutgoingResponse);
    );
    Ok(())
}
