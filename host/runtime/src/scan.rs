//! Finding secrets in what passes, however they are written, and taking them out.
//!
//! [`RunSecrets`] is the list of a run: every secret from the moment the host has used it, with
//! the origins it may go to. Until there is one, looking costs one branch. From then on
//!
//! - what a call **says** is redacted and goes on: values, blocks, errors, log lines, events,
//!   blobs, questions, refusals, and the answers of servers before a guest reads them;
//! - what a call **does** is refused: requests to others than the secret's audience, calls of
//!   other tools, requests to models, files in the workspace. A file or a request with a hole in
//!   it would be another one than was meant.
//!
//! Both are in the receipt, as refusals by the gate `secret`.
//!
//! # What is found
//!
//! A value itself, its base64 (both alphabets, with and without padding, at any offset inside a
//! longer text), its hexadecimal digits in one case, and `+` for its spaces; each of these plain
//! or through one layer of percent-encoding, backslash escapes as JSON and programs write them,
//! references as HTML writes them, or line breaks; and all of it across the borders of chunks. A
//! byte costs one step of an automaton, and one more for each layer that begins near it.
//!
//! # What is not
//!
//! Values shorter than [`MIN_SECRET_BYTES`]: they are in everything. And whatever a guest computes
//! from a secret in its own way, such as letters backwards or one by one: no scanner finds that.
//! The first defence is that guests never get a secret at all; this is the second.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use ampoule_contract::{
    Blob, Block, Denial, ModelEvent, ModelInfo, Output, Part, Problem, ToolError,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::egress::{AudiencePattern, CheckedUrl, SecretValue};

/// Values with fewer bytes are not looked for: they would be found where nobody has put them.
pub const MIN_SECRET_BYTES: usize = 8;

/// The most secrets a run may use; each has a bit in [`Found`].
const MAX_SECRETS: usize = 64;

/// The most bytes the secrets of a run may have together. The automaton is about twenty times as
/// large.
const MAX_SECRET_BYTES: usize = 32 << 10;

/// How many bytes are read before what is certain is given on.
const PIECE: usize = 16 << 10;

/// The longest escape: a pair of `\uXXXX`.
const MAX_ESCAPE: usize = 12;

/// Which secrets were found, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found(u64);

impl std::ops::BitOr for Found {
    type Output = Found;

    fn bitor(self, other: Found) -> Found {
        Found(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Found {
    fn bitor_assign(&mut self, other: Found) {
        *self = *self | other;
    }
}

/// A secret that is looked for.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    audience: Vec<AudiencePattern>,
    value: SecretValue,
}

/// The secrets a run has used so far, for whoever lets something out of it.
#[derive(Default)]
pub struct RunSecrets {
    any: AtomicBool,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    known: Vec<Known>,
    scanner: Option<Arc<Scanner>>,
}

impl fmt::Debug for RunSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSecrets").field("any", &self.any).finish_non_exhaustive()
    }
}

