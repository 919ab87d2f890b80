//! The canonical form of JSON (RFC 8785): a text that is the same for equal values and for no others.
//!
//! Written here and not by the crate `serde_json_canonicalizer`, which needs `serde_json` with `std`
//! and has every plugin that uses it import a random seed.

use ampoule_sdk::Value;

/// The canonical form of a value.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        // As ECMAScript writes them: all are floats of 64 bits.
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            out.push_str(ryu_js::Buffer::new().format(number));
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (at, (name, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::String(text) => write_text(text, out),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Null => out.push_str("null"),
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control @ '\0'..' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            char => out.push(char),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use ampoule_sdk::serde_json;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(canonical(&serde_json::from_str(text).expect("JSON")), expected);
    }

    #[test]
    fn it_is_that_of_the_rfc() {
        // Section 3.2.2.
        check(
            r#"{ "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
                "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false] }"#,
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
        );
        // Section 3.2.3: by units of UTF-16, where an emoji stands before U+FB33.
        check(
            r#"{ "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, "\u0080": 6, "\u00f6": 7 }"#,
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}",
        );
        // Appendix B, and integers.
        for (text, expected) in [
            ("-0.0", "0"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740992", "9007199254740992"),
            ("295147905179352830000", "295147905179352830000"),
            ("9.999999999999997e22", "9.999999999999997e+22"),
            ("333333333.33333325", "333333333.33333325"),
            ("18446744073709551615", "18446744073709552000"),
            ("1.0", "1"),
            ("\"\\u0008\\f\\t\\u007f\"", "\"\\b\\f\\t\u{7f}\""),
        ] {
            check(text, expected);
        }
    }
}
