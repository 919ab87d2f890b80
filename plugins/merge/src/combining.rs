//! Combining lists.

use std::collections::BTreeSet;

use ampoule_sdk::prelude::*;
use shared_canonical_json::canonical;

use crate::default_limit;

#[data]
pub(crate) struct Lists {
    /// The lists.
    #[schemars(length(min = 1, max = 1000))]
    lists: Vec<Vec<Value>>,
    /// How to combine them.
    how: How,
    /// For `zip`: names for what comes of each list, so that the answer is objects instead of
    /// arrays; one for each list.
    names: Option<Vec<String>>,
    /// For `zip`: what stands for the items that a shorter list has not. Default: the shortest list
    /// is the end.
    #[serde(default, deserialize_with = "ampoule_sdk::present")]
    fill: Option<Value>,
    /// How many items to return at most. Default 1000.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100_000))]
    limit: u32,
    /// Where to go on: the `next` of the answer before this one.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

/// How to combine lists.
#[data]
#[derive(Copy, PartialEq)]
enum How {
    /// All items, list after list.
    Concat,
    /// The first items of each list together, then the second ones …
    Zip,
    /// The first items of each list one by one, then the second ones … until all lists end.
    Interleave,
    /// Each different item once, as it first comes.
    Union,
    /// The different items of the first list that are in all the others.
    Intersect,
    /// The different items of the first list that are in none of the others.
    Subtract,
}

/// Combine several lists into one.
///
/// Use it to put results together (`concat`, `union`), to pair columns (`zip`, with `names` for
/// objects), to take turns (`interleave`) or to compare (`intersect`, `subtract`). Items are
/// compared as whole JSON values. For one list, use `arrange`.
#[tool]
pub(crate) fn lists(lists: Lists) -> Result<Output<Vec<Value>>> {
    let Lists { lists, how, names, fill, limit, cursor } = lists;
    if how != How::Zip && (names.is_some() || fill.is_some()) {
        return Err(Error::bad_arguments("`names` and `fill` belong to `how: \"zip\"`"));
    }
    let combined = match how {
        How::Concat => lists.into_iter().flatten().collect(),
        How::Zip => zip(&lists, names.as_deref(), fill.as_ref())?,
        How::Interleave => interleave(lists),
        How::Union => {
            let mut met = BTreeSet::new();
            different(lists.into_iter().flatten(), |text| met.insert(text))
        }
        How::Intersect | How::Subtract => {
            let mut lists = lists.into_iter();
            let first = lists.next().unwrap_or_default();
            let others: Vec<BTreeSet<_>> =
                lists.map(|list| list.iter().map(canonical).collect()).collect();
            let mut met = BTreeSet::new();
            different(first, |text| {
                let kept = match how {
                    How::Intersect => others.iter().all(|other| other.contains(&text)),
                    _ => !others.iter().any(|other| other.contains(&text)),
                };
                kept && met.insert(text)
            })
        }
    };
    Output::page(combined, limit as usize, cursor.as_deref())
}

/// The items whose text is kept.
fn different(
    items: impl IntoIterator<Item = Value>,
    mut keep: impl FnMut(String) -> bool,
) -> Vec<Value> {
    items.into_iter().filter(|item| keep(canonical(item))).collect()
}

fn interleave(lists: Vec<Vec<Value>>) -> Vec<Value> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut items = Vec::new();
    while !lists.is_empty() {
        lists.retain_mut(|list| {
            let item = list.next();
            let goes_on = item.is_some();
            items.extend(item);
            goes_on
        });
    }
    items
}

/// How many items zipping may make: a long list fills up all the others.
const MAX_ZIPPED: usize = 1_000_000;

fn zip(lists: &[Vec<Value>], names: Option<&[String]>, fill: Option<&Value>) -> Result<Vec<Value>> {
    if let Some(names) = names {
        if names.len() != lists.len() {
            return Err(Error::bad_arguments(format!(
                "there are {} `names` for {} lists; each list needs one",
                names.len(),
                lists.len()
            )));
        }
        if names.iter().collect::<BTreeSet<_>>().len() != names.len() {
            return Err(Error::bad_arguments("two of the `names` are the same"));
        }
    }
    let lengths = lists.iter().map(Vec::len);
    let length = if fill.is_some() { lengths.max() } else { lengths.min() }.unwrap_or(0);
    if length.saturating_mul(lists.len()) > MAX_ZIPPED {
        return Err(Error::too_large(format!("zipping would make more than {MAX_ZIPPED} items")));
    }
    let item = |list: &Vec<Value>, row| list.get(row).or(fill).cloned().unwrap_or_default();
    let rows = (0..length).map(|row| match names {
        None => lists.iter().map(|list| item(list, row)).collect::<Vec<_>>().into(),
        Some(names) => {
            let named = names.iter().zip(lists);
            named.map(|(name, list)| (name.clone(), item(list, row))).collect::<Map<_, _>>().into()
        }
    });
    Ok(rows.collect())
}
