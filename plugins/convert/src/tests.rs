#![allow(clippy::unwrap_used, reason = "tests")]

use super::Format::{Json, Msgpack, Query, Toml, Xml, Yaml};
use super::*;
use crate::tree::MAX_DEPTH;

fn run(input: impl Into<Value>, from: Format, to: Format) -> Result<Value> {
    let conversion = Conversion { input: input.into(), from, to, pretty: false };
    convert(conversion).map(|converted| converted.output)
}

#[track_caller]
fn reads(from: Format, cases: &[(&str, Value)]) {
    for (text, value) in cases {
        assert_eq!(run(*text, from, Json).as_ref(), Ok(value), "{text}");
    }
}

/// Checks the code and a part of the message.
#[track_caller]
fn refuses(from: Format, to: Format, cases: &[(Value, &str, &str)]) {
    for (input, code, part) in cases {
        let error = run(input.clone(), from, to).expect_err(&input.to_string());
        assert_eq!(error.code, *code, "{input}: {error}");
        assert!(error.message.contains(part), "{input}: {error}");
    }
}

#[track_caller]
fn refuses_text(from: Format, cases: &[(&str, &str)]) {
    for &(text, part) in cases {
        refuses(from, Json, &[(text.into(), "invalid-data", part)]);
    }
}

#[test]
fn every_format_comes_back_as_it_was() {
    let tree =
        json!({ "z": { "a": [1, -2, 0.5, true, "", "null", "ü\n\"<&>'"], "k/~": "1", "b": {} } });
    let object = json!({ "z": ["1", "ä&=+ %"], "a": "" });
    let xml =
        json!({ "z:r": { "@b": "1\n\t\"", "#text": "t", "a": ["\r ", { "c": "<&>" }], "e": "" } });
    for (format, value) in [
        (Json, &tree),
        (Yaml, &tree),
        (Toml, &tree),
        (Msgpack, &tree),
        (Json, &object),
        (Yaml, &object),
        (Toml, &object),
        (Msgpack, &object),
        (Query, &object),
        (Yaml, &xml),
        (Toml, &xml),
        (Msgpack, &xml),
    ] {
        let there = run(value.clone(), Json, format).unwrap();
        let back = run(there.clone(), format, Json).unwrap();
        assert_eq!(back.to_string(), value.to_string(), "{there}");
    }
    for pretty in [false, true] {
        let there = write(xml.clone(), Xml, pretty).unwrap();
        // Text comes last, after all elements have been read.
        assert_eq!(run(there.clone(), Xml, Json).as_ref(), Ok(&xml), "{there}");
    }
}

