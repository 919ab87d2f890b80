//! Random inputs for the checks of [`fuzzing`](crate::fuzzing), made so that they come close to
//! what is let through; and the corpus of the fuzz targets, which every build runs.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ampoule_contract::{End, ToolCall, ToolError, Tools};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;
use serde_json::{Map, Value, json};

use crate::egress::{CheckedUrl, Host, UrlError};
use crate::fuzzing;

/// So many cases in an ordinary run; `AMPOULE_CASES=1000` is a thousand times as many.
fn cases(cases: u32) -> Config {
    let times = std::env::var("AMPOULE_CASES").ok().and_then(|times| times.parse().ok());
    let cases = cases.saturating_mul(times.unwrap_or(1));
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Texts put together from pieces that mean something to the reader under test.
fn pieces(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(select(pieces), 0..most).prop_map(|pieces| pieces.concat())
}

const URL_PIECES: &[&str] = &[
    "http://",
    "https://",
    "HTTP://",
    "ftp://",
    "a",
    "b",
    "v1",
    "A.Test",
    ".test",
    ".",
    "..",
    "/",
    "//",
    "\\",
    ":",
    ":80",
    ":443",
    ":0",
    ":8080",
    "@",
    "?",
    "#",
    "%",
    "%2e",
    "%2F",
    "%5c",
    "%252e",
    "%00",
    "%c0%ae",
    ";",
    "*",
    " ",
    "\t",
    "127.0.0.1",
    "0x7f.1",
    "2130706433",
    "0177",
    "[::1]",
    "[::ffff:7f00:1]",
    "xn--",
    "ü",
    "。",
    "\u{ad}",
    "１",
    "'",
    "\"",
    "<",
    "|",
    "~",
];

const PATTERN_PIECES: &[&str] = &[
    "GET ",
    "* ",
    "GET,HEAD ",
    "POST ",
    "http://",
    "https://",
    "*://",
    "a",
    "b",
    "ab",
    ".test",
    "*.",
    "**",
    "*",
    "/",
    "/",
    "/v1/",
    ":*",
    ":80",
    ":8080",
    "127.0.0.1",
    "[::1]",
    "\n",
    "\n",
    "\nhttp://",
    "\nhttps://",
    "%7e",
    "~",
    "..",
    "?",
    "c",
];

const PATH_PIECES: &[&str] = &[
    "a",
    "b.txt",
    "notes",
    "/",
    "/",
    "//",
    ".",
    "..",
    "...",
    "\\",
    ":",
    "\0",
    "\n",
    "NUL",
    "nul",
    "COM",
    "com1",
    "LPT¹",
    "CON",
    "aux",
    ".txt",
    " ",
    "é",
    "%2e",
    ".ampoule-staged-",
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
];

const JSON_PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\"a\"",
    "\"b\":",
    "\"\\",
    "\\u0000",
    "\\ud800",
    "1",
    "-",
    "-0",
    "0.5",
    "1e9",
    "1e999",
    "18446744073709551616",
    "true",
    "null",
    " ",
    "[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]",
    "{\"a\":",
    "{\"a\":1,\"a\":2}",
    "é",
];

