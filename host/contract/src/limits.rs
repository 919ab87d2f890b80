//! Every limit there is, what has been used of it, and the accounts that keep count.
//!
//! A [`Meter`] is one dimension. [`Limits`] and [`Usage`] hold a number for each. An
//! [`Account`] counts against limits and passes what it counts on to the account it belongs to:
//! a call to its caller, the outermost call to the run.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// What a number of a meter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Instructions, or their price in host calls.
    Fuel,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Things.
    Count,
}

macro_rules! meters {
    ($($(#[$doc:meta])* $name:ident = $key:literal, $unit:ident, $additive:literal, $default:expr, $most:expr;)*) => {
        /// One dimension of what a call may use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum Meter { $($(#[$doc])* $name,)* }

        impl Meter {
            /// All of them, in the order in which they are shown.
            pub const ALL: &'static [Meter] = &[$(Meter::$name,)*];

            /// The name in files and receipts, in kebab case.
            pub const fn name(self) -> &'static str {
                match self { $(Meter::$name => $key,)* }
            }

            /// What its numbers count.
            pub const fn unit(self) -> Unit {
                match self { $(Meter::$name => Unit::$unit,)* }
            }

            /// Whether what a call uses is also drawn from its caller and the run. The others
            /// bound one call each.
            pub const fn additive(self) -> bool {
                match self { $(Meter::$name => $additive,)* }
            }

            /// The limit of a call where nobody has set one.
            pub const fn default_limit(self) -> u64 {
                match self { $(Meter::$name => $default,)* }
            }

            /// The most a plugin gets by asking for it in its manifest alone; beyond it the
            /// operator has to say so.
            pub const fn most_asked(self) -> u64 {
                match self { $(Meter::$name => $most,)* }
            }
        }

        const COUNT: usize = [$($key,)*].len();
    };
}

const MIB: u64 = 1 << 20;

meters! {
    /// Guest instructions (most cost 1) and the price of host calls.
    Fuel = "fuel", Fuel, true, 1_000_000_000, 50_000_000_000;
    /// Linear memory of all memories of the instance together, at its largest.
    Memory = "memory", Bytes, false, 64 * MIB, 512 * MIB;
    /// Elements of all tables together.
    TableElements = "table-elements", Count, false, 100_000, 1_000_000;
    /// Resource handles the guest holds at once.
    Handles = "handles", Count, false, 10_000, 100_000;
    /// Native stack of the guest; the engine's own bound, the same for all.
    Stack = "stack", Bytes, false, MIB, MIB;
    /// Time from the start of the call to its end, waiting for a person left out.
    WallTime = "wall-time", Milliseconds, false, 30_000, 600_000;
    /// Time in which nothing happens: the guest waits, and nothing it waits for moves on. Waiting
    /// for a person or for tools and models it has called is left out.
    IdleTime = "idle-time", Milliseconds, false, 120_000, 600_000;
    /// The arguments.
    ArgumentBytes = "argument-bytes", Bytes, false, 16 * MIB, 64 * MIB;
    /// Value, blocks and error of the result.
    OutputBytes = "output-bytes", Bytes, false, 16 * MIB, 64 * MIB;
    /// Log lines, and what the guest writes to standard output and error.
    LogBytes = "log-bytes", Bytes, true, 256 * 1024, 4 * MIB;
    /// Reported progress and emitted blocks.
    EventBytes = "event-bytes", Bytes, true, 4 * MIB, 64 * MIB;
    /// Calls of host imports.
    HostCalls = "host-calls", Count, true, 1_000_000, 50_000_000;
    /// Bytes the guest hands to the host in one host call.
    HostCallBytes = "host-call-bytes", Bytes, false, 32 * MIB, 64 * MIB;
    /// HTTP requests, each redirect counted.
    HttpRequests = "http-requests", Count, true, 64, 1_000;
    /// Bytes of HTTP bodies in both directions; answers are cut at what is left.
    HttpBytes = "http-bytes", Bytes, true, 32 * MIB, 512 * MIB;
    /// Calls of other tools.
    ToolCalls = "tool-calls", Count, true, 256, 4_096;
    /// How deep tools may call tools.
    ToolDepth = "tool-depth", Count, false, 8, 16;
    /// Bytes written to the workspace.
    FileBytes = "file-bytes", Bytes, true, 64 * MIB, 256 * MIB;
    /// Bytes of blobs made.
    BlobBytes = "blob-bytes", Bytes, true, 64 * MIB, 256 * MIB;
    /// Tokens read and written by models.
    ModelTokens = "model-tokens", Count, true, 1_000_000, 10_000_000;
}

impl Meter {
    /// A number of this meter as a person reads it: `64 MiB`, `1.5 s`, `1,000`.
    pub fn show(self, n: u64) -> String {
        match self.unit() {
            Unit::Bytes => show_bytes(n),
            Unit::Milliseconds if n >= 1000 => format!("{:.1} s", n as f64 / 1000.0),
            Unit::Milliseconds => format!("{n} ms"),
            Unit::Fuel | Unit::Count => grouped(n),
        }
    }

    /// Reads a limit as files write it: a number, `"64 MiB"` for bytes, `"30 s"` for time.
    ///
    /// # Errors
    /// What is wrong with the text, with the units that would do.
    pub fn parse(self, text: &str) -> Result<u64, String> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let number: u64 = digits
            .replace('_', "")
            .parse()
            .map_err(|_| format!("`{text}` is not a number of {}", self.units()))?;
        let factor = match (self.unit(), unit.trim()) {
            (_, "") => 1,
            (Unit::Bytes, "B") => 1,
            (Unit::Bytes, "KiB") => 1 << 10,
            (Unit::Bytes, "MiB") => 1 << 20,
            (Unit::Bytes, "GiB") => 1 << 30,
            (Unit::Milliseconds, "ms") => 1,
            (Unit::Milliseconds, "s") => 1000,
            (Unit::Milliseconds, "min") => 60_000,
            (Unit::Milliseconds, "h") => 3_600_000,
            (Unit::Fuel | Unit::Count, "k") => 1_000,
            (Unit::Fuel | Unit::Count, "M") => 1_000_000,
            (Unit::Fuel | Unit::Count, "G") => 1_000_000_000,
            (_, unit) => {
                return Err(format!("unknown unit `{unit}` in `{text}`: use {}", self.units()));
            }
        };
        number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
    }

    fn units(self) -> &'static str {
        match self.unit() {
            Unit::Bytes => "bytes, or B, KiB, MiB, GiB",
            Unit::Milliseconds => "milliseconds, or ms, s, min, h",
            Unit::Fuel => "instructions, or k, M, G",
            Unit::Count => "a count, or k, M, G",
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Meter {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Meter::ALL.iter().copied().find(|meter| meter.name() == name).ok_or_else(|| {
            let known: Vec<_> = Meter::ALL.iter().map(|meter| meter.name()).collect();
            format!("unknown limit `{name}`; there are {}", known.join(", "))
        })
    }
}

fn show_bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..0x10_0000 => trimmed(n as f64 / 1024.0, "KiB"),
        0x10_0000..0x4000_0000 => trimmed(n as f64 / 1_048_576.0, "MiB"),
        _ => trimmed(n as f64 / 1_073_741_824.0, "GiB"),
    }
}

