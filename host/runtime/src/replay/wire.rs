//! Arguments and results of host calls as bytes: postcard, with numbers in place of handles.
//!
//! A handle means nothing in another process. The recording numbers the resources in the order in
//! which the guest got them; a replay gives the guest handles that stand for these numbers.
//! Pollables are the exception: WASI makes some too, so they are real, and they carry no number.

use std::any::TypeId;
use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self as wasi_files, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi_http::p2::bindings::http::types::{
    self as wasi_http, DnsErrorPayload, FieldSizePayload, Method, Scheme, TlsAlertReceivedPayload,
};
use wasmtime_wasi_io::bindings::wasi::io::streams;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use crate::bindings::ampoule::llm::llm;
use crate::bindings::ampoule::plugin::{ask, files, http, log, progress, tools, types};

/// What cannot be read as a result of this host call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The numbers of the handles a guest has been given.
#[derive(Default)]
pub(crate) struct Handles {
    numbers: HashMap<u32, u32>,
    next: u32,
    /// In a replay the handle is the number.
    playing: bool,
}

impl Handles {
    /// Those of a replay.
    pub(crate) fn playing() -> Handles {
        Handles { playing: true, ..Handles::default() }
    }

    fn number(&self, rep: u32) -> u32 {
        if self.playing { rep } else { self.numbers.get(&rep).copied().unwrap_or(u32::MAX) }
    }

    fn given(&mut self, rep: u32) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        // What was dropped leaves its place in the table to another.
        self.numbers.insert(rep, number);
        number
    }
}

