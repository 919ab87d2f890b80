//! The file of a recording: JSON lines, each linked to the one before by a digest, written and
//! read one by one.
//!
//! A line is `{"link": DIGEST, KIND: {…}}`: first one `header`, then a `call` for each host call,
//! a `blob` for each blob the result names, at last one `end`. `link` is the SHA-256 of the link
//! before and of the rest of the line, so a line that was changed, removed, added or moved is
//! found. It finds accidents and edits; it is no signature, for whoever can write a recording can
//! link it anew.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use ampoule_contract::{Breach, Limits, Meter, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ReplayError;

/// The version of what this module writes.
pub(super) const FORMAT: u32 = 1;

/// The longest line. A result is bounded by the limits of the call that was recorded; one that is
/// still longer is not recorded.
const MAX_LINE_BYTES: u64 = 128 << 20;

/// Numbers by the names of their meters.
pub(super) type Numbers = BTreeMap<String, u64>;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    Header(Header),
    Call(Call),
    Blob(KeptBlob),
    End(Ending),
}

/// What was called, and all that decides how it runs beside the host calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Header {
    pub format: u32,
    /// Version of the host.
    pub host: String,
    /// Id of the tool.
    pub tool: String,
    /// Digest of the plugin's file.
    pub digest: String,
    /// The arguments, a JSON text.
    pub arguments: String,
    /// Digest of the settings; the guest gets them by a host call, as recorded.
    pub settings: String,
    /// Digest of what was granted; the guest gets what came of it, as recorded.
    pub grants: String,
    pub limits: Numbers,
    /// Fuel the call began with: its limit, or what was left above it.
    pub fuel: u64,
    pub depth: u64,
    /// Whether the caller kept the blobs.
    pub blobs: bool,
    /// Whether WASI's clock runs.
    pub clock: bool,
    /// Whether WASI's randomness is random.
    pub random: bool,
    /// Seed of WASI's randomness: 64 hexadecimal digits.
    pub seed: String,
}

/// What every version has in its first line.
#[derive(Deserialize)]
struct First {
    header: Version,
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// One host call and what came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Call {
    /// Interface and function.
    pub name: String,
    /// Digest of the arguments.
    pub arguments: String,
    /// Fuel the guest had left; absent where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Fuel the call cost; less than nothing where lent fuel came back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost: i64,
    /// The meters that changed since the line before, as they stand after the call.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used: Numbers,
    pub outcome: Outcome,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// What came of a host call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// A result, as [`Wire`](super::wire::Wire) writes it, in base64.
    Value(String),
    /// A limit, which ended the call.
    Limit(Reached),
    /// More handles than may be.
    Handles,
    /// A question that waits for a person.
    Suspended(String),
    /// A fault of the host.
    Fault(String),
    /// Anything else that ended the call.
    Trap(String),
    /// Nothing: the call ended from outside meanwhile.
    Cut,
}

/// A [`Breach`] in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Reached {
    pub meter: String,
    pub limit: u64,
    pub above: bool,
}

impl From<&Breach> for Reached {
    fn from(breach: &Breach) -> Reached {
        let Breach { meter, limit, above } = breach;
        Reached { meter: meter.name().to_owned(), limit: *limit, above: *above }
    }
}

impl Reached {
    pub(super) fn breach(&self) -> Option<Breach> {
        let meter = self.meter.parse().ok()?;
        Some(Breach { meter, limit: self.limit, above: self.above })
    }
}

/// A blob that the result names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct KeptBlob {
    pub id: String,
    pub media_type: String,
    /// In base64.
    pub data: String,
}

/// How the call ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Ending {
    /// As [`end_text`](super::end_text) writes it; compared byte for byte.
    pub end: Box<RawValue>,
    /// The limit that ended the call from outside, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Reached>,
    #[serde(default)]
    pub cancelled: bool,
    pub used: Numbers,
    /// Fuel that came back when no host call could take it any more.
    pub refund: u64,
    pub receipt: Value,
}

/// The numbers of limits or usage.
pub(super) fn numbers(all: impl Iterator<Item = (Meter, u64)>) -> Numbers {
    all.map(|(meter, n)| (meter.name().to_owned(), n)).collect()
}

/// Numbers by their meters.
///
/// # Errors
/// The name that is none.
pub(super) fn meters(numbers: &Numbers) -> Result<Vec<(Meter, u64)>, String> {
    let meter = |name: &String| name.parse().map_err(|_| format!("there is no meter `{name}`"));
    numbers.iter().map(|(name, &n)| Ok((meter(name)?, n))).collect()
}

/// Limits from a file: all of them have to be there.
///
/// # Errors
/// A name that is none, or one that is missing.
pub(super) fn limits(numbers: &Numbers) -> Result<Limits, String> {
    let mut limits = Limits::UNLIMITED;
    for (meter, n) in meters(numbers)? {
        limits.set(meter, n);
    }
    match numbers.len() == Meter::ALL.len() {
        true => Ok(limits),
        false => Err("limits are missing".into()),
    }
}

