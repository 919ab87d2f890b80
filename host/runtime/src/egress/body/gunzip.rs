//! Decompression of answers, in steps and bounded by what goes in.

use std::io::{self, Write};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ampoule_contract::ToolError;
use bytes::{Buf, Bytes};
use flate2::write::GzDecoder;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use super::{EgressError, PIECE, TURNS};

/// How many compressed bytes may go in for each that comes out, where only what comes out is
/// charged. Honest compression is far below: a byte that is flushed by itself takes about ten.
const MOST_PER_BYTE: u64 = 16;

/// How many may go in beside that.
const MOST_FOR_NOTHING: u64 = 1 << 20;

/// A body out of its gzip compression (RFC 1952).
///
/// One member, as servers send: what follows it is damage. A stream that goes on and on and
/// holds nothing, such as one of empty blocks, is damage too.
pub(in crate::egress) struct Gunzip {
    /// `None` at its end.
    raw: Option<BoxStream<'static, Result<Bytes, EgressError>>>,
    /// What has come and was not decompressed yet.
    chunk: Bytes,
    decoder: GzDecoder<Vec<u8>>,
    /// What was decompressed and not handed on yet.
    plain: Bytes,
    taken: u64,
    given: u64,
    origin: String,
}

impl Gunzip {
    pub(in crate::egress) fn new(
        raw: BoxStream<'static, Result<Bytes, EgressError>>,
        origin: String,
    ) -> Gunzip {
        Gunzip {
            raw: Some(raw),
            chunk: Bytes::new(),
            decoder: GzDecoder::new(Vec::new()),
            plain: Bytes::new(),
            taken: 0,
            given: 0,
            origin,
        }
    }

    fn take(&mut self, chunk: Bytes) -> io::Result<()> {
        self.taken += chunk.len() as u64;
        let most = self.given.saturating_mul(MOST_PER_BYTE).saturating_add(MOST_FOR_NOTHING);
        if self.taken > most {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.chunk = chunk;
        Ok(())
    }

    /// One step, out of which come tens of KiB at most.
    fn decode(&mut self) -> io::Result<()> {
        let used = self.decoder.write(&self.chunk)?;
        if used == 0 {
            // The member has ended.
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.chunk.advance(used);
        if self.chunk.is_empty() {
            // What could wait for the next chunk belongs to a reader who may have to wait long.
            self.decoder.flush()?;
        }
        self.give();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.raw = None;
        // The answer to a `HEAD` says how its body would be compressed, and has none.
        if self.taken > 0 {
            self.decoder.try_finish()?;
            self.give();
        }
        Ok(())
    }

    fn give(&mut self) {
        self.plain = mem::take(self.decoder.get_mut()).into();
        self.given += self.plain.len() as u64;
    }
}

impl Stream for Gunzip {
    type Item = Result<Bytes, EgressError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        for _ in 0..TURNS {
            if !this.plain.is_empty() {
                let length = this.plain.len().min(PIECE);
                return Poll::Ready(Some(Ok(this.plain.split_to(length))));
            }
            let Some(raw) = &mut this.raw else { return Poll::Ready(None) };
            let step = if this.chunk.is_empty() {
                match ready!(raw.poll_next_unpin(cx)) {
                    Some(Ok(chunk)) => this.take(chunk),
                    Some(Err(error)) => {
                        this.raw = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => this.finish(),
                }
            } else {
                this.decode()
            };
            if step.is_err() {
                this.raw = None;
                let message = format!("the compressed answer of {} is damaged", this.origin);
                return Poll::Ready(Some(Err(ToolError::new("invalid-data", message).into())));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
