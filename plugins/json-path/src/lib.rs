//! JSONPath (RFC 9535) and JSON Pointer (RFC 6901) over a JSON value.
//!
//! The library is serde_json_path for paths and jsonptr for pointers; normalised paths are written
//! here, because the library leaves quotes and control characters in them bare. The nodes of `*` and
//! `..` of an object come in the order in which its members stand, which the RFC leaves open.
//!
//! `tests/compliance.json` is the JSONPath Compliance Test Suite; `tests/queries.json` and
//! `tests/pointers.json` hold what the RFCs document, and what is refused.
//!
//! The bounds of paths, which the plugin policy-check has too, are those of the crate
//! `shared-json-path`.

use std::borrow::Cow;

use ampoule_sdk::prelude::*;
use ampoule_sdk::shortened;
use jsonptr::{Pointer, Token};
use percent_encoding::percent_decode_str;
use shared_json_path::{LocatedNode, NormalizedPath, PathElement, parse};

/// How many nodes there are where the caller names no number.
const DEFAULT_LIMIT: u32 = 1000;

/// How many members of an object a message names.
const NAMED: usize = 20;

/// Characters of a text that a message shows.
const SHOWN_CHARS: usize = 100;

#[data]
struct Query {
    /// What the path runs on.
    input: Value,
    /// The path, for example `$.store.book[?@.price < 10].title` or `$..author`. At most 4096
    /// characters, brackets nested at most ten deep.
    #[schemars(length(min = 1, max = 4096))]
    path: String,
    /// What to return of each node that the path selects. Default: its value.
    #[serde(default)]
    select: Select,
    /// How many nodes to return at most. Default 1000.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: u32,
    /// Where to go on: the `next` of the answer before this one.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

/// What to return of a node.
#[data]
#[derive(Copy, Default)]
enum Select {
    /// Its value.
    #[default]
    Values,
    /// Its normalised path (RFC 9535 §2.7), as `$['store']['book'][0]`.
    Paths,
    /// Its JSON Pointer, as `/store/book/0`.
    Pointers,
    /// An object with `path`, `pointer` and `value`.
    Nodes,
}

/// Select parts of a JSON value with a JSONPath (RFC 9535) and return their values or places.
///
/// Use it to pick values out of a document by a pattern: `$.a.b`, `[0]`, `[-1]`, `[1:3]`, `.*`,
/// `..name` at any depth, filters as `[?@.price < 10 && @.tags[0] == 'new']`, and the functions
/// `length`, `count`, `match`, `search` and `value`. Nothing that matches is an empty list, not an
/// error. To compute or reshape, use jq (json-query) instead. `select: "pointers"` gives places
/// that JSON Patch takes.
#[tool]
fn query(query: Query) -> Result<Output<Vec<Value>>> {
    let path = parse(&query.path)?;
    let nodes = path.query_located(&query.input);
    let parts = nodes.iter().map(|node| part(node, query.select));
    Output::page(parts, query.limit as usize, query.cursor.as_deref())
}

fn part(node: &LocatedNode<'_>, select: Select) -> Value {
    let path = || normalised(node.location());
    let pointer = || node.location().to_json_pointer();
    match select {
        Select::Values => node.node().clone(),
        Select::Paths => path().into(),
        Select::Pointers => pointer().into(),
        Select::Nodes => json!({ "path": path(), "pointer": pointer(), "value": node.node() }),
    }
}

/// The normalised path of a node, as RFC 9535 §2.7 writes it.
fn normalised(location: &NormalizedPath<'_>) -> String {
    let mut path = String::from("$");
    for element in location.iter() {
        let name = match element {
            PathElement::Index(index) => {
                path.push_str(&format!("[{index}]"));
                continue;
            }
            PathElement::Name(name) => name,
        };
        path.push_str("['");
        for sign in name.chars() {
            match sign {
                '\'' | '\\' => path.extend(['\\', sign]),
                '\u{8}' => path.push_str("\\b"),
                '\u{c}' => path.push_str("\\f"),
                '\n' => path.push_str("\\n"),
                '\r' => path.push_str("\\r"),
                '\t' => path.push_str("\\t"),
                '\0'..' ' => path.push_str(&format!("\\u{:04x}", u32::from(sign))),
                sign => path.push(sign),
            }
        }
        path.push_str("']");
    }
    path
}

#[data]
struct Get {
    /// What the pointer points into.
    input: Value,
    /// The pointer, for example `/store/book/0/title`; empty for the whole value. `~` in a name is
    /// written `~0`, and `/` is written `~1`. The form of URI fragments, `#/store`, is taken too.
    #[schemars(length(max = 65_536))]
    pointer: String,
    /// What to return where there is nothing at the pointer. Default: that is an error.
    #[serde(default, deserialize_with = "ampoule_sdk::present")]
    default: Option<Value>,
}

/// Get the one value that a JSON Pointer (RFC 6901) points at.
///
/// Use it where the place is known exactly; to search, use `query`. Where nothing is at the
/// pointer and there is no `default`, the error `not-found` says how far the pointer leads and
/// what is there.
#[tool]
fn get(get: Get) -> Result<Value> {
    let text = pointer_text(&get.pointer)?;
    let pointer = Pointer::parse(text.as_ref()).map_err(|error| {
        Error::bad_arguments(format!(
            "`pointer` is not a JSON Pointer: {error}. It is empty or begins with `/`; in a name \
             `~` is written `~0` and `/` is written `~1`"
        ))
    })?;
    let mut at = &get.input;
    for (depth, token) in pointer.tokens().enumerate() {
        at = match step(at, &token) {
            Some(next) => next,
            None => return get.default.ok_or_else(|| missing(pointer, depth, &token, at)),
        };
    }
    Ok(at.clone())
}

/// The pointer as a text: that of a URI fragment is percent-decoded (RFC 6901 §6).
fn pointer_text(pointer: &str) -> Result<Cow<'_, str>> {
    match pointer.strip_prefix('#') {
        None => Ok(pointer.into()),
        Some(fragment) => percent_decode_str(fragment).decode_utf8().map_err(|_| {
            Error::bad_arguments("the percent-encoding of `pointer` is not that of UTF-8")
        }),
    }
}

fn step<'v>(at: &'v Value, token: &Token<'_>) -> Option<&'v Value> {
    match at {
        Value::Object(members) => members.get(token.decoded().as_ref()),
        Value::Array(items) => items.get(token.to_index().ok()?.for_len(items.len()).ok()?),
        _ => None,
    }
}

fn missing(pointer: &Pointer, depth: usize, token: &Token<'_>, at: &Value) -> Error {
    let place: String = pointer.tokens().take(depth).map(|t| format!("/{}", t.encoded())).collect();
    let name = shortened(&token.decoded(), SHOWN_CHARS);
    let message = match at {
        Value::Object(members) => {
            let mut names: Vec<String> =
                members.keys().take(NAMED).map(|n| shortened(n, SHOWN_CHARS)).collect();
            if members.len() > NAMED {
                names.push(format!("and {} more", members.len() - NAMED));
            }
            format!("the object has no member `{name}`; it has: {}", names.join(", "))
        }
        Value::Array(items) => {
            format!("the array has {} items, and `{name}` is not the index of one", items.len())
        }
        _ => format!("there is neither an object nor an array to have a part `{name}`"),
    };
    Error::not_found(format!(
        "nothing is at `pointer`: at `{}` {message}",
        shortened(&place, SHOWN_CHARS)
    ))
}

export!(query, get);
