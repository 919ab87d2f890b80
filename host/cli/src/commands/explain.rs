//! `ampoule explain`: what a call was, how it ended, and what would have allowed what was refused.

use std::collections::BTreeSet;
use std::io::Write;

use ampoule::{AuditKind, Config};
use ampoule_journal::{Line, Query, Reader};
use serde_json::{Value, json};

use crate::args::{ExplainArgs, Global};
use crate::exit::{Exit, Failure};
use crate::journal;
use crate::render::{self, CODE, STRONG, Screen, Table, WARN, one_line, paint, safe};
use crate::setup::Setup;

/// How many calls below a call are looked at.
const MAX_CALLS: usize = 1000;

/// What stands in a line for something that only the operator knows.
const PLACES: [&str; 2] = ["\"BINDING\"", "\"NAME\""];

pub(super) fn run(
    args: &ExplainArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let setup = Setup::find(global)?;
    let reader = journal::reader(&setup)?;
    let told = Told::read(&reader, &args.call)?;
    let allow = allow(&told.denials, &setup.config);
    if screen.json {
        screen.document(&told.to_json(&args.call, &allow))?;
        return Ok(Exit::Ok);
    }
    told.print(&args.call, screen)?;
    for denial in &told.denials {
        let text = |name: &str| denial.body[name].as_str().unwrap_or_default();
        let gate = paint(WARN, format!("denied by {}:", safe(text("gate"))));
        let tool = match &denial.call {
            Some(call) if *call != args.call => {
                let tool = denial.tool.as_deref().unwrap_or_default();
                format!(" (in {tool}, call {call})")
            }
            _ => String::new(),
        };
        writeln!(screen.out(), "\n{gate} {}{}", safe(text("message")), safe(&tool))?;
    }
    if told.left_out > 0 {
        writeln!(screen.out(), "\nand {} more refusals", told.left_out)?;
    }
    if told.denials.is_empty() {
        writeln!(screen.out(), "\nNothing was refused.")?;
    }
    for (title, lines) in [
        ("To allow exactly this, add to ampoule.toml:", &allow.new),
        ("To allow exactly this, set in the tables that ampoule.toml has already:", &allow.set),
    ] {
        if !lines.is_empty() {
            writeln!(screen.out(), "\n{STRONG}{title}{STRONG:#}\n")?;
            render::file_lines(screen.out(), lines)?;
        }
    }
    if [&allow.new, &allow.set].iter().any(|lines| PLACES.iter().any(|p| lines.contains(p))) {
        screen.note(
            "\nPut in the place of \"BINDING\" the connector or model that shall serve it, in that \
             of \"NAME\" one of [secrets].",
        )?;
    }
    if !told.denials.is_empty() && allow.new.is_empty() && allow.set.is_empty() {
        writeln!(screen.out(), "\nNo line of ampoule.toml would allow it.")?;
    }
    Ok(Exit::Ok)
}

/// What the journal knows of a call.
struct Told {
    started: Option<Line>,
    ended: Option<Line>,
    /// The grants it ran under.
    grants: Option<Line>,
    /// What it, and the calls below it, were refused; the same refusal once.
    denials: Vec<Line>,
    left_out: u64,
}

impl Told {
    fn read(reader: &Reader, call: &str) -> Result<Told, Failure> {
        let find =
            |query: Query| reader.query(&query).map_err(|error| Failure::fault(error.to_string()));
        let of_call = |call: &str| {
            find(Query { call: Some(call.to_owned()), limit: MAX_CALLS, ..Query::default() })
        };
        let own = of_call(call)?.lines;
        if own.is_empty() {
            let shown = one_line(call, 80);
            return Err(Failure::usage(format!("the journal knows no call `{shown}`")).hint(
                "`ampoule audit list --kind call-started` lists the calls with their ids; \
                 `ampoule call --json` gives the id as `receipt.call`.",
            ));
        }
        let of_kind = |kind| own.iter().find(|line| line.kind == kind).cloned();
        let started = of_kind(AuditKind::CallStarted);
        let ended = of_kind(AuditKind::CallEnded);
        let grants = match started.as_ref().map(|line| &line.body["grants"]) {
            Some(Value::String(name)) => {
                let kind = Some(AuditKind::Grants);
                let all = find(Query { kind, limit: usize::MAX, ..Query::default() })?.lines;
                all.into_iter().find(|line| line.body["grants"] == name.as_str())
            }
            _ => None,
        };
        let mut told = Told { started, ended, grants, denials: Vec::new(), left_out: 0 };
        told.take(own);
        let mut seen = BTreeSet::from([call.to_owned()]);
        let mut open = vec![call.to_owned()];
        while let Some(parent) = open.pop() {
            let parent = Some(parent);
            let below = find(Query { parent, limit: MAX_CALLS, ..Query::default() })?.lines;
            for line in &below {
                if let Some(id) = line.call.as_ref().filter(|_| seen.len() < MAX_CALLS)
                    && seen.insert(id.clone())
                {
                    open.push(id.clone());
                }
            }
            told.take(below);
        }
        Ok(told)
    }

