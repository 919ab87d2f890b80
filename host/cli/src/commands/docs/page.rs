//! The pages of the catalogue. What a plugin says of itself is made safe for Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ampoule::{BindingInfo, Example, Manifest, Meter, ToolDefinition, ToolKind};
use serde_json::Value;

use super::suites::Tally;
use crate::commands::inspect::effects;
use crate::render::{one_line, parameter_list, safe};

/// The longest value or arguments of an example that a page shows, in characters.
const MAX_EXAMPLE: usize = 2_000;

/// The page of a plugin.
pub(super) fn of_plugin(
    binding: &BindingInfo,
    manifest: &Manifest,
    tools: &[&Arc<ToolDefinition>],
) -> String {
    let mut page = format!("# {}\n\n{}.\n\n", binding.name, sentence(&manifest.summary));
    let mut facts = Vec::new();
    if let Some(group) = &manifest.group {
        facts.push(format!("group {group}"));
    }
    facts.push(format!("version {}", inline(&manifest.version, 80)));
    if let Some(license) = &manifest.license {
        facts.push(inline(license, 200));
    }
    if !manifest.services.is_empty() {
        facts.push(format!("serves {}", inline(&manifest.services.join(", "), 200)));
    }
    if manifest.sessions {
        facts.push("keeps instances between the calls of a session".into());
    }
    page.push_str(&format!("{}\n", facts.join(" · ")));
    for tool in tools {
        page.push_str(&of_tool(tool));
    }
    page.push_str("\n## What it may reach\n\n");
    match manifest.reach().as_slice() {
        [] => page.push_str("Nothing outside itself.\n"),
        reach => {
            for reach in reach {
                let optional = if reach.required { "" } else { " (optional)" };
                let _ = writeln!(page, "- {}{optional}", inline(&reach.action, 600));
            }
        }
    }
    if let Some(lines) = &binding.allow {
        let lines = fence(lines, "toml");
        let _ = write!(
            page,
            "\nTo grant all of it, in `ampoule.toml`, as narrow as you can:\n\n{lines}"
        );
    }
    page.push_str(&limits(manifest));
    if let Some(schema) = &manifest.settings_schema {
        page.push_str("\n## Settings\n\n");
        page.push_str(&parameters(schema, "setting"));
    }
    page
}

/// The index, by group.
pub(super) fn index(plugins: &[(&BindingInfo, &Manifest)]) -> String {
    let mut groups: BTreeMap<(bool, &str), Vec<&(&BindingInfo, &Manifest)>> = BTreeMap::new();
    for plugin in plugins {
        let group = plugin.1.group.as_deref();
        groups.entry((group.is_none(), group.unwrap_or("other"))).or_default().push(plugin);
    }
    let mut page = format!("# Plugins\n\nThe {} plugins that ship, by group.\n", plugins.len());
    for ((_, group), plugins) in groups {
        let _ = write!(
            page,
            "\n## {group}\n\n| plugin | what it is | reaches |\n| --- | --- | --- |\n"
        );
        for (binding, manifest) in plugins {
            let name = &binding.name;
            let summary = cell(&inline(&manifest.summary, 400));
            let _ = writeln!(page, "| [{name}]({name}.md) | {summary} | {} |", reaches(manifest));
        }
    }
    page
}

/// The public suites of a plugin: how many of each pass, and why not all.
pub(super) fn conformance(suites: &BTreeMap<String, Tally>) -> String {
    let mut text = String::new();
    for (name, tally) in suites {
        if text.is_empty() {
            text.push_str("\n## Conformance\n\n");
        }
        let name = inline(name, 200);
        let _ = writeln!(text, "- {name}: {} of {} pass", tally.passed, tally.total());
        let mut reasons: Vec<_> = tally.reasons.iter().collect();
        // Stable: of those as frequent, in the order of the alphabet.
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (reason, count) in reasons {
            let _ = writeln!(text, "  - {count}: {}", inline(reason, 400));
        }
    }
    text
}

/// The public suites of all plugins.
pub(super) fn conformance_index(plugins: &[(&str, BTreeMap<String, Tally>)]) -> String {
    let mut rows = String::new();
    for (plugin, suites) in plugins {
        for (name, tally) in suites {
            let count = |count: usize| if count == 0 { String::new() } else { count.to_string() };
            let _ = writeln!(
                rows,
                "| [{plugin}]({plugin}.md#conformance) | {} | {} of {} | {} | {} |",
                cell(&inline(name, 200)),
                tally.passed,
                tally.total(),
                count(tally.failed),
                count(tally.skipped),
            );
        }
    }
    match rows.is_empty() {
        true => rows,
        false => format!(
            "\n## Conformance\n\nPublic suites. Why some are left out stands on the plugin's page.\n\n\
             | plugin | suite | pass | fail | left out |\n| --- | --- | --- | --- | --- |\n{rows}"
        ),
    }
}

/// The capabilities in short, those it works without in brackets.
fn reaches(manifest: &Manifest) -> String {
    let mut words: Vec<(&str, bool)> = Vec::new();
    for reach in manifest.reach() {
        match words.iter_mut().find(|(word, _)| *word == reach.capability) {
            Some((_, required)) => *required |= reach.required,
            None => words.push((reach.capability, reach.required)),
        }
    }
    let words: Vec<_> = words
        .into_iter()
        .map(|(word, required)| if required { word.to_owned() } else { format!("({word})") })
        .collect();
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}

