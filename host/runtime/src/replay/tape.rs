//! The tape of a call that is recorded or replayed: what a host call leaves on it, and what it
//! takes from it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use ampoule_contract::{Account, Blob, Breach, End, Meter, Outcome as Ended, Usage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use wasmtime::component::{ResourceTable, ResourceTableError};

use super::file::{self, Call, Ending, Header, KeptBlob, Line, Outcome, Reader, Writer};
use super::wire::{Handles, Side, Wire};
use super::{Recording, ReplayError};
use crate::call::Suspended;
use crate::egress::SecretValue;
use crate::host::{HostFault, fault};
use crate::state::{Running, lock};

/// The meters that host calls use, with everything below them: a replay runs nothing of that and
/// takes the numbers from the recording. The others count what the guest does by itself.
const OF_HOST_CALLS: [Meter; 10] = [
    Meter::LogBytes,
    Meter::EventBytes,
    Meter::HostCalls,
    Meter::HttpRequests,
    Meter::HttpBytes,
    Meter::ToolCalls,
    Meter::ToolDepth,
    Meter::FileBytes,
    Meter::BlobBytes,
    Meter::ModelTokens,
];

/// A call's tape.
pub(crate) struct Tape {
    mode: Mode,
    /// The first difference of a replay.
    divergence: OnceLock<String>,
    diverged: Notify,
}

enum Mode {
    Record(Box<Mutex<Recorder>>),
    Play(Box<Mutex<Player>>),
}

/// A host call that a guest makes.
pub(crate) struct Asked {
    name: String,
    /// Digest of the arguments.
    arguments: String,
    fuel: Option<u64>,
}

impl Asked {
    fn shown(&self) -> String {
        shown(&self.name, &self.arguments)
    }
}

fn shown(name: &str, arguments: &str) -> String {
    match arguments {
        "" => format!("`{name}`"),
        digest => format!("`{name}` (arguments {digest})"),
    }
}

/// What the tape has for a host call.
pub(crate) enum Turn {
    /// What came of it.
    Answer {
        /// Fuel it cost; less than nothing where lent fuel came back.
        cost: i64,
        /// A result in bytes, or the error that ended the call.
        result: wasmtime::Result<Vec<u8>>,
    },
    /// The call ended from outside before anything came.
    Cut {
        /// Fuel the guest had left then.
        left: u64,
        /// The limit; absent where the call was cancelled.
        breach: Option<Breach>,
    },
}

/// Looks for secrets in what would be recorded.
pub(crate) struct Secrets(pub Vec<(String, SecretValue)>);

impl Secrets {
    /// The name of a secret whose value stands in `bytes`, as it is.
    ///
    /// Encodings of it are not looked for here: what a guest may read is the same as what is
    /// recorded, and that they stay out of it is for whoever hands it to the guest.
    fn find(&self, bytes: &[u8]) -> Option<&str> {
        let mut found = self.0.iter().filter(|(_, value)| {
            let value = value.expose().as_bytes();
            !value.is_empty() && memmem::find(bytes, value).is_some()
        });
        found.next().map(|(name, _)| name.as_str())
    }
}

struct Recorder {
    path: PathBuf,
    /// `None` before the call begins, after its end, and once recording has failed.
    out: Option<Writer>,
    failed: Option<String>,
    header: Header,
    secrets: Secrets,
    handles: Handles,
    last: Usage,
    refund: u64,
    calls: u64,
    /// The last host call was cut off.
    cut: bool,
    /// The last host call met a limit.
    met: bool,
}

impl Recorder {
    /// Gives the recording up: nothing of it is kept. The call goes on.
    fn fail(&mut self, reason: String) {
        if self.out.take().is_some() {
            // What cannot be removed is no whole recording, and a replay says so.
            let _ = std::fs::remove_file(&self.path);
        }
        self.failed.get_or_insert(reason);
    }

    fn line(&mut self, line: &Line) {
        if let Some(out) = &mut self.out
            && let Err(reason) = out.line(line)
        {
            self.fail(format!("{}: {reason}", self.path.display()));
        }
    }