/// How a value is written.
pub(crate) enum Side<'a> {
    /// What the guest asks with: handles it holds.
    Asked(&'a Handles),
    /// What it is given: new handles.
    Given(&'a mut Handles),
}

/// A value that goes between guest and host.
pub(crate) trait Wire: Sized {
    /// Appends its bytes.
    fn put(&self, out: &mut Vec<u8>, side: &mut Side<'_>);

    /// Reads it off the front of `from`; what it allocates is bounded by the length of `from`.
    ///
    /// # Errors
    /// These are not its bytes.
    fn get(from: &mut &[u8], table: &mut ResourceTable) -> Result<Self, Unreadable>;

    /// Appends the bytes of all.
    fn put_all(all: &[Self], out: &mut Vec<u8>, side: &mut Side<'_>) {
        all.iter().for_each(|item| item.put(out, side));
    }

    /// Reads so many, each of a byte or more; there are as many bytes at least.
    ///
    /// # Errors
    /// These are not their bytes.
    fn get_all(
        length: usize,
        from: &mut &[u8],
        table: &mut ResourceTable,
    ) -> Result<Vec<Self>, Unreadable> {
        (0..length).map(|_| Self::get(from, table)).collect()
    }
}

fn put_serde(value: &impl Serialize, out: &mut Vec<u8>) {
    // Neither plain data nor a vector that grows gives it a reason to fail.
    *out = postcard::to_extend(value, std::mem::take(out)).unwrap_or_default();
}

fn get_serde<T: DeserializeOwned>(from: &mut &[u8]) -> Result<T, Unreadable> {
    let (value, rest) = postcard::take_from_bytes(from).map_err(|_| Unreadable)?;
    *from = rest;
    Ok(value)
}

macro_rules! plain {
    ($($ty:ty),* $(,)?) => {$(
        impl Wire for $ty {
            fn put(&self, out: &mut Vec<u8>, _: &mut Side<'_>) {
                put_serde(self, out);
            }

            fn get(from: &mut &[u8], _: &mut ResourceTable) -> Result<Self, Unreadable> {
                get_serde(from)
            }
        }
    )*};
}

plain!(
    bool,
    u16,
    u32,
    u64,
    f64,
    String,
    ask::Question,
    files::Entry,
    files::Page,
    http::Request,
    llm::Event,
    llm::Model,
    llm::Request,
    llm::Response,
    log::Level,
    progress::Signal,
    tools::Definition,
    types::Block,
    types::Error,
    types::Output,
);

/// Variants by their names: first those without a value, then those with one.
macro_rules! variants {
    ($($ty:ty { $($bare:ident),*; $($full:ident),* })*) => {$(
        #[allow(unused_variables, reason = "where no variant has a value")]
        impl Wire for $ty {
            fn put(&self, out: &mut Vec<u8>, side: &mut Side<'_>) {
                match self {
                    $(Self::$bare => put_serde(&stringify!($bare), out),)*
                    $(Self::$full(value) => {
                        put_serde(&stringify!($full), out);
                        value.put(out, side);
                    })*
                }
            }

            fn get(
                from: &mut &[u8],
                table: &mut ResourceTable,
            ) -> Result<Self, Unreadable> {
                let name: String = get_serde(from)?;
                match name.as_str() {
                    $(stringify!($bare) => Ok(Self::$bare),)*
                    $(stringify!($full) => {
                        Wire::get(from, table).map(Self::$full)
                    })*
                    _ => Err(Unreadable),
                }
            }
        }
    )*};
}

/// Records field by field.
macro_rules! records {
    ($($ty:ty { $($field:ident),* })*) => {$(
        impl Wire for $ty {
            fn put(&self, out: &mut Vec<u8>, side: &mut Side<'_>) {
                $(self.$field.put(out, side);)*
            }

            fn get(
                from: &mut &[u8],
                table: &mut ResourceTable,
            ) -> Result<Self, Unreadable> {
                Ok(Self { $($field: Wire::get(from, table)?),* })
            }
        }
    )*};
}

/// Flags as a truth value each.
macro_rules! flags {
    ($($ty:ty { $($flag:ident),* })*) => {$(
        impl Wire for $ty {
            fn put(&self, out: &mut Vec<u8>, _: &mut Side<'_>) {
                $(put_serde(&self.contains(Self::$flag), out);)*
            }

            fn get(
                from: &mut &[u8],
                _: &mut ResourceTable,
            ) -> Result<Self, Unreadable> {
                let mut flags = Self::empty();
                $(if get_serde(from)? {
                    flags |= Self::$flag;
                })*
                Ok(flags)
            }
        }
    )*};
}

variants! {
    streams::StreamError { Closed; LastOperationFailed }
    wasi_files::ErrorCode {
        Access, WouldBlock, Already, BadDescriptor, Busy, Deadlock, Quota, Exist, FileTooLarge,
        IllegalByteSequence, InProgress, Interrupted, Invalid, Io, IsDirectory, Loop, TooManyLinks,
        MessageSize, NameTooLong, NoDevice, NoEntry, NoLock, InsufficientMemory, InsufficientSpace,
        NotDirectory, NotEmpty, NotRecoverable, Unsupported, NoTty, NoSuchDevice, Overflow,
        NotPermitted, Pipe, ReadOnly, InvalidSeek, TextFileBusy, CrossDevice;
    }
    DescriptorType {
        Unknown, BlockDevice, CharacterDevice, Directory, Fifo, SymbolicLink, RegularFile, Socket;
    }
    Advice { Normal, Sequential, Random, WillNeed, DontNeed, NoReuse; }
    NewTimestamp { NoChange, Now; Timestamp }
    Method { Get, Head, Post, Put, Delete, Connect, Options, Trace, Patch; Other }
    Scheme { Http, Https; Other }
    wasi_http::HeaderError { InvalidSyntax, Forbidden, Immutable; }
    wasi_http::ErrorCode {
        DnsTimeout, DestinationNotFound, DestinationUnavailable, DestinationIpProhibited,
        DestinationIpUnroutable, ConnectionRefused, ConnectionTerminated, ConnectionTimeout,
        ConnectionReadTimeout, ConnectionWriteTimeout, ConnectionLimitReached, TlsProtocolError,
        TlsCertificateError, HttpRequestDenied, HttpRequestLengthRequired, HttpRequestMethodInvalid,
        HttpRequestUriInvalid, HttpRequestUriTooLong, HttpResponseIncomplete, HttpResponseTimeout,
        HttpUpgradeFailed, HttpProtocolError, LoopDetected, ConfigurationError;
        DnsError, TlsAlertReceived, HttpRequestBodySize, HttpRequestHeaderSectionSize,
        HttpRequestHeaderSize, HttpRequestTrailerSectionSize, HttpRequestTrailerSize,
        HttpResponseHeaderSectionSize, HttpResponseHeaderSize, HttpResponseBodySize,
        HttpResponseTrailerSectionSize, HttpResponseTrailerSize, HttpResponseTransferCoding,
        HttpResponseContentCoding, InternalError
    }
}

records! {
    Datetime { seconds, nanoseconds }
    DescriptorStat {
        type_, link_count, size, data_access_timestamp, data_modification_timestamp,
        status_change_timestamp
    }
    DirectoryEntry { type_, name }
    MetadataHashValue { lower, upper }
    DnsErrorPayload { rcode, info_code }
    TlsAlertReceivedPayload { alert_id, alert_message }
    FieldSizePayload { field_name, field_size }
}

flags! {
    DescriptorFlags {
        READ, WRITE, FILE_INTEGRITY_SYNC, DATA_INTEGRITY_SYNC, REQUESTED_WRITE_SYNC,
        MUTATE_DIRECTORY
    }
    PathFlags { SYMLINK_FOLLOW }
    OpenFlags { CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>, side: &mut Side<'_>) {
        put_serde(&self.is_some(), out);
        if let Some(value) = self {
            value.put(out, side);
        }
    }

    fn get(from: &mut &[u8], table: &mut ResourceTable) -> Result<Self, Unreadable> {
        get_serde::<bool>(from)?.then(|| T::get(from, table)).transpose()
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn put(&self, out: &mut Vec<u8>, side: &mut Side<'_>) {
        put_serde(&self.is_ok(), out);
        match self {
            Ok(value) => value.put(out, side),
            Err(error) => error.put(out, side),
        }
    }

    fn get(from: &mut &[u8], table: &mut ResourceTable) -> Result<Self, Unreadable> {
        match get_serde(from)? {
            true => T::get(from, table).map(Ok),
            false => E::get(from, table).map(Err),
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>, side: &mut Side<'_>) {
        put_serde(&(self.len() as u64), out);
        T::put_all(self, out, side);
    }

    fn get(from: &mut &[u8], table: &mut ResourceTable) -> Result<Self, Unreadable> {
        let length: u64 = get_serde(from)?;
        match usize::try_from(length) {
            Ok(length) if length <= from.len() => T::get_all(length, from, table),
            _ => Err(Unreadable),
        }
    }
}

impl Wire for u8 {
    fn put(&self, out: &mut Vec<u8>, _: &mut Side<'_>) {
        out.push(*self);
    }

    fn get(from: &mut &[u8], _: &mut ResourceTable) -> Result<Self, Unreadable> {
        from.split_off_first().copied().ok_or(Unreadable)
    }

    fn put_all(all: &[u8], out: &mut Vec<u8>, _: &mut Side<'_>) {
        out.extend_from_slice(all);
    }

    fn get_all(
        length: usize,
        from: &mut &[u8],
        _: &mut ResourceTable,
    ) -> Result<Vec<u8>, Unreadable> {
        from.split_off(..length).map(<[u8]>::to_vec).ok_or(Unreadable)
    }
}

impl<T: 'static> Wire for Resource<T> {
    fn put(&self, out: &mut Vec<u8>, side: &mut Side<'_>) {
        let number = match side {
            _ if TypeId::of::<T>() == TypeId::of::<DynPollable>() => 0,
            Side::Asked(handles) => handles.number(self.rep()),
            Side::Given(handles) => handles.given(self.rep()),
        };
        put_serde(&number, out);
    }

    fn get(from: &mut &[u8], table: &mut ResourceTable) -> Result<Self, Unreadable> {
        let number = get_serde(from)?;
        if TypeId::of::<T>() != TypeId::of::<DynPollable>() {
            return Ok(Resource::new_own(number));
        }
        let stand_in = table.push(StandIn).map_err(|_| Unreadable)?;
        let pollable = subscribe(table, stand_in).map_err(|_| Unreadable)?;
        Ok(Resource::new_own(pollable.rep()))
    }
}

/// What a pollable of a replay belongs to. Nobody waits for it: what was ready when is recorded.
struct StandIn;

#[wasmtime_wasi_io::async_trait]
impl Pollable for StandIn {
    async fn ready(&mut self) {}
}

macro_rules! tuples {
    ($(($($name:ident),*))*) => {$(
        #[allow(non_snake_case, unused_variables, reason = "the empty tuple has no part")]
        impl<$($name: Wire),*> Wire for ($($name,)*) {
            fn put(&self, out: &mut Vec<u8>, side: &mut Side<'_>) {
                let ($($name,)*) = self;
                $($name.put(out, side);)*
            }

            fn get(from: &mut &[u8], table: &mut ResourceTable) -> Result<Self, Unreadable> {
                Ok(($($name::get(from, table)?,)*))
            }
        }
    )*};
}

tuples!(()(A)(A, B)(A, B, C)(A, B, C, D)(A, B, C, D, E));

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<T: Wire>(value: &T) -> Result<T, Unreadable> {
        let mut out = Vec::new();
        value.put(&mut out, &mut Side::Given(&mut Handles::default()));
        let mut from = out.as_slice();
        let read = T::get(&mut from, &mut ResourceTable::new());
        assert!(from.is_empty(), "{} bytes are left", from.len());
        read
    }

    #[test]
    fn values_go_there_and_back() {
        let error = types::Error {
            code: "x".into(),
            message: "é".into(),
            log: None,
            retryable: true,
            retry_after_ms: Some(7),
            data: Some("{}".into()),
        };
        let read = there_and_back(&(Err::<Vec<u8>, _>(error),)).expect("read").0;
        assert!(read.is_err_and(|error| error.message == "é" && error.retry_after_ms == Some(7)));
        let bytes: Vec<u8> = (0..=255).collect();
        let read = there_and_back(&(Ok::<_, types::Error>(bytes.clone()),)).expect("read").0;
        assert_eq!(read.ok(), Some(bytes));
        let headers = vec![("a".to_owned(), vec![1u8, 2])];
        assert_eq!(there_and_back(&headers), Ok(headers));
        assert_eq!(there_and_back(&()), Ok(()));
    }

    #[test]
    fn values_of_wasi_go_there_and_back() {
        let size = FieldSizePayload { field_name: Some("é".into()), field_size: None };
        let error = wasi_http::ErrorCode::HttpRequestHeaderSize(Some(size));
        let read = there_and_back(&error).expect("read");
        assert_eq!(format!("{read:?}"), format!("{error:?}"));
        let at = Datetime { seconds: 7, nanoseconds: 8 };
        let stat = DescriptorStat {
            type_: DescriptorType::SymbolicLink,
            link_count: 1,
            size: u64::MAX,
            data_access_timestamp: None,
            data_modification_timestamp: Some(at),
            status_change_timestamp: Some(at),
        };
        let read = there_and_back(&stat).expect("read");
        assert_eq!(format!("{read:?}"), format!("{stat:?}"));
        let flags = DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY;
        assert_eq!(there_and_back(&flags), Ok(flags));
        let no_variant = postcard::to_allocvec("Gett").expect("written");
        let table = &mut ResourceTable::new();
        assert!(Method::get(&mut no_variant.as_slice(), table).is_err());
    }

    #[test]
    fn handles_are_numbered_in_the_order_of_giving() {
        let (mut recording, mut out) = (Handles::default(), Vec::new());
        for rep in [40, 7, 40] {
            Resource::<u8>::new_own(rep).put(&mut out, &mut Side::Given(&mut recording));
        }
        assert_eq!(out, [0, 1, 2]);
        let playing = Handles::playing();
        let asked = |handles: &Handles, rep| {
            let mut out = Vec::new();
            Resource::<u8>::new_borrow(rep).put(&mut out, &mut Side::Asked(handles));
            out
        };
        // What has handle 40 in the recording has handle 2 in the replay.
        assert_eq!(asked(&recording, 40), asked(&playing, 2));
        assert_ne!(asked(&recording, 7), asked(&playing, 2));
    }

    #[test]
    fn a_length_that_is_not_there_allocates_nothing() {
        let huge = postcard::to_allocvec(&(u64::MAX >> 1)).expect("written");
        let table = &mut ResourceTable::new();
        assert_eq!(Vec::<u8>::get(&mut huge.as_slice(), table), Err(Unreadable));
        assert_eq!(Vec::<String>::get(&mut huge.as_slice(), table), Err(Unreadable));
        assert_eq!(String::get(&mut huge.as_slice(), table), Err(Unreadable));
        assert_eq!(Option::<u64>::get(&mut [2u8].as_slice(), table), Err(Unreadable));
    }
}