impl RunSecrets {
    /// Looks for a secret from now on. Under two names, it may go to the audience of either.
    ///
    /// # Errors
    /// `too-large`: the run has too many secrets, or too long ones, to be looked for. It must not
    /// be used then.
    pub fn add(
        &self,
        name: &str,
        audience: &[AudiencePattern],
        value: &SecretValue,
    ) -> Result<(), ToolError> {
        if value.expose().len() < MIN_SECRET_BYTES {
            return Ok(());
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = list.known.clone();
        match known.iter_mut().find(|known| known.value.expose() == value.expose()) {
            Some(same) => {
                let new = |a: &&AudiencePattern| !same.audience.contains(a);
                let new: Vec<_> = audience.iter().filter(new).cloned().collect();
                if new.is_empty() {
                    return Ok(());
                }
                same.audience.extend(new);
            }
            None => known.push(Known {
                name: name.to_owned(),
                audience: audience.to_vec(),
                value: value.clone(),
            }),
        }
        list.scanner = Some(Arc::new(Scanner::new(known.clone())?));
        list.known = known;
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    /// What looks for the secrets there are now; `None` where there is none.
    pub(crate) fn scanner(&self) -> Option<Arc<Scanner>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.list.lock().unwrap_or_else(PoisonError::into_inner).scanner.clone()
    }

    /// Looks for what another run has used, too: an instance that a session keeps may hold it.
    ///
    /// # Errors
    /// As [`RunSecrets::add`].
    pub(crate) fn take_over(&self, earlier: &RunSecrets) -> Result<(), ToolError> {
        let known = earlier.list.lock().unwrap_or_else(PoisonError::into_inner).known.clone();
        known.iter().try_for_each(|known| self.add(&known.name, &known.audience, &known.value))
    }

    /// Takes the secrets out of a JSON value, such as a line of a log, before it is written.
    pub fn redact(&self, value: &mut Value) {
        if let Some(scanner) = self.scanner() {
            Cleaner::new(scanner).value(value);
        }
    }
}

/// The automaton for some secrets, and what it finds.
pub(crate) struct Scanner {
    known: Vec<Known>,
    automaton: NFA,
    start: StateID,
    /// Of each pattern, the place of its secret in `known`.
    secrets: Vec<usize>,
    /// How many bytes of a pattern each state stands for.
    depths: HashMap<StateID, usize>,
    longest: usize,
}

impl Scanner {
    fn new(known: Vec<Known>) -> Result<Scanner, ToolError> {
        let too_large = || {
            let message = format!(
                "a run uses at most {MAX_SECRETS} secrets of {MAX_SECRET_BYTES} bytes together"
            );
            ToolError::new("too-large", message)
        };
        let bytes: usize = known.iter().map(|known| known.value.expose().len()).sum();
        if known.len() > MAX_SECRETS || bytes > MAX_SECRET_BYTES {
            return Err(too_large());
        }
        let (mut patterns, mut secrets) = (Vec::new(), Vec::new());
        for (secret, known) in known.iter().enumerate() {
            let forms = forms(known.value.expose().as_bytes());
            secrets.resize(secrets.len() + forms.len(), secret);
            patterns.extend(forms);
        }
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(patterns.iter().map(|pattern| pattern.as_slice()))
            .map_err(|_| too_large())?;
        let start = automaton.start_state(Anchored::No).map_err(|_| too_large())?;
        let mut depths = HashMap::new();
        for pattern in &patterns {
            let mut state = start;
            for (at, &byte) in pattern.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, byte);
                depths.insert(state, at + 1);
            }
        }
        let longest = automaton.max_pattern_len();
        Ok(Scanner { known, automaton, start, secrets, depths, longest })
    }

    /// The names of what was found.
    pub(crate) fn names(&self, found: Found) -> impl Iterator<Item = &str> {
        let known = self.known.iter().enumerate();
        known.filter(move |(at, _)| found.0 & (1 << at) != 0).map(|(_, known)| known.name.as_str())
    }

    /// `bytes` with a marker for every secret in it, `None` where there is none; and which.
    pub(crate) fn redact(self: &Arc<Self>, bytes: &[u8]) -> (Option<Vec<u8>>, Found) {
        let mut stream = Stream::new(self.clone());
        let mut clean = Vec::with_capacity(bytes.len());
        stream.push(bytes, &mut clean);
        stream.finish(&mut clean);
        let found = stream.found();
        ((found != Found::default()).then_some(clean), found)
    }

    /// A text without secrets.
    pub(crate) fn text(self: &Arc<Self>, text: String) -> String {
        match self.redact(text.as_bytes()).0 {
            Some(clean) => String::from_utf8_lossy(&clean).into_owned(),
            None => text,
        }
    }

    /// Whether a text has no secret in it.
    pub(crate) fn is_clean(self: &Arc<Self>, text: &str) -> bool {
        self.find(text.as_bytes()) == Found::default()
    }

    /// Which secrets are in `bytes`.
    pub(crate) fn find(self: &Arc<Self>, bytes: &[u8]) -> Found {
        self.redact(bytes).1
    }

    /// The refusal of a request to `url` for carrying a secret that may not go there.
    ///
    /// # Errors
    /// One of `found` may not.
    pub(crate) fn may_go(&self, found: Found, url: &CheckedUrl) -> Result<(), Denial> {
        let mut known = self.known.iter().enumerate().filter(|(at, _)| found.0 & (1 << at) != 0);
        let goes = |known: &Known| known.audience.iter().any(|audience| audience.matches(url));
        match known.find(|(_, known)| !goes(known)) {
            None => Ok(()),
            Some((_, known)) => Err(Denial {
                gate: "secret",
                message: format!(
                    "the request to {} carries the secret `{}`, which may not go there; leave it \
                     out, or name the secret so that the host attaches it where it may go",
                    url.origin(),
                    known.name
                ),
                allow: None,
            }),
        }
    }

    /// The refusal of what carries a secret, whichever.
    ///
    /// # Errors
    /// One was found in one of the `parts` of `what`.
    pub(crate) fn refuse<'a>(
        self: &Arc<Self>,
        what: &str,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Denial> {
        for part in parts {
            let mut cleaner = Cleaner::new(self.clone());
            cleaner.clean(part);
            // What others will read as JSON is looked at as they will.
            if let Some(mut value) = std::str::from_utf8(part).ok().and_then(json) {
                cleaner.value(&mut value);
            }
            if let Some(name) = cleaner.names().next() {
                return Err(Denial {
                    gate: "secret",
                    message: format!("{what} carries the secret `{name}`; leave it out"),
                    allow: None,
                });
            }
        }
        Ok(())
    }

    /// How many bytes before an end may belong to a secret that goes on behind it.
    pub(crate) fn overlap(&self) -> u64 {
        (self.longest * MAX_ESCAPE) as u64
    }

    fn next(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, byte)
    }

    fn depth(&self, state: StateID) -> usize {
        self.depths.get(&state).copied().unwrap_or(0)
    }

    /// Calls `hit` with length and secret of every pattern that ends in `state`.
    fn ends(&self, state: StateID, mut hit: impl FnMut(usize, usize)) {
        // Of the special states only those that match come up: there is no dead one.
        if self.automaton.is_special(state) && self.automaton.is_match(state) {
            for at in 0..self.automaton.match_len(state) {
                let pattern = self.automaton.match_pattern(state, at);
                hit(self.automaton.pattern_len(pattern), self.secrets[pattern.as_usize()]);
            }
        }
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner").field("known", &self.known).finish_non_exhaustive()
    }
}

