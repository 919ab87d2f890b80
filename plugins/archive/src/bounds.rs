//! How much may be decompressed.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::rc::Rc;

use ampoule_sdk::prelude::*;

/// Bytes that any entry may have, whatever the ratio: a small one compresses as it likes.
const FREE_BYTES: u64 = 1 << 20;

/// How much a call may decompress, and which bound was met.
#[derive(Clone)]
pub(crate) struct Bounds {
    left: Rc<Cell<u64>>,
    max_bytes: u64,
    max_ratio: u64,
    breach: Rc<RefCell<Option<Error>>>,
}

impl Bounds {
    pub(crate) fn new(max_bytes: u64, max_ratio: u64) -> Bounds {
        Bounds { left: Rc::new(Cell::new(max_bytes)), max_bytes, max_ratio, breach: Rc::default() }
    }

    /// The same bounds for a stream whose entries are counted by themselves.
    pub(crate) fn stream(&self) -> Bounds {
        Bounds { left: Rc::new(Cell::new(self.max_bytes)), ..self.clone() }
    }

    /// The same reader, which fails when it has given more than so many compressed bytes should.
    pub(crate) fn reader<R: Read>(&self, inner: R, name: &str, compressed: u64) -> Bounded<R> {
        let most = compressed.saturating_mul(self.max_ratio).max(FREE_BYTES);
        Bounded { inner, bounds: self.clone(), name: name.to_owned(), left: most }
    }

    /// What an error of a reader stands for: the bound that was met, else that the data are
    /// malformed.
    pub(crate) fn error(&self, what: &str, error: &dyn std::fmt::Display) -> Error {
        match self.breach.take() {
            Some(breach) => breach,
            None => Error::invalid_data(format!("{what} is malformed: {error}")),
        }
    }

    fn refuse(&self, error: Error) -> io::Error {
        *self.breach.borrow_mut() = Some(error);
        io::Error::other("a bound was met")
    }
}

/// A reader that does not give more than it may.
pub(crate) struct Bounded<R> {
    inner: R,
    bounds: Bounds,
    name: String,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let bounds = &self.bounds;
        let Some(left) = self.left.checked_sub(count as u64) else {
            return Err(bounds.refuse(Error::too_large(format!(
                "`{}` decompresses to more than {} times its size, as a bomb does: if the archive \
                 is trusted, raise `max_ratio`",
                self.name, bounds.max_ratio
            ))));
        };
        let Some(total) = bounds.left.get().checked_sub(count as u64) else {
            return Err(bounds.refuse(Error::too_large(format!(
                "more than {} bytes would be decompressed: raise `max_bytes`, or take fewer \
                 entries at once",
                bounds.max_bytes
            ))));
        };
        self.left = left;
        bounds.left.set(total);
        Ok(count)
    }
}
