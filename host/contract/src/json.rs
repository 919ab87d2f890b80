//! Bounds on JSON from outside: kept while values are built from a text, counted in a text that another
//! library is going to read, and looked for in a value that is there already.
//!
//! The values are `serde_json`'s; its `Deserialize` of them is not used. With the feature
//! `raw_value`, which this workspace has on, that one takes an object whose first key is
//! `$serde_json::private::RawValue` for something else: it reads the string behind the key as a
//! JSON text of its own, with a fresh limit on depth and past everything that was counted. Here
//! every key is a key and every string a string.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::call::Problem;

/// How deep arrays and objects may be nested in a JSON text. `serde_json` stops at 127.
pub const MAX_DEPTH: usize = 100;

/// How many values a JSON text may hold, arrays and objects counted.
pub const MAX_NODES: usize = 1_000_000;

/// What the keys begin with to which `serde_json` gives a meaning.
const PRIVATE: &str = "$serde_json::private::";

/// A value as a JSON text: what `to_string` answers, without going through a formatter.
pub fn print(value: &Value) -> String {
    // What can be built can be printed: the keys are texts.
    serde_json::to_string(value).unwrap_or_else(|_| value.to_string())
}

/// Parses a JSON text from outside.
///
/// # Errors
/// A bound that is exceeded, or what is wrong with the syntax and where.
pub fn parse(text: &str) -> Result<Value, Problem> {
    build(text, false)
}

/// Checks a JSON text that `serde_json` is going to read into a type of ours: it must be within
/// the bounds of [`parse`] and name none of the keys to which `serde_json` gives a meaning, since
/// such a type may hold a [`Value`].
///
/// # Errors
/// A bound that is exceeded, such a key, or what is wrong with the syntax and where.
pub fn check(text: &str) -> Result<(), Problem> {
    build(text, true).map(drop)
}

/// The value of arguments from outside, within the bounds of [`parse`], whichever way they came.
///
/// # Errors
/// As of [`parse`].
pub fn arguments(text: &str, value: Option<Value>) -> Result<Value, Problem> {
    match value {
        Some(value) => bounded(&value).map(|()| value),
        None => parse(text),
    }
}

fn bounded(value: &Value) -> Result<(), Problem> {
    fn walk(bounds: &mut Bounds, value: &Value, depth: usize) -> Result<(), serde_json::Error> {
        let mut at = Build { bounds, depth };
        let (depth, bounds) = match value {
            Value::Array(_) | Value::Object(_) => (at.enter()?, at.bounds),
            _ => return at.count(),
        };
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| walk(bounds, item, depth)),
            Value::Object(fields) => fields.values().try_for_each(|f| walk(bounds, f, depth)),
            _ => Ok(()),
        }
    }
    let mut bounds = Bounds { values: 0, plain: false, exceeded: None };
    walk(&mut bounds, value, 0).map_err(|error| bounds.problem(&error))
}

/// What is too much in a JSON text from outside that a library is going to read into values as
/// `serde_json` does, such as rmcp: more than [`MAX_NODES`] values, or one of the keys to which
/// `serde_json` gives a meaning. Nothing is built to see that. How deep the text may be such a library
/// says itself; and what is no JSON is its to refuse, but where such a key may stand in the part that
/// could not be looked at.
pub fn excess(text: &[u8]) -> Option<String> {
    // No other escape can spell such a key.
    static SPELLINGS: LazyLock<[Finder<'_>; 2]> =
        LazyLock::new(|| [PRIVATE, "\\u"].map(Finder::new));
    let may_name_one = SPELLINGS.iter().any(|spelling| spelling.find(text).is_some());
    // A value takes at least one byte, and another one to part it from the next.
    if text.len() / 2 < MAX_NODES && !may_name_one {
        return None;
    }
    let mut bounds = Bounds { values: 0, plain: true, exceeded: None };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let counted = Count(&mut bounds).deserialize(&mut reader);
    let broken = counted.err().filter(|_| may_name_one);
    bounds.exceeded.or_else(|| broken.map(|error| format!("not valid JSON: {error}")))
}

fn build(text: &str, plain: bool) -> Result<Value, Problem> {
    let mut bounds = Bounds { values: 0, plain, exceeded: None };
    let mut reader = serde_json::Deserializer::from_str(text);
    Build { bounds: &mut bounds, depth: 0 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| bounds.problem(&error))
}

/// What has been counted of a text, and what of it was too much.
struct Bounds {
    values: usize,
    /// Whether keys that begin with [`PRIVATE`] are refused.
    plain: bool,
    exceeded: Option<String>,
}

impl Bounds {
    /// Counts a value before there is anything of it.
    fn count<E: Error>(&mut self) -> Result<(), E> {
        if self.values == MAX_NODES {
            return Err(self.exceed(format!("the JSON has more than {MAX_NODES} values")));
        }
        self.values += 1;
        Ok(())
    }

    fn key<E: Error>(&mut self, name: &str) -> Result<(), E> {
        match self.plain && name.starts_with(PRIVATE) {
            true => Err(self.exceed(format!("no key may begin with `{PRIVATE}`"))),
            false => Ok(()),
        }
    }

    fn exceed<E: Error>(&mut self, message: String) -> E {
        let error = E::custom(&message);
        self.exceeded = Some(message);
        error
    }

    fn problem(self, error: &serde_json::Error) -> Problem {
        let message = self.exceeded.unwrap_or_else(|| format!("not valid JSON: {error}"));
        Problem { path: None, message }
    }
}

/// Builds one value. What it counts, it counts before it allocates.
struct Build<'b> {
    bounds: &'b mut Bounds,
    /// How many arrays and objects the value is in.
    depth: usize,
}

