//! Replaces personal data in text and JSON by placeholders, and puts it back.
//!
//! Parity with the anonymisers of the seed systems: keywords, keywords with a replacement of their
//! own, patterns, a mapping that is kept and reversed. Beyond them it finds mail addresses, phone
//! and card numbers, IBANs, IP addresses, dates and URLs by itself. Numbers with check digits are
//! checked (Luhn by `luhn`, IBAN by `iban_validate`), addresses parsed. A placeholder that already
//! stands in the input is never given away again, so restoring cannot be misled by it.
//!
//! Patterns run on `regex`, in linear time. What a pattern cannot find, names and street addresses
//! above all, has to be named by `keywords`: this is a filter for what is known, no proof that
//! nothing personal is left.

mod detect;
mod replace;

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};
use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs};

use crate::detect::{Detectors, Kind, Pattern};
use crate::replace::{Mapping, Style};

/// Above this many bytes a text is answered as a blob: 1 MiB.
const MAX_INLINE: usize = 1 << 20;

/// The most entries of a mapping.
const MAX_MAPPING: usize = 50_000;

/// What to replace, and by what. One of `text` and `json` is given.
#[data]
struct Wanted {
    /// A text.
    text: Option<Content>,
    /// A JSON value: every text in it, at every depth. Numbers, true, false and null stay.
    #[serde(default, deserialize_with = "ampoule_sdk::present")]
    json: Option<Value>,
    /// Whether the names of fields in `json` are searched too. Default: no.
    #[serde(default)]
    names: bool,
    /// What to find. Default: `email`, `phone`, `card`, `iban`, `ipv4`, `ipv6`.
    #[serde(default = "usual")]
    #[schemars(length(max = 8))]
    find: Vec<Kind>,
    /// Words and names to replace.
    #[serde(default)]
    #[schemars(length(max = 2_000))]
    keywords: Vec<Keyword>,
    /// Whether capitals count in `keywords`. Default: no.
    #[serde(default)]
    case_sensitive: bool,
    /// Whether `keywords` are also found inside of words. Default: no.
    #[serde(default)]
    inside_words: bool,
    /// Patterns of your own.
    #[serde(default)]
    #[schemars(length(max = 50))]
    patterns: Vec<Pattern>,
    /// What stands where something was found. Default: `placeholder`.
    #[serde(default)]
    style: Style,
    /// The mapping of an earlier answer: the same data gets the same placeholder again.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 50_000))]
    mapping: BTreeMap<String, String>,
}

fn usual() -> Vec<Kind> {
    vec![Kind::Email, Kind::Phone, Kind::Card, Kind::Iban, Kind::Ipv4, Kind::Ipv6]
}

/// A word to replace.
#[data]
#[serde(untagged)]
enum Keyword {
    /// The word; its kind is `KEYWORD`.
    Word(#[schemars(length(min = 1, max = 200))] String),
    /// The word with more about it.
    Told(Told),
}

/// A word with more about it.
#[data]
struct Told {
    /// The word.
    #[schemars(length(min = 1, max = 200))]
    text: String,
    /// What it is, for the placeholder: capitals, digits and `_`. Default: `KEYWORD`.
    #[schemars(regex(pattern = "^[A-Z][A-Z0-9_]{0,39}$"))]
    kind: Option<String>,
    /// What to put in its place, instead of a placeholder.
    #[schemars(length(min = 1, max = 200))]
    replacement: Option<String>,
}

/// What is left, and what was replaced.
#[data]
struct Anonymized {
    /// The text, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// A text longer than 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
    /// The JSON value, where one was given.
    #[serde(
        default,
        deserialize_with = "ampoule_sdk::present",
        skip_serializing_if = "Option::is_none"
    )]
    json: Option<Value>,
    /// Each placeholder with what it stands for, those of the mapping given included. Whoever has
    /// it can undo the work: keep it apart. Empty where the style is not `placeholder`.
    mapping: BTreeMap<String, String>,
    /// How often each kind was found.
    counts: BTreeMap<String, u64>,
}

/// Replace mail addresses, phone and card numbers, IBANs, IP addresses, dates, URLs, keywords and
/// patterns of your own by placeholders such as `[EMAIL_1]`, in a text or in all texts of a JSON
/// value.
///
/// Use it before data goes to a model or out of the house. The same data gets the same placeholder;
/// give `mapping` of an earlier answer to go on with it, and to `restore` to put the data back.
/// Names of people are found only where `keywords` names them.
#[tool]
fn anonymize(wanted: Wanted) -> Result<Anonymized> {
    let Wanted {
        text, json, names, find, keywords, case_sensitive, inside_words, patterns, ..
    } = wanted;
    let style = wanted.style;
    check_mapping(&wanted.mapping)?;
    let words: Vec<Told> = keywords
        .into_iter()
        .map(|keyword| match keyword {
            Keyword::Word(text) => Told { text, kind: None, replacement: None },
            Keyword::Told(told) => told,
        })
        .collect();
    let detectors = Detectors::new(&find, &words, case_sensitive, inside_words, &patterns)?;
    let mut counts = BTreeMap::new();
    match (text, json) {
        (Some(text), None) => {
            let text = text.text()?;
            let mut mapping = Mapping::new(wanted.mapping, style, [text.as_str()])?;
            let text = mapping.replace(&text, &detectors, &mut counts)?;
            let (text, blob) = inline(text)?;
            Ok(Anonymized { text, blob, json: None, mapping: mapping.into_inner(), counts })
        }
        (None, Some(mut json)) => {
            let mut texts = Vec::new();
            collect(&json, &mut texts);
            let mut mapping = Mapping::new(wanted.mapping, style, texts)?;
            change(&mut json, names, &mut |text| mapping.replace(text, &detectors, &mut counts))?;
            let mapping = mapping.into_inner();
            Ok(Anonymized { text: None, blob: None, json: Some(json), mapping, counts })
        }
        _ => Err(Error::bad_arguments("give one of `text` and `json`")),
    }
}