fn trimmed(n: f64, unit: &str) -> String {
    let text = format!("{n:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name([u64; COUNT]);

        impl $name {
            /// The number of a meter.
            pub const fn get(&self, meter: Meter) -> u64 {
                self.0[meter as usize]
            }

            /// Sets the number of a meter.
            pub const fn set(&mut self, meter: Meter, n: u64) {
                self.0[meter as usize] = n;
            }

            /// The meters and their numbers, in the order in which they are shown.
            pub fn iter(&self) -> impl Iterator<Item = (Meter, u64)> {
                Meter::ALL.iter().map(|&meter| (meter, self.get(meter)))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(COUNT))?;
                for (meter, n) in self.iter() {
                    map.serialize_entry(meter.name(), &n)?;
                }
                map.end()
            }
        }
    };
}

table! {
    /// What a call, or a run, may use at most, in the unit of each meter.
    Limits
}

table! {
    /// What a call has used, in the unit of each meter.
    Usage
}

impl Default for Limits {
    /// The limits of a call where nobody has set others.
    fn default() -> Self {
        let mut limits = Limits([0; COUNT]);
        for &meter in Meter::ALL {
            limits.set(meter, meter.default_limit());
        }
        limits
    }
}

impl Limits {
    /// What manifests may ask for by themselves: see [`Meter::most_asked`].
    pub fn most_asked() -> Limits {
        let mut limits = Limits::default();
        for &meter in Meter::ALL {
            limits.set(meter, meter.most_asked());
        }
        limits
    }