impl Build<'_> {
    fn count<E: Error>(&mut self) -> Result<(), E> {
        self.bounds.count()
    }

    /// Counts an array or object and answers how deep what it holds is.
    fn enter<E: Error>(&mut self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH {
            let message = format!("the JSON is nested deeper than {MAX_DEPTH} levels");
            return Err(self.bounds.exceed(message));
        }
        self.count::<E>()?;
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Value, E> {
        self.count::<E>()?;
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<Value, E> {
        self.count::<E>()?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<Value, E> {
        self.count::<E>()?;
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<Value, E> {
        self.count::<E>()?;
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Value, E> {
        self.count::<E>()?;
        let number = Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<Value, E> {
        self.count::<E>()?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.enter::<A::Error>()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Build { bounds: self.bounds, depth })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.enter::<A::Error>()?;
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            self.bounds.key::<A::Error>(&name)?;
            let value = access.next_value_seed(Build { bounds: self.bounds, depth })?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

/// Counts values and looks at keys, and builds nothing.
struct Count<'b>(&'b mut Bounds);

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.count()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.0.count()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.0.count()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.0.count()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.0.count()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.0.count()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.count()?;
        while items.next_element_seed(Count(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.0.count()?;
        while fields.next_key_seed(Key(self.0))?.is_some() {
            fields.next_value_seed(Count(self.0))?;
        }
        Ok(())
    }
}

/// Looks at one key.
struct Key<'b>(&'b mut Bounds);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        self.0.key(name)
    }
}

/// Calls `found` with the id of every blob a value names (`{"$blob": "<id>"}`).
pub fn each_blob(value: &Value, found: &mut impl FnMut(&str)) {
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
    use serde_json::json;

    const RAW: &str = "$serde_json::private::RawValue";

    #[test]
    fn bounds_hold_and_strings_do_not_count() {
        assert!(parse(&"[".repeat(10_000)).unwrap_err().message.contains("deeper"));
        assert!(parse(&"{\"a\":".repeat(10_000)).unwrap_err().message.contains("deeper"));
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
    fn the_bounds_are_exact() {
        // The array itself is a value too.
        let items = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(parse(&items(MAX_NODES - 1)).is_ok());
        assert_eq!(
            parse(&items(MAX_NODES)).unwrap_err().message,
            "the JSON has more than 1000000 values"
        );
        let nested = |open: &str, close: &str, depth: usize| {
            format!("{}0{}", open.repeat(depth), close.repeat(depth))
        };
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[0,", "]")] {
            assert!(parse(&nested(open, close, MAX_DEPTH)).is_ok());
            assert_eq!(
                parse(&nested(open, close, MAX_DEPTH + 1)).unwrap_err().message,
                "the JSON is nested deeper than 100 levels"
            );
        }
        // A value that came as one is bounded alike.
        let texts = [MAX_NODES - 1, MAX_NODES].map(items).into_iter().chain(
            [MAX_DEPTH, MAX_DEPTH + 1]
                .into_iter()
                .flat_map(|depth| [nested("[", "]", depth), nested("{\"a\":", "}", depth)]),
        );
        for text in texts {
            let value: Value = serde_json::from_str(&text).unwrap();
            let message = |read: Result<Value, Problem>| read.map_err(|problem| problem.message);
            let (read, bounded) = (parse(&text), arguments(&text, Some(value)));
            assert_eq!(message(bounded), message(read));
        }
        // What is repeated is counted, though only the last of it stays.
        let repeated = format!("{{{}\"a\":0}}", "\"a\":0,".repeat(MAX_NODES));
        assert!(parse(&repeated).unwrap_err().message.contains("more"));
    }

    #[test]
    fn no_key_has_a_meaning() {
        let zeros = format!("[{}0]", "0,".repeat(MAX_NODES));
        for string in ["1", "[[1]]", "not JSON", &"[".repeat(5_000), &zeros] {
            for key in [RAW, "$serde_json::private::Number"] {
                let expected = json!({ key: string });
                assert_eq!(parse(&expected.to_string()).unwrap(), expected);
                let expected = json!([{ "first": 0, key: string }]);
                assert_eq!(parse(&expected.to_string()).unwrap(), expected);
            }
        }
        assert_eq!(parse(&json!({ RAW: 1 }).to_string()).unwrap(), json!({ RAW: 1 }));
    }

    #[test]
    fn what_a_type_is_read_from_may_not_name_such_keys() {
        assert!(check(r#"{"a": ["$serde_json::private::RawValue"]}"#).is_ok());
        for text in [
            json!({ RAW: "[]" }).to_string(),
            json!({ "a": [{ RAW: "[]" }] }).to_string(),
            r#"{"\u0024serde_json::private::RawValue": "[]"}"#.to_owned(),
            json!({ "$serde_json::private::Number": "1" }).to_string(),
        ] {
            assert!(check(&text).unwrap_err().message.contains("no key"), "{text}");
        }
        assert!(check(&"[".repeat(10_000)).unwrap_err().message.contains("deeper"));
        assert!(check("{").unwrap_err().message.starts_with("not valid JSON: "));
    }

    #[test]
    fn what_is_too_much_is_seen_without_building_it() {
        let array = |n: usize| format!("[{}0]", "0,".repeat(n - 1));
        let too_many = Some(format!("the JSON has more than {MAX_NODES} values"));
        let keyed = Some(format!("no key may begin with `{PRIVATE}`"));
        let objects = format!(r#"{{"a":[{}{{}}]}}"#, r#"{"k":null},"#.repeat(MAX_NODES / 2));
        let text = format!("\"{}\"", "0,".repeat(MAX_NODES));
        for (json, expected) in [
            // The array itself is one more.
            (array(MAX_NODES - 1), None),
            (array(MAX_NODES), too_many.clone()),
            (objects, too_many),
            // A long text is one value, and what is no JSON is somebody else's.
            (text, None),
            (format!("[{}", "0,".repeat(MAX_NODES / 2)), None),
            (json!({ RAW: "[0,0]" }).to_string(), keyed.clone()),
            (json!({ "a": [1, { "b": 1, RAW: "[0,0]" }] }).to_string(), keyed.clone()),
            (r#"{"\u0024serde_json::private::RawValue":"[0]"}"#.to_owned(), keyed.clone()),
            (r#"{"$\u0073erde_json::private::Number":"1"}"#.to_owned(), keyed),
            (json!([RAW, { "a": RAW }]).to_string(), None),
            (r#"["\u00e9"]"#.to_owned(), None),
        ] {
            assert_eq!(excess(json.as_bytes()), expected, "{:.80}", json);
        }
        // What cannot be looked at is not let through to a reader that might pass over it.
        for broken in ["1e999", r#""\ud800""#, &"[".repeat(200)] {
            let json =
                format!(r#"{{"a":{broken},"b":{{"\u0024serde_json::private::RawValue":"[]"}}}}"#);
            assert!(
                excess(json.as_bytes()).is_some_and(|why| why.starts_with("not valid")),
                "{json}"
            );
        }
    }

    #[test]
    fn values_are_what_serde_json_makes_of_them() {
        for text in [
            "null",
            " true ",
            "0",
            "-0",
            "-1",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "0.1",
            "1.0",
            "1e308",
            "5e-324",
            r#""\u00e9\n\ud83e\udd80""#,
            r#"[1, "a", [], {}, {"b": [null, false]}]"#,
        ] {
            assert_eq!(parse(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        }
        // The last one of a name stays, at the place of the first.
        let repeated = parse(r#"{"a": 1, "b": 2, "a": 3}"#).unwrap();
        assert_eq!(repeated.to_string(), r#"{"a":3,"b":2}"#);
        for text in ["", " ", "1 2", "[1,]", "[1", "{\"a\"}", "{1: 2}", "1e999", "nul", "'a'"] {
            let message = parse(text).unwrap_err().message;
            assert!(message.starts_with("not valid JSON: "), "{text}: {message}");
        }
    }

    #[test]
    fn blobs_are_found_at_any_depth() {
        let value = json!({"a": [{"$blob": "x"}, {"b": {"$blob": "y"}}], "$blob": 1});
        let mut ids = Vec::new();
        each_blob(&value, &mut |id| ids.push(id.to_owned()));
        assert_eq!(ids, ["x", "y"]);
    }
}