    /// Gives up where a secret stands in what would be recorded.
    fn clean(&mut self, what: &str, bytes: &[u8]) -> bool {
        let Some(name) = self.secrets.find(bytes) else { return true };
        let reason = format!("{what} holds the value of the secret `{name}`; nothing was kept");
        self.fail(reason);
        false
    }

    fn call(&mut self, asked: Asked, cost: i64, usage: Option<Usage>, outcome: Outcome) {
        let mut used = file::Numbers::new();
        if let Some(usage) = usage {
            let changed = OF_HOST_CALLS.iter().filter(|&&m| usage.get(m) != self.last.get(m));
            used = file::numbers(changed.map(|&meter| (meter, usage.get(meter))));
            self.last = usage;
        }
        self.calls += 1;
        self.met = matches!(outcome, Outcome::Limit(_));
        let Asked { name, arguments, fuel } = asked;
        self.line(&Line::Call(Call { name, arguments, fuel, cost, used, outcome }));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.fail("the call was dropped before its end".into());
    }
}

struct Player {
    reader: Reader,
    next: Option<Line>,
    header: Header,
    calls: u64,
    /// Whether the plugin is the one that was recorded.
    same: bool,
    handles: Handles,
}

impl Player {
    fn peek(&mut self) -> Result<Option<&Line>, ReplayError> {
        if self.next.is_none() {
            self.next = self.reader.line()?;
        }
        Ok(self.next.as_ref())
    }

    /// What the tape has for a host call.
    ///
    /// # Errors
    /// What differs.
    fn turn(&mut self, asked: &Asked, account: Option<&Account>) -> Result<Turn, String> {
        let number = self.calls + 1;
        match self.peek().map_err(|error| error.to_string())? {
            Some(Line::Call(call))
                if call.name == asked.name && call.arguments == asked.arguments => {}
            Some(Line::Call(call)) => {
                return Err(format!(
                    "host call {number}: the recording has {}, the guest asks for {}",
                    shown(&call.name, &call.arguments),
                    asked.shown()
                ));
            }
            Some(Line::End(end)) if end.limit.is_some() || end.cancelled => {
                // It was stopped from outside while it computed.
                return self.cut();
            }
            _ => {
                return Err(format!(
                    "host call {number}: the recording has no more, the guest asks for {}",
                    asked.shown()
                ));
            }
        }
        let Some(Line::Call(call)) = self.next.take() else {
            return Err("the recording has no such line".into());
        };
        self.calls = number;
        let unreadable = |what: &str| {
            format!("host call {number}, {}: the recording's {what} cannot be read", asked.shown())
        };
        if self.same
            && let (Some(then), Some(now)) = (call.fuel, asked.fuel)
            && then != now
        {
            return Err(format!(
                "host call {number}, {}: the guest comes to it with {now} fuel left, in the \
                 recording it had {then}",
                asked.shown()
            ));
        }
        if let Some(account) = account {
            let used = file::meters(&call.used).map_err(|_| unreadable("usage"))?;
            used.into_iter().for_each(|(meter, n)| bring(account, meter, n));
        }
        let result = match call.outcome {
            Outcome::Value(bytes) => {
                Ok(STANDARD.decode(bytes).map_err(|_| unreadable("result"))?)
            }
            Outcome::Limit(reached) => {
                Err(reached.breach().ok_or_else(|| unreadable("limit"))?.into())
            }
            Outcome::Handles => Err(ResourceTableError::Full.into()),
            Outcome::Suspended(question) => Err(Suspended(question).into()),
            Outcome::Fault(message) => Err(fault(message)),
            Outcome::Trap(message) => Err(wasmtime::Error::msg(message)),
            Outcome::Cut => return self.cut(),
        };
        Ok(Turn::Answer { cost: call.cost, result })
    }

