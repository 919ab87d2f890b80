//! The main job on real input: an agent reads this workspace's own `Cargo.lock` and a page of its
//! built documentation, and writes a report, all through sealed plugins.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::components;
use crate::plan::{Plan, Step, table, took};
use crate::process::{cargo, line, loud};
use crate::project::Project;
use crate::site::Site;
use crate::stamp::Stamp;

/// What the agent does, and with which plugins.
const AGENT: &str = "examples/agents/lock-report.md";
const PLUGINS: [&str; 6] = ["convert", "files", "hash", "json-query", "template", "web-scrape"];
/// The page it reads: the documentation of the crate that all others share.
const PAGE: &str = "ampoule_contract/index.html";
/// What it writes into its workspace.
const REPORT: &str = "lock-report.md";

/// Sets up what is missing, runs the agent, and shows what came of it.
///
/// # Errors
/// When something cannot be built, or the run does not end with an answer and a denial.
pub(crate) fn run(project: &Project) -> Result<()> {
    let mut plan = Plan::new(project)?;
    components::add_plugins(&mut plan, project, &PLUGINS.map(str::to_owned))?;
    add_documentation(&mut plan, project)?;
    plan.run()?;

    let start = Instant::now();
    let site = Site::start(&project.made("doc"))?;
    let folder = project.made("demo");
    let workspace = folder.join("workspace");
    if workspace.exists() {
        fs::remove_dir_all(&workspace)?;
    }
    fs::create_dir_all(&workspace)?;
    fs::copy(project.at("Cargo.lock"), workspace.join("Cargo.lock"))?;
    let config = folder.join("ampoule.toml");
    fs::write(&config, configuration(&site.origin()))?;

    let here = |path: PathBuf| path.strip_prefix(&project.root).unwrap_or(&path).to_owned();
    let mut ampoule = Command::new(project.ampoule());
    ampoule.current_dir(&project.root).args(["run", AGENT, "Write the report."]);
    ampoule.arg("--config").arg(here(config)).arg("--workspace").arg(here(workspace.clone()));
    ampoule.arg("--input").arg(format!("page_url={}/{PAGE}", site.origin())).arg("--json");
    println!("$ {}\n", line(&ampoule).replace(&format!("{}/", project.root.display()), ""));
    let receipts = follow(&mut ampoule, start)?;

    let report = workspace.join(REPORT);
    let text = fs::read_to_string(&report)
        .with_context(|| format!("the agent did not write {}", report.display()))?;
    println!("\n{}\n\n{}", heading(&report), text.trim_end());
    println!("\n{}\n\n{}", heading(Path::new("every call, with its receipt")), calls(&receipts));
    println!("{}\n\n{}", heading(Path::new("what was denied")), denials(&receipts)?);
    println!("The run itself took {}.", took(start.elapsed()));
    Ok(())
}

fn add_documentation(plan: &mut Plan, project: &Project) -> Result<()> {
    let inputs = ["host/contract", "Cargo.lock", "Cargo.toml"].map(|path| project.at(path));
    let outputs = [project.made("doc").join(PAGE)];
    let stamp = Stamp::new(project, "documentation", "", &inputs, &outputs)?;
    let mut doc = cargo(project);
    doc.args(["doc", "--package", "ampoule-contract", "--no-deps"]);
    plan.add(Step {
        name: "Documentation".to_owned(),
        how: "cargo doc, the page that the agent reads".to_owned(),
        stamp,
        talks: true,
        lane: None,
        work: Box::new(move || loud(&mut doc)),
    });
    Ok(())
}

/// The operator's file: what the agent's plugins may do, and nothing else.
fn configuration(origin: &str) -> String {
    format!(
        r#"# Made by `cargo xtask demo`.
plugins = ["../plugins"]

[run]
model-tokens = "4M"

[bindings.files]
grant.files = "read-write"

[bindings.web-scrape]
grant.http = ["GET {origin}/**"]
grant.addresses = ["127.0.0.1"]
"#
    )
}

