//! Identifiers and randomness: UUID version 4 and 7 (RFC 9562), ULID, Nano ID, random numbers,
//! choices, orders and bytes.
//!
//! A call takes 32 bytes from the host's generator as the key of a ChaCha generator, `rand`'s, whose
//! answers are as fit for keys. Ranges are without bias (`rand`'s feature `unbiased`). `uuid` and
//! `ulid` write the identifiers; Nano ID is a text over an alphabet, which `rand` draws. Identifiers
//! that hold a time are in ascending order within a call. That no seed can be given is deliberate: a
//! recorded call replays the same bytes.

use ampoule_sdk::number::MAX_SAFE_INTEGER;
use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs, clock, random};
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom, index};
use rand::{Rng, RngExt, SeedableRng};
use ulid::Ulid;
use uuid::{Builder, Uuid, Version};

/// The characters of Nano ID.
const NANOID: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-";

/// What the time in an identifier is written in: 48 bits of milliseconds.
const MAX_TIME_MS: u64 = (1 << 48) - 1;

/// Above this many bytes they are answered as a blob.
const MAX_INLINE: usize = 64 << 10;

/// The generator of this call.
fn generator() -> Result<StdRng> {
    let mut seed = [0; 32];
    random::fill(&mut seed)?;
    Ok(StdRng::from_seed(seed))
}

fn one() -> usize {
    1
}

/// Which identifiers to make.
#[data]
struct Wanted {
    /// The kind. Default: `uuid-v4`.
    #[serde(default)]
    kind: Kind,
    /// How many. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    count: usize,
    /// The time in `uuid-v7` and `ulid`, in milliseconds since 1970. Default: now.
    #[schemars(range(max = 281_474_976_710_655_u64))]
    time_ms: Option<u64>,
    /// Characters of a `nanoid`. Default: 21.
    #[schemars(range(min = 1, max = 1_000))]
    length: Option<usize>,
    /// The characters a `nanoid` is made of, each once. Default: letters, digits, `_` and `-`.
    #[schemars(length(min = 2, max = 256))]
    alphabet: Option<String>,
}

/// The kinds of identifiers.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Kind {
    /// 122 random bits (RFC 9562, section 5.4).
    #[default]
    UuidV4,
    /// A time and 74 random bits; in order of time (RFC 9562, section 5.7).
    UuidV7,
    /// A time and 80 random bits in 26 characters; in order of time.
    Ulid,
    /// Random characters, fit for URLs.
    Nanoid,
}

/// Identifiers.
#[data]
struct Made {
    /// The identifiers; those that hold a time in ascending order.
    ids: Vec<String>,
}

/// Make unique identifiers: UUID version 4 or 7, ULID, Nano ID.
///
/// `uuid-v7` and `ulid` sort by the time they were made, `uuid-v4` and `nanoid` tell nothing.
#[tool]
fn id(wanted: Wanted) -> Result<Made> {
    let Wanted { kind, count, time_ms, length, alphabet } = wanted;
    let timed = matches!(kind, Kind::UuidV7 | Kind::Ulid);
    if time_ms.is_some() && !timed {
        return Err(Error::bad_arguments("`time_ms` is for `uuid-v7` and `ulid`: leave it out"));
    }
    if (length.is_some() || alphabet.is_some()) && kind != Kind::Nanoid {
        return Err(Error::bad_arguments(
            "`length` and `alphabet` are for \"kind\": \"nanoid\": leave them out",
        ));
    }
    let alphabet: Vec<char> = alphabet.as_deref().unwrap_or(NANOID).chars().collect();
    let mut sorted = alphabet.clone();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::bad_arguments(format!("{:?} stands twice in `alphabet`", twice[0])));
    }
    let time = match (time_ms, timed) {
        (Some(time), _) => time.min(MAX_TIME_MS),
        (None, true) => now_ms()?,
        (None, false) => 0,
    };
    let mut rng = generator()?;
    let mut ids: Vec<String> = (0..count)
        .map(|_| match kind {
            Kind::UuidV4 => Builder::from_random_bytes(rng.random()).into_uuid().to_string(),
            Kind::UuidV7 => {
                Builder::from_unix_timestamp_millis(time, &rng.random()).into_uuid().to_string()
            }
            Kind::Ulid => Ulid::from_parts(time, rng.random()).to_string(),
            Kind::Nanoid => {
                let length = length.unwrap_or(21);
                (0..length).filter_map(|_| alphabet.choose(&mut rng)).collect()
            }
        })
        .collect();
    if timed {
        ids.sort_unstable();
    }
    Ok(Made { ids })
}