    fn cut(&mut self) -> Result<Turn, String> {
        let unreadable = |_| "the recording's end cannot be read".to_owned();
        let Some(Line::End(end)) = self.peek().map_err(|error| error.to_string())? else {
            return Err(unreadable(String::new()));
        };
        let breach = end.limit.as_ref().map(|limit| limit.breach());
        let breach = breach.map(|breach| breach.ok_or_else(|| unreadable(String::new())));
        let breach = breach.transpose()?;
        let used = file::usage(&end.used).map_err(unreadable)?.get(Meter::Fuel);
        Ok(Turn::Cut { left: self.header.fuel.saturating_sub(used), breach })
    }
}

/// Brings a meter to what the recording says.
fn bring(account: &Account, meter: Meter, n: u64) {
    if !OF_HOST_CALLS.contains(&meter) {
        return;
    }
    let now = account.used(meter);
    match meter.additive() {
        false => account.peak(meter, n),
        true if n > now => drop(account.charge_up_to(meter, n - now)),
        true => account.refund(meter, now - n),
    }
}

impl Tape {
    /// A tape that records a call into a file that is made when the call begins.
    pub(super) fn recorder(path: &Path, header: Header, secrets: Secrets) -> Tape {
        Tape::new(Mode::Record(Box::new(Mutex::new(Recorder {
            path: path.to_owned(),
            out: None,
            failed: None,
            header,
            secrets,
            handles: Handles::default(),
            last: Usage::default(),
            refund: 0,
            calls: 0,
            cut: false,
            met: false,
        }))))
    }

    /// A tape that plays a recording.
    ///
    /// # Errors
    /// The file is not what it was when it was opened.
    pub(super) fn player(recording: &Recording, same: bool) -> Result<Tape, ReplayError> {
        let mut reader = Reader::open(&recording.path)?;
        if !matches!(reader.line()?, Some(Line::Header(_))) {
            return Err(reader.refuse("a recording begins with a header"));
        }
        Ok(Tape::new(Mode::Play(Box::new(Mutex::new(Player {
            reader,
            next: None,
            header: recording.header.clone(),
            calls: 0,
            same,
            handles: Handles::playing(),
        })))))
    }

    fn new(mode: Mode) -> Tape {
        Tape { mode, divergence: OnceLock::new(), diverged: Notify::new() }
    }

    /// Whether it plays.
    pub(crate) fn plays(&self) -> bool {
        matches!(self.mode, Mode::Play(_))
    }

    /// What WASI gets from the host beside host calls: whether its clock runs, whether its
    /// randomness is random, and the seed of it.
    pub(crate) fn surroundings(&self) -> (bool, bool, [u8; 32]) {
        let of = |header: &Header| {
            (header.clock, header.random, super::seed(&header.seed).unwrap_or_default())
        };
        match &self.mode {
            Mode::Record(recorder) => of(&lock(recorder).header),
            Mode::Play(player) => of(&lock(player).header),
        }
    }

    /// The instance is made and has its fuel.
    pub(crate) fn begin(&self, fuel: u64) {
        let Mode::Record(recorder) = &self.mode else { return };
        let mut recorder = lock(recorder);
        recorder.header.fuel = fuel;
        match Writer::create(&recorder.path) {
            Ok(writer) => recorder.out = Some(writer),
            Err(error) => {
                let reason = format!("{}: {error}", recorder.path.display());
                return recorder.fail(reason);
            }
        }
        let header = recorder.header.clone();
        if recorder.clean("the arguments", header.arguments.as_bytes()) {
            recorder.line(&Line::Header(header));
        }
    }

    /// A host call begins.
    pub(super) fn asked(&self, name: &str, arguments: &impl Wire, fuel: u64) -> Asked {
        let mut bytes = Vec::new();
        let put = |handles: &Handles, bytes: &mut Vec<u8>| {
            arguments.put(bytes, &mut Side::Asked(handles));
        };
        match &self.mode {
            Mode::Record(recorder) => put(&lock(recorder).handles, &mut bytes),
            Mode::Play(player) => put(&lock(player).handles, &mut bytes),
        }
        let arguments = crate::digest::hex(&crate::digest::sha256(&bytes)[..16]);
        Asked { name: name.to_owned(), arguments, fuel: Some(fuel) }
    }