/// The texts by which a value is found. The automaton keeps copies that are not wiped.
fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let digits = Zeroizing::new(crate::digest::hex(value));
    let mut forms = vec![
        value.to_vec(),
        value.iter().map(|&byte| if byte == b' ' { b'+' } else { byte }).collect(),
        digits.as_bytes().to_vec(),
        digits.to_ascii_uppercase().into_bytes(),
    ];
    for (padded, bare) in [(&STANDARD, &STANDARD_NO_PAD), (&URL_SAFE, &URL_SAFE_NO_PAD)] {
        forms.push(padded.encode(value).into_bytes());
        forms.push(bare.encode(value).into_bytes());
        // In a longer text: the digits in which no bit is of what stands before or behind.
        for (before, first) in [(0, 0), (1, 2), (2, 3)] {
            let shifted = Zeroizing::new([&[0; 2][..before], value].concat());
            let digits = bare.encode(&*shifted).into_bytes();
            forms.push(digits[first..shifted.len() * 8 / 6].to_vec());
        }
    }
    forms.sort();
    forms.dedup();
    forms.into_iter().map(Zeroizing::new).collect()
}

/// A layer of writing that one plain byte may be hidden under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// `%41`.
    Percent,
    /// `\u0041`, `\x41`, `\/`, `\n`.
    Backslash,
    /// `&#65;`, `&#x41;`, `&amp;`.
    Reference,
    /// A break in the line, which stands for nothing.
    Break,
}

/// What the bytes of an escape are so far.
enum Reading {
    /// Its beginning.
    More,
    /// All of it: this many of these bytes.
    Whole([u8; 4], usize),
    /// Something else.
    Other,
}

impl Reading {
    fn of(code: u32) -> Reading {
        let mut bytes = [0; 4];
        match char::from_u32(code) {
            Some(c) => {
                let length = c.encode_utf8(&mut bytes).len();
                Reading::Whole(bytes, length)
            }
            None => Reading::Other,
        }
    }
}

impl Layer {
    const ALL: [Layer; 4] = [Layer::Percent, Layer::Backslash, Layer::Reference, Layer::Break];

    const fn begins(self, byte: u8) -> bool {
        match self {
            Layer::Percent => byte == b'%',
            Layer::Backslash => byte == b'\\',
            Layer::Reference => byte == b'&',
            Layer::Break => byte == b'\n' || byte == b'\r',
        }
    }

    /// Reads an escape whose first byte is right.
    fn read(self, escape: &[u8]) -> Reading {
        match (self, escape) {
            (Layer::Break, _) => Reading::Whole([0; 4], 0),
            (_, [_]) => Reading::More,
            (Layer::Percent, [_, digits @ ..]) => hexadecimal(digits, 2),
            (Layer::Backslash, [_, b'x', digits @ ..]) => hexadecimal(digits, 2),
            (Layer::Backslash, [_, b'u', rest @ ..]) => utf16(rest),
            (Layer::Backslash, [_, short, ..]) => match short {
                b'"' | b'\\' | b'/' | b'\'' => Reading::Whole([*short, 0, 0, 0], 1),
                b'b' => Reading::Whole([8, 0, 0, 0], 1),
                b'f' => Reading::Whole([12, 0, 0, 0], 1),
                b'n' => Reading::Whole([b'\n', 0, 0, 0], 1),
                b'r' => Reading::Whole([b'\r', 0, 0, 0], 1),
                b't' => Reading::Whole([b'\t', 0, 0, 0], 1),
                _ => Reading::Other,
            },
            (Layer::Reference, [_, rest @ ..]) => reference(rest),
            (_, []) => Reading::Other,
        }
    }
}

/// `wanted` hexadecimal digits, as one byte.
fn hexadecimal(digits: &[u8], wanted: usize) -> Reading {
    match number(digits, 16) {
        None if digits.is_empty() => Reading::More,
        None => Reading::Other,
        Some(_) if digits.len() < wanted => Reading::More,
        Some(code) => match u8::try_from(code) {
            Ok(byte) => Reading::Whole([byte, 0, 0, 0], 1),
            Err(_) => Reading::Other,
        },
    }
}

/// What follows `\u`: four digits, and the second half of a pair where they are the first.
fn utf16(rest: &[u8]) -> Reading {
    let (first, second) = rest.split_at(rest.len().min(4));
    let Some(high) = number(first, 16) else {
        return if first.is_empty() { Reading::More } else { Reading::Other };
    };
    if first.len() < 4 {
        return Reading::More;
    }
    if !(0xD800..0xDC00).contains(&high) {
        return Reading::of(high);
    }
    let (begin, digits) = second.split_at(second.len().min(2));
    if !b"\\u".starts_with(begin) {
        return Reading::Other;
    }
    match number(digits, 16) {
        None if digits.is_empty() => Reading::More,
        Some(_) if digits.len() < 4 => Reading::More,
        Some(low @ 0xDC00..0xE000) => {
            Reading::of(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        }
        _ => Reading::Other,
    }
}

/// What follows `&`.
fn reference(rest: &[u8]) -> Reading {
    const NAMED: [(&[u8], u8); 5] =
        [(b"amp;", b'&'), (b"lt;", b'<'), (b"gt;", b'>'), (b"quot;", b'"'), (b"apos;", b'\'')];
    let (digits, base) = match rest {
        [b'#'] | [b'#', b'x' | b'X'] => return Reading::More,
        [b'#', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'#', digits @ ..] => (digits, 10),
        _ => {
            let whole = NAMED.iter().find(|(name, _)| *name == rest);
            return match whole {
                Some((_, byte)) => Reading::Whole([*byte, 0, 0, 0], 1),
                None if NAMED.iter().any(|(name, _)| name.starts_with(rest)) => Reading::More,
                None => Reading::Other,
            };
        }
    };
    match digits.strip_suffix(b";") {
        Some(digits) => number(digits, base).map_or(Reading::Other, Reading::of),
        None if digits.len() < 8 && number(digits, base).is_some() => Reading::More,
        None => Reading::Other,
    }
}

/// A number of at most eight digits.
fn number(digits: &[u8], base: u32) -> Option<u32> {
    let digit =
        |n: u32, byte: &u8| n.checked_mul(base)?.checked_add(char::from(*byte).to_digit(base)?);
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, digit)).flatten()
}

