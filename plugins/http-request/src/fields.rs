//! Objects of names and values, as queries, headers and forms have them.

use ampoule_sdk::prelude::*;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986, section 2.3. A space becomes `%20`, which every
/// server reads; `+` is one only to those that decode forms.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Names and values of an object, in order: a text, number or truth value is one pair, a list one
/// for each item, `null` none.
///
/// # Errors
/// `bad-arguments`: a value is an object, or a list holds more than such values.
pub(crate) fn pairs(what: &str, fields: &Map<String, Value>) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        for item in items {
            if let Some(text) = scalar(what, name, item)? {
                pairs.push((name.clone(), text));
            }
        }
    }
    Ok(pairs)
}

/// A value as text; `None` for `null`.
///
/// # Errors
/// `bad-arguments`: it is a list or an object.
pub(crate) fn scalar(what: &str, name: &str, value: &Value) -> Result<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(value.to_string())),
        Value::Number(value) => Ok(Some(value.to_string())),
        Value::String(value) => Ok(Some(value.clone())),
        Value::Array(_) | Value::Object(_) => Err(Error::bad_arguments(format!(
            "`{what}.{name}` is a text, a number, true, false or a list of those; write other \
             values as JSON text"
        ))),
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Pairs as `application/x-www-form-urlencoded`, spaces as `%20`.
pub(crate) fn encode_pairs(pairs: &[(String, String)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn values_become_text() {
        let fields = object(json!({
            "z": "a b", "n": 1.5, "yes": true, "gone": null, "many": [1, null, "x&y"], "none": []
        }));
        let pairs = pairs("query", &fields).expect("flat");
        assert_eq!(encode_pairs(&pairs), "z=a%20b&n=1.5&yes=true&many=1&many=x%26y");
    }

    #[test]
    fn nested_values_are_refused_by_name() {
        for value in [json!({ "a": { "b": 1 } }), json!({ "a": [[1]] }), json!({ "a": [{}] })] {
            let error = pairs("query", &object(value)).expect_err("nested");
            assert_eq!(error.code, "bad-arguments");
            assert!(error.message.contains("`query.a`"), "{}", error.message);
        }
    }
}
