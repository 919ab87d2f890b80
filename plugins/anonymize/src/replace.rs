//! Placeholders: which stands for what.

use std::collections::{BTreeMap, BTreeSet};

use ampoule_sdk::prelude::*;
use regex::Regex;

use crate::MAX_MAPPING;
use crate::detect::Detectors;

/// The most bytes that placeholders or what they stand for may add: 16 MiB.
pub(crate) const MAX_ADDED: usize = 16 << 20;

/// What stands where something was found.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum Style {
    /// `[EMAIL_1]`: the same for the same data, and to be put back.
    #[default]
    Placeholder,
    /// `[EMAIL]`: cannot be put back.
    Kind,
    /// `*` for each letter and digit: cannot be put back, and shows lengths.
    Mask,
}

/// What looks like a placeholder.
pub(crate) fn placeholder() -> Result<Regex> {
    Regex::new(r"\[[A-Z][A-Z0-9_]{0,39}_[0-9]{1,9}\]")
        .map_err(|error| Error::internal(error.to_string()))
}

/// The placeholders that were given away.
pub(crate) struct Mapping {
    style: Style,
    /// Placeholder to data.
    entries: BTreeMap<String, String>,
    /// Kind and data to placeholder.
    known: BTreeMap<(String, String), String>,
    /// The last number of each kind.
    last: BTreeMap<String, u64>,
    /// Placeholders that stand in the input already.
    taken: BTreeSet<String>,
}

impl Mapping {
    /// A mapping that goes on from an earlier one and avoids what stands in these texts.
    pub(crate) fn new<'a>(
        entries: BTreeMap<String, String>,
        style: Style,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Mapping> {
        if style != Style::Placeholder && !entries.is_empty() {
            return Err(Error::bad_arguments(
                "`mapping` goes with \"style\": \"placeholder\": leave one of them out",
            ));
        }
        let looks = placeholder()?;
        let mut taken = BTreeSet::new();
        if style == Style::Placeholder {
            for text in texts {
                taken.extend(looks.find_iter(text).map(|found| found.as_str().to_owned()));
            }
        }
        let mut known = BTreeMap::new();
        let mut last = BTreeMap::<String, u64>::new();
        for (placeholder, data) in &entries {
            let Some((kind, number)) = parts(placeholder) else { continue };
            let highest = last.entry(kind.to_owned()).or_default();
            *highest = (*highest).max(number);
            known.insert((kind.to_owned(), data.clone()), placeholder.clone());
        }
        Ok(Mapping { style, entries, known, last, taken })
    }

    /// The text with all that was found replaced.
    pub(crate) fn replace(
        &mut self,
        text: &str,
        detectors: &Detectors,
        counts: &mut BTreeMap<String, u64>,
    ) -> Result<String> {
        let found = detectors.find(text);
        let mut out = String::with_capacity(text.len());
        let mut end = 0;
        for found in found {
            let data = &text[found.start..found.end];
            *counts.entry(found.kind.to_owned()).or_default() += 1;
            out.push_str(&text[end..found.start]);
            match found.replacement {
                Some(replacement) => out.push_str(self.fixed(replacement, data)?),
                None => self.put(found.kind, data, &mut out)?,
            }
            end = found.end;
            if out.len() > text.len().saturating_add(MAX_ADDED) {
                return Err(Error::too_large("the placeholders would add more than 16 MiB"));
            }
        }
        out.push_str(&text[end..]);
        Ok(out)
    }

    /// A replacement of the caller's, kept in the mapping.
    fn fixed<'a>(&mut self, replacement: &'a str, data: &str) -> Result<&'a str> {
        if self.style != Style::Placeholder {
            return Ok(replacement);
        }
        match self.entries.get(replacement) {
            None => {
                self.entries.insert(replacement.to_owned(), data.to_owned());
                self.check()?;
            }
            // Put back is the form that was met first; another is another only by its capitals.
            Some(other) if other.to_lowercase() == data.to_lowercase() => {}
            Some(_) => {
                return Err(Error::conflict(format!(
                    "the replacement {replacement:?} stands for two things: give each keyword one \
                     of its own"
                )));
            }
        }
        Ok(replacement)
    }

    fn put(&mut self, kind: &str, data: &str, out: &mut String) -> Result<()> {
        match self.style {
            Style::Kind => out.extend(["[", kind, "]"]),
            Style::Mask => {
                out.extend(
                    data.chars().map(|char| if char.is_alphanumeric() { '*' } else { char }),
                );
            }
            Style::Placeholder => {
                let key = (kind.to_owned(), data.to_owned());
                if let Some(placeholder) = self.known.get(&key) {
                    out.push_str(placeholder);
                    return Ok(());
                }
                let last = self.last.entry(kind.to_owned()).or_default();
                let placeholder = loop {
                    *last += 1;
                    let placeholder = format!("[{kind}_{last}]");
                    if !self.taken.contains(&placeholder)
                        && !self.entries.contains_key(&placeholder)
                    {
                        break placeholder;
                    }
                };
                out.push_str(&placeholder);
                self.entries.insert(placeholder.clone(), key.1.clone());
                self.known.insert(key, placeholder);
                self.check()?;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.entries.len() > MAX_MAPPING {
            true => Err(Error::too_large(format!(
                "more than {MAX_MAPPING} different things were found: give the input in parts, or \
                 use another `style`"
            ))),
            false => Ok(()),
        }
    }

    pub(crate) fn into_inner(self) -> BTreeMap<String, String> {
        self.entries
    }
}

/// Kind and number of a placeholder of ours.
fn parts(placeholder: &str) -> Option<(&str, u64)> {
    let (kind, number) = placeholder.strip_prefix('[')?.strip_suffix(']')?.rsplit_once('_')?;
    Some((kind, number.parse().ok().filter(|&number| number < 1_000_000_000)?))
}
