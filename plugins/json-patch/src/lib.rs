//! JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396): apply, and make from two values.
//!
//! The library is json-patch, but for what it leaves out: `test` takes 1 and 1.0 for equal, as
//! RFC 6902 §4.6 has it, and a patch is kept from growing its document without bound (each `copy`
//! may double it). Merge patches are made here. A member that is removed lets the last member of
//! its object take its place; the order of members means nothing in JSON.
//!
//! `tests/rfc6902.json` is json-patch-tests, `tests/rfc7396.json` is what RFC 7396 documents, and `tests/cases.json` what is refused, and
//! comparing.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{Weight, serde_json, shortened};
use json_patch::jsonptr::Pointer;
use json_patch::{PatchError, PatchErrorKind, PatchOperation};

/// Characters of a text that a message shows.
const SHOWN_CHARS: usize = 200;

/// How deep a patched document may be nested: as deep as a value may be.
const MAX_DEPTH: usize = 98;

/// How many values patching may add to a document by copying.
const MAX_COPIED: usize = 1_000_000;

/// How many bytes of text patching may add to a document by copying.
const MAX_COPIED_TEXT: usize = 16 << 20;

#[data]
struct Apply {
    /// The document.
    document: Value,
    /// The operations, applied in order, for example
    /// `[{"op": "replace", "path": "/a/0", "value": 1}]`. `op` is `add`, `remove`, `replace`,
    /// `move`, `copy` or `test`; `path` and `from` are JSON Pointers; `-` at the end of a path is
    /// the place after the last item. At most 10,000.
    #[schemars(length(max = 10_000))]
    patch: Vec<PatchOperation>,
}

/// Apply a JSON Patch (RFC 6902) to a document and return the changed document.
///
/// Use it for exact changes at known places, with `test` to make sure of what is there. Either all
/// operations succeed or the call fails with the number of the one that did not: `conflict` where
/// a `test` does not hold, `not-found` where a place does not exist. `add` at a place in an object
/// replaces what is there and makes no objects on the way. To change several members at once
/// without places, use `merge`.
#[tool]
fn apply(apply: Apply) -> Result<Value> {
    let Apply { mut document, patch } = apply;
    let mut copied = Weight::default();
    for (number, operation) in patch.iter().enumerate() {
        check(&document, operation, &mut copied)
            .and_then(|()| perform(&mut document, operation))
            .map_err(|error| Error {
            message: format!("`patch[{number}]`: {}", error.message),
            ..error.with_data(json!({ "operation": number }))
        })?;
    }
    Ok(document)
}

fn perform(document: &mut Value, operation: &PatchOperation) -> Result<()> {
    if let PatchOperation::Test(test) = operation {
        let found = document
            .pointer(test.path.as_str())
            .ok_or_else(|| Error::not_found(nowhere("path", &test.path)))?;
        return match equal(found, &test.value) {
            true => Ok(()),
            false => Err(Error::conflict(format!(
                "the test does not hold: at `{}` is {}, not {}; nothing was changed",
                shortened(test.path.as_str(), SHOWN_CHARS),
                shortened(&found.to_string(), SHOWN_CHARS),
                shortened(&test.value.to_string(), SHOWN_CHARS),
            ))),
        };
    }
    json_patch::patch_unsafe(document, std::slice::from_ref(operation)).map_err(
        |PatchError { kind, path, .. }| match (kind, operation) {
            (PatchErrorKind::InvalidFromPointer, PatchOperation::Move(operation)) => {
                Error::not_found(nowhere("from", &operation.from))
            }
            (PatchErrorKind::InvalidFromPointer, PatchOperation::Copy(operation)) => {
                Error::not_found(nowhere("from", &operation.from))
            }
            (PatchErrorKind::InvalidPointer, PatchOperation::Remove(_)) if path.is_root() => {
                Error::bad_arguments("the whole document cannot be removed; `replace` it by null")
            }
            (PatchErrorKind::InvalidPointer, _) => Error::not_found(nowhere("path", &path)),
            (kind, _) => Error::bad_arguments(kind.to_string()),
        },
    )
}

fn nowhere(field: &str, pointer: &Pointer) -> String {
    let pointer = shortened(pointer.as_str(), SHOWN_CHARS);
    format!(
        "the document has no such place: `{field}` is `{pointer}`. What it is in must exist, and \
         an index must be within its array"
    )
}