    /// No limit on anything: the account of a host that counts but does not bound.
    pub const UNLIMITED: Limits = Limits([u64::MAX; COUNT]);

    /// The smaller of the two in each meter.
    #[must_use]
    pub fn min(&self, other: &Limits) -> Limits {
        Limits(std::array::from_fn(|i| self.0[i].min(other.0[i])))
    }

    /// These limits with one of them changed.
    #[must_use]
    pub const fn with(mut self, meter: Meter, n: u64) -> Limits {
        self.set(meter, n);
        self
    }
}

impl Default for Usage {
    fn default() -> Self {
        Usage([0; COUNT])
    }
}

/// A limit that was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Breach {
    /// Which.
    #[serde(serialize_with = "meter_name")]
    pub meter: Meter,
    /// The limit, in the meter's unit.
    pub limit: u64,
    /// Whose limit it was: that of the call itself, or that of a caller or the run above it.
    pub above: bool,
}

fn meter_name<S: Serializer>(meter: &Meter, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(meter.name())
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.above { "the budget above this call" } else { "this call" };
        let limit = self.meter.show(self.limit);
        write!(f, "limit `{}` of {whose} reached: {limit}", self.meter)
    }
}

impl std::error::Error for Breach {}

/// Counts what is used against limits, and passes it on to the account above.
///
/// A call's account belongs to its caller's, the outermost call's to the run's. The sum is
/// exact whatever runs at once: a charge that one account in the chain refuses is taken back
/// from those that had taken it.
#[derive(Debug)]
pub struct Account {
    limits: Limits,
    used: [AtomicU64; COUNT],
    parent: Option<Arc<Account>>,
    /// What is counted here and not above.
    apart: Option<Meter>,
}

impl Account {
    /// An account of its own: the budget of a run.
    pub fn root(limits: Limits) -> Arc<Account> {
        Account::made(limits, None, None)
    }

    /// An account that draws from this one.
    pub fn child(self: &Arc<Account>, limits: Limits) -> Arc<Account> {
        Account::made(limits, Some(self.clone()), None)
    }

    /// An account that draws from this one, but for `apart`, of which it has its own limit: so
    /// much was set aside for it already.
    pub fn child_apart(self: &Arc<Account>, limits: Limits, apart: Meter) -> Arc<Account> {
        Account::made(limits, Some(self.clone()), Some(apart))
    }

    fn made(limits: Limits, parent: Option<Arc<Account>>, apart: Option<Meter>) -> Arc<Account> {
        let used = std::array::from_fn(|_| AtomicU64::new(0));
        Arc::new(Account { limits, used, parent, apart })
    }

    /// The account above, where it counts the meter too.
    fn above(&self, meter: Meter) -> Option<&Arc<Account>> {
        self.parent.as_ref().filter(|_| meter.additive() && self.apart != Some(meter))
    }