#[test]
fn reads_json() {
    reads(
        Json,
        &[
            ("9007199254740992", json!(9_007_199_254_740_992_u64)),
            (
                "[9007199254740993, -9007199254740993]",
                json!(["9007199254740993", "-9007199254740993"]),
            ),
            ("18446744073709551615", json!("18446744073709551615")),
            ("1e300", json!(1e300)),
            (r#""text""#, json!("text")),
        ],
    );
    refuses_text(
        Json,
        &[
            ("", "line 1 column 0"),
            ("{\n \"a\": }", "line 2 column 7"),
            ("1 2", "trailing characters at line 1 column 3"),
            (r#"{"b": {"a": 1, "a": 2}}"#, "`/b/a` stands twice"),
            ("[1e999]", "number out of range at line 1"),
            ("NaN", "line 1"),
        ],
    );
}

#[test]
fn reads_yaml() {
    reads(
        Yaml,
        &[
            ("a: &x {b: 1}\nc: *x", json!({ "a": { "b": 1 }, "c": { "b": 1 } })),
            (
                "1: a\ntrue: b\n~: c\n1.5: d",
                json!({ "1": "a", "true": "b", "null": "c", "1.5": "d" }),
            ),
            ("on: no", json!({ "on": "no" })),
            ("- 0x10\n- 0o10\n- 1e3\n- 2024-01-02", json!([16, 8, 1e3, "2024-01-02"])),
            ("- !!str 1\n- |\n  a\n  b\n", json!(["1", "a\nb\n"])),
            (
                "340282366920938463463374607431768211455",
                json!("340282366920938463463374607431768211455"),
            ),
            (
                "a: &a {x: 1, y: 1}\nb: &b {y: 2}\nc:\n  x: 3\n  <<: [*b, *a]",
                json!({ "a": { "x": 1, "y": 1 }, "b": { "y": 2 }, "c": { "x": 3, "y": 2 } }),
            ),
            ("a: {<<: {<<: {d: 1}, e: 2}}", json!({ "a": { "e": 2, "d": 1 } })),
            ("", json!(null)),
        ],
    );
    refuses_text(
        Yaml,
        &[
            ("a: [1\nb: 2", "line 2"),
            ("a: 1\n b: 2", "line 2"),
            ("a: 1\na: 2", "`/a` stands twice"),
            ("1: 1\n'1': 2", "`/1` stands twice"),
            ("a: [1, .nan]", "`/a/1` is NaN"),
            ("-.inf", "the root is -inf"),
            ("a: !Foo {b: 1}", "tag at `/a`"),
            ("--- 1\n--- 2", "several documents"),
            ("? [a]\n: 1", "line 1"),
            ("a: *missing", "line 1"),
            ("<<: 1", "`/<<` needs an object"),
        ],
    );
}

#[test]
fn refuses_yaml_bombs() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let long = format!("- &a {}\n{}", "x".repeat(100_000), "- *a\n".repeat(1_000));
    for bomb in [laughs, long, "a: &a [*a]".into()] {
        let error = run(bomb, Yaml, Json).unwrap_err();
        assert!(["too-large", "invalid-data"].contains(&error.code.as_str()), "{error}");
        assert!(error.message.len() < 500, "{error}");
    }
}

#[test]
fn reads_toml() {
    reads(
        Toml,
        &[
            ("b = 1\na.c = [1.5, 'x']", json!({ "b": 1, "a": { "c": [1.5, "x"] } })),
            ("[[x]]\na = 1\n[[x]]\n", json!({ "x": [{ "a": 1 }, {}] })),
            (
                "d = 2024-01-02\nt = 03:04:05\ndt = 2024-01-02T03:04:05Z",
                json!({ "d": "2024-01-02", "t": "03:04:05", "dt": "2024-01-02T03:04:05Z" }),
            ),
            ("n = 9223372036854775807", json!({ "n": "9223372036854775807" })),
        ],
    );
    refuses_text(
        Toml,
        &[
            ("a = 1\nb = ", "line 2 column 5"),
            ("a = 1\na = 2", "line 2 column 1"),
            ("x = [1, nan]", "`/x/1` is NaN"),
            ("a = 9223372036854775808", "line 1"),
        ],
    );
}

#[test]
fn reads_a_lock_file() {
    let lock = include_str!("../../../Cargo.lock");
    assert!(lock.len() > 100_000);
    let json = run(lock, Toml, Json).unwrap();
    let packages = json["package"].as_array().unwrap();
    assert_eq!(packages.len(), lock.matches("[[package]]").count());
    for format in [Toml, Yaml, Msgpack] {
        let there = run(json.clone(), Json, format).unwrap();
        assert!(run(there, format, Json).as_ref() == Ok(&json), "{format:?}");
    }
}

#[test]
fn reads_xml() {
    reads(
        Xml,
        &[
            ("<a/>", json!({ "a": "" })),
            ("<?xml version='1.0'?>\n<!-- c --><a> x </a>\n", json!({ "a": " x " })),
            ("<a x='1'/>", json!({ "a": { "@x": "1" } })),
            ("<a><b/><b/><c/></a>", json!({ "a": { "b": ["", ""], "c": "" } })),
            ("<a>\n <b>1</b>\n tail\n</a>", json!({ "a": { "b": "1", "#text": "tail" } })),
            ("<a>&lt;&#65;&#x42;<![CDATA[<&amp;>]]></a>", json!({ "a": "<AB<&amp;>" })),
            (
                "<n:a xmlns:n='urn:x'><n:b/></n:a>",
                json!({ "n:a": { "@xmlns:n": "urn:x", "n:b": "" } }),
            ),
            ("<a x='&lt;&#10;'/>", json!({ "a": { "@x": "<\n" } })),
            ("<a>\r\n</a>", json!({ "a": "\n" })),
        ],
    );
    refuses_text(
        Xml,
        &[
            ("", "no root element at line 1 column 1"),
            ("text", "outside the root element"),
            ("<a>\n <b></a>", "line 2 column 5"),
            ("<a><b>", "`<b>` is never closed"),
            ("<a/><b/>", "second root element at line 1 column 5"),
            ("<a/>\nx", "outside the root element"),
            ("</a>", "line 1 column 1"),
            ("<a x='1' x='2'/>", "`x` stands twice"),
            ("<a x=1/>", "line 1"),
            ("<1a/>", "`1a` is not a name"),
            ("<a>&nbsp;</a>", "`&nbsp;` is unknown"),
            ("<a x='&nbsp;'/>", "nbsp"),
            ("<a>&#1;</a>", "cannot hold the character"),
            ("<a>\u{0}</a>", "cannot hold the character"),
            (
                "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
                "refused: remove `<!DOCTYPE` at line 1 column 1",
            ),
            ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "refused"),
            ("<a>& b</a>", "line 1"),
        ],
    );
}