/// What to put back. One of `text` and `json` is given.
#[data]
struct Restoring {
    /// A text with placeholders.
    text: Option<Content>,
    /// A JSON value with placeholders, in its texts and in the names of its fields.
    #[serde(default, deserialize_with = "ampoule_sdk::present")]
    json: Option<Value>,
    /// The mapping that `anonymize` answered.
    #[schemars(extend("maxProperties" = 50_000))]
    mapping: BTreeMap<String, String>,
}

/// What came back.
#[data]
struct Restored {
    /// The text, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// A text longer than 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
    /// The JSON value, where one was given.
    #[serde(
        default,
        deserialize_with = "ampoule_sdk::present",
        skip_serializing_if = "Option::is_none"
    )]
    json: Option<Value>,
    /// How many placeholders were put back.
    replaced: u64,
    /// What looks like a placeholder and is not in the mapping, at most 20 of them.
    unknown: Vec<String>,
}

/// Put back what `anonymize` replaced, by its mapping, in a text or a JSON value.
#[tool]
fn restore(restoring: Restoring) -> Result<Restored> {
    let Restoring { text, json, mapping } = restoring;
    check_mapping(&mapping)?;
    let (placeholders, originals): (Vec<&String>, Vec<&String>) = mapping.iter().unzip();
    let finder = AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .build(&placeholders)
        .map_err(|error| Error::too_large(format!("the mapping is too large: {error}")))?;
    let looks = replace::placeholder()?;
    let (mut replaced, mut unknown) = (0, Vec::new());
    let mut size = 0_usize;
    let mut back = |text: &str| {
        let mut out = String::with_capacity(text.len());
        finder.replace_all_with(text, &mut out, |found, _, out| {
            let original = originals[found.pattern().as_usize()];
            size = size.saturating_add(original.len());
            replaced += 1;
            if size <= replace::MAX_ADDED {
                out.push_str(original);
            }
            size <= replace::MAX_ADDED
        });
        if size > replace::MAX_ADDED {
            return Err(Error::too_large("what would be put back is more than 16 MiB"));
        }
        for found in looks.find_iter(text) {
            let found = found.as_str();
            if unknown.len() < 20
                && !mapping.contains_key(found)
                && !unknown.iter().any(|other| other == found)
            {
                unknown.push(found.to_owned());
            }
        }
        Ok(out)
    };
    let (text, json) = match (text, json) {
        (Some(text), None) => (Some(back(&text.text()?)?), None),
        (None, Some(mut json)) => {
            change(&mut json, true, &mut back)?;
            (None, Some(json))
        }
        _ => return Err(Error::bad_arguments("give one of `text` and `json`")),
    };
    let (text, blob) = match text {
        Some(text) => inline(text)?,
        None => (None, None),
    };
    Ok(Restored { text, blob, json, replaced, unknown })
}

fn check_mapping(mapping: &BTreeMap<String, String>) -> Result<()> {
    if mapping.len() > MAX_MAPPING {
        return Err(Error::too_large(format!("`mapping` has more than {MAX_MAPPING} entries")));
    }
    match mapping.keys().any(String::is_empty) {
        true => Err(Error::bad_arguments("a placeholder of `mapping` is empty")),
        false => Ok(()),
    }
}

fn inline(text: String) -> Result<(Option<String>, Option<BlobRef>)> {
    match text.len() > MAX_INLINE {
        true => Ok((None, Some(blobs::store("text/plain", text.as_bytes())?))),
        false => Ok((Some(text), None)),
    }
}

/// All texts of a value, the names of its fields included. The host has bounded its depth.
fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                texts.push(name);
                collect(value, texts);
            }
        }
        _ => {}
    }
}

/// Changes all texts of a value, and the names of its fields where `names` says so.
fn change(
    value: &mut Value,
    names: bool,
    text: &mut impl FnMut(&str) -> Result<String>,
) -> Result<()> {
    match value {
        Value::String(old) => *old = text(old)?,
        Value::Array(items) => {
            for item in items {
                change(item, names, text)?;
            }
        }
        Value::Object(fields) => {
            for value in fields.values_mut() {
                change(value, names, text)?;
            }
            if names {
                let old = std::mem::take(fields);
                for (name, value) in old {
                    let new = text(&name)?;
                    if fields.insert(new, value).is_some() {
                        return Err(Error::conflict(format!(
                            "two fields would have one name; the second is {name:?}"
                        )));
                    }
                }
            }
        }
        _ => {}
    }
    Ok(())
}

export!(anonymize, restore);