fn now_ms() -> Result<u64> {
    let since = clock::now()?.duration_since(std::time::SystemTime::UNIX_EPOCH);
    let since = since.map_err(|_| Error::internal("the clock stands before 1970"))?;
    Ok((since.as_millis() as u64).min(MAX_TIME_MS))
}

/// What to read.
#[data]
struct Given {
    /// A UUID in any of its forms, or a ULID.
    #[schemars(length(min = 1, max = 100))]
    id: String,
}

/// What an identifier says of itself.
#[data]
struct Told {
    /// `uuid` or `ulid`.
    kind: String,
    /// The usual form.
    id: String,
    /// The version of a UUID, 1 to 8; absent for the nil and the max UUID and where it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u8>,
    /// The variant of a UUID: `rfc9562`, `ncs`, `microsoft` or `future`.
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    /// The time in it, in milliseconds since 1970, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
    /// The same time as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// Its 16 bytes in hex.
    hex: String,
}

/// Read a UUID or ULID: its kind, version, variant, usual form and the time in it.
#[tool]
fn inspect(given: Given) -> Result<Told> {
    let text = given.id.trim();
    if let Ok(id) = Uuid::try_parse(text) {
        let time_ms = id.get_timestamp().map(|time| {
            let (seconds, nanoseconds) = time.to_unix();
            seconds.saturating_mul(1000).saturating_add(u64::from(nanoseconds / 1_000_000))
        });
        let variant = match id.get_variant() {
            uuid::Variant::RFC4122 => "rfc9562",
            uuid::Variant::NCS => "ncs",
            uuid::Variant::Microsoft => "microsoft",
            _ => "future",
        };
        let version = match id.get_version() {
            None | Some(Version::Nil | Version::Max) => None,
            Some(version) => Some(version as u8),
        };
        return Ok(Told {
            kind: "uuid".into(),
            id: id.to_string(),
            version,
            variant: Some(variant.into()),
            time_ms,
            time: time_ms.and_then(rfc3339),
            hex: id.as_simple().to_string(),
        });
    }
    // The first character holds three bits; what is greater would be cut.
    let id = Ulid::from_string(text).ok().filter(|_| text.as_bytes()[0] <= b'7');
    let id = id.ok_or_else(|| {
        Error::bad_arguments(
            "`id` is neither a UUID (32 hex digits, with or without hyphens) nor a ULID (26 \
             characters of Crockford's Base32)",
        )
    })?;
    Ok(Told {
        kind: "ulid".into(),
        id: id.to_string(),
        version: None,
        variant: None,
        time_ms: Some(id.timestamp_ms()),
        time: rfc3339(id.timestamp_ms()),
        hex: Uuid::from_bytes(id.to_bytes()).as_simple().to_string(),
    })
}

fn rfc3339(ms: u64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(time.to_string())
}

/// Which integers to draw.
#[data]
struct Integers {
    /// The least. Default: 0.
    #[serde(default)]
    #[schemars(range(min = -9_007_199_254_740_992_i64, max = 9_007_199_254_740_992_i64))]
    min: i64,
    /// The greatest, itself included.
    #[schemars(range(min = -9_007_199_254_740_992_i64, max = 9_007_199_254_740_992_i64))]
    max: i64,
    /// How many. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    count: usize,
    /// Whether no number may come twice. Default: no.
    #[serde(default)]
    unique: bool,
}

/// Integers.
#[data]
struct DrawnIntegers {
    /// The numbers, in the order they were drawn.
    integers: Vec<i64>,
}