    /// A host call is over, in a recording.
    pub(super) fn note<T: Wire>(
        &self,
        asked: Asked,
        fuel: u64,
        account: &Account,
        result: &wasmtime::Result<T>,
    ) {
        let Mode::Record(recorder) = &self.mode else { return };
        let mut recorder = lock(recorder);
        let outcome = match result {
            Ok(value) => {
                let mut bytes = Vec::new();
                value.put(&mut bytes, &mut Side::Given(&mut recorder.handles));
                if !recorder.clean(&format!("the result of {}", asked.shown()), &bytes) {
                    return;
                }
                Outcome::Value(STANDARD.encode(bytes))
            }
            Err(error) => {
                let outcome = outcome_of(error);
                let text = format!("{error:#}");
                if !recorder.clean(&format!("the error of {}", asked.shown()), text.as_bytes()) {
                    return;
                }
                outcome
            }
        };
        // Fuel fits: there is less of it than 2^63 everywhere but in the limit of all limits.
        let cost = asked.fuel.unwrap_or(fuel).wrapping_sub(fuel) as i64;
        recorder.call(asked, cost, Some(account.usage()), outcome);
    }

    /// A host call was dropped before it was over, in a recording.
    pub(super) fn note_cut(&self, asked: Asked) {
        let Mode::Record(recorder) = &self.mode else { return };
        let mut recorder = lock(recorder);
        recorder.cut = true;
        recorder.call(asked, 0, None, Outcome::Cut);
    }

    /// What came of a host call, in a replay.
    ///
    /// # Errors
    /// The replay diverges here.
    pub(super) fn turn(
        &self,
        asked: &Asked,
        account: Option<&Account>,
    ) -> Result<Turn, wasmtime::Error> {
        let Mode::Play(player) = &self.mode else {
            return Err(fault("a tape that records has nothing to play"));
        };
        let turn = lock(player).turn(asked, account);
        turn.map_err(|difference| self.diverge(difference))
    }

    /// A result in a replay, from its bytes.
    ///
    /// # Errors
    /// They are not the bytes of such a result; the replay diverges here.
    pub(super) fn read<T: Wire>(
        &self,
        asked: &Asked,
        bytes: &[u8],
        table: &mut ResourceTable,
    ) -> wasmtime::Result<T> {
        let mut from = bytes;
        match T::get(&mut from, table) {
            Ok(value) if from.is_empty() => Ok(value),
            _ => {
                let number = match &self.mode {
                    Mode::Play(player) => lock(player).calls,
                    Mode::Record(_) => 0,
                };
                Err(self.diverge(format!(
                    "host call {number}, {}: the recording's result cannot be read",
                    asked.shown()
                )))
            }
        }
    }

    /// Whether the next thing on a tape that plays is a host call of this name.
    pub(super) fn is_next(&self, name: &str) -> bool {
        let Mode::Play(player) = &self.mode else { return false };
        matches!(lock(player).peek(), Ok(Some(Line::Call(call))) if call.name == name)
    }

    /// A number that the host gives where it cannot fail, such as the time: recorded, or replayed.
    pub(crate) fn number(&self, name: &str, now: impl FnOnce() -> u64) -> u64 {
        let asked = Asked { name: name.to_owned(), arguments: String::new(), fuel: None };
        match &self.mode {
            Mode::Record(recorder) => {
                let number = now();
                let outcome = Outcome::Value(STANDARD.encode(number.to_le_bytes()));
                lock(recorder).call(asked, 0, None, outcome);
                number
            }
            Mode::Play(_) => {
                let Ok(Turn::Answer { result: Ok(bytes), .. }) = self.turn(&asked, None) else {
                    // Where it has not diverged, the call was cut here; either way it ends.
                    self.diverge(format!("{} cannot be replayed", asked.shown()));
                    return 0;
                };
                let number = bytes.try_into().map(u64::from_le_bytes);
                number.unwrap_or_else(|_| {
                    self.diverge(format!("{} has no number in the recording", asked.shown()));
                    0
                })
            }
        }
    }