/// Refuses an operation that would make the document too large or too deep.
fn check(document: &Value, operation: &PatchOperation, copied: &mut Weight) -> Result<()> {
    let (path, weight) = match operation {
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
        PatchOperation::Add(operation) => (&operation.path, Weight::of(&operation.value)),
        PatchOperation::Replace(operation) => (&operation.path, Weight::of(&operation.value)),
        PatchOperation::Move(operation) => (&operation.path, weight_at(document, &operation.from)),
        PatchOperation::Copy(operation) => {
            let weight = weight_at(document, &operation.from);
            copied.values = copied.values.saturating_add(weight.values);
            copied.text = copied.text.saturating_add(weight.text);
            if copied.values > MAX_COPIED || copied.text > MAX_COPIED_TEXT {
                return Err(Error::too_large(format!(
                    "the patch copies more than {MAX_COPIED} values or {MAX_COPIED_TEXT} bytes of \
                     text"
                )));
            }
            (&operation.path, weight)
        }
    };
    if path.count() + weight.depth > MAX_DEPTH {
        return Err(Error::too_large(format!(
            "it would nest the document deeper than {MAX_DEPTH} levels"
        )));
    }
    Ok(())
}

/// The weight of what is at a pointer; nothing where nothing is.
fn weight_at(document: &Value, pointer: &Pointer) -> Weight {
    document.pointer(pointer.as_str()).map_or_else(Weight::default, Weight::of)
}

/// Whether two values are equal, numbers by what they are and not by how they are written.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || ((x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64())
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| equal(x, y)))
        }
        _ => a == b,
    }
}

#[data]
struct Merge {
    /// The document.
    document: Value,
    /// What to change: a member replaces that of the document, objects are merged at every depth,
    /// `null` removes a member, an array replaces the whole array.
    patch: Value,
}

/// Apply a JSON Merge Patch (RFC 7396) to a document and return the changed document.
///
/// Use it to set and remove members of objects by example: `{"a": {"b": 1}, "c": null}` sets `b`
/// in `a` and removes `c`. It can neither set a member to null nor change a part of an array; use
/// `apply` for that.
#[tool]
fn merge(merge: Merge) -> Value {
    let mut document = merge.document;
    json_patch::merge(&mut document, &merge.patch);
    document
}

#[data]
struct Diff {
    /// The value before.
    from: Value,
    /// The value after.
    to: Value,
    /// What to make. Default: a JSON Patch.
    #[serde(default)]
    format: Format,
}

/// What a difference is written as.
#[data]
#[derive(Copy, Default)]
enum Format {
    /// A JSON Patch (RFC 6902), for `apply`: a list of `add`, `remove` and `replace`.
    #[default]
    JsonPatch,
    /// A JSON Merge Patch (RFC 7396), for `merge`.
    MergePatch,
}

/// Compare two JSON values and return the patch that turns `from` into `to`.
///
/// An empty list (or, as a merge patch of objects, `{}`) says that they are equal. Arrays are
/// compared item by item at the same index, so an item that is put in front changes all after it.
/// For the way back, swap `from` and `to`.
#[tool]
fn diff(diff: Diff) -> Result<Value> {
    match diff.format {
        Format::JsonPatch => Ok(serde_json::to_value(json_patch::diff(&diff.from, &diff.to))?),
        Format::MergePatch => merge_diff(&diff.from, diff.to, &mut Vec::new()),
    }
}

/// The merge patch from one value to the other.
///
/// # Errors
/// `unsupported` where a member is null in `to` and was not so before.
fn merge_diff(from: &Value, to: Value, place: &mut Vec<String>) -> Result<Value> {
    let Value::Object(to) = to else { return Ok(to) };
    let nothing = Map::new();
    let from = from.as_object().unwrap_or(&nothing);
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, to) in to {
        let before = from.get(&name);
        if before == Some(&to) {
            continue;
        }
        place.push(name);
        if to.is_null() {
            return Err(Error::unsupported(format!(
                "a merge patch cannot set `{}` to null, which removes there; use the format \
                 `json-patch`",
                shortened(&place.join("."), SHOWN_CHARS)
            )));
        }
        let change = merge_diff(before.unwrap_or(&Value::Null), to, place)?;
        patch.extend(place.pop().map(|name| (name, change)));
    }
    Ok(patch.into())
}

export!(apply, merge, diff);
