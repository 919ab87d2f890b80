//! Two ways out, one gate: an SDK plugin and a component that knows only `wasi:http` meet every
//! vector of `tests/cases/egress` with the same outcome.
//!
//! No packet leaves the machine. Names are answered by a resolver of the test; what may be sent
//! is answered 127.0.0.1, where a site of the test counts what it gets.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ampoule::egress::{Egress, Resolve};
use ampoule::{Call, Denial, End, Host};
use ampoule_services::Echo;
use ampoule_tests::site::Site;
use ampoule_tests::{Table, builder, guest, root};
use serde_json::{Value, json};

/// A vector of `requests.json`; `README.md` beside it says what the fields mean.
struct Row {
    id: String,
    url: String,
    grant: Vec<String>,
    addresses: Vec<String>,
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    expected: String,
    special: Vec<IpAddr>,
    unwritable: bool,
    why: String,
}

/// What became of a request: `sent`, `unreachable`, or the gate that refused it.
#[derive(Debug, PartialEq)]
struct Met {
    outcome: String,
    /// The addresses that a refusal by `address` would have the operator grant.
    special: Vec<IpAddr>,
    /// How many requests the site got.
    arrived: usize,
    /// Whether `wasi:http` has no way to say the URL.
    unwritable: bool,
}

fn table(name: &str) -> Vec<Value> {
    let path = root().join("tests/cases/egress").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The rows, with the port of the site in place of `PORT`.
fn rows(port: u16) -> Vec<Row> {
    const FIELDS: [&str; 9] =
        ["id", "url", "grant", "addresses", "answers", "expected", "special", "unwritable", "why"];
    let here = |text: &str| text.replace("PORT", &port.to_string());
    let read = |row: Value| {
        let unknown = row.as_object().unwrap().keys().find(|key| !FIELDS.contains(&key.as_str()));
        assert_eq!(unknown, None, "{row}");
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        let list = |key: &str, default: &[&str]| match &row[key] {
            Value::Null => default.iter().map(|&item| item.to_owned()).collect(),
            list => serde_json::from_value::<Vec<String>>(list.clone()).unwrap(),
        };
        Row {
            id: text("id"),
            url: here(&text("url")),
            grant: list("grant", &["GET *://**:*/**"]).iter().map(|line| here(line)).collect(),
            addresses: list("addresses", &["127.0.0.1"]),
            answers: match &row["answers"] {
                Value::Null => HashMap::new(),
                answers => serde_json::from_value(answers.clone()).unwrap(),
            },
            expected: text("expected"),
            special: list("special", &[]).iter().map(|address| address.parse().unwrap()).collect(),
            unwritable: row["unwritable"] == true,
            why: text("why"),
        }
    };
    let mut rows: Vec<Row> = table("requests.json").into_iter().map(read).collect();
    assert!(rows.len() >= 200, "only {} rows", rows.len());
    // The vectors for URLs alone: what is well formed gets as far as a grant of something else.
    for (n, row) in table("urls.json").into_iter().enumerate() {
        let refused = row["expected"].get("refused").is_some();
        let url = row["input"].as_str().unwrap().to_owned();
        rows.push(Row {
            id: format!("url-{n}"),
            unwritable: !writable(&url),
            url,
            grant: vec!["GET http://elsewhere.test/".to_owned()],
            addresses: Vec::new(),
            answers: HashMap::new(),
            expected: if refused { "url" } else { "grant" }.to_owned(),
            special: Vec::new(),
            why: row["why"].as_str().unwrap().to_owned(),
        });
    }
    rows
}

/// Whether `wasi:http`, whose requests have a scheme, an authority and a path, can say a URL. What
/// it cannot say its types refuse, before any gate.
fn writable(url: &str) -> bool {
    let parsed = url.parse::<http::Uri>();
    parsed.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
}

/// Answers what the row under test says, the next list at each question and the last one from
/// then on; 127.0.0.1 for names of which it says nothing.
#[derive(Default)]
struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

#[async_trait::async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let key = if names.contains_key(host) { host } else { "*" };
        Ok(match names.get_mut(key) {
            None => vec![IpAddr::from([127, 0, 0, 1])],
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
        })
    }
}