    /// The limits of this account.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Uses `n` of a meter, here and, where the meter is additive, in every account above.
    ///
    /// # Errors
    /// The first limit on the way up that has not so much left; then nothing is used.
    pub fn charge(&self, meter: Meter, n: u64) -> Result<(), Breach> {
        let used = &self.used[meter as usize];
        let limit = self.limits.get(meter);
        let fits = |now: u64| now.checked_add(n).filter(|&sum| sum <= limit);
        if used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return Err(Breach { meter, limit, above: false });
        }
        if let Some(parent) = self.above(meter)
            && let Err(breach) = parent.charge(meter, n)
        {
            used.fetch_sub(n, Ordering::Relaxed);
            return Err(Breach { above: true, ..breach });
        }
        Ok(())
    }

    /// Gives back `n` that had been charged and was not needed.
    pub fn refund(&self, meter: Meter, n: u64) {
        self.used[meter as usize].fetch_sub(n, Ordering::Relaxed);
        if let Some(parent) = self.above(meter) {
            parent.refund(meter, n);
        }
    }

    /// Charges as much of `n` as is left, and says how much that was.
    pub fn charge_up_to(&self, meter: Meter, n: u64) -> u64 {
        let mut wanted = n.min(self.left(meter));
        while self.charge(meter, wanted).is_err() {
            wanted = wanted.min(self.left(meter)).saturating_sub(1);
        }
        wanted
    }

    /// Sets aside up to `n` of a meter in the account above, for work that is counted elsewhere,
    /// and says how much that was; all of it where there is no account above.
    pub fn reserve_above(&self, meter: Meter, n: u64) -> u64 {
        self.parent.as_ref().map_or(n, |parent| parent.charge_up_to(meter, n))
    }

    /// Gives back what was set aside and not used.
    pub fn refund_above(&self, meter: Meter, n: u64) {
        if let Some(parent) = &self.parent {
            parent.refund(meter, n);
        }
    }

    /// Records a peak: the largest number seen. Bounds nothing.
    pub fn peak(&self, meter: Meter, n: u64) {
        self.used[meter as usize].fetch_max(n, Ordering::Relaxed);
    }

    /// What is left of a meter, here and above.
    pub fn left(&self, meter: Meter) -> u64 {
        let here = self.limits.get(meter).saturating_sub(self.used(meter));
        self.above(meter).map_or(here, |parent| here.min(parent.left(meter)))
    }

    /// What has been used of a meter so far.
    pub fn used(&self, meter: Meter) -> u64 {
        self.used[meter as usize].load(Ordering::Relaxed)
    }

    /// What has been used of everything so far.
    pub fn usage(&self) -> Usage {
        Usage(std::array::from_fn(|i| self.used[i].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_charge_leaves_no_trace() {
        let run = Account::root(Limits::default().with(Meter::HttpRequests, 3));
        let call = run.child(Limits::default().with(Meter::HttpRequests, 10));
        call.charge(Meter::HttpRequests, 2).expect("two fit");
        let breach = call.charge(Meter::HttpRequests, 2).expect_err("four do not fit");
        assert!(breach.above);
        assert_eq!((breach.meter, breach.limit), (Meter::HttpRequests, 3));
        assert_eq!((call.used(Meter::HttpRequests), run.used(Meter::HttpRequests)), (2, 2));
        assert_eq!(call.left(Meter::HttpRequests), 1);
        assert_eq!(call.charge_up_to(Meter::HttpRequests, 5), 1);
    }

    #[test]
    fn what_was_set_aside_is_not_counted_twice() {
        let run = Account::root(Limits::default().with(Meter::Fuel, 10));
        assert_eq!(run.charge_up_to(Meter::Fuel, 8), 8);
        let lent = run.child_apart(Limits::UNLIMITED.with(Meter::Fuel, 8), Meter::Fuel);
        lent.charge(Meter::Fuel, 5).expect("it has eight");
        lent.charge(Meter::ToolCalls, 1).expect("fits");
        assert_eq!((run.used(Meter::Fuel), run.used(Meter::ToolCalls)), (8, 1));
        assert!(lent.charge(Meter::Fuel, 4).is_err_and(|breach| !breach.above));
        lent.refund(Meter::Fuel, 5);
        assert_eq!((lent.left(Meter::Fuel), run.used(Meter::Fuel)), (8, 8));
    }

    #[test]
    fn what_is_not_additive_stays_with_the_call() {
        let run = Account::root(Limits::default());
        let call = run.child(Limits::default());
        call.charge(Meter::OutputBytes, 5).expect("fits");
        assert_eq!((call.used(Meter::OutputBytes), run.used(Meter::OutputBytes)), (5, 0));
    }

    #[test]
    fn limits_are_read_with_units_or_refused() {
        assert_eq!(Meter::Memory.parse("64 MiB"), Ok(64 << 20));
        assert_eq!(Meter::Fuel.parse("5M"), Ok(5_000_000));
        assert_eq!(Meter::WallTime.parse("30 s"), Ok(30_000));
        assert_eq!(Meter::Fuel.parse("1_000"), Ok(1000));
        for bad in ["", "64 MB", "-1", "1e9", "18446744073709551615 GiB", "many"] {
            assert!(Meter::Memory.parse(bad).is_err(), "{bad} was read");
        }
    }

    #[test]
    fn names_go_there_and_back() {
        for &meter in Meter::ALL {
            assert_eq!(meter.name().parse(), Ok(meter));
        }
        assert_eq!(Meter::Memory.show(64 << 20), "64 MiB");
        assert_eq!(Meter::Fuel.show(1_234_567), "1,234,567");
    }
}
