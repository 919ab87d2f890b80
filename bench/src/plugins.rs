//! `plugins`: each plugin on 10 MB of data of its kind, under its own limits. What it takes for a
//! megabyte, or the limit that it meets and how far it comes then.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ampoule::{Call, End, Host, Meter, Outcome};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::call::{program, runtime};

/// The sizes that are tried, the largest first.
const SIZES: [usize; 3] = [10_000_000, 3_000_000, 1_000_000];

/// A tool, what it is given, and how to make that of a size.
type Row = (&'static str, &'static str, fn(&Data, usize) -> Value);

/// Material to cut from, larger than any size.
struct Data {
    /// The project's own prose, over and over.
    prose: String,
    /// A page of the same.
    html: String,
    /// Rows of a table, one a line.
    csv: String,
}

const ROWS: &[Row] = &[
    ("anonymize/anonymize", "prose", |data, n| json!({ "text": data.prose(n) })),
    ("article", "a page", |data, n| json!({ "html": data.html(n) })),
    ("chart", "points", |_, n| {
        let points: Vec<_> = (0..n / 24).map(|i| json!({ "x": i, "y": i * 7919 % 1000 })).collect();
        json!({ "kind": "line", "data": points, "x": "x", "y": ["y"] })
    }),
    (
        "convert",
        "JSON to YAML",
        |data, n| json!({ "input": data.rows(n).to_string(), "from": "json", "to": "yaml" }),
    ),
    ("csv/read", "a table", |data, n| json!({ "data": data.csv(n), "types": true, "limit": 1000 })),
    ("csv/write", "rows", |data, n| json!({ "rows": data.rows(n) })),
    ("ecmascript", "JSON, parsed and counted", |data, n| {
        let text = data.rows(n).to_string();
        json!({ "code": "JSON.parse(text).length", "inputs": { "text": text } })
    }),
    ("encode", "prose to base64", |data, n| json!({ "data": data.prose(n), "encoding": "base64" })),
    ("feed", "a feed", |data, n| json!({ "content": data.feed(n) })),
    ("hash", "prose, SHA-256", |data, n| json!({ "data": data.prose(n), "algorithm": "sha256" })),
    (
        "html-select",
        "a page",
        |data, n| json!({ "html": data.html(n), "select": { "titles": "h2", "links": "a" } }),
    ),
    ("html-to-markdown", "a page", |data, n| json!({ "html": data.html(n) })),
    ("json-filter", "rows", |data, n| json!({ "input": data.rows(n), "fields": ["name"] })),
    ("json-patch/diff", "two documents", |data, n| {
        let (from, mut to) = (data.rows(n / 2), data.rows(n / 2));
        to[0]["name"] = "other".into();
        json!({ "from": from, "to": to })
    }),
    (
        "json-path/query",
        "rows",
        |data, n| json!({ "input": data.rows(n), "path": "$[?@.amount > 900].name" }),
    ),
    (
        "json-query",
        "rows",
        |data, n| json!({ "input": data.rows(n), "program": "map(select(.amount > 900).name) | length" }),
    ),
    ("json-schema", "rows", |data, n| {
        let row = json!({ "type": "object", "required": ["name"],
            "properties": { "amount": { "type": "integer", "minimum": 0 } } });
        json!({ "schema": { "type": "array", "items": row }, "instance": data.rows(n) })
    }),
    ("markdown/to-html", "prose", |data, n| json!({ "markdown": data.prose(n) })),
    (
        "merge/arrange",
        "rows",
        |data, n| json!({ "items": data.rows(n), "sort": [{ "by": "amount" }], "limit": 100 }),
    ),
    ("python", "JSON, parsed and counted", |data, n| {
        let text = data.rows(n).to_string();
        json!({ "code": "import json\nlen(json.loads(text))", "inputs": { "text": text } })
    }),
    (
        "regex/find",
        "prose",
        |data, n| json!({ "text": data.prose(n), "pattern": "\\b[a-z]+ing\\b", "limit": 1000 }),
    ),
    ("secret-scan", "prose", |data, n| json!({ "text": data.prose(n) })),
    ("sitemap/sitemap", "a sitemap", |data, n| json!({ "content": data.sitemap(n) })),
    ("sql/query", "a table", |data, n| {
        json!({ "sql": "SELECT name, sum(amount) FROM t GROUP BY name LIMIT 10",
            "tables": { "t": data.csv(n) } })
    }),
    ("table-stats", "a table", |data, n| json!({ "data": data.csv(n) })),
    ("template", "rows", |data, n| {
        json!({ "template": "{% for row in rows %}{{ row.name }}\n{% endfor %}",
            "data": { "rows": data.rows(n) } })
    }),
    ("text-chunk", "prose", |data, n| json!({ "text": data.prose(n), "size": 1000 })),
    ("text-diff/diff", "two texts", |data, n| {
        let old = data.prose(n / 2);
        json!({ "old": old, "new": old.replacen("the ", "a ", 100) })
    }),
];