#[test]
fn reads_msgpack_and_query_strings() {
    reads(
        Msgpack,
        &[
            ("gqdjb21wYWN0w6ZzY2hlbWEA", json!({ "compact": true, "schema": 0 })),
            ("xAMBAgM=", json!("AQID")), // bytes
            ("gQHA", json!({ "1": null })),
            ("z///////////", json!("18446744073709551615")),
        ],
    );
    refuses_text(
        Msgpack,
        &[
            ("a b", "base64"),
            ("", "byte 0"),
            ("kwEC", "at byte 3"),      // two of three items
            ("AQI=", "ends at byte 1"), // two values
            ("1P8A", "extension type at the root"),
            ("y3/4AAAAAAAA", "the root is NaN"),
            ("3f////8=", "byte"),      // four billion items, none there
            ("2/////8=", "byte"),      // four gigabytes of text, none there
            ("gpABkAE=", "malformed"), // a list as a key
        ],
    );
    reads(
        Query,
        &[
            ("", json!({})),
            ("?a=1&b&=c&a=", json!({ "a": ["1", ""], "b": "", "": "c" })),
            ("a=%C3%BC+%2B&a=%zz&a=3", json!({ "a": ["ü +", "%zz", "3"] })),
        ],
    );
    refuses_text(Query, &[("a=1&b=%ff", "pair 2 is not UTF-8")]);
}

#[test]
fn says_what_a_format_cannot_hold() {
    let bad = "bad-arguments";
    refuses(
        Json,
        Toml,
        &[
            (json!([1]), bad, "object at the root"),
            (json!({ "a": [1, null] }), bad, "`/a/1`"),
            (json!({ "a": u64::MAX }), bad, "`/a`"),
        ],
    );
    refuses(
        Json,
        Query,
        &[
            (json!([1]), bad, "needs an object"),
            (json!({ "a": { "b": 1 } }), bad, "object at `/a`"),
            (json!({ "a": [1, [2]] }), bad, "list at `/a/1`"),
        ],
    );
    refuses(
        Json,
        Xml,
        &[
            (json!({}), bad, "one field"),
            (json!({ "a": 1, "b": 2 }), bad, "one field"),
            (json!({ "a": [1] }), bad, "one field"),
            (json!({ "a": { "b": [1, [2]] } }), bad, "list at `/a/b/1`"),
            (json!({ "a": { "@b": {} } }), bad, "object at `/a/@b`"),
            (json!({ "a": { "x><y": 1 } }), bad, "`/a/x><y`"),
            (json!({ "a": { "@x='' y": 1 } }), bad, "not a name"),
            (json!({ "a": "\u{1}" }), bad, "`/a`"),
        ],
    );
    for format in [Yaml, Toml, Xml, Msgpack, Query] {
        refuses(format, Json, &[(json!({ "a": 1 }), bad, "`from` is `json`")]);
    }
}

