//! LangChain's recursive splitter, over spans of the text instead of copies of it: cut at the
//! first level that occurs, go down a level in what is still too large, and put what is small
//! together again until it would be too large.

use std::collections::VecDeque;
use std::ops::Range;

use ampoule_sdk::prelude::*;

use crate::levels::Level;
use crate::tokens::Measure;

/// A part of the text, in bytes.
pub(crate) type Span = Range<usize>;

/// Chunks of a text at most.
const MAX_CHUNKS: usize = 1_000_000;

/// Cuts one text.
pub(crate) struct Cutter<'a> {
    text: &'a str,
    measure: &'a Measure,
    size: usize,
    overlap: usize,
    trim: bool,
    chunks: Vec<Span>,
    /// Pieces of the chunk in the making, with their sizes, and the sum of these.
    pieces: VecDeque<(Span, usize)>,
    total: usize,
}

impl<'a> Cutter<'a> {
    pub(crate) fn new(
        text: &'a str,
        measure: &'a Measure,
        size: usize,
        overlap: usize,
        trim: bool,
    ) -> Cutter<'a> {
        Cutter {
            text,
            measure,
            size,
            overlap,
            trim,
            chunks: Vec::new(),
            pieces: VecDeque::new(),
            total: 0,
        }
    }

    /// The chunks, in order.
    ///
    /// # Errors
    /// `too-large` where there are too many.
    pub(crate) fn cut(mut self, levels: &[Level]) -> Result<Vec<Span>> {
        self.descend(0..self.text.len(), levels)?;
        Ok(self.chunks)
    }

    /// Cuts a part at the first of the levels that occurs in it. There are 20 levels at most, so
    /// this does not go deep.
    fn descend(&mut self, span: Span, levels: &[Level]) -> Result<()> {
        let text = self.text;
        let found = levels.iter().position(|level| level.occurs(text, &span));
        let Some((level, deeper)) = found.and_then(|at| levels[at..].split_first()) else {
            return self.push(span);
        };
        for piece in level.pieces(text, span) {
            let size = self.measure.size(text, &piece);
            if size < self.size {
                self.gather(piece, size)?;
            } else {
                self.finish()?;
                if deeper.is_empty() {
                    self.push(piece)?;
                } else {
                    self.descend(piece, deeper)?;
                }
            }
        }
        self.finish()
    }

    /// Adds a piece to the chunk in the making, or ends that and begins the next with its tail.
    fn gather(&mut self, piece: Span, size: usize) -> Result<()> {
        if self.total + size > self.size && !self.pieces.is_empty() {
            self.end_chunk()?;
            while self.total > self.overlap || self.total > 0 && self.total + size > self.size {
                match self.pieces.pop_front() {
                    Some((_, dropped)) => self.total -= dropped,
                    None => break,
                }
            }
        }
        self.pieces.push_back((piece, size));
        self.total += size;
        Ok(())
    }

    /// Ends the chunk in the making, and begins the next with nothing.
    fn finish(&mut self) -> Result<()> {
        self.end_chunk()?;
        self.pieces.clear();
        self.total = 0;
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<()> {
        match (self.pieces.front(), self.pieces.back()) {
            (Some((first, _)), Some((last, _))) => self.push(first.start..last.end),
            _ => Ok(()),
        }
    }

    fn push(&mut self, mut span: Span) -> Result<()> {
        if self.trim {
            let part = &self.text[span.clone()];
            span.start += part.len() - part.trim_start().len();
            span.end = span.start + part.trim().len();
        }
        if span.is_empty() {
            return Ok(());
        }
        if self.chunks.len() == MAX_CHUNKS {
            return Err(Error::too_large(format!(
                "there are more than {MAX_CHUNKS} chunks: make `size` larger"
            )));
        }
        self.chunks.push(span);
        Ok(())
    }
}