/// Whether a layer may begin with a byte.
const BEGINS: [bool; 256] = {
    let mut begins = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut layer = 0;
        while layer < Layer::ALL.len() {
            begins[byte] |= Layer::ALL[layer].begins(byte as u8);
            layer += 1;
        }
        byte += 1;
    }
    begins
};

/// Where a secret stands, in bytes from the beginning.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    end: u64,
    secret: usize,
    /// Whether its marker was given on.
    marked: bool,
}

/// Spans in order, those that overlap made one.
#[derive(Default)]
struct Spans {
    list: VecDeque<Span>,
    found: Found,
}

impl Spans {
    fn add(&mut self, start: u64, end: u64, secret: usize) {
        self.found.0 |= 1 << secret;
        let mut new = Span { start, end, secret, marked: false };
        // A layer that was waiting for the end of an escape may come a few bytes late.
        let mut at = self.list.len();
        while at > 0 && self.list[at - 1].start >= new.end {
            at -= 1;
        }
        while at > 0 && self.list[at - 1].end > new.start {
            at -= 1;
            if let Some(old) = self.list.remove(at) {
                new = Span {
                    start: old.start.min(new.start),
                    end: old.end.max(new.end),
                    secret: if old.start <= new.start { old.secret } else { new.secret },
                    marked: old.marked || new.marked,
                };
            }
        }
        self.list.insert(at, new);
    }
}

/// The text as it is under a layer. It is only followed from an escape on until the automaton
/// is back where it starts; before and after, it is the text itself.
struct View {
    layer: Layer,
    active: bool,
    state: StateID,
    /// An escape that is not whole yet, and where it begins.
    escape: Vec<u8>,
    escape_at: u64,
    /// Where the last bytes stand in the text itself; before `since` it is the same.
    starts: VecDeque<u64>,
    since: u64,
}

impl View {
    fn new(layer: Layer, scanner: &Scanner) -> View {
        View {
            layer,
            active: false,
            state: scanner.start,
            escape: Vec::new(),
            escape_at: 0,
            starts: VecDeque::new(),
            since: 0,
        }
    }

    /// Follows the text from `at` on; up to there its automaton is in `state`.
    fn begin(&mut self, state: StateID, at: u64) {
        self.active = true;
        self.state = state;
        self.starts.clear();
        self.since = at;
    }

    /// Takes the byte at `at`.
    fn take(&mut self, scanner: &Scanner, byte: u8, at: u64, spans: &mut Spans) {
        if self.escape.is_empty() {
            if !self.layer.begins(byte) {
                return self.step(scanner, byte, at, at + 1, spans);
            }
            self.escape_at = at;
        }
        self.escape.push(byte);
        let reading = match self.escape.len() > MAX_ESCAPE {
            true => Reading::Other,
            false => self.layer.read(&self.escape),
        };
        match reading {
            Reading::More => {}
            Reading::Whole(bytes, length) => {
                self.escape.clear();
                for &byte in &bytes[..length] {
                    self.step(scanner, byte, self.escape_at, at + 1, spans);
                }
            }
            Reading::Other => self.give_up(scanner, spans),
        }
    }

    /// What began as an escape is none: its first byte stands for itself, the others are read anew.
    fn give_up(&mut self, scanner: &Scanner, spans: &mut Spans) {
        let (bytes, at) = (std::mem::take(&mut self.escape), self.escape_at);
        for (i, &byte) in bytes.iter().enumerate() {
            let at = at + i as u64;
            match i {
                0 => self.step(scanner, byte, at, at + 1, spans),
                _ => self.take(scanner, byte, at, spans),
            }
        }
    }

    /// One byte under the layer, which stands in the text from `start` to `end`.
    fn step(&mut self, scanner: &Scanner, byte: u8, start: u64, end: u64, spans: &mut Spans) {
        self.state = scanner.next(self.state, byte);
        if self.starts.len() == scanner.longest {
            self.starts.pop_front();
        }
        self.starts.push_back(start);
        scanner.ends(self.state, |length, secret| spans.add(self.start(length), end, secret));
    }

    /// Where the last `length` bytes begin in the text.
    fn start(&self, length: usize) -> u64 {
        match self.starts.len().checked_sub(length) {
            Some(at) if length > 0 => self.starts[at],
            Some(_) => u64::MAX,
            None => self.since - (length - self.starts.len()) as u64,
        }
    }
}

/// Reads bytes as they come, and gives them on as soon as no secret can begin in them any more.
pub(crate) struct Stream {
    scanner: Arc<Scanner>,
    state: StateID,
    views: [View; Layer::ALL.len()],
    /// Whether any view is followed.
    layered: bool,
    /// Whether secrets are replaced.
    marking: bool,
    /// How many bytes came.
    position: u64,
    /// The last of them, not given on yet.
    held: Vec<u8>,
    spans: Spans,
}

impl Stream {
    /// Looks for what `scanner` knows.
    pub(crate) fn new(scanner: Arc<Scanner>) -> Stream {
        Stream {
            state: scanner.start,
            views: Layer::ALL.map(|layer| View::new(layer, &scanner)),
            layered: false,
            marking: true,
            position: 0,
            held: Vec::new(),
            spans: Spans::default(),
            scanner,
        }
    }

