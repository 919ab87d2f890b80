//! Merging objects.

use std::collections::BTreeSet;

use ampoule_sdk::prelude::*;
use ampoule_sdk::shortened;
use shared_canonical_json::canonical;

/// Characters of a place that a message shows.
const SHOWN_CHARS: usize = 200;

#[data]
pub(crate) struct Objects {
    /// The objects, from the weakest to the strongest.
    #[schemars(length(min = 1, max = 1000))]
    objects: Vec<Map<String, Value>>,
    /// Whether objects within are merged too, at every depth; else the later one replaces the
    /// earlier. Default true.
    #[serde(default = "yes")]
    deep: bool,
    /// What becomes of two arrays at one place. Default: the later one replaces the earlier.
    #[serde(default)]
    arrays: Arrays,
    /// What a null in a later object does. Default: it is a value like others.
    #[serde(default)]
    nulls: Nulls,
    /// Which of two different values at one place stays. Default: the last.
    #[serde(default)]
    conflicts: Conflicts,
}

fn yes() -> bool {
    true
}

/// What becomes of two arrays at one place.
#[data]
#[derive(Copy, Default)]
enum Arrays {
    /// They are values like others (see `conflicts`).
    #[default]
    Replace,
    /// The items of both, the earlier ones first.
    Concat,
    /// The same without those that were there before.
    Union,
    /// Item by item at the same index, merged as members are.
    ByIndex,
}

/// What a null in a later object does.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Nulls {
    /// It is a value.
    #[default]
    Set,
    /// It changes nothing, as if the member were not there.
    Skip,
    /// It removes the member, as in a JSON Merge Patch.
    Remove,
}

/// Which of two different values at one place stays.
#[data]
#[derive(Copy, Default)]
enum Conflicts {
    /// The later one.
    #[default]
    Last,
    /// The earlier one.
    First,
    /// Neither: the call fails and tells the place.
    Error,
}

/// Merge several objects into one, at every depth.
///
/// Use it to lay settings over defaults or to join partial answers. Later objects win, arrays are
/// replaced and nulls are values unless the options say otherwise. Members stay in the order in
/// which they first come. With `conflicts: "error"`, different values at one place are an error
/// `conflict` that names it.
#[tool]
pub(crate) fn objects(objects: Objects) -> Result<Value> {
    let Objects { objects, deep, arrays, nulls, conflicts } = objects;
    let rules = Rules { deep, arrays, nulls, conflicts };
    let mut merged = Map::new();
    for object in objects {
        rules.members(&mut merged, object, &mut Vec::new())?;
    }
    Ok(merged.into())
}

struct Rules {
    deep: bool,
    arrays: Arrays,
    nulls: Nulls,
    conflicts: Conflicts,
}

impl Rules {
    fn members(
        &self,
        into: &mut Map<String, Value>,
        from: Map<String, Value>,
        place: &mut Vec<String>,
    ) -> Result<()> {
        for (name, value) in from {
            match (value, self.nulls) {
                (Value::Null, Nulls::Skip) => {}
                (Value::Null, Nulls::Remove) => {
                    into.shift_remove(&name);
                }
                (value, _) => match into.get_mut(&name) {
                    Some(there) => {
                        place.push(name);
                        self.value(there, value, place)?;
                        place.pop();
                    }
                    // What is new is merged with nothing, so that its nulls are treated alike.
                    None => {
                        let value = self.fresh(value)?;
                        into.insert(name, value);
                    }
                },
            }
        }
        Ok(())
    }

    /// A value where there was none.
    fn fresh(&self, value: Value) -> Result<Value> {
        match value {
            Value::Object(members) if self.deep && self.nulls != Nulls::Set => {
                let mut whole = Map::new();
                self.members(&mut whole, members, &mut Vec::new())?;
                Ok(whole.into())
            }
            value => Ok(value),
        }
    }

    fn value(&self, into: &mut Value, from: Value, place: &mut Vec<String>) -> Result<()> {
        match (into, from, self.arrays) {
            (Value::Object(into), Value::Object(from), _) if self.deep => {
                self.members(into, from, place)
            }
            (Value::Array(into), Value::Array(from), Arrays::Concat) => {
                into.extend(from);
                Ok(())
            }
            (Value::Array(into), Value::Array(from), Arrays::Union) => {
                let mut there = into.iter().map(canonical).collect::<BTreeSet<_>>();
                for item in from {
                    if there.insert(canonical(&item)) {
                        into.push(item);
                    }
                }
                Ok(())
            }
            (Value::Array(into), Value::Array(from), Arrays::ByIndex) => {
                for (index, item) in from.into_iter().enumerate() {
                    match (into.get_mut(index), item) {
                        (Some(_), Value::Null) if self.nulls != Nulls::Set => {}
                        (Some(there), item) => {
                            place.push(index.to_string());
                            self.value(there, item, place)?;
                            place.pop();
                        }
                        (None, item) => into.push(self.fresh(item)?),
                    }
                }
                Ok(())
            }
            (into, from, _) => match self.conflicts {
                Conflicts::Last => {
                    *into = self.fresh(from)?;
                    Ok(())
                }
                Conflicts::First => Ok(()),
                Conflicts::Error if canonical(into) == canonical(&from) => Ok(()),
                Conflicts::Error => Err(Error::new(
                    "conflict",
                    format!(
                        "the objects differ at `/{}`; say with `conflicts` which value stays",
                        shortened(&place.join("/"), SHOWN_CHARS)
                    ),
                )),
            },
        }
    }
}