/// Draw random integers, each of a range equally likely: a die is `min` 1, `max` 6.
#[tool]
fn integers(wanted: Integers) -> Result<DrawnIntegers> {
    let Integers { min, max, count, unique } = wanted;
    if min > max {
        return Err(Error::bad_arguments(format!("`min` {min} is greater than `max` {max}")));
    }
    if min.unsigned_abs().max(max.unsigned_abs()) > MAX_SAFE_INTEGER {
        return Err(Error::bad_arguments("`min` and `max` lie between -2^53 and 2^53"));
    }
    let mut rng = generator()?;
    if !unique {
        let integers = (0..count).map(|_| rng.random_range(min..=max)).collect();
        return Ok(DrawnIntegers { integers });
    }
    // At most 2^54 + 1, which fits.
    let there_are = max.abs_diff(min) + 1;
    if count as u64 > there_are {
        return Err(Error::bad_arguments(format!(
            "{count} numbers without one twice cannot be drawn from {there_are}"
        )));
    }
    let mut seen = std::collections::BTreeSet::new();
    let integers = if there_are <= 2 * count as u64 {
        let drawn = index::sample(&mut rng, there_are as usize, count);
        drawn.iter().map(|at| min + at as i64).collect()
    } else {
        // More than half of the range is free, so that two draws give a new one on average.
        let mut integers = Vec::with_capacity(count);
        while integers.len() < count {
            let number = rng.random_range(min..=max);
            if seen.insert(number) {
                integers.push(number);
            }
        }
        integers
    };
    Ok(DrawnIntegers { integers })
}

/// Which numbers to draw.
#[data]
struct Floats {
    /// The least. Default: 0.
    #[serde(default)]
    min: f64,
    /// What they stay below. Default: 1.
    #[serde(default = "unit")]
    max: f64,
    /// How many. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    count: usize,
}

fn unit() -> f64 {
    1.0
}

/// Numbers.
#[data]
struct DrawnFloats {
    /// The numbers, in the order they were drawn.
    floats: Vec<f64>,
}

/// Draw random numbers, evenly spread from `min` up to but not including `max`.
#[tool]
fn floats(wanted: Floats) -> Result<DrawnFloats> {
    let Floats { min, max, count } = wanted;
    if !(min.is_finite() && max.is_finite() && (max - min).is_finite()) {
        return Err(Error::bad_arguments("the range from `min` to `max` is too wide"));
    }
    if min >= max {
        return Err(Error::bad_arguments(format!("`min` {min} is not less than `max` {max}")));
    }
    let mut rng = generator()?;
    let mut draw = || {
        let drawn = rng.random_range(min..max);
        // Next to the smallest numbers there are, rounding reaches the end.
        if drawn < max { drawn } else { min }
    };
    Ok(DrawnFloats { floats: (0..count).map(|_| draw()).collect() })
}

/// What to choose from, and how.
#[data]
struct Choosing {
    /// What to choose from.
    #[schemars(length(min = 1, max = 100_000))]
    items: Vec<Value>,
    /// How many to choose. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    count: usize,
    /// Whether an item may be chosen again. Default: no.
    #[serde(default)]
    replace: bool,
    /// How likely each item is, as one number each, 0 or more. Default: all the same.
    #[schemars(length(min = 1, max = 100_000))]
    weights: Option<Vec<f64>>,
}

/// What was chosen.
#[data]
struct Chosen {
    /// The items, in the order they were chosen.
    items: Vec<Value>,
    /// Where each stood in the list, from 0.
    indexes: Vec<usize>,
}