    /// Everything under way has ended, and the result is about to be read. `names` says whether
    /// it may name a blob.
    pub(crate) fn settle(&self, call: &Running, names: impl Fn(&str) -> bool) {
        match &self.mode {
            Mode::Record(recorder) => {
                let mut recorder = lock(recorder);
                recorder.refund = call.refund.load(std::sync::atomic::Ordering::Acquire);
                let made = lock(&call.made).clone();
                for id in made.into_iter().filter(|id| names(id)) {
                    let Some(Blob { media_type, data }) = call.blobs.get(&id) else { continue };
                    if recorder.clean("a blob of the result", &data) {
                        let data = STANDARD.encode(data);
                        recorder.line(&Line::Blob(KeptBlob { id, media_type, data }));
                    }
                }
            }
            Mode::Play(player) => {
                let played = lock(player).finish(call);
                if let Err(difference) = played {
                    self.diverge(difference);
                }
            }
        }
    }

    /// The call is over, in a recording.
    pub(crate) fn ended(&self, outcome: &Ended) {
        let Mode::Record(recorder) = &self.mode else { return };
        let mut recorder = lock(recorder);
        if let Ended { end: End::Denied(denial), .. } = outcome {
            // A replay is refused nothing, so it would come to something else.
            return recorder.fail(format!("the call was denied: {denial}"));
        }
        let Some(text) = super::end_text(&outcome.end) else {
            return recorder.fail("the result cannot be written".into());
        };
        let receipt = serde_json::to_value(&outcome.receipt).unwrap_or_default();
        let clean = recorder.clean("the result", text.as_bytes())
            && recorder.clean("the receipt", receipt.to_string().as_bytes());
        if !clean {
            return;
        }
        let Ok(end) = RawValue::from_string(text) else {
            return recorder.fail("the result cannot be written".into());
        };
        let from_outside = |breach: &Breach| {
            let beside = OF_HOST_CALLS.contains(&breach.meter) && !recorder.met;
            breach.meter == Meter::WallTime || recorder.cut || beside
        };
        let limit = match &outcome.end {
            // One that came from a host call or from the guest comes again by itself.
            End::Limit(breach) if from_outside(breach) => Some(breach.into()),
            _ => None,
        };
        let ending = Ending {
            end,
            limit,
            cancelled: outcome.end == End::Cancelled,
            used: file::numbers(outcome.receipt.used.iter()),
            refund: recorder.refund,
            receipt,
        };
        recorder.line(&Line::End(ending));
        if let Some(out) = recorder.out.take()
            && let Err(reason) = out.finish()
        {
            let _ = std::fs::remove_file(&recorder.path);
            recorder.failed.get_or_insert(reason);
        }
    }

    /// What became of the recording: the number of host calls in it.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn recorded(&self) -> Result<u64, String> {
        let Mode::Record(recorder) = &self.mode else { return Ok(0) };
        let mut recorder = lock(recorder);
        if recorder.out.is_some() {
            recorder.fail("the call was dropped before its end".into());
        }
        match &recorder.failed {
            Some(reason) => Err(reason.clone()),
            None => Ok(recorder.calls),
        }
    }

    /// Notes a difference, of which the first counts, and gives the error that ends the call.
    fn diverge(&self, difference: String) -> wasmtime::Error {
        let first = self.divergence.get_or_init(|| difference);
        self.diverged.notify_one();
        fault(format!("the replay diverges: {first}"))
    }

    /// Waits until a replay has diverged.
    pub(crate) async fn stopped(&self) -> String {
        loop {
            if let Some(difference) = self.divergence.get() {
                return difference.clone();
            }
            self.diverged.notified().await;
        }
    }

    /// The first difference of a replay, if there was any.
    pub(super) fn divergence(&self) -> Option<String> {
        self.divergence.get().cloned()
    }
}