const POLICY_PIECES: &[&str] = &[
    "plugins = [\"a\"]\n",
    "[limits]\nmemory = \"64 MiB\"\n",
    "[limits]\nfuel = 7\n",
    "[run]\nfuel = \"900G\"\n",
    "[run]\nhttp-requests = 3\n",
    "[secrets]\nkey = { env = \"KEY\" }\n",
    "[secrets]\nkey = { file = \"key\" }\n",
    "[bindings.a]\n",
    "[bindings.b]\nplugin = \"x.wasm\"\n",
    "[bindings.A]\n",
    "settings = { a = 1, b = [1.5, \"x\"], c = { d = true } }\n",
    "grant.http = [\"GET https://a.test/**\"]\n",
    "grant.http = [{ pattern = \"POST https://a.test/q\", reads = true }]\n",
    "grant.http = [\"GET https://a.test\"]\n",
    "grant.addresses = [\"127.0.0.1\", \"10.0.0.0/8\", \"::1\"]\n",
    "grant.addresses = [\"10.0.0.1/8\"]\n",
    "grant.files = \"read\"\n",
    "grant.files = \"write\"\n",
    "grant.tools = [\"b/*\"]\n",
    "grant.services = { llm = \"echo\" }\n",
    "grant.secrets.k = { secret = \"key\", audience = [\"https://a.test\"] }\n",
    "grant.clock = false\n",
    "grant.ask = true\n",
    "limits = { wall-time = \"2 min\" }\n",
    "limits = { stack = 1 }\n",
    "grants.http = []\n",
    "[[bindings]]\n",
    "x = \"\"\"\n",
    "= 1\n",
    "é",
];

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn any_text_is_a_url_of_one_form_or_none(
        text in prop_oneof![pieces(URL_PIECES, 12), "\\PC{0,40}", "https?://\\PC{0,40}"],
    ) {
        fuzzing::url(text.as_bytes());
    }

    #[test]
    fn patterns_match_what_a_naive_matcher_matches(text in pieces(PATTERN_PIECES, 14)) {
        fuzzing::pattern(text.as_bytes());
    }

    #[test]
    fn paths_are_names_below_the_workspace(
        path in prop_oneof![pieces(PATH_PIECES, 12), "\\PC{0,20}", "(/?(\\.{1,2}|[a-c]{1,2})){0,6}"],
    ) {
        fuzzing::path(path.as_bytes());
    }

    #[test]
    fn json_that_is_let_through_is_json(
        text in prop_oneof![pieces(JSON_PIECES, 20), "\\PC{0,30}"],
    ) {
        fuzzing::json(text.as_bytes());
    }

    #[test]
    fn special_addresses_are_those_of_the_registries(address in address()) {
        match address {
            IpAddr::V4(address) => fuzzing::address(&address.octets()),
            IpAddr::V6(address) => fuzzing::address(&address.octets()),
        }
    }

    #[test]
    fn policies_are_read_as_they_are_written(
        text in prop_oneof![pieces(POLICY_PIECES, 8), "\\PC{0,60}"],
    ) {
        fuzzing::policy(text.as_bytes());
    }

    #[test]
    fn manifests_are_read_as_they_are_written(manifest in manifest()) {
        fuzzing::manifest(manifest.to_string().as_bytes());
    }

    #[test]
    fn no_bytes_break_a_reader(data in prop::collection::vec(any::<u8>(), 0..64)) {
        fuzzing::manifest(&data);
        fuzzing::policy(&data);
        fuzzing::url(&data);
        fuzzing::pattern(&data);
        fuzzing::path(&data);
        fuzzing::json(&data);
        fuzzing::address(&data);
    }
}

