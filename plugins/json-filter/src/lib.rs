//! Keeps or drops named fields of a JSON value.

use std::collections::BTreeSet;

use ampoule_sdk::prelude::*;

#[data]
struct Filter {
    /// The value to filter. Text that happens to hold JSON is text: it is not parsed.
    input: Value,
    /// Names of fields.
    #[schemars(length(min = 1, max = 10_000))]
    fields: BTreeSet<String>,
    /// `keep` keeps the named fields and nothing else, so a nested field stays only where every
    /// field around it is named too. `drop` removes the named fields wherever they stand.
    #[serde(default)]
    mode: Mode,
}

#[data]
#[derive(Copy, Default, PartialEq)]
enum Mode {
    #[default]
    Keep,
    Drop,
}

/// Keep or drop named fields of a JSON value, at every depth. Lists are filtered item by item;
/// everything else stays as it is, and the order of fields is kept.
#[tool]
fn json_filter(filter: Filter) -> Value {
    let Filter { mut input, fields, mode } = filter;
    retain_fields(&mut input, &|name| fields.contains(name) == (mode == Mode::Keep));
    input
}

/// Removes the fields, at every depth, whose name does not pass `stays`.
fn retain_fields(value: &mut Value, stays: &dyn Fn(&str) -> bool) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| stays(name));
            fields.values_mut().for_each(|value| retain_fields(value, stays));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| retain_fields(item, stays)),
        _ => {}
    }
}

export!(json_filter);

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(mode: Mode, fields: &[&str], input: Value) -> Value {
        let fields = fields.iter().map(|&name| name.into()).collect();
        json_filter(Filter { input, fields, mode })
    }

    #[test]
    fn keeps_a_nested_field_only_under_named_ones() {
        let input = json!({ "a": { "b": 1, "c": 2 }, "d": { "b": 3 } });
        assert_eq!(filter(Mode::Keep, &["a", "b"], input.clone()), json!({ "a": { "b": 1 } }));
        assert_eq!(filter(Mode::Keep, &["b"], input), json!({}));
    }

    #[test]
    fn drops_a_field_wherever_it_stands() {
        let input = json!([{ "id": 1, "of": [{ "id": 2, "x": "id" }] }, "id", null]);
        assert_eq!(
            filter(Mode::Drop, &["id"], input),
            json!([{ "of": [{ "x": "id" }] }, "id", null])
        );
    }

    #[test]
    fn keeps_the_order_of_fields() {
        let input = json!({ "z": 1, "y": 2, "x": 3, "w": 4 });
        let output = filter(Mode::Drop, &["y"], input);
        assert_eq!(output.to_string(), r#"{"z":1,"x":3,"w":4}"#);
    }

    #[test]
    fn leaves_a_value_without_fields_alone() {
        for input in [json!(null), json!(0.1), json!(r#"{"a":1}"#), json!([true, [2]])] {
            assert_eq!(filter(Mode::Keep, &["b"], input.clone()), input);
        }
    }
}