impl Player {
    /// Reads what follows the last host call, and gives the call what it says.
    fn finish(&mut self, call: &Running) -> Result<(), String> {
        loop {
            self.peek().map_err(|error| error.to_string())?;
            match self.next.take() {
                Some(Line::Blob(KeptBlob { id, media_type, data })) => {
                    let data = STANDARD.decode(data).map_err(|_| "a blob cannot be read")?;
                    call.pass_blob(&id);
                    lock(&call.made).push(id.clone());
                    call.blobs.insert(id, Blob { media_type, data: data.into() });
                }
                Some(Line::End(end)) => {
                    for (meter, n) in file::meters(&end.used)? {
                        bring(&call.account, meter, n);
                    }
                    call.refund.store(end.refund, std::sync::atomic::Ordering::Release);
                    return Ok(());
                }
                Some(Line::Call(next)) => {
                    return Err(format!(
                        "the guest ended before host call {} of the recording, {}",
                        self.calls + 1,
                        shown(&next.name, &next.arguments)
                    ));
                }
                Some(Line::Header(_)) | None => return Err("the recording has no end".into()),
            }
        }
    }
}

/// How an error of a host call is recorded.
fn outcome_of(error: &wasmtime::Error) -> Outcome {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        Outcome::Limit(breach.into())
    } else if let Some(Suspended(question)) = error.downcast_ref() {
        Outcome::Suspended(question.clone())
    } else if let Some(ResourceTableError::Full) = error.downcast_ref() {
        Outcome::Handles
    } else if let Some(fault) = error.downcast_ref::<HostFault>() {
        Outcome::Fault(fault.to_string())
    } else {
        Outcome::Trap(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_contract::Limits;

    fn header() -> Header {
        Header {
            format: file::FORMAT,
            host: String::new(),
            tool: "x".into(),
            digest: String::new(),
            arguments: "{}".into(),
            settings: String::new(),
            grants: String::new(),
            limits: file::Numbers::new(),
            fuel: 0,
            depth: 0,
            blobs: false,
            clock: true,
            random: true,
            seed: "00".repeat(32),
        }
    }

    fn secrets() -> Secrets {
        Secrets(vec![("api-key".into(), SecretValue::new("s3cr3t-value"))])
    }

    #[test]
    fn a_recording_that_would_hold_a_secret_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let account = Account::root(Limits::default());
        let path = folder.path().join("a");
        let record = |results: &[&str]| {
            let tape = Tape::recorder(&path, header(), secrets());
            tape.begin(10);
            assert!(path.exists());
            for result in results {
                let asked = tape.asked("x.y", &(), 10);
                tape.note(asked, 5, &account, &Ok(((*result).to_owned(),)));
            }
            tape
        };
        let tape = record(&["a result", "before s3cr3t-value after", "another"]);
        assert!(!path.exists(), "the file was left");
        let reason = tape.recorded().expect_err("it was recorded");
        assert!(reason.contains("`x.y`") && reason.contains("`api-key`"), "{reason}");
        assert!(!reason.contains("s3cr3t"), "{reason}");

        let tape = Tape::recorder(
            &path,
            Header { arguments: "\"s3cr3t-value\"".into(), ..header() },
            secrets(),
        );
        tape.begin(10);
        assert!(!path.exists() && tape.recorded().is_err());

        // One that is dropped before its end leaves nothing either.
        drop(record(&["a result"]));
        assert!(!path.exists());
    }

    #[test]
    fn meters_are_brought_to_what_was_recorded() {
        let run = Account::root(Limits::default());
        let call = run.child(Limits::default());
        call.charge(Meter::HttpBytes, 10).expect("fits");
        bring(&call, Meter::HttpBytes, 25);
        assert_eq!((call.used(Meter::HttpBytes), run.used(Meter::HttpBytes)), (25, 25));
        bring(&call, Meter::HttpBytes, 7);
        assert_eq!((call.used(Meter::HttpBytes), run.used(Meter::HttpBytes)), (7, 7));
        bring(&call, Meter::ToolDepth, 3);
        bring(&call, Meter::Memory, 3);
        assert_eq!((call.used(Meter::ToolDepth), call.used(Meter::Memory)), (3, 0));
    }
}