/// The SDK guest, packed to ask for every URL.
async fn probe(folder: &Path) -> std::path::PathBuf {
    let manifest = "name = \"probe\"\nversion = \"1.0.0\"\nsummary = \"Fetches a page\"\n\
        [capabilities.optional]\nhttp = [\"* *://**:*/**\"]\ntools = [\"*\"]\nservices = [\"llm\"]\n";
    std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
    let wasm = std::fs::read(guest("rust")).unwrap();
    let packed = ampoule::package::pack(&wasm, folder).await.unwrap();
    let file = folder.join("probe.wasm");
    std::fs::write(&file, packed.wasm).unwrap();
    file
}

/// One binding a row and way, because each row has grants of its own.
fn configuration(rows: &[Row], probe: &Path) -> String {
    let mut text = "plugins = [\"PLUGINS/json-filter.wasm\"]\n".to_owned();
    for row in rows {
        let grants = format!(
            "grant.http = {}\ngrant.addresses = {}\n",
            json!(row.grant),
            json!(row.addresses)
        );
        let (id, probe) = (&row.id, probe.display());
        write!(
            text,
            "[bindings.sdk-{id}]\nplugin = \"{probe}\"\n{grants}\
             grant.tools = [\"json-filter\"]\ngrant.services = {{ llm = \"echo\" }}\n\
             [bindings.wasi-{id}]\nplugin = \"GUESTS/plain.wasm\"\n{grants}"
        )
        .unwrap();
    }
    text
}

/// Which gate refused, and which addresses.
fn refusal(denials: &[Denial], binding: &str) -> (String, Vec<IpAddr>) {
    assert_eq!(denials.len(), 1, "{binding}: {denials:?}");
    let denial = &denials[0];
    let mut special = Vec::new();
    if denial.gate == "address" {
        let lines: toml::Table = denial.allow.as_deref().unwrap().parse().unwrap();
        let granted = lines["bindings"][binding]["grant"]["addresses"].as_array().unwrap();
        special = granted.iter().map(|a| a.as_str().unwrap().parse().unwrap()).collect();
    }
    (denial.gate.to_owned(), special)
}

/// Sends a row's request through the SDK.
async fn through_sdk(host: &Host, site: &Site, row: &Row) -> Met {
    let binding = format!("sdk-{}", row.id);
    let before = site.seen().len();
    let arguments = json!({ "url": row.url, "tool": "json-filter", "text": "text" });
    let outcome = host.call(Call::new(&binding, &arguments)).await;
    let End::Value(output) = &outcome.end else { panic!("{binding}: {:?}", outcome.end) };
    let status = output.value.as_ref().unwrap()["status"].clone();
    let arrived = site.seen().len() - before;
    let (outcome, special) = match (outcome.receipt.denials.as_slice(), status) {
        ([], Value::Number(_)) => ("sent".to_owned(), Vec::new()),
        ([], Value::String(code)) if code == "unavailable" => {
            ("unreachable".to_owned(), Vec::new())
        }
        (denials, status) => {
            assert_eq!(status, "denied", "{binding}");
            refusal(denials, &binding)
        }
    };
    Met { outcome, special, arrived, unwritable: false }
}

