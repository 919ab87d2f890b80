//! `ampoule list`: the tools there are.

use std::collections::BTreeMap;

use ampoule::{BindingInfo, Host, Reach, ToolKind, ToolPattern, Tools};
use serde_json::{Value, json};

use crate::args::{Global, ListArgs};
use crate::exit::{Exit, Failure};
use crate::render::{
    CODE, FAINT, STRONG, Screen, Table, WARN, bytes, first_sentence, one_line, paint,
};
use crate::setup::Setup;

pub(super) async fn run(
    args: &ListArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let pattern: Option<ToolPattern> =
        args.pattern.as_deref().map(str::parse).transpose().map_err(Failure::usage)?;
    let host = Setup::find(global)?.with_plugins()?.host().await?;
    let wanted = |entry: &Entry| pattern.as_ref().is_none_or(|p| matches(p, &entry.id));
    let entries: Vec<_> = entries(&host).into_iter().filter(wanted).collect();
    if screen.json {
        let tools: Vec<_> = entries.iter().map(Entry::to_json).collect();
        screen.document(&json!({ "tools": tools, "refused": host.refused() }))?;
        return Ok(Exit::Ok);
    }
    let table = if args.plain { plain(&entries) } else { grouped(&entries) };
    let width = screen.width();
    if table.is_empty() {
        match (&args.pattern, host.tools().len()) {
            (Some(pattern), n) if n > 0 => {
                let pattern = one_line(pattern, 80);
                screen.note(format_args!("none of the {n} tools matches `{pattern}`"))?;
            }
            _ => screen.note("there are no tools")?,
        }
    } else {
        table.print(screen.out(), width)?;
    }
    super::refused(&host, screen)?;
    Ok(Exit::Ok)
}

/// A line for each entry.
fn plain(entries: &[Entry]) -> Table {
    let mut table = Table::new(["tool", "kind", "size", "may", "what it does"]).right([2]);
    entries.iter().for_each(|entry| entry.add_to(&mut table, ""));
    table
}

/// The same below the names of the groups; what has none comes last.
fn grouped(entries: &[Entry]) -> Table {
    let mut groups: BTreeMap<(bool, &str), Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        let group = entry.group();
        groups.entry((group.is_none(), group.unwrap_or("other"))).or_default().push(entry);
    }
    let mut table = Table::new(["tool", "kind", "size", "may", "what it does"]).right([2]);
    for ((_, group), entries) in groups {
        table.row([paint(STRONG, group)]);
        entries.into_iter().for_each(|entry| entry.add_to(&mut table, "  "));
    }
    table
}

/// Whether an id is meant: by a pattern, or by a text that stands anywhere in it.
fn matches(wanted: &ToolPattern, id: &str) -> bool {
    match wanted.as_str().contains('*') {
        true => wanted.matches(id),
        false => id.contains(wanted.as_str()),
    }
}

/// A line of the list: a tool, or a connector, which has none.
struct Entry {
    id: String,
    kind: String,
    title: Option<String>,
    description: String,
    binding: BindingInfo,
}

fn entries(host: &Host) -> Vec<Entry> {
    let bindings: BTreeMap<_, _> =
        host.bindings().into_iter().map(|binding| (binding.name.clone(), binding)).collect();
    let tools = host.tools();
    let mut entries: Vec<_> = tools
        .iter()
        .filter_map(|tool| {
            let kind = match tool.kind {
                ToolKind::Tool => "tool",
                ToolKind::Component => "component",
            };
            Some(Entry {
                id: tool.id.clone(),
                kind: kind.to_owned(),
                title: tool.title.clone(),
                description: tool.description.clone(),
                binding: bindings.get(&tool.binding)?.clone(),
            })
        })
        .collect();
    for (name, binding) in bindings {
        let Some(manifest) = binding.manifest.as_ref().filter(|m| !m.services.is_empty()) else {
            continue;
        };
        entries.push(Entry {
            id: name,
            kind: format!("connector {}", manifest.services.join(", ")),
            title: None,
            description: manifest.summary.clone(),
            binding: binding.clone(),
        });
    }
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries
}

impl Entry {
    fn group(&self) -> Option<&str> {
        self.binding.manifest.as_ref()?.group.as_deref()
    }

    fn add_to(&self, table: &mut Table, indent: &str) {
        table.row([
            format!("{indent}{}", paint(CODE, one_line(&self.id, 130))),
            self.kind.clone(),
            bytes(self.binding.size),
            may(&self.binding.reach),
            first_sentence(&self.description),
        ]);
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "kind": self.kind,
            "title": self.title,
            "description": self.description,
            "binding": self.binding.name,
            "group": self.group(),
            "path": self.binding.path,
            "digest": self.binding.digest,
            "size": self.binding.size,
            "reach": self.binding.reach,
            "callable": self.binding.missing.is_none(),
        })
    }
}

/// The capabilities in short, `!` after those of which nothing is granted.
fn may(reach: &[Reach]) -> String {
    let mut granted: Vec<(&str, bool)> = Vec::new();
    for reach in reach {
        match granted.iter_mut().find(|(capability, _)| *capability == reach.capability) {
            Some((_, granted)) => *granted &= reach.granted,
            None => granted.push((reach.capability, reach.granted)),
        }
    }
    if granted.is_empty() {
        return paint(FAINT, "nothing");
    }
    let words = granted.into_iter().map(|(capability, granted)| match granted {
        true => capability.to_owned(),
        false => format!("{capability}{}", paint(WARN, "!")),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_granted_if_all_of_it_is() {
        let reach = |capability, granted| Reach {
            capability,
            action: String::new(),
            required: true,
            granted,
            note: None,
        };
        let shown = may(&[reach("clock", true), reach("secrets", true), reach("secrets", false)]);
        assert_eq!(anstream::adapter::strip_str(&shown).to_string(), "clock secrets!");
        assert!(may(&[]).contains("nothing"));
    }

    #[test]
    fn a_text_may_stand_anywhere_and_a_pattern_is_whole() {
        let matches = |text: &str, id: &str| matches(&text.parse().expect(text), id);
        assert!(matches("json", "my-json-filter") && matches("json-*", "json-filter"));
        assert!(!matches("json-*", "my-json-filter"));
    }
}