    /// Takes the refusals out of the lines of calls.
    fn take(&mut self, lines: Vec<Line>) {
        for line in lines {
            match line.kind {
                AuditKind::Denied if self.denials.iter().all(|denial| denial.body != line.body) => {
                    self.denials.push(line);
                }
                AuditKind::CallEnded => {
                    let left_out = line.body["receipt"]["denials-left-out"].as_u64();
                    self.left_out += left_out.unwrap_or(0);
                }
                _ => {}
            }
        }
    }

    fn print(&self, call: &str, screen: &mut Screen) -> std::io::Result<()> {
        let mut table = Table::plain();
        let mut row = |name: &str, value: String| {
            if !value.is_empty() {
                table.row([paint(render::FAINT, name), value]);
            }
        };
        let line = self.started.as_ref().or(self.ended.as_ref());
        let field = |field: fn(&Line) -> &Option<String>| {
            one_line(line.and_then(|line| field(line).as_deref()).unwrap_or_default(), 200)
        };
        row("call", paint(CODE, one_line(call, 80)));
        row("tool", field(|line| &line.tool));
        row("plugin", self.digest());
        row("asked by", field(|line| &line.principal));
        row("run", field(|line| &line.run));
        row("called by", field(|line| &line.parent));
        row("started", self.started.as_ref().map(|l| one_line(&l.time, 30)).unwrap_or_default());
        row("ended", self.end());
        if let Some(grants) = &self.grants {
            row("grants", format!("line {} of the journal: {}", grants.seq, granted(&grants.body)));
        }
        let width = screen.width();
        table.print(screen.out(), width)
    }

    fn digest(&self) -> String {
        let started = self.started.as_ref().map(|line| &line.body["digest"]);
        let ended = self.ended.as_ref().map(|line| &line.body["receipt"]["digest"]);
        let digest = started.or(ended).and_then(Value::as_str).unwrap_or_default();
        one_line(digest, 80)
    }

    fn end(&self) -> String {
        let Some(line) = &self.ended else {
            return "not yet, or its process was killed".into();
        };
        let text = |value: &Value| one_line(value.as_str().unwrap_or_default(), 500);
        let body = &line.body;
        let mut end = format!("{}, {}", text(&body["end"]), one_line(&line.time, 30));
        for why in ["code", "message", "path"] {
            let why = text(&body["error"][why]);
            if !why.is_empty() {
                end.push_str(&format!(": {why}"));
            }
        }
        end
    }

    fn to_json(&self, call: &str, allow: &Allow) -> Value {
        let denials = self.denials.iter().map(|line| {
            json!({ "call": line.call, "tool": line.tool, "line": line.seq, "denial": line.body })
        });
        json!({
            "call": call,
            "started": self.started,
            "ended": self.ended,
            "grants": self.grants,
            "denials": denials.collect::<Vec<_>>(),
            "denials-left-out": self.left_out,
            "allow": { "add": allow.new, "set": allow.set },
        })
    }
}

/// The capabilities of which something was granted.
fn granted(body: &Value) -> String {
    let reach = body["reach"].as_array().map(Vec::as_slice).unwrap_or_default();
    let granted = reach.iter().filter(|reach| reach["granted"] == true);
    let names: BTreeSet<_> = granted.filter_map(|reach| reach["capability"].as_str()).collect();
    match names.is_empty() {
        true => "nothing".to_owned(),
        false => one_line(&names.into_iter().collect::<Vec<_>>().join(" "), 200),
    }
}

/// Lines of `ampoule.toml`.
#[derive(Default)]
struct Allow {
    /// For bindings that are not in it.
    new: String,
    /// For those that are: with what they allow already.
    set: String,
}