    /// The same, leaving what it finds as it is: for one who asks what was found before each piece
    /// goes on.
    pub(crate) fn passing(scanner: Arc<Scanner>) -> Stream {
        Stream { marking: false, ..Stream::new(scanner) }
    }

    /// Which secrets were found so far.
    pub(crate) fn found(&self) -> Found {
        self.spans.found
    }

    /// What looks.
    pub(crate) fn scanner(&self) -> &Arc<Scanner> {
        &self.scanner
    }

    /// Takes bytes and adds to `out` what is certain, with markers for secrets.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for piece in bytes.chunks(PIECE) {
            self.held.extend_from_slice(piece);
            for &byte in piece {
                self.step(byte);
            }
            self.settle(self.certain(), out);
        }
    }

    /// The end: adds the rest to `out`.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        for view in &mut self.views {
            while !view.escape.is_empty() {
                view.give_up(&self.scanner, &mut self.spans);
            }
        }
        self.settle(self.position, out);
    }

    fn step(&mut self, byte: u8) {
        let scanner = &*self.scanner;
        if self.layered || BEGINS[usize::from(byte)] {
            self.layered = false;
            for view in &mut self.views {
                if !view.active {
                    if !view.layer.begins(byte) {
                        continue;
                    }
                    view.begin(self.state, self.position);
                }
                view.take(scanner, byte, self.position, &mut self.spans);
                view.active = view.state != scanner.start || !view.escape.is_empty();
                self.layered |= view.active;
            }
        }
        self.state = scanner.next(self.state, byte);
        self.position += 1;
        let (end, spans) = (self.position, &mut self.spans);
        scanner.ends(self.state, |length, secret| spans.add(end - length as u64, end, secret));
    }

    /// Up to where no secret can begin any more.
    fn certain(&self) -> u64 {
        let depth = self.scanner.depth(self.state) as u64;
        let views = self.views.iter().filter(|view| view.active).map(|view| {
            let begun = view.start(self.scanner.depth(view.state));
            if view.escape.is_empty() { begun } else { begun.min(view.escape_at) }
        });
        views.fold(self.position - depth, u64::min)
    }

    /// Gives everything before `until` on.
    fn settle(&mut self, until: u64, out: &mut Vec<u8>) {
        let first = self.position - self.held.len() as u64;
        let mut given = first;
        let held = |from: u64, to: u64| &self.held[(from - first) as usize..(to - first) as usize];
        if !self.marking {
            self.spans.list.clear();
        }
        while let Some(span) = self.spans.list.front_mut().filter(|span| span.start < until) {
            if !span.marked {
                out.extend_from_slice(held(given, span.start.max(given)));
                out.extend_from_slice(marker(&self.scanner.known[span.secret].name).as_bytes());
                span.marked = true;
            }
            given = given.max(span.end.min(until));
            if span.end > until {
                break;
            }
            self.spans.list.pop_front();
        }
        if given < until {
            out.extend_from_slice(held(given, until));
            given = until;
        }
        self.held.drain(..(given - first) as usize);
    }
}

/// A [`Stream`] that looks for each secret of a run from the moment the run has used it. While there
/// is none, nothing is held back.
pub(crate) struct Following {
    secrets: Arc<RunSecrets>,
    stream: Option<Stream>,
    marking: bool,
}

impl Following {
    /// Looks for the secrets of a run and replaces them.
    pub(crate) fn new(secrets: Arc<RunSecrets>) -> Following {
        Following { secrets, stream: None, marking: true }
    }

    /// The same, leaving what it finds as it is: see [`Stream::passing`].
    pub(crate) fn passing(secrets: Arc<RunSecrets>) -> Following {
        Following { marking: false, ..Following::new(secrets) }
    }

    /// Whether there is nothing to look for, so that bytes can be given on as they are.
    pub(crate) fn is_idle(&self) -> bool {
        self.stream.is_none() && self.secrets.scanner().is_none()
    }

    /// Takes bytes and adds to `out` what is certain.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.renew(out);
        match &mut self.stream {
            Some(stream) => stream.push(bytes, out),
            None => out.extend_from_slice(bytes),
        }
    }

    /// The end: adds the rest to `out`.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.renew(out);
        if let Some(stream) = &mut self.stream {
            stream.finish(out);
        }
    }

    /// Which secrets were found so far, and by what.
    pub(crate) fn found(&self) -> Option<(&Arc<Scanner>, Found)> {
        self.stream.as_ref().map(|stream| (stream.scanner(), stream.found()))
    }

    /// Takes up what the run has used since, also for what is held back.
    fn renew(&mut self, out: &mut Vec<u8>) {
        let Some(scanner) = self.secrets.scanner() else { return };
        if self.stream.as_ref().is_some_and(|stream| Arc::ptr_eq(stream.scanner(), &scanner)) {
            return;
        }
        let mut stream = match self.marking {
            true => Stream::new(scanner),
            false => Stream::passing(scanner),
        };
        if let Some(mut before) = self.stream.take() {
            let mut held = Vec::new();
            before.finish(&mut held);
            // A list only grows, so each secret keeps its bit.
            stream.spans.found = before.found();
            stream.push(&held, out);
        }
        self.stream = Some(stream);
    }
}

/// An array or object that a text is.
fn json(text: &str) -> Option<Value> {
    let bracketed = text.trim_start().starts_with(['{', '[']);
    bracketed.then(|| crate::json::parse(text).ok()).flatten()
}

/// What stands where a secret stood.
fn marker(name: &str) -> String {
    format!("[secret {name}]")
}