impl Data {
    fn new() -> Result<Data> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read =
            |name: &str| std::fs::read_to_string(root.join(name)).with_context(|| name.to_owned());
        let own = format!(
            "{}\n\n{}\n\n{}\n\n",
            read("README.md")?,
            read("ARCHITECTURE.md")?,
            read("THREAT_MODEL.md")?
        );
        let most = SIZES[0] + own.len();
        let prose = own.repeat(most / own.len() + 1);
        let part = |(i, text): (usize, &str)| {
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            format!(
                "<section><h2>Part {i}</h2><p>{text}</p><a href=\"/part/{i}\">more</a></section>\n"
            )
        };
        let html = prose.split("\n\n").enumerate().map(part).collect();
        let row = |i: usize| {
            format!("{i},name {},{},2026-01-{:02}\n", i % 977, i * 7919 % 1000, i % 28 + 1)
        };
        let csv = (0..most / 24).map(row).collect();
        Ok(Data { prose, html, csv })
    }

    fn prose(&self, n: usize) -> &str {
        &self.prose[..self.prose.floor_char_boundary(n)]
    }

    fn html(&self, n: usize) -> String {
        let page = &self.html[..self.html.floor_char_boundary(n)];
        format!("<!doctype html><html><title>A page</title><body><article>{page}")
    }

    fn csv(&self, n: usize) -> String {
        format!(
            "id,name,amount,day\n{}",
            &self.csv[..self.csv[..n.min(self.csv.len())].rfind('\n').unwrap_or(0)]
        )
    }

    fn rows(&self, n: usize) -> Value {
        let row = |i: usize| {
            json!({ "id": i, "name": format!("name {}", i % 977), "amount": i * 7919 % 1000,
                "tags": ["a", "b"] })
        };
        (0..n / 60).map(row).collect()
    }

    fn feed(&self, n: usize) -> String {
        let item = |i: usize| {
            format!(
                "<item><title>Title {i}</title><link>https://example.com/{i}</link><guid>{i}</guid><description>Words about the thing number {i}</description></item>"
            )
        };
        let items: String = (0..n / 140).map(item).collect();
        format!("<rss version=\"2.0\"><channel><title>News</title>{items}</channel></rss>")
    }

    fn sitemap(&self, n: usize) -> String {
        let url = |i: usize| {
            format!(
                "<url><loc>https://example.com/page/{i}</loc><lastmod>2026-01-02</lastmod></url>"
            )
        };
        let urls: String = (0..n / 80).map(url).collect();
        format!(
            "<?xml version=\"1.0\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{urls}</urlset>"
        )
    }
}

pub fn run() -> Result<()> {
    let data = Data::new()?;
    let runtime = runtime(1)?;
    let plugins: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
    ensure!(plugins.exists(), "target/plugins is not there: run `cargo xtask build`");
    // As the command does it: what compiling takes is gone when it is done.
    let host = Host::builder().plugins(plugins).compile_in(program()?, ["worker"]);
    let host = runtime.block_on(host.build())?;
    let compiled = runtime.block_on(host.warm());
    ensure!(compiled.is_empty(), "{compiled:?}");
    println!(
        "{:<20} {:<26} {:>6} {:>10} {:>12} {:>12}  end",
        "tool", "data", "MB", "ms / MB", "fuel M / MB", "MiB / MB"
    );
    for (tool, what, arguments) in ROWS {
        for size in SIZES {
            let arguments = arguments(&data, size).to_string();
            let bytes = arguments.len() as f64 / 1e6;
            let started = Instant::now();
            let outcome = runtime.block_on(host.call(Call::new(*tool, arguments)));
            let took = started.elapsed().as_secs_f64() * 1e3;
            let used = |meter| outcome.receipt.used.get(meter) as f64;
            println!(
                "{tool:<20} {what:<26} {bytes:>6.1} {:>10.1} {:>12.1} {:>12.1}  {}",
                took / bytes,
                used(Meter::Fuel) / 1e6 / bytes,
                used(Meter::Memory) / (1 << 20) as f64 / bytes,
                end(tool, &outcome)
            );
            if matches!(outcome.end, End::Value(_)) {
                break;
            }
        }
    }
    Ok(())
}

/// How it ended, and what would let it go on.
fn end(tool: &str, outcome: &Outcome) -> String {
    let binding = tool.split('/').next().unwrap_or(tool);
    match &outcome.end {
        End::Value(output) if output.truncated => "a value, cut: it says where to go on".into(),
        End::Value(_) => "a value".into(),
        End::Limit(breach) => {
            format!("{breach}: `[bindings.{binding}.limits] {}`", breach.meter.name())
        }
        End::Failed(error) => {
            format!("{}: {}", error.code, error.message.chars().take(160).collect::<String>())
        }
        other => format!("{other:?}").chars().take(160).collect(),
    }
}