/// Sends a row's request through `wasi:http`, which leaves redirects to the guest: each hop is a
/// request of its own, as such a guest would send it.
async fn through_wasi(host: &Host, site: &Site, row: &Row) -> Met {
    let binding = format!("wasi-{}", row.id);
    let before = site.seen().len();
    let mut url = row.url.clone();
    loop {
        let hop = site.seen().len();
        let call = Call::new(format!("{binding}/fetch"), json!({ "url": url }));
        let outcome = host.call(call).await;
        let arrived = site.seen().len() - before;
        if !writable(&url) {
            // Nothing to judge has come out of the guest, and nothing has gone out.
            assert!(matches!(outcome.end, End::Failed(_)), "{binding}: {:?}", outcome.end);
            assert!(outcome.receipt.denials.is_empty(), "{binding}");
            assert_eq!(site.seen().len(), hop, "{binding}");
            let outcome = "types of wasi:http".to_owned();
            return Met { outcome, special: Vec::new(), arrived, unwritable: true };
        }
        if !outcome.receipt.denials.is_empty() {
            assert!(matches!(outcome.end, End::Failed(_)), "{binding}: {:?}", outcome.end);
            let (outcome, special) = refusal(&outcome.receipt.denials, &binding);
            return Met { outcome, special, arrived, unwritable: false };
        }
        let seen = site.seen();
        let Some(last) = seen.get(hop) else {
            let outcome = "unreachable".to_owned();
            return Met { outcome, special: Vec::new(), arrived, unwritable: false };
        };
        match last.target.strip_prefix("/redirect/302?") {
            Some(location) => url = location.to_owned(),
            None => {
                let outcome = "sent".to_owned();
                return Met { outcome, special: Vec::new(), arrived, unwritable: false };
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_sdk_plugin_and_a_wasi_http_component_meet_every_vector_alike() {
    let site = Site::start().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(site.port());
    let names = Arc::new(Names::default());
    let host = builder(&configuration(&rows, &probe(folder.path()).await))
        .egress(Egress::new(names.clone()))
        .model("echo", Arc::new(Echo))
        .build()
        .await
        .unwrap();
    assert!(host.refused().is_empty(), "{:#?}", host.refused());
    let mut met = Table::new("Egress, through an SDK plugin and through wasi:http");
    let mut report = String::new();
    let mut wrong = 0;
    for row in &rows {
        let hops = row.url.matches("/redirect/302?").count();
        let expected = Met {
            outcome: row.expected.clone(),
            special: row.special.clone(),
            arrived: hops + usize::from(row.expected == "sent"),
            unwritable: false,
        };
        *names.0.lock().unwrap() = row.answers.clone();
        let sdk = through_sdk(&host, &site, row).await;
        *names.0.lock().unwrap() = row.answers.clone();
        let wasi = through_wasi(&host, &site, row).await;
        let alike = match wasi.unwritable {
            // Refused all the same, by a gate that stands before ours.
            true => row.unwritable && wasi.arrived == hops,
            false => !row.unwritable && wasi == expected,
        };
        let right = sdk == expected && alike;
        let gate = match sdk.outcome.as_str() {
            "sent" | "unreachable" => "none",
            gate => gate,
        };
        let end = match wasi.unwritable {
            true => format!("{} by both: wasi:http cannot say it", sdk.outcome),
            false if sdk.outcome == wasi.outcome => format!("{} by both", sdk.outcome),
            false => format!("sdk: {}, wasi: {}", sdk.outcome, wasi.outcome),
        };
        met.row(&row.id, &row.url, gate, &end);
        wrong += usize::from(!right);
        let url: String = row.url.chars().take(60).collect();
        let Row { id, why, expected, .. } = row;
        let (mark, sdk_met, wasi_met) =
            (if right { ' ' } else { '!' }, &sdk.outcome, &wasi.outcome);
        writeln!(
            report,
            "{mark} {id:<34} {expected:<11} sdk: {sdk_met:<11} wasi: {wasi_met:<18} {url:?}: {why}"
        )
        .unwrap();
        if !right {
            writeln!(report, "    sdk  {sdk:?}\n    wasi {wasi:?}").unwrap();
        }
    }
    // Each outcome is met, so that none of them is what everything ends in.
    for outcome in ["sent", "unreachable", "url", "grant", "address"] {
        assert!(rows.iter().any(|row| row.expected == outcome), "{outcome}");
    }
    assert!(wrong == 0, "{wrong} of {} vectors:\n{report}", rows.len());
}