fn of_tool(tool: &ToolDefinition) -> String {
    let kind = match tool.kind {
        ToolKind::Tool => "Tool",
        ToolKind::Component => "Component",
    };
    let title = tool.title.as_ref().map(|title| format!(": {}", inline(title, 200)));
    let mut text = format!("\n## {kind} `{}`{}\n\n", tool.id, title.unwrap_or_default());
    let _ =
        write!(text, "{}\n\nEffects: {}.\n\n", prose(&tool.description), effects(&tool.effects));
    text.push_str(&parameters(&tool.input_schema, "argument"));
    for example in &tool.examples {
        text.push_str(&of_example(example));
    }
    text
}

fn parameters(schema: &Value, what: &str) -> String {
    let parameters = parameter_list(schema);
    if parameters.is_empty() {
        return format!("No {what}s.\n");
    }
    let mut text =
        format!("| {what} | type | default | description |\n| --- | --- | --- | --- |\n");
    for parameter in parameters {
        let required = if parameter.required { "required" } else { "" };
        let default = match parameter.default.as_str() {
            "" => required.to_owned(),
            default => code(default),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            cell(&code(&parameter.path)),
            cell(&inline(&parameter.kind, 200)),
            cell(&default),
            cell(&inline(&parameter.description, 400))
        );
    }
    text
}

fn of_example(example: &Example) -> String {
    let title = example.title.as_deref().unwrap_or("Example");
    let mut text = format!("\n{}:\n\n{}", inline(title, 200), json(&example.arguments));
    let _ = match (&example.value, &example.error) {
        (Some(value), _) => write!(text, "\nanswers\n\n{}", json(value)),
        (None, Some(error)) => writeln!(text, "\nfails with {}.", code(&one_line(error, 80))),
        (None, None) => Ok(()),
    };
    text
}

/// The limits that differ from the host's own.
fn limits(manifest: &Manifest) -> String {
    let limits = manifest.limits();
    let own: Vec<_> = limits
        .iter()
        .filter(|(meter, n)| *n != meter.default_limit() && *meter != Meter::Stack)
        .map(|(meter, n)| format!("`{meter}` {}", meter.show(n)))
        .collect();
    let text = match own.is_empty() {
        true => "The host's own".to_owned(),
        false => format!("{}; the rest as the host has it", own.join(", ")),
    };
    format!("\n## Limits of a call\n\n{text}.\n")
}

fn json(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    let text = match text.char_indices().nth(MAX_EXAMPLE) {
        Some((end, _)) => format!("{}\n…", &text[..end]),
        None => text,
    };
    fence(&text, "json")
}

/// A block of code, whose fence is longer than any in it.
fn fence(text: &str, language: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", safe(text.trim_end()))
}

/// Code within a line.
fn code(text: &str) -> String {
    match text.contains('`') {
        true => format!("`` {text} ``"),
        false => format!("`{text}`"),
    }
}

/// A text in one line, without what Markdown would take for HTML.
fn inline(text: &str, most: usize) -> String {
    without_html(&one_line(text, most))
}

/// A text of several lines, the same.
fn prose(text: &str) -> String {
    without_html(&safe(text.trim()))
}

/// `<`, `&` and the beginnings of images outside of code are written so that they are none. A span
/// of code ends, as in CommonMark, at a run of as many backticks as began it; where none follows, the
/// run is text.
fn without_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let (before, ticks) = rest.split_at(start);
        let run = ticks.len() - ticks.trim_start_matches('`').len();
        out.push_str(&without_markup(before));
        out.push_str(&ticks[..run]);
        rest = &ticks[run..];
        if let Some(end) = end_of_span(rest, run) {
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(&without_markup(rest));
    out
}

/// Where a span of code ends, its closing run included.
fn end_of_span(text: &str, run: usize) -> Option<usize> {
    let mut at = 0;
    // A span ends with its paragraph at the latest.
    let text = text.split("\n\n").next().unwrap_or_default();
    while let Some(start) = text[at..].find('`') {
        let ticks = &text[at + start..];
        let found = ticks.len() - ticks.trim_start_matches('`').len();
        at += start + found;
        if found == run {
            return Some(at);
        }
    }
    None
}

fn without_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace("![", "!&#91;")
}

/// A cell of a table: a bar would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A summary without its full stop.
fn sentence(text: &str) -> String {
    inline(text, 400).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_says_is_no_markup() {
        assert_eq!(inline("a <b> & `Vec<u8>`\nx", 99), "a &lt;b> &amp; `Vec<u8>` x");
        assert_eq!(inline("` <script>", 99), "` &lt;script>");
        assert_eq!(inline("x ``` <img src=x> ` y", 99), "x ``` &lt;img src=x> ` y");
        assert_eq!(inline("`a<b` ``c`<d`` <e>", 99), "`a<b` ``c`<d`` &lt;e>");
        assert_eq!(prose("`a\n\n<b> `"), "`a\n\n&lt;b> `");
        assert_eq!(inline("![x](http://a.test/)", 99), "!&#91;x](http://a.test/)");
        assert_eq!(fence("a\n```\nb", "json"), "````json\na\n```\nb\n````\n");
        assert_eq!(cell(&code("a|b")), "`a\\|b`");
        assert_eq!(code("`"), "`` ` ``");
    }
}