/// Addresses of all kinds, most of them at the ends of ranges or with another address inside.
fn address() -> impl Strategy<Value = IpAddr> {
    let ends = select(vec![
        0x0000_0000_u32,
        0x0100_0000,
        0x0a00_0000,
        0x0b00_0000,
        0x6440_0000,
        0x6480_0000,
        0x7f00_0000,
        0x8000_0000,
        0xa83f_8110,
        0xa9fe_0000,
        0xa9ff_0000,
        0xac10_0000,
        0xac20_0000,
        0xc000_0000,
        0xc000_0100,
        0xc000_0200,
        0xc000_0300,
        0xc058_6300,
        0xc058_6400,
        0xc0a8_0000,
        0xc0a9_0000,
        0xc612_0000,
        0xc614_0000,
        0xc633_6400,
        0xc633_6500,
        0xcb00_7100,
        0xcb00_7200,
        0xe000_0000,
        0xf000_0000,
        0xffff_ffff,
    ]);
    let near = (ends, -3i64..=3).prop_map(|(end, by)| (i64::from(end) + by) as u32);
    let four = prop_oneof![any::<u32>(), near];
    let prefixes = select(vec![
        0u128,
        0xffff << 32,
        0xffff << 48,
        0x0064_ff9b << 96,
        0x0064_ff9b_0001 << 80,
        0x0100 << 112,
        0x0100_0000_0000_0001 << 64,
        0x2000 << 112,
        0x2001 << 112,
        0x2001_0200 << 96,
        0x2001_0db8 << 96,
        0x2001_0db9 << 96,
        0x2002 << 112,
        0x2003 << 112,
        0x3ffe << 112,
        0x3fff << 112,
        0x3fff_1000 << 96,
        0x4000 << 112,
        0x5f00 << 112,
        0x5f01 << 112,
        0xfc00 << 112,
        0xfe00 << 112,
        0xfe80 << 112,
        0xfec0 << 112,
        0xff00 << 112,
        0x2606_4700_0000_0000_0000_5efe << 32,
        0x2606_4700_0000_0000_0200_5efe << 32,
        0x2606_4700_0000_0000_0400_5efe << 32,
    ]);
    let six = (prefixes, prop_oneof![-3i128..=3, any::<u32>().prop_map(i128::from), any::<i128>()])
        .prop_map(|(prefix, by)| prefix.wrapping_add(by as u128));
    prop_oneof![
        four.prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        prop_oneof![any::<u128>(), six].prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

/// Manifests, most of them good, some with a key or a value too many.
fn manifest() -> impl Strategy<Value = Value> {
    let text = || "[a-z]{1,8}";
    let http =
        pieces(&["GET ", "https://", "a.test", "/", "**", "v1/", "*."], 5).prop_map(Value::from);
    let http = prop_oneof![
        Just(json!("GET https://a.test/**")),
        Just(json!({ "pattern": "POST https://a.test/q", "reads": true })),
        http,
    ];
    let capabilities = (prop::collection::vec(http, 0..3), any::<bool>(), 0..4usize).prop_map(
        |(http, clock, more)| {
            let mut asked = json!({ "http": http, "clock": clock });
            match more {
                1 => asked["files"] = json!("read-write"),
                2 => {
                    asked["secrets"] = json!({ "key": {
                        "description": "d",
                        "audience": ["https://a.test"],
                        "inject": { "header": "authorization", "prefix": "Bearer " },
                    }});
                }
                3 => asked["optional"] = json!({ "random": true, "tools": ["a/*"] }),
                _ => {}
            }
            asked
        },
    );
    let tool = (text(), text(), any::<bool>()).prop_map(|(name, description, example)| {
        let mut tool = json!({
            "name": name,
            "description": description,
            "input-schema": { "type": "object" },
        });
        if example {
            tool["examples"] = json!([{ "arguments": { "a": 1.5 }, "value": [null] }]);
        }
        tool
    });
    let limit = prop_oneof![any::<u32>().prop_map(Value::from), Just(json!("64 MiB"))];
    let parts = (text(), capabilities, prop::collection::vec(tool, 0..3), limit, text());
    (parts, 0..12usize).prop_map(|((name, capabilities, tools, limit, other), change)| {
        let mut manifest = json!({
            "name": name,
            "version": "1.2.3-rc.1+build",
            "summary": "What it is for",
            "capabilities": capabilities,
            "limits": { "memory": limit },
            "tools": tools,
        });
        match change {
            0 => manifest[other] = json!(1),
            1 => manifest["version"] = json!(other),
            2 => manifest["name"] = json!(other.to_uppercase()),
            3 => manifest["services"] = json!([other]),
            4 => manifest["settings-schema"] = json!({ "type": "object" }),
            _ => {}
        }
        manifest
    })
}

/// A part of an IPv4 address in one of its notations.
fn number(n: u32, notation: usize) -> String {
    match notation {
        0 => n.to_string(),
        1 => format!("0x{n:x}"),
        2 => format!("0X{n:08X}"),
        3 => format!("0{n:o}"),
        _ => format!("000{n:o}"),
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    /// In as many parts and whatever notations an address is written, it is that address.
    #[test]
    fn every_spelling_of_an_address_is_that_address(
        bits in any::<u32>(),
        parts in 1..=4usize,
        notations in prop::collection::vec(0..5usize, 4),
        dot in any::<bool>(),
    ) {
        let octets = bits.to_be_bytes().map(u32::from);
        let mut written: Vec<String> =
            (0..parts - 1).map(|at| number(octets[at], notations[at])).collect();
        let rest = octets[parts - 1..].iter().fold(0u32, |rest, octet| rest << 8 | octet);
        written.push(number(rest, notations[3]));
        let dot = if dot { "." } else { "" };
        let url = CheckedUrl::parse(&format!("http://{}{dot}/", written.join("."))).unwrap();
        prop_assert_eq!(url.host(), &Host::Address(Ipv4Addr::from_bits(bits).into()));
        prop_assert_eq!(url.as_str(), format!("http://{}/", Ipv4Addr::from_bits(bits)));
    }

    /// A URL put together from its parts is brought to the form that the parts say.
    #[test]
    fn the_normal_form_is_what_a_naive_reader_makes_of_the_parts(
        secure in any::<bool>(),
        labels in prop::collection::vec("[a-zA-Z]([a-zA-Z0-9_-]{0,6}[a-zA-Z0-9])?", 1..4),
        dot in any::<bool>(),
        port in prop_oneof![Just(None), Just(Some(80)), Just(Some(443)), (1..u16::MAX).prop_map(Some)],
        path in prop::collection::vec(
            select(&["a", "B", "", ".", "..", "%2e", "%2E%2e", ".%2E", "x;y=1", "~", "%7e", "..."][..]),
            0..6,
        ),
        query in prop::option::of("[a-z=&/.:@]{0,8}"),
        fragment in prop::option::of("[a-z@/:]{0,4}"),
    ) {
        // A label that looks like punycode, or a number at the end, is another matter.
        prop_assume!(labels.iter().all(|label| !label.to_lowercase().starts_with("xn--")));
        prop_assume!(!labels.iter().any(|label| label.get(2..4) == Some("--")));
        let scheme = if secure { "https" } else { "http" };
        let mut text = format!("{}://{}", scheme.to_uppercase(), labels.join("."));
        let mut expected = format!("{scheme}://{}", labels.join(".").to_lowercase());
        if dot {
            text.push('.');
        }
        if let Some(port) = port {
            text.push_str(&format!(":{port}"));
            if port != if secure { 443 } else { 80 } {
                expected.push_str(&format!(":{port}"));
            }
        }
        let mut kept: Vec<&str> = Vec::new();
        for (at, segment) in path.iter().enumerate() {
            let last = at + 1 == path.len();
            text.push_str(&format!("/{segment}"));
            match segment.to_lowercase().replace("%2e", ".").as_str() {
                "." => {
                    if last {
                        kept.push("");
                    }
                }
                ".." => {
                    kept.pop();
                    if last {
                        kept.push("");
                    }
                }
                _ => kept.push(segment),
            }
        }
        expected.push('/');
        expected.push_str(&kept.join("/"));
        if let Some(query) = &query {
            text.push_str(&format!("?{query}"));
            expected.push_str(&format!("?{query}"));
        }
        if let Some(fragment) = &fragment {
            text.push_str(&format!("#{fragment}"));
        }
        match CheckedUrl::parse(&text) {
            Ok(url) => prop_assert_eq!(url.as_str(), expected, "of {}", text),
            Err(error) => prop_assert!(
                matches!(error, UrlError::Host(_)) && labels.iter().any(|l| l.contains("--")),
                "{text}: {error}"
            ),
        }
    }
}

/// Values of any shape, not deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z]{0,3}", inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(cases(300))]

    /// As a caller sees it: arguments within the bounds arrive whole, deeper ones are refused.
    #[test]
    fn arguments_arrive_as_they_were_sent(value in value(), wrapped in 0..110usize) {
        let echo = crate::FunctionTool::new("echo", "Says it again", async |all: Map<String, Value>, _| {
            Ok::<_, ToolError>(all)
        });
        let wrap = |value, _| json!([value]);
        let arguments = json!({ "a": (0..wrapped).fold(value, wrap) });
        let mut depth = 0;
        let mut layer = vec![&arguments];
        while !layer.is_empty() {
            layer.retain(|value| value.is_array() || value.is_object());
            depth += usize::from(!layer.is_empty());
            layer = layer.into_iter().flat_map(|value| match value {
                Value::Array(items) => items.iter().collect::<Vec<_>>(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            }).collect();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let as_text = ToolCall::new("echo", arguments.to_string());
        for call in [as_text, ToolCall::new("echo", &arguments)] {
            match runtime.block_on(echo.call(call)).end {
                End::Value(output) => {
                    prop_assert!(depth <= 100, "{depth} levels");
                    prop_assert_eq!(output.value.as_ref(), Some(&arguments));
                }
                End::BadArguments(_) => prop_assert!(depth > 100, "{depth} levels"),
                end => prop_assert!(false, "{end:?}"),
            }
        }
    }
}

/// What a fuzz target does with its bytes.
type Attack = fn(&[u8]);

/// The functions that the targets in `fuzz/fuzz_targets` attack.
const TARGETS: &[(&str, Attack)] = &[
    ("address", fuzzing::address),
    ("boundary", boundary),
    ("json", fuzzing::json),
    ("manifest", fuzzing::manifest),
    ("path", fuzzing::path),
    ("pattern", fuzzing::pattern),
    ("policy", fuzzing::policy),
    ("url", fuzzing::url),
];

fn values() -> fuzzing::Boundary {
    let text = include_str!("../../../fuzz/values.wat");
    fuzzing::Boundary::new(&wat::parse_str(text).unwrap()).unwrap()
}

fn boundary(data: &[u8]) {
    thread_local!(static VALUES: fuzzing::Boundary = values());
    let _ = VALUES.with(|values| values.check(data));
}

#[test]
fn the_corpus_of_every_fuzz_target_holds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let names = |folder: &str| {
        let items = std::fs::read_dir(fuzz.join(folder)).unwrap();
        let mut names: Vec<_> = items.map(|item| item.unwrap().path()).collect();
        names.sort();
        names
    };
    let stems: Vec<_> =
        names("fuzz_targets").iter().map(|f| f.file_stem().unwrap().to_owned()).collect();
    // `audit` is run where its function is, in `host/journal`.
    let stems: Vec<_> = stems.into_iter().filter(|stem| *stem != *"audit").collect();
    assert_eq!(stems, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, attack) in TARGETS {
        let seeds = names(&format!("corpus/{name}"));
        assert!(seeds.len() >= 3, "{name} has {} seeds", seeds.len());
        seeds.iter().for_each(|seed| attack(&std::fs::read(seed).unwrap()));
    }
}

/// One value of the type in `fuzz/values.wat`.
fn everything() -> Value {
    json!({
        "bool": true, "s8": -1, "u8": 255, "s16": -1, "u16": 1, "s32": -1, "u32": 1, "s64": "-1",
        "u64": "18446744073709551615", "f32": 1.5, "f64": "NaN", "char": "é", "string": "text",
        "bytes": "AAEC", "pair": [1, "x"], "nested": { "some": null },
        "outcome": { "ok": 1 }, "colour": "red", "rights": ["read"], "choice": { "tag": "number", "value": "5" },
    })
}

proptest! {
    #![proptest_config(cases(1000))]

    /// What the schema lets through the reader takes, and nothing else, one field at a time.
    #[test]
    fn values_at_the_boundary_fit_the_schema_or_are_refused(at in 0..20usize, value in value()) {
        let mut item = everything();
        let field = item.as_object().unwrap().keys().nth(at).unwrap().clone();
        item[&field] = value;
        boundary(json!({ "items": [everything(), item] }).to_string().as_bytes());
    }
}

#[test]
fn the_value_that_is_changed_fits_as_it_stands() {
    assert!(values().check(json!({ "items": [everything()] }).to_string().as_bytes()));
}