/// The fewest lines that allow all that was refused and can be allowed.
fn allow(denials: &[Line], config: &Config) -> Allow {
    let mut wanted = toml::Table::new();
    for lines in denials.iter().filter_map(|denial| denial.body["allow"].as_str()) {
        // What is no TOML was not written by a gate.
        if let Ok(lines) = lines.parse::<toml::Table>() {
            merge(&mut wanted, lines);
        }
    }
    let mut allow = Allow::default();
    let whole = toml::Value::try_from(config).ok();
    for section in ["bindings", "principals"] {
        let Some(toml::Value::Table(named)) = wanted.remove(section) else { continue };
        let there = whole.as_ref().and_then(|whole| whole.get(section));
        for (name, wanted) in named {
            let toml::Value::Table(wanted) = wanted else { continue };
            let there = there.and_then(|there| there.get(&name)).and_then(toml::Value::as_table);
            let text = match there {
                Some(_) => &mut allow.set,
                None => &mut allow.new,
            };
            let space = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{space}[{section}.{}]\n", key(&name)));
            for (group, wanted) in wanted {
                let there = there.and_then(|there| there.get(&group));
                let toml::Value::Table(wanted) = wanted else {
                    text.push_str(&entry(&key(&group), there, &group, wanted));
                    continue;
                };
                for (name, wanted) in wanted {
                    let there = there.and_then(|there| there.get(&name));
                    let path = format!("{}.{}", key(&group), key(&name));
                    text.push_str(&entry(&path, there, &name, wanted));
                }
            }
        }
    }
    allow
}

/// The line that gives `path`, whose last name is `name`, what is wanted beside what is there.
fn entry(path: &str, there: Option<&toml::Value>, name: &str, wanted: toml::Value) -> String {
    let there = there.map(|there| (name.to_owned(), there.clone()));
    let mut whole = toml::Table::from_iter(there);
    merge(&mut whole, toml::Table::from_iter([(name.to_owned(), wanted)]));
    whole.get(name).map_or_else(String::new, |value| format!("{path} = {value}\n"))
}

/// Adds one table to another: lists and tables grow, anything else is replaced.
fn merge(into: &mut toml::Table, from: toml::Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
            (Some(toml::Value::Array(into)), toml::Value::Array(from)) => {
                for value in from {
                    if !into.contains(&value) {
                        into.push(value);
                    }
                }
            }
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

/// A key as TOML writes it.
fn key(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match !key.is_empty() && key.bytes().all(bare) {
        true => key.to_owned(),
        // JSON's escapes are among TOML's.
        false => Value::from(key).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(allow: &str) -> Line {
        Line {
            seq: 1,
            time: String::new(),
            kind: AuditKind::Denied,
            call: None,
            parent: None,
            tool: None,
            principal: None,
            run: None,
            body: json!({ "gate": "grant", "message": "no", "allow": allow }),
            previous: String::new(),
            hash: String::new(),
        }
    }

    #[test]
    fn lines_of_several_refusals_are_one_text_that_can_be_pasted() {
        let denials = [
            denial("[bindings.web]\ngrant.http = [\"GET https://a.example/1\"]"),
            denial("[bindings.web]\ngrant.http = [\"GET https://a.example/2\"]"),
            denial("[bindings.web]\ngrant.addresses = [\"127.0.0.1\"]"),
            denial("[bindings.other]\ngrant.files = \"read\""),
            denial("no [[[ TOML"),
        ];
        let allowed = allow(&denials, &Config::default());
        assert_eq!(allowed.set, "");
        let config = Config::parse(&allowed.new).expect("it can be pasted");
        assert_eq!(config.bindings["web"].grant.http.len(), 2);
        assert!(config.bindings["other"].grant.files.is_some());

        // What takes away is told too, in the table that does.
        let denials = [
            denial("[principals.ann]\ntools = [\"hash\"]"),
            denial("[principals.ann]\ngrant.files = \"read\""),
        ];
        let text = "[principals.ann]\ntools = [\"web\"]\ngrant.files = \"none\"";
        let allowed = allow(&denials, &Config::parse(text).expect("valid"));
        assert_eq!(
            (allowed.new.as_str(), allowed.set.as_str()),
            ("", "[principals.ann]\ngrant.files = \"read\"\ntools = [\"web\", \"hash\"]\n")
        );

        let denials = [denial("[bindings.web]\ngrant.http = [\"GET https://a.example/1\"]")];
        let text = "[bindings.web]\ngrant.http = [\"GET https://b.example/\"]";
        let allowed = allow(&denials[..1], &Config::parse(text).expect("valid"));
        assert_eq!(
            (allowed.new.as_str(), allowed.set.as_str()),
            (
                "",
                "[bindings.web]\n\
                 grant.http = [\"GET https://b.example/\", \"GET https://a.example/1\"]\n"
            )
        );
    }
}