/// Usage from a file.
///
/// # Errors
/// A name that is none.
pub(super) fn usage(numbers: &Numbers) -> Result<Usage, String> {
    let mut usage = Usage::default();
    for (meter, n) in meters(numbers)? {
        usage.set(meter, n);
    }
    Ok(usage)
}

/// The link of a line, given the one before and the rest of the line.
fn link(before: &[u8; 32], rest: &[u8]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(before);
    context.update(rest);
    let mut link = [0; 32];
    link.copy_from_slice(context.finish().as_ref());
    link
}

const LINK_START: &[u8] = b"{\"link\":\"";
const LINK_BYTES: usize = LINK_START.len() + 64 + 2;

/// Writes a recording, a line at a time.
pub(super) struct Writer {
    file: BufWriter<File>,
    link: [u8; 32],
}

impl Writer {
    /// Makes the file, which must not be there, for its owner alone.
    ///
    /// # Errors
    /// It is there, or cannot be made.
    pub(super) fn create(path: &Path) -> std::io::Result<Writer> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Writer { file: BufWriter::new(options.open(path)?), link: [0; 32] })
    }

    /// Writes a line.
    ///
    /// # Errors
    /// It is too long, or the file cannot be written.
    pub(super) fn line(&mut self, line: &Line) -> Result<(), String> {
        let rest = serde_json::to_string(line).map_err(|error| error.to_string())?;
        if rest.len() as u64 > MAX_LINE_BYTES - LINK_BYTES as u64 - 1 {
            return Err(format!("a host call moved more than {} MiB", MAX_LINE_BYTES >> 20));
        }
        self.link = link(&self.link, rest.as_bytes());
        let link = crate::digest::hex(&self.link);
        writeln!(self.file, "{{\"link\":\"{link}\",{}", &rest[1..])
            .map_err(|error| error.to_string())
    }

    /// Writes out what is left.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn finish(mut self) -> Result<(), String> {
        self.file.flush().map_err(|error| error.to_string())
    }
}

/// Reads a recording, a line at a time.
pub(super) struct Reader {
    input: BufReader<File>,
    path: PathBuf,
    link: [u8; 32],
    number: u64,
    buffer: Vec<u8>,
}

impl Reader {
    /// Opens a regular file.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub(super) fn open(path: &Path) -> Result<Reader, ReplayError> {
        let file = crate::files::open_regular(path, true)
            .map_err(|source| ReplayError::Io { path: path.to_owned(), source })?;
        Ok(Reader {
            input: BufReader::new(file),
            path: path.to_owned(),
            link: [0; 32],
            number: 0,
            buffer: Vec::new(),
        })
    }

    /// What is wrong with the line that was read last.
    pub(super) fn refuse(&self, message: impl Into<String>) -> ReplayError {
        let (path, line) = (self.path.clone(), self.number);
        ReplayError::Malformed { path, line, message: message.into() }
    }

    /// The next line; `None` where the file ends.
    ///
    /// # Errors
    /// It is too long, does not follow the line before, or is no line of a recording.
    pub(super) fn line(&mut self) -> Result<Option<Line>, ReplayError> {
        self.number += 1;
        self.buffer.clear();
        // It grows with what there is, not with what a length in the file says.
        let mut bounded = (&mut self.input).take(MAX_LINE_BYTES + 1);
        let read = bounded.read_until(b'\n', &mut self.buffer);
        read.map_err(|source| ReplayError::Io { path: self.path.clone(), source })?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        if self.buffer.len() as u64 > MAX_LINE_BYTES {
            return Err(self.refuse(format!("longer than {} MiB", MAX_LINE_BYTES >> 20)));
        }
        if self.buffer.pop_if(|last| *last == b'\n').is_none() {
            return Err(self.refuse("the line is cut off"));
        }
        let line = self.buffer.as_mut_slice();
        if line.len() <= LINK_BYTES
            || !line.starts_with(LINK_START)
            || &line[LINK_BYTES - 2..LINK_BYTES] != b"\","
        {
            return Err(self.refuse("it is no line of a recording"));
        }
        let (front, rest) = line.split_at_mut(LINK_BYTES - 1);
        // The comma becomes the brace that the line was written with.
        rest[0] = b'{';
        let link = link(&self.link, rest);
        if crate::digest::hex(&link).as_bytes() != &front[LINK_START.len()..LINK_START.len() + 64] {
            return Err(self.refuse(
                "it does not follow the line before: it, or one before it, was changed, removed, \
                 added or moved",
            ));
        }
        if self.number == 1
            && let Ok(First { header: Version { format } }) = serde_json::from_slice(rest)
            && format != FORMAT
        {
            return Err(self.refuse(format!(
                "it has format {format}; this host ({}) reads format {FORMAT}",
                env!("CARGO_PKG_VERSION")
            )));
        }
        let parsed = serde_json::from_slice(rest);
        self.link = link;
        parsed.map(Some).map_err(|error| self.refuse(error.to_string()))
    }
}
