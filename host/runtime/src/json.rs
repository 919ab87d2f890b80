//! Bounds on JSON texts from outside, checked before anything is built from them.

use ampoule_contract::Problem;
use serde_json::Value;

/// How deep arrays and objects may be nested in a JSON text.
pub(crate) const MAX_DEPTH: usize = 100;

/// How many values a JSON text may hold.
pub(crate) const MAX_NODES: usize = 1_000_000;

/// Counts depth and values of a JSON text without building anything.
///
/// Not a parser: it looks only at brackets, commas and strings, and what it passes is still
/// parsed by one. It never counts less than a parser would build.
///
/// # Errors
/// The bound that is exceeded.
pub(crate) fn check(text: &str) -> Result<(), Problem> {
    let problem = |message: String| Err(Problem { path: None, message });
    let (mut depth, mut nodes) = (0usize, 1usize);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            b'[' | b'{' => {
                depth += 1;
                nodes += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => nodes += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return problem(format!("the JSON is nested deeper than {MAX_DEPTH} levels"));
        }
        if nodes > MAX_NODES {
            return problem(format!("the JSON has more than {MAX_NODES} values"));
        }
    }
    Ok(())
}

/// Parses a JSON text from outside, within the bounds of [`check`].
///
/// # Errors
/// A bound that is exceeded, or what is wrong with the syntax and where.
pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    check(text)?;
    serde_json::from_str(text)
        .map_err(|error| Problem { path: None, message: format!("not valid JSON: {error}") })
}

/// Calls `found` with the id of every blob a value names (`{"$blob": "<id>"}`).
pub(crate) fn each_blob(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_blob(item, found)),
        Value::Object(fields) => {
            if let Some(Value::String(id)) = fields.get("$blob") {
                found(id);
            }
            fields.values().for_each(|field| each_blob(field, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_strings_do_not_count() {
        assert!(parse(&"[".repeat(10_000)).unwrap_err().message.contains("deeper"));
        assert!(
            parse(&format!("[{}0]", "0,".repeat(MAX_NODES))).unwrap_err().message.contains("more")
        );
        assert!(parse(&format!("\"{}\"", "[{,".repeat(MAX_NODES))).is_ok());
        assert!(parse(r#"{"a":"\"[[[","b":[1,2]}"#).is_ok());
        assert!(parse("{").is_err());
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(&deep).is_ok());
    }

    #[test]
    fn blobs_are_found_at_any_depth() {
        let value = serde_json::json!({"a": [{"$blob": "x"}, {"b": {"$blob": "y"}}], "$blob": 1});
        let mut ids = Vec::new();
        each_blob(&value, &mut |id| ids.push(id.to_owned()));
        assert_eq!(ids, ["x", "y"]);
    }
}
