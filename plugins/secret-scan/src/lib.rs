//! Finds keys, tokens and passwords in text, by the forms their issuers give them and by entropy.
//!
//! Each rule is a regular expression on `regex`, in linear time, and what has no form of its own is
//! judged by the Shannon entropy of its characters. Answers never hold a secret: of each they say
//! what it is, where it stands, how long it is and, where the form is public, how it begins.
//!
//! A finding is a suspicion. That nothing was found does not mean that nothing is there.

mod rules;

use std::collections::{BTreeMap, BTreeSet};

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs};

use crate::rules::{Confidence, Entropy};

/// Above this many bytes a text is answered as a blob: 1 MiB.
const MAX_INLINE: usize = 1 << 20;

/// The most findings that are looked at.
const MAX_FINDINGS: usize = 100_000;

/// Secrets shorter than this do not show how they begin.
const MIN_SHOWN: usize = 20;

/// What to search, and how.
#[data]
struct Scan {
    /// The text: source code, configuration, a log, a message.
    text: Content,
    /// The kinds to look for, as answers name them. Default: all.
    #[schemars(length(min = 1, max = 100))]
    kinds: Option<Vec<String>>,
    /// What is judged by entropy. Default: `assigned`.
    #[serde(default)]
    entropy: Entropy,
    /// The least confidence of a finding. Default: `medium`.
    #[serde(default)]
    confidence: Confidence,
    /// Texts that are no secrets, for example those of tests.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    allow: Vec<String>,
    /// Whether to answer the text with each secret replaced by `[REDACTED kind]`. Default: no.
    #[serde(default)]
    redact: bool,
    /// How many findings to answer at most. Default: 100.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: usize,
    /// Where an earlier answer ended.
    cursor: Option<String>,
}

fn hundred() -> usize {
    100
}

/// What was found.
#[data]
struct Found {
    /// The findings, in their order in the text.
    findings: Vec<Finding>,
    /// How many there are in all.
    total: u64,
    /// How many of each kind.
    counts: BTreeMap<String, u64>,
    /// The text without them, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<String>,
    /// The same as a blob, where it is longer than 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted_blob: Option<BlobRef>,
}

/// A secret, or what looks like one.
#[data]
struct Finding {
    /// What it is, for example `aws-access-key-id`.
    kind: String,
    /// The line it begins in, from 1.
    line: u64,
    /// The character of the line it begins at, from 1.
    column: u64,
    /// Its length in characters.
    length: u64,
    /// How it begins, where that is public, and `…`.
    excerpt: String,
    /// How sure it is.
    confidence: Confidence,
}

/// Find API keys, tokens, private keys, passwords and connection strings in a text.
///
/// Use it before text is stored, sent or shown to a model. Findings say kind, line and column and
/// never the secret itself; `redact` gives the text without them. Some findings are wrong: `allow`
/// names texts that are no secrets.
#[tool]
fn secret_scan(scan: Scan) -> Result<Output<Found>> {
    let Scan { text, kinds, entropy, confidence, allow, redact, limit, cursor } = scan;
    let text = text.text()?;
    let kinds = kinds.map(|kinds| kinds.into_iter().collect::<BTreeSet<String>>());
    if let Some(kinds) = &kinds
        && let Some(unknown) = kinds.iter().find(|kind| !rules::names().any(|name| name == *kind))
    {
        let known: Vec<&str> = rules::names().collect();
        return Err(Error::bad_arguments(format!(
            "there is no kind `{unknown}`; there are: {}",
            known.join(", ")
        )));
    }
    let allow: BTreeSet<String> = allow.into_iter().collect();
    let matches = rules::find(&text, entropy, |kind, sure, secret| {
        sure >= confidence
            && kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
            && !allow.contains(secret)
    })?;
    if matches.len() > MAX_FINDINGS {
        return Err(Error::too_large(format!(
            "there are more than {MAX_FINDINGS} findings: give the text in parts, or fewer `kinds`"
        )));
    }
    let mut counts = BTreeMap::<String, u64>::new();
    for found in &matches {
        *counts.entry(found.kind.to_owned()).or_default() += 1;
    }
    let (redacted, redacted_blob) = match redact {
        false => (None, None),
        true => {
            let text = without(&text, &matches);
            match text.len() > MAX_INLINE {
                true => (None, Some(blobs::store("text/plain", text.as_bytes())?)),
                false => (Some(text), None),
            }
        }
    };
    let total = matches.len() as u64;
    let page = Output::page(findings(&text, &matches), limit, cursor.as_deref())?;
    Ok(page.map(|findings| Found { findings, total, counts, redacted, redacted_blob }))
}

fn without(text: &str, matches: &[rules::Match]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for found in matches {
        out.push_str(&text[end..found.start]);
        out.extend(["[REDACTED ", found.kind, "]"]);
        end = found.end;
    }
    out.push_str(&text[end..]);
    out
}

/// The matches with the places they stand at; lines are counted on the way.
fn findings<'a>(text: &'a str, matches: &'a [rules::Match]) -> impl Iterator<Item = Finding> + 'a {
    // The line that was counted to, where it begins, and how far its characters were counted.
    let (mut line, mut begin) = (1_u64, 0);
    let (mut counted, mut column) = (0, 0_u64);
    matches.iter().map(move |found| {
        let before = &text.as_bytes()[begin..found.start];
        for at in memchr::memchr_iter(b'\n', before) {
            line += 1;
            (counted, column) = (begin + at + 1, 0);
        }
        begin = found.start;
        column += text[counted..found.start].chars().count() as u64;
        counted = found.start;
        let secret = &text[found.start..found.end];
        let length = secret.chars().count();
        let excerpt = match found.shown.min(length / 4) {
            shown if shown > 0 && length >= MIN_SHOWN => {
                let shown: String = secret.chars().take(shown).collect();
                format!("{shown}…")
            }
            _ => "…".to_owned(),
        };
        Finding {
            kind: found.kind.to_owned(),
            line,
            column: column + 1,
            length: length as u64,
            excerpt,
            confidence: found.confidence,
        }
    })
}

export!(secret_scan);