/// Takes secrets out of the pieces of one thing and remembers which there were.
pub(crate) struct Cleaner {
    scanner: Arc<Scanner>,
    found: Found,
}

impl Cleaner {
    pub(crate) fn new(scanner: Arc<Scanner>) -> Cleaner {
        Cleaner { scanner, found: Found::default() }
    }

    /// The names of what was taken out.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.scanner.names(self.found)
    }

    fn clean(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (clean, found) = self.scanner.redact(bytes);
        self.found |= found;
        clean
    }

    pub(crate) fn bytes(&mut self, bytes: &mut Vec<u8>) {
        if let Some(clean) = self.clean(bytes) {
            *bytes = clean;
        }
    }

    pub(crate) fn text(&mut self, text: &mut String) {
        if let Some(clean) = self.clean(text.as_bytes()) {
            *text = String::from_utf8_lossy(&clean).into_owned();
        }
    }

    pub(crate) fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a mut Option<String>>) {
        texts.into_iter().flatten().for_each(|text| self.text(text));
    }

    /// A text that is JSON as a value, any other as it is.
    pub(crate) fn json(&mut self, text: &mut String) {
        match json(text) {
            Some(mut value) => {
                self.value(&mut value);
                *text = value.to_string();
            }
            None => self.text(text),
        }
    }

    /// Strings, keys, and numbers, of which one that is a secret becomes a marker.
    pub(crate) fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(fields) => self.fields(fields),
            Value::Number(number) => {
                let mut text = number.to_string();
                let before = text.len();
                if before >= MIN_SECRET_BYTES
                    && let Some(clean) = self.clean(text.as_bytes())
                {
                    text = String::from_utf8_lossy(&clean).into_owned();
                    *value = Value::String(text);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn fields(&mut self, fields: &mut Map<String, Value>) {
        fields.values_mut().for_each(|field| self.value(field));
        let keys: Vec<_> = fields.keys().map(|key| self.clean(key.as_bytes())).collect();
        if keys.iter().any(Option::is_some) {
            let old = std::mem::take(fields);
            fields.extend(old.into_iter().zip(keys).map(|((key, field), clean)| match clean {
                Some(clean) => (String::from_utf8_lossy(&clean).into_owned(), field),
                None => (key, field),
            }));
        }
    }

    pub(crate) fn block(&mut self, block: &mut Block) {
        let Block { kind, media_type, text, data, blob, uri, meta } = block;
        self.text(kind);
        self.texts([media_type, text, blob, uri]);
        data.iter_mut().for_each(|data| self.bytes(data));
        meta.iter_mut().for_each(|meta| self.value(meta));
    }

    pub(crate) fn blob(&mut self, blob: &mut Blob) {
        self.text(&mut blob.media_type);
        if let Some(clean) = self.clean(&blob.data) {
            blob.data = clean.into();
        }
    }

    pub(crate) fn output(&mut self, output: &mut Output) {
        let Output { value, blocks, truncated: _, next, meta } = output;
        value.iter_mut().chain(meta).for_each(|value| self.value(value));
        blocks.iter_mut().for_each(|block| self.block(block));
        self.texts([next]);
    }

    pub(crate) fn error(&mut self, error: &mut ToolError) {
        let ToolError { code, message, log, retryable: _, retry_after_ms: _, data } = error;
        self.text(code);
        self.text(message);
        self.texts([log]);
        data.iter_mut().for_each(|data| self.value(data));
    }

    pub(crate) fn problem(&mut self, problem: &mut Problem) {
        self.texts([&mut problem.path]);
        self.text(&mut problem.message);
    }

    pub(crate) fn denial(&mut self, denial: &mut Denial) {
        self.text(&mut denial.message);
        self.texts([&mut denial.allow]);
    }

    pub(crate) fn model_event(&mut self, event: &mut ModelEvent) {
        let ModelEvent { kind, text, part, response, meta } = event;
        self.text(kind);
        self.texts([text]);
        part.iter_mut().for_each(|part| self.part(part));
        if let Some(response) = response {
            self.text(&mut response.message.role);
            response.message.parts.iter_mut().for_each(|part| self.part(part));
            self.text(&mut response.finish);
            self.text(&mut response.model);
            let usage = response.usage.as_mut().and_then(|usage| usage.meta.as_mut());
            usage.into_iter().chain(&mut response.meta).for_each(|meta| self.value(meta));
        }
        meta.iter_mut().for_each(|meta| self.value(meta));
    }

    fn part(&mut self, part: &mut Part) {
        let Part { kind, text, media_type, data, blob, uri, id, name, value, meta } = part;
        self.text(kind);
        self.texts([text, media_type, blob, uri, id, name]);
        data.iter_mut().for_each(|data| self.bytes(data));
        value.iter_mut().chain(meta).for_each(|value| self.value(value));
    }

    pub(crate) fn model_info(&mut self, model: &mut ModelInfo) {
        self.text(&mut model.name);
        model.meta.iter_mut().for_each(|meta| self.value(meta));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    const SECRET: &str = "s3cr/et+\"v\\lué <&>";

    fn scanner(secrets: &[(&str, &str)]) -> Arc<Scanner> {
        let run = RunSecrets::default();
        for (name, value) in secrets {
            run.add(name, &[], &SecretValue::new(*value)).unwrap();
        }
        run.scanner().unwrap()
    }

    fn redacted(scanner: &Arc<Scanner>, text: &[u8]) -> String {
        let (clean, _) = scanner.redact(text);
        String::from_utf8_lossy(&clean.unwrap_or_else(|| text.to_vec())).into_owned()
    }

    /// A way to write bytes.
    type Writing = (&'static str, fn(&[u8]) -> String);

    fn each(bytes: &[u8], write: impl Fn(u8) -> String) -> String {
        bytes.iter().map(|&byte| write(byte)).collect()
    }

    fn utf16(bytes: &[u8], write: impl Fn(u16) -> String) -> String {
        std::str::from_utf8(bytes).unwrap().encode_utf16().map(write).collect()
    }

    const WRITINGS: [Writing; 19] = [
        ("plain", |b| String::from_utf8(b.to_vec()).unwrap()),
        ("hex", |b| each(b, |b| format!("{b:02x}"))),
        ("HEX", |b| each(b, |b| format!("{b:02X}"))),
        ("base64", |b| STANDARD.encode(b)),
        ("base64 without padding", |b| STANDARD_NO_PAD.encode(b)),
        ("base64url", |b| URL_SAFE.encode(b)),
        ("base64url without padding", |b| URL_SAFE_NO_PAD.encode(b)),
        ("base64 in lines", |b| {
            let text = STANDARD.encode(b);
            text.as_bytes().chunks(5).map(|c| String::from_utf8_lossy(c) + "\r\n").collect()
        }),
        ("base64, percent-encoded", |b| {
            each(STANDARD.encode(b).as_bytes(), |b| format!("%{b:02X}"))
        }),
        ("percent", |b| each(b, |b| format!("%{b:02X}"))),
        ("percent, lower", |b| each(b, |b| format!("%{b:02x}"))),
        ("percent, every other", |b| {
            String::from_utf8_lossy(b)
                .chars()
                .enumerate()
                .map(|(i, c)| match i % 2 {
                    0 => each(c.to_string().as_bytes(), |b| format!("%{b:02x}")),
                    _ => c.to_string(),
                })
                .collect()
        }),
        ("form", |b| url::form_urlencoded::byte_serialize(b).collect()),
        ("JSON", |b| serde_json::to_string(std::str::from_utf8(b).unwrap()).unwrap()),
        ("JSON with slashes", |b| {
            serde_json::to_string(std::str::from_utf8(b).unwrap()).unwrap().replace('/', "\\/")
        }),
        ("JSON, all escaped", |b| utf16(b, |unit| format!("\\u{unit:04X}"))),
        ("backslash x", |b| each(b, |b| format!("\\x{b:02x}"))),
        ("decimal references", |b| {
            String::from_utf8_lossy(b).chars().map(|c| format!("&#{};", u32::from(c))).collect()
        }),
        ("named references", |b| {
            let text = String::from_utf8_lossy(b).replace('&', "&amp;").replace('<', "&lt;");
            text.replace('>', "&gt;").replace('"', "&quot;").replace('\u{e9}', "&#xE9;")
        }),
    ];

    #[test]
    fn every_writing_is_found_wherever_it_is_cut() {
        let scanner = scanner(&[("other", "another-secret"), ("key", SECRET)]);
        for (name, write) in WRITINGS {
            let text = format!("see {} here", write(SECRET.as_bytes()));
            let whole = redacted(&scanner, text.as_bytes());
            assert!(whole.contains("[secret key]"), "{name}: {whole}");
            assert!(whole.starts_with("see ") && whole.ends_with(" here"), "{name}: {whole}");
            assert!(whole.len() < "see \"[secret key]\"\r\n here".len() + 3, "{name}: {whole}");
            for size in 1..text.len() {
                let mut stream = Stream::new(scanner.clone());
                let mut out = Vec::new();
                text.as_bytes().chunks(size).for_each(|chunk| stream.push(chunk, &mut out));
                stream.finish(&mut out);
                assert_eq!(String::from_utf8_lossy(&out), whole, "{name} in pieces of {size}");
            }
        }
    }

    #[test]
    fn base64_is_found_at_every_offset() {
        for secret in ["12345678", "s3cr3t-value", "s3cr3t-value!", "~~~???>>>///"] {
            let scanner = scanner(&[("key", secret)]);
            for before in 0..7 {
                for after in 0..4 {
                    let text = format!("{}{secret}{}", &"user:abc"[..before], &"rest"[..after]);
                    for engine in [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                        let clean = redacted(&scanner, engine.encode(&text).as_bytes());
                        assert!(clean.contains("[secret key]"), "{text}: {clean}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_else_is_changed() {
        let scanner = scanner(&[("key", "s3cr3t-value")]);
        for text in [
            "",
            "%",
            "%7",
            "%zz",
            "%%%41",
            "\\",
            "\\u",
            "\\ud83d\\ude00",
            "\\ud83dx",
            "\\q",
            "&",
            "&&",
            "&am",
            "&#",
            "&#x;",
            "&#99999999999;",
            "s3cr3t-valu",
            "S3CR3T-VALUE",
            "s3cr3t_value",
            "\n\n",
            "s3cr3t-%76alu",
            "\\u0073s3cr3t-",
            "s3cr3t-&am",
            "a%s3cr3t\\u00",
        ] {
            assert_eq!(scanner.redact(text.as_bytes()).0, None, "{text}");
            for size in 1..=text.len() {
                let mut stream = Stream::new(scanner.clone());
                let mut out = Vec::new();
                text.as_bytes().chunks(size).for_each(|chunk| stream.push(chunk, &mut out));
                stream.finish(&mut out);
                assert_eq!(String::from_utf8_lossy(&out), text, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn secrets_beside_and_inside_each_other() {
        let scanner = scanner(&[("short", "aaaaaaaa"), ("long", "aaaaaaaabbbb")]);
        assert_eq!(redacted(&scanner, b"aaaaaaaabbbb"), "[secret short]");
        assert_eq!(redacted(&scanner, b"xaaaaaaaax"), "x[secret short]x");
        assert_eq!(redacted(&scanner, &[b'a'; 100_000]), "[secret short]");
        let found = scanner.find(b"aaaaaaaabbbb");
        assert_eq!(scanner.names(found).collect::<Vec<_>>(), ["short", "long"]);
        let scanner = self::scanner(&[("key", "s3cr3t-value")]);
        let twice = redacted(&scanner, b"s3cr3t-values3cr3t-value");
        assert_eq!(twice, "[secret key][secret key]");
    }

    #[test]
    fn no_more_is_held_back_than_may_be_a_secret() {
        let scanner = scanner(&[("key", "s3cr3t-value")]);
        let mut stream = Stream::new(scanner.clone());
        let mut out = Vec::new();
        stream.push(b"data: x\n\n", &mut out);
        assert_eq!(out, b"data: x\n\n");
        stream.push(b"data: s3cr", &mut out);
        assert_eq!(out, b"data: x\n\ndata: ");
        // However long a text goes on like a secret, little of it is kept.
        for _ in 0..1000 {
            stream.push(b"%73%33%63%72%33%74%2d%76%61%6c%75", &mut out);
            stream.push(b"&#x0000073;\\u0073", &mut out);
            assert!(stream.held.len() as u64 <= scanner.overlap(), "{}", stream.held.len());
        }
    }

    #[test]
    fn what_is_used_in_the_middle_is_looked_for_from_then_on() {
        for marking in [true, false] {
            let secrets = Arc::new(RunSecrets::default());
            let add = |name: &str, value: &str| {
                secrets.add(name, &[], &SecretValue::new(value)).expect("few");
            };
            let mut following = match marking {
                true => Following::new(secrets.clone()),
                false => Following::passing(secrets.clone()),
            };
            let mut out = Vec::new();
            assert!(following.is_idle() && following.found().is_none());
            following.push(b"first-secret ", &mut out);
            add("first", "first-secret");
            assert!(!following.is_idle());
            following.push(b"first-secret second-", &mut out);
            // What is held back for the one may be the beginning of the other.
            following.push(b"first-sec", &mut out);
            add("second", "first-second");
            following.push(b"ond first-se", &mut out);
            following.push(b"cret", &mut out);
            following.finish(&mut out);
            let expected = match marking {
                true => "first-secret [secret first] second-[secret second] [secret first]",
                false => "first-secret first-secret second-first-second first-secret",
            };
            assert_eq!(String::from_utf8(out).expect("text"), expected);
            let (scanner, found) = following.found().expect("it looks");
            assert_eq!(scanner.names(found).collect::<Vec<_>>(), ["first", "second"]);
        }
    }

    #[test]
    fn values_of_json_are_cleaned_all_through() {
        let run = RunSecrets::default();
        let mut untouched = serde_json::json!({ "k": "1234567890" });
        run.redact(&mut untouched);
        assert_eq!(untouched, serde_json::json!({ "k": "1234567890" }));
        run.add("pin", &[], &SecretValue::new("1234567890")).unwrap();
        let mut value = serde_json::json!({
            "a": [1234567890, "x 1234567890", { "1234567890": true }],
            "b": "{\"c\":\"\\u0031234567890\"}",
            "d": 1.5,
        });
        run.redact(&mut value);
        assert_eq!(
            value,
            serde_json::json!({
                "a": ["[secret pin]", "x [secret pin]", { "[secret pin]": true }],
                "b": "{\"c\":\"[secret pin]\"}",
                "d": 1.5,
            })
        );
    }

    #[test]
    fn what_cannot_be_looked_for() {
        let run = RunSecrets::default();
        run.add("short", &[], &SecretValue::new("1234567")).unwrap();
        assert!(run.scanner().is_none());
        let long = SecretValue::new("x".repeat(MAX_SECRET_BYTES + 1));
        assert_eq!(run.add("long", &[], &long).unwrap_err().code, "too-large");
        for i in 0..MAX_SECRETS {
            run.add("many", &[], &SecretValue::new(format!("secret-{i:04}"))).unwrap();
        }
        let one_more = run.add("many", &[], &SecretValue::new("one-more-secret"));
        assert_eq!(one_more.unwrap_err().code, "too-large");
        run.add("same", &[], &SecretValue::new("secret-0000")).unwrap();
        assert!(!format!("{:?}", run.scanner()).contains("secret-0000"));
    }

    #[test]
    fn requests_go_where_one_of_its_names_may_go() {
        let run = RunSecrets::default();
        let value = SecretValue::new("s3cr3t-value");
        for audience in ["https://a.example", "https://b.example"] {
            run.add("key", &[audience.parse().unwrap()], &value).unwrap();
        }
        let scanner = run.scanner().unwrap();
        let found = scanner.find(b"key=s3cr3t-value");
        let may_go = |url: &str| scanner.may_go(found, &CheckedUrl::parse(url).unwrap());
        assert!(may_go("https://a.example/").is_ok() && may_go("https://b.example/").is_ok());
        let denial = may_go("https://c.example/").unwrap_err();
        assert_eq!(denial.gate, "secret");
        assert!(denial.message.contains("`key`") && !denial.message.contains("s3cr3t"));
        assert!(
            scanner
                .may_go(Found::default(), &CheckedUrl::parse("https://c.example/").unwrap())
                .is_ok()
        );
    }
}
