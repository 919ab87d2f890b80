//! Paths: their segments, what hides in them, and patterns of segments.

use std::fmt;

use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::url::UrlError;

/// How often a path may have been percent-encoded over again.
const MAX_ENCODINGS: usize = 4;

/// A segment of a path, percent-decoded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its bytes; a `/` or `\` among them was written as `%2F` or `%5C`.
    bytes: Vec<u8>,
    /// Whether a server that decodes more than once finds a `/` or `\` in it.
    deep_separator: bool,
}

/// The segments of a path that begins with `/`, in the percent-encoding of a URL or pattern.
pub(super) fn path_segments(path: &str) -> Result<Vec<Segment>, UrlError> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(segment).collect()
}

/// Decodes a segment, and refuses what a server might take for a way up or an end.
///
/// Servers, proxies and frameworks decode once, twice or not at all, some cut parameters off
/// (`..;a`), some end the path at a `?` or `#` that was encoded (`..%3F`), some trim (`..%20`),
/// some read `\` as `/`. A segment is refused when any of these readings holds a dot segment;
/// so a path that is allowed under `/v1/**` stays under `/v1/` in each of them.
fn segment(raw: &str) -> Result<Segment, UrlError> {
    let mut escapes = raw.split('%').skip(1);
    if !escapes.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit())) {
        return Err(UrlError::Path("`%` must be followed by two hexadecimal digits; write `%25`"));
    }
    check_reading(raw.as_bytes())?;
    let bytes: Vec<u8> = percent_decode(raw.as_bytes()).collect();
    check_reading(&bytes)?;
    let mut deep_separator = false;
    let mut reading = bytes.clone();
    for _ in 0..MAX_ENCODINGS {
        let next: Vec<u8> = percent_decode(&reading).collect();
        if next == reading {
            return Ok(Segment { bytes, deep_separator });
        }
        check_reading(&next)?;
        deep_separator |= next.contains(&b'/') || next.contains(&b'\\');
        reading = next;
    }
    Err(UrlError::Path("it is percent-encoded too many times over"))
}

fn check_reading(reading: &[u8]) -> Result<(), UrlError> {
    if reading.contains(&0) {
        return Err(UrlError::Path("it holds a NUL"));
    }
    if reading.windows(2).any(is_overlong) {
        return Err(UrlError::Path("it holds an overlong UTF-8 sequence"));
    }
    let blank = |b: &u8| *b <= b' ' || *b == 0x7f;
    for part in reading.split(|b| matches!(b, b'/' | b'\\')) {
        let part = part.split(|b| matches!(b, b';' | b'?' | b'#')).next().unwrap_or(part);
        let start = part.iter().position(|b| !blank(b)).unwrap_or(part.len());
        let end = part.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
        if matches!(&part[start..end], b"." | b"..") {
            return Err(UrlError::Path("it hides a `.` or `..` segment"));
        }
    }
    Ok(())
}

/// The first two bytes of a UTF-8 sequence that is longer than it need be, by which lenient
/// decoders read `%C0%AE` as `.`.
fn is_overlong(pair: &[u8]) -> bool {
    matches!(pair, [0xc0 | 0xc1, 0x80..=0xbf] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f])
}

/// What of a path segment stands for itself in the text of a pattern; everything else is
/// percent-encoded, `*` above all.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A pattern of a segment, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum SegmentPattern {
    /// These bytes.
    Literal(Vec<u8>),
    /// Split at encoded slashes, each part split at its `*`, which takes in no separator.
    Glob(Vec<Vec<Vec<u8>>>),
}

impl SegmentPattern {
    /// Reads a pattern in the percent-encoding of URLs.
    ///
    /// # Errors
    /// What is wrong with it; what is refused in a URL is refused in a pattern too.
    pub(super) fn parse(text: &str) -> Result<SegmentPattern, String> {
        let segment = |text: &str| match path_segments(text).as_deref() {
            Ok([segment]) => Ok(segment.clone()),
            Ok(_) => Err(format!("`{text}` is more than a segment")),
            Err(error) => Err(format!("in `{text}`: {error}")),
        };
        if !text.contains('*') {
            return segment(text).map(|segment| SegmentPattern::Literal(segment.bytes));
        }
        if text.contains("**") {
            return Err("`**` stands only at the end of the path, as a segment of its own".into());
        }
        // Judged with something in place of each `*` that is no part of an escape.
        let filled = segment(&text.replace('*', "x"))?;
        if filled.deep_separator || filled.bytes.contains(&b'\\') {
            return Err(format!("`{text}` joins `*` and an encoded `\\` or twice encoded `/`"));
        }
        let pieces = |part: &str| {
            part.split('*').map(|piece| percent_decode(piece.as_bytes()).collect()).collect()
        };
        let parts = text.replace("%2f", "%2F");
        Ok(SegmentPattern::Glob(parts.split("%2F").map(pieces).collect()))
    }

    /// The pattern that matches this segment alone.
    pub(super) fn exactly(segment: &Segment) -> SegmentPattern {
        SegmentPattern::Literal(segment.bytes.clone())
    }

    /// Whether it is certain that `wider` matches whatever this one matches.
    pub(super) fn within(&self, wider: &SegmentPattern) -> bool {
        match (self, wider) {
            (one, other) if one == other => true,
            (SegmentPattern::Literal(bytes), _) => {
                let text = percent_encode(bytes, ENCODED).to_string();
                segment(&text).is_ok_and(|segment| wider.matches(&segment))
            }
            // `*` alone: any text without a separator, which is all that one part can match.
            (SegmentPattern::Glob(parts), SegmentPattern::Glob(wider)) => {
                let any = matches!(&wider[..], [part] if part.len() == 2
                    && part.iter().all(Vec::is_empty));
                any && parts.len() == 1
            }
            (SegmentPattern::Glob(_), SegmentPattern::Literal(_)) => false,
        }
    }

    pub(super) fn matches(&self, segment: &Segment) -> bool {
        match self {
            SegmentPattern::Literal(bytes) => *bytes == segment.bytes,
            SegmentPattern::Glob(parts) => {
                let mut found = segment.bytes.split(|&b| b == b'/');
                !segment.deep_separator
                    && !segment.bytes.contains(&b'\\')
                    && parts.iter().all(|part| found.next().is_some_and(|text| glob(part, text)))
                    && found.next().is_none()
            }
        }
    }
}

impl fmt::Display for SegmentPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = |bytes: &Vec<u8>| percent_encode(bytes, ENCODED).to_string();
        let joined =
            |pieces: &Vec<Vec<u8>>| pieces.iter().map(encoded).collect::<Vec<_>>().join("*");
        match self {
            SegmentPattern::Literal(bytes) => f.write_str(&encoded(bytes)),
            SegmentPattern::Glob(parts) => {
                f.write_str(&parts.iter().map(joined).collect::<Vec<_>>().join("%2F"))
            }
        }
    }
}

/// Whether `text` is `pieces` with any text between each two of them; where there is nothing
/// but one `*`, some text.
///
/// Linear in the length of the text: taking each piece as early as possible is never worse.
fn glob(pieces: &[Vec<u8>], text: &[u8]) -> bool {
    match pieces {
        [] => text.is_empty(),
        [whole] => whole == text,
        [first, last] if first.is_empty() && last.is_empty() => !text.is_empty(),
        [first, middle @ .., last] => {
            let Some(mut text) = text.strip_prefix(first.as_slice()) else { return false };
            for piece in middle {
                let Some(at) = memmem::find(text, piece) else { return false };
                text = &text[at + piece.len()..];
            }
            text.ends_with(last)
        }
    }
}
