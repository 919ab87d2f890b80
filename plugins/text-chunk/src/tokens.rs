//! How large a part of the text is.

use ampoule_sdk::prelude::*;

use crate::cutting::Span;

/// Bytes that are encoded at once: long runs of one kind cost the encoder more than they are long.
/// What is cut before a single space encodes as if it were not.
const SEGMENT: usize = 4 << 10;

/// What a size counts.
pub(crate) enum Measure {
    /// Unicode characters.
    Characters,
    /// Tokens: the bytes where they begin, in order.
    Tokens(Vec<u32>),
}

impl Measure {
    /// Encodes the text by `cl100k_base`.
    ///
    /// # Errors
    /// `internal` where the vocabulary cannot be read.
    pub(crate) fn tokens(text: &str) -> Result<Measure> {
        let encoder = tiktoken_rs::cl100k_base()
            .map_err(|error| Error::internal(format!("the vocabulary cannot be read: {error}")))?;
        let mut starts = Vec::new();
        let mut at = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let (segment, after) = rest.split_at(segment_end(rest));
            rest = after;
            for token in encoder.encode_ordinary(segment) {
                // A text is 16 MiB at most.
                starts.push(u32::try_from(at).unwrap_or(u32::MAX));
                at += encoder.decode_bytes(&[token]).map_or(0, |bytes| bytes.len());
            }
        }
        Ok(Measure::Tokens(starts))
    }

    /// The size of a part of the text. A token counts for the part where it begins, so that the
    /// sizes of two neighbours add up.
    pub(crate) fn size(&self, text: &str, span: &Span) -> usize {
        match self {
            Measure::Characters => text[span.clone()].chars().count(),
            Measure::Tokens(starts) => {
                let before = |byte| starts.partition_point(|start| (*start as usize) < byte);
                before(span.end) - before(span.start)
            }
        }
    }

    /// The size of a part as it is told: every token that has a byte in it counts.
    pub(crate) fn told(&self, text: &str, span: &Span) -> usize {
        match self {
            Measure::Characters => self.size(text, span),
            Measure::Tokens(starts) => {
                let begun = |byte| starts.partition_point(|start| (*start as usize) < byte);
                begun(span.end) - begun(span.start + 1).saturating_sub(1)
            }
        }
    }
}

/// Where to end the next segment: before the last single space, or anywhere where there is none.
fn segment_end(text: &str) -> usize {
    if text.len() <= SEGMENT {
        return text.len();
    }
    let end = text.floor_char_boundary(SEGMENT);
    let bytes = text.as_bytes();
    let single = |at: &usize| {
        bytes[*at] == b' '
            && bytes[at - 1].is_ascii_alphanumeric()
            && bytes[at + 1].is_ascii_alphanumeric()
    };
    (1..end).rev().find(single).unwrap_or(end)
}