#[test]
fn writes_scalars_and_pretty_text() {
    for (value, to, pretty, text) in [
        (json!({ "a": null, "b": [true, 1.5], "c": [] }), Query, false, "a=&b=true&b=1.5"),
        (json!({ "a": { "b": [], "c": null } }), Xml, false, "<a><c/></a>"),
        (json!({ "a": { "b": { "c": 1 } } }), Xml, true, "<a>\n  <b>\n    <c>1</c>\n  </b>\n</a>"),
        (json!({ "a": { "b": 1 }, "c": 2 }), Toml, false, "c = 2\n\n[a]\nb = 1\n"),
        (json!({ "c": [1, 2] }), Toml, true, "c = [\n    1,\n    2,\n]\n"),
        (json!(["yes", "1", null]), Yaml, true, "- yes\n- '1'\n- null\n"),
    ] {
        assert_eq!(write(value.clone(), to, pretty), Ok(json!(text)), "{value}");
    }
}

#[test]
fn bounds_depth_and_size() {
    let nested = |open: &str, close: &str, depth| open.repeat(depth) + &close.repeat(depth);
    let msgpack = |depth| {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode([vec![0x91; depth], vec![0xc0]].concat())
    };
    // The object around the root element is one level, the innermost element is text.
    for (format, text) in [
        (Json, nested("[", "]", MAX_DEPTH)),
        (Yaml, nested("[", "]", MAX_DEPTH)),
        (Xml, nested("<a>", "</a>", MAX_DEPTH - 1)),
        (Msgpack, msgpack(MAX_DEPTH)),
        (Toml, format!("a = {}", nested("[", "]", 79))),
    ] {
        assert!(run(text, format, Json).is_ok(), "{format:?}");
    }
    for (format, text, code) in [
        (Json, nested("[", "]", MAX_DEPTH + 1), "too-large"),
        (Json, "[".repeat(1_000_000), "too-large"),
        (Yaml, nested("[", "]", MAX_DEPTH + 1), "too-large"),
        (Yaml, "- ".repeat(2_000) + "1", "too-large"),
        (Xml, nested("<a>", "</a>", MAX_DEPTH), "too-large"),
        (Xml, "<a>".repeat(100_000), "too-large"),
        // Lists between elements count.
        (Xml, nested("<a><a/>", "</a>", 60), "too-large"),
        (Msgpack, msgpack(MAX_DEPTH + 1), "too-large"),
        (Toml, format!("a = {}", nested("[", "]", 200)), "invalid-data"),
        (Toml, "a.".repeat(10_000) + "a = 1", "invalid-data"),
        (Json, format!("[{}0]", "0,".repeat(500_000)), "too-large"),
        (Query, "a&".repeat(600_000), "too-large"),
        (Xml, format!("<a>{}</a>", "<b/>".repeat(500_001)), "too-large"),
    ] {
        let error = run(text, format, Json).unwrap_err();
        assert_eq!(error.code, code, "{format:?}: {error}");
    }
    let mut deep = json!(1);
    for _ in 0..=MAX_DEPTH {
        deep = json!([deep]);
    }
    assert_eq!(run(deep, Json, Yaml).unwrap_err().code, "too-large");
}