/// Runs the agent, tells its events as they come, and returns the receipts of its tool calls.
fn follow(ampoule: &mut Command, start: Instant) -> Result<Vec<Value>> {
    let mut child = ampoule
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{}` could not be started", line(ampoule)))?;
    let output = child.stdout.take().context("the agent has no output")?;
    let (mut receipts, mut end) = (Vec::new(), Value::Null);
    for line in BufReader::new(output).lines() {
        let line = line?;
        let mut event: Value =
            serde_json::from_str(&line).with_context(|| format!("not an event: {line}"))?;
        match event["kind"].as_str().unwrap_or_default() {
            "start" => println!("{} as {}\n", text(&event["agent"]), text(&event["model"])),
            // Fragments: they bring their own line breaks.
            "content" => print!("{}", text(&event["text"])),
            "tool-result" => {
                let (tool, end) = (text(&event["tool"]), text(&event["receipt"]["end"]));
                let denied = match event["receipt"]["denials"].as_array().map_or(0, Vec::len) {
                    0 => String::new(),
                    count => format!(", {count} denied"),
                };
                println!("{:>6} ms  {tool}: {end}{denied}", start.elapsed().as_millis());
                receipts.push(event["receipt"].take());
            }
            "end" => end = event,
            _ => {}
        }
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "`{}` failed ({status}): {end}", line(ampoule));
    anyhow::ensure!(end["end"] == "answer", "the run did not end with an answer: {end}");
    Ok(receipts)
}

/// The calls and what each used, the main meters only; the journal has them all.
fn calls(receipts: &[Value]) -> String {
    let used = |receipt: &Value, meter: &str| {
        receipt["used"][meter].as_u64().map_or_else(String::new, grouped)
    };
    let head = ["tool", "end", "time", "fuel", "memory KiB", "host calls", "http bytes", "denied"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for receipt in receipts {
        let wall = Duration::from_micros(receipt["wall-us"].as_u64().unwrap_or_default());
        let denied = receipt["denials"].as_array().map_or(0, Vec::len);
        rows.push(vec![
            text(&receipt["tool"]),
            text(&receipt["end"]),
            format!("{:.1} ms", wall.as_secs_f64() * 1000.0),
            used(receipt, "fuel"),
            receipt["used"]["memory"].as_u64().map_or_else(String::new, |b| grouped(b / 1024)),
            used(receipt, "host-calls"),
            used(receipt, "http-bytes"),
            if denied == 0 { String::new() } else { denied.to_string() },
        ]);
    }
    table(&rows)
}

/// What was refused, by which gate, and the line that would allow it.
fn denials(receipts: &[Value]) -> Result<String> {
    let mut lines = String::new();
    for receipt in receipts {
        for denial in receipt["denials"].as_array().into_iter().flatten() {
            lines.push_str(&format!(
                "{}: {}\n  refused by: {}\n",
                text(&receipt["tool"]),
                text(&denial["message"]),
                text(&denial["gate"])
            ));
            if let Some(allow) = denial["allow"].as_str() {
                let indented = allow.trim_end().replace('\n', "\n    ");
                lines.push_str(&format!("  what would allow it:\n    {indented}\n"));
            }
        }
    }
    anyhow::ensure!(!lines.is_empty(), "nothing was denied, and the demo tries something that is");
    Ok(lines)
}

fn heading(what: &Path) -> String {
    format!("── {} ──", what.display())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use serde_json::json;

    use super::*;

    #[test]
    fn receipts_become_a_table_and_a_list_of_denials() {
        let receipt = json!({
            "tool": "web-scrape", "end": "failed", "wall-us": 1234,
            "used": { "fuel": 1_234_567, "memory": 1_114_112, "host-calls": 3, "http-bytes": 0 },
            "denials": [{
                "gate": "grant", "message": "GET http://a/ is not granted",
                "allow": "[bindings.web-scrape]\ngrant.http = [\"GET http://a/**\"]",
            }],
        });
        let receipts = [receipt];
        let row = calls(&receipts);
        let row = row.lines().nth(2).unwrap();
        let cells: Vec<_> =
            row.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect();
        assert_eq!(cells, ["web-scrape", "failed", "1.2 ms", "1,234,567", "1,088", "3", "0", "1"]);
        let denied = denials(&receipts).unwrap();
        assert!(denied.contains("refused by: grant"), "{denied}");
        assert!(denied.contains("    grant.http = "), "{denied}");
        assert!(denials(&[]).is_err());
    }

    #[test]
    fn the_configuration_is_toml_and_grants_one_origin() {
        let table: toml::Table = configuration("http://127.0.0.1:81").parse().unwrap();
        let http = &table["bindings"]["web-scrape"]["grant"]["http"];
        assert_eq!(http.as_array().unwrap().len(), 1);
        assert_eq!(http[0].as_str(), Some("GET http://127.0.0.1:81/**"));
    }
}