/// Choose one or several items of a list at random, weighted where `weights` says so.
///
/// Without `replace` no item is chosen twice. The order is random too.
#[tool]
fn choice(choosing: Choosing) -> Result<Chosen> {
    let Choosing { items, count, replace, weights } = choosing;
    let most = match &weights {
        None => items.len(),
        Some(weights) => {
            if weights.len() != items.len() {
                return Err(Error::bad_arguments(format!(
                    "there are {} `weights` for {} `items`: one for each",
                    weights.len(),
                    items.len()
                )));
            }
            if let Some(wrong) = weights.iter().find(|&&weight| !(0.0..=1e100).contains(&weight)) {
                return Err(Error::bad_arguments(format!(
                    "the weight {wrong} is not between 0 and 1e100"
                )));
            }
            weights.iter().filter(|&&weight| weight > 0.0).count()
        }
    };
    if most == 0 {
        return Err(Error::bad_arguments(
            "there is nothing to choose: no item, or all weights are 0",
        ));
    }
    if !replace && count > most {
        return Err(Error::bad_arguments(format!(
            "{count} cannot be chosen of {most} items: ask for fewer or set \"replace\": true"
        )));
    }
    let mut rng = generator()?;
    let failed = |error: rand::seq::WeightError| {
        Error::bad_arguments(format!("the `weights` cannot be used: {error}"))
    };
    let mut indexes: Vec<usize> = match (weights, replace) {
        (None, true) => (0..count).map(|_| rng.random_range(0..items.len())).collect(),
        (None, false) => index::sample(&mut rng, items.len(), count).into_vec(),
        (Some(weights), true) => {
            let table = rand::distr::weighted::WeightedIndex::new(weights).map_err(failed)?;
            (0..count).map(|_| rng.sample(&table)).collect()
        }
        (Some(weights), false) => {
            // A race of exponential clocks (Efraimidis and Spirakis 2006): the first ones win.
            let mut times: Vec<(f64, usize)> = weights
                .iter()
                .enumerate()
                .filter(|&(_, &weight)| weight > 0.0)
                .map(|(at, weight)| (-(1.0 - rng.random::<f64>()).ln() / weight, at))
                .collect();
            times.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            times.into_iter().take(count).map(|(_, at)| at).collect()
        }
    };
    // What is drawn without replacement is not in a random order yet.
    if !replace {
        indexes.shuffle(&mut rng);
    }
    Ok(Chosen { items: indexes.iter().map(|&at| items[at].clone()).collect(), indexes })
}

/// What to shuffle.
#[data]
struct Shuffling {
    /// The list.
    #[schemars(length(max = 100_000))]
    items: Vec<Value>,
}

/// A list.
#[data]
struct Shuffled {
    /// The items in another order.
    items: Vec<Value>,
}

/// Bring a list into a random order, each order equally likely.
#[tool]
fn shuffle(shuffling: Shuffling) -> Result<Shuffled> {
    let mut items = shuffling.items;
    items.shuffle(&mut generator()?);
    Ok(Shuffled { items })
}

/// Which bytes to draw.
#[data]
struct Bytes {
    /// How many bytes. Default: 32.
    #[serde(default = "thirty_two")]
    #[schemars(range(min = 1, max = 10_485_760))]
    count: usize,
    /// How they are written. Default: `hex`.
    #[serde(default)]
    encoding: Written,
}

fn thirty_two() -> usize {
    32
}

/// How bytes are written.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Written {
    /// Two digits a byte.
    #[default]
    Hex,
    /// RFC 4648, section 4.
    Base64,
    /// RFC 4648, section 5, without padding.
    Base64url,
    /// Letters and digits, one for each byte asked for (5.95 bits each).
    Alphanumeric,
    /// A blob.
    Blob,
}

/// Bytes.
#[data]
struct DrawnBytes {
    /// The bytes in the encoding asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    /// The bytes as a blob, where they are more than 64 KiB or a blob was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
}

/// Draw random bytes, fit for keys, salts and tokens.
///
/// What comes back is seen by everyone who sees this answer: do not use it as a password of
/// importance. More than 64 KiB come as a blob, whatever the encoding.
#[tool]
fn bytes(wanted: Bytes) -> Result<DrawnBytes> {
    let Bytes { count, encoding } = wanted;
    let mut rng = generator()?;
    let mut drawn = vec![0; count];
    match encoding {
        Written::Alphanumeric => {
            drawn.iter_mut().for_each(|byte| *byte = rng.sample(Alphanumeric));
        }
        _ => rng.fill_bytes(&mut drawn),
    }
    if encoding == Written::Blob || count > MAX_INLINE {
        let blob = blobs::store("application/octet-stream", &drawn)?;
        return Ok(DrawnBytes { bytes: None, blob: Some(blob) });
    }
    let text = match encoding {
        Written::Hex | Written::Blob => data_encoding::HEXLOWER.encode(&drawn),
        Written::Base64 => data_encoding::BASE64.encode(&drawn),
        Written::Base64url => data_encoding::BASE64URL_NOPAD.encode(&drawn),
        Written::Alphanumeric => drawn.into_iter().map(char::from).collect(),
    };
    Ok(DrawnBytes { bytes: Some(text), blob: None })
}

export!(id, inspect, integers, floats, choice, shuffle, bytes);
