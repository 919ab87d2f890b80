//! Sorting, grouping and thinning out one list.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use ampoule_sdk::prelude::*;
use shared_canonical_json::canonical;

use crate::default_limit;

#[data]
pub(crate) struct Arrange {
    /// The items.
    items: Vec<Value>,
    /// Keep the first of the items that are equal in all these parts: the name of a member, a JSON
    /// Pointer such as `/user/id`, or an empty text for the whole item.
    #[serde(default)]
    #[schemars(length(max = 20))]
    unique: Vec<String>,
    /// Sort by these, the first counts most. Items that are equal in all stay in their order.
    #[serde(default)]
    #[schemars(length(max = 20))]
    sort: Vec<Sort>,
    /// Gather the items that are equal in this part, named as in `unique`; the answer is then a
    /// list of `{key, count, items}` in the order in which the groups begin.
    #[schemars(length(max = 1000))]
    group: Option<String>,
    /// How many items, or groups, to return at most. Default 1000.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100_000))]
    limit: u32,
    /// Where to go on: the `next` of the answer before this one.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

/// What to sort by.
#[data]
struct Sort {
    /// The part of an item, named as in `unique`.
    #[schemars(length(max = 1000))]
    by: String,
    /// The direction. Default ascending.
    #[serde(default)]
    order: Order,
    /// Where the items stand that have no such part, or null there. Default last.
    #[serde(default)]
    empty: Empty,
    /// Whether the case of letters makes no difference. Default false.
    #[serde(default)]
    ignore_case: bool,
}

/// A direction.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Order {
    /// From false to true, from small to large, from a to z.
    #[default]
    Ascending,
    /// The other way round.
    Descending,
}

/// Where what is empty stands, in either direction.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Empty {
    /// After all others.
    #[default]
    Last,
    /// Before all others.
    First,
}

/// Drop doubles from a list, sort it, group it and take the first items of it, in that order.
///
/// Use it for a list of objects or plain values: the newest ten, one for each customer, grouped by
/// team. Each step is done only where it is asked for. Booleans sort before numbers, numbers before
/// texts (by code point), texts before arrays and objects. To filter or compute, use jq
/// (json-query) or CEL (expression).
#[tool]
pub(crate) fn arrange(arrange: Arrange) -> Result<Output<Vec<Value>>> {
    let Arrange { mut items, unique, sort, group, limit, cursor } = arrange;
    for part in unique.iter().chain(sort.iter().map(|sort| &sort.by)).chain(&group) {
        check(part)?;
    }
    if !unique.is_empty() {
        let mut met = BTreeSet::new();
        let mut kept = Vec::with_capacity(items.len());
        for item in items {
            let parts = unique.iter().map(|name| part(&item, name).map(canonical));
            if met.insert(parts.collect::<Vec<_>>()) {
                kept.push(item);
            }
        }
        items = kept;
    }
    if !sort.is_empty() {
        items = sorted(items, &sort);
    }
    if let Some(name) = group {
        items = grouped(items, &name);
    }
    Output::page(items, limit as usize, cursor.as_deref())
}

/// Refuses the name of a part that can be none.
fn check(name: &str) -> Result<()> {
    let tildes = name.split('~').skip(1);
    match name.starts_with('/') && !tildes.clone().all(|rest| rest.starts_with(['0', '1'])) {
        true => Err(Error::bad_arguments(format!(
            "`{name}` is not a JSON Pointer: `~` is written `~0` and `/` in a name `~1`"
        ))),
        false => Ok(()),
    }
}

/// The part of an item of that name.
fn part<'v>(item: &'v Value, name: &str) -> Option<&'v Value> {
    match name.is_empty() || name.starts_with('/') {
        true => item.pointer(name),
        false => item.get(name),
    }
}

/// What an item is sorted by: a rank of its kind, a number and a text.
enum Key {
    Empty,
    Bool(bool),
    Number(f64),
    Text(String),
    Other(u8, String),
}

impl Key {
    fn of(value: Option<&Value>, sort: &Sort) -> Key {
        match value {
            None | Some(Value::Null) => Key::Empty,
            Some(Value::Bool(value)) => Key::Bool(*value),
            Some(Value::Number(number)) => Key::Number(number.as_f64().unwrap_or(f64::NAN)),
            Some(Value::String(text)) if sort.ignore_case => Key::Text(text.to_lowercase()),
            Some(Value::String(text)) => Key::Text(text.clone()),
            Some(value @ Value::Array(_)) => Key::Other(0, canonical(value)),
            Some(value @ Value::Object(_)) => Key::Other(1, canonical(value)),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Key::Empty => 0,
            Key::Bool(_) => 1,
            Key::Number(_) => 2,
            Key::Text(_) => 3,
            Key::Other(kind, _) => 4 + kind,
        }
    }

    fn compare(&self, other: &Key, sort: &Sort) -> Ordering {
        let value = match (self, other) {
            (Key::Empty, Key::Empty) => return Ordering::Equal,
            (Key::Empty, _) | (_, Key::Empty) => {
                let empty_first = self.rank().cmp(&other.rank());
                return match sort.empty {
                    Empty::First => empty_first,
                    Empty::Last => empty_first.reverse(),
                };
            }
            (Key::Bool(a), Key::Bool(b)) => a.cmp(b),
            (Key::Number(a), Key::Number(b)) => a.total_cmp(b),
            (Key::Text(a), Key::Text(b)) => a.cmp(b),
            (Key::Other(0, a), Key::Other(0, b)) | (Key::Other(1, a), Key::Other(1, b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        };
        match sort.order {
            Order::Ascending => value,
            Order::Descending => value.reverse(),
        }
    }
}

fn sorted(items: Vec<Value>, sort: &[Sort]) -> Vec<Value> {
    let keys = |item: &Value| -> Vec<Key> {
        sort.iter().map(|sort| Key::of(part(item, &sort.by), sort)).collect()
    };
    let mut keyed: Vec<_> = items.into_iter().map(|item| (keys(&item), item)).collect();
    keyed.sort_by(|(a, _), (b, _)| {
        let keys = a.iter().zip(b).zip(sort);
        keys.map(|((a, b), sort)| a.compare(b, sort)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    });
    keyed.into_iter().map(|(_, item)| item).collect()
}

fn grouped(items: Vec<Value>, name: &str) -> Vec<Value> {
    let mut places = BTreeMap::new();
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in items {
        let key = part(&item, name).cloned().unwrap_or_default();
        let place = *places.entry(canonical(&key)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, members)) => members.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    let group = |(key, items): (Value, Vec<Value>)| json!({ "key": key, "count": items.len(), "items": items });
    groups.into_iter().map(group).collect()
}
