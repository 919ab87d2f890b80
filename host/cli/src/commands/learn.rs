//! `ampoule learn`: the least a plugin can do with, told by what its examples use.

mod edit;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use ampoule::learn::{capability_lines, grant_lines, least_grant, least_requests, untrue_effects};
use ampoule::{Call, Denial, End, Example, Host, ToolDefinition, Tools, Use};
use serde_json::json;

use crate::args::{Global, LearnArgs};
use crate::exit::{Exit, Failure, file_error};
use crate::render::{FAINT, STRONG, Screen, file_lines, one_line, paint, safe};
use crate::setup::Setup;

/// The most files and folders that are copied for an example.
const MAX_COPIED: usize = 10_000;

/// What the examples of a plugin came to.
#[derive(Default)]
struct Seen {
    /// What all of them used.
    uses: Vec<Use>,
    /// How each ended, in order.
    held: Vec<bool>,
    /// Examples that did not hold, and what tools did beyond their effects.
    problems: Vec<String>,
    denials: Vec<Denial>,
}

pub(super) async fn run(
    args: &LearnArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let workspace = super::workspace(args.workspace.clone())?;
    let mut setup = Setup::find(global)?.with_plugins()?;
    let host = setup.host().await?;
    let name = &args.binding;
    let binding = host.bindings().into_iter().find(|binding| binding.name == *name);
    let Some(binding) = binding else { return Err(super::inspect::unknown(name, &host)) };
    let asked = binding.manifest.as_ref().map(|manifest| manifest.capabilities.clone());
    if args.write.is_some() && asked.is_none() {
        return Err(Failure::usage("a component without a manifest has no plugin.toml"));
    }
    let tools: Vec<_> = host.tools().into_iter().filter(|tool| tool.binding == *name).collect();
    let mut seen = watch(&host, &tools, workspace.as_deref()).await?;
    if seen.held.is_empty() {
        return Err(Failure::configuration(format!("`{name}` has no examples to learn from"))
            .hint("Write some into examples.json beside plugin.toml."));
    }
    let binding = setup.config.bindings.entry(name.clone()).or_default();
    let grant = least_grant(&binding.grant, &seen.uses);
    let least = asked.map(|asked| least_requests(&asked, &seen.uses));

    // With no other grants they must end as before.
    binding.grant = grant.clone();
    host.reload(setup.config.clone()).await?;
    let again = watch(&host, &tools, workspace.as_deref()).await?;
    if again.held != seen.held {
        seen.problems.push("under the least grants other examples hold than before".to_owned());
    }

    let grant = grant_lines(name, &grant);
    let capabilities = least.as_ref().map(capability_lines).transpose().map_err(Failure::fault)?;
    // What is told by examples that do not hold is no manifest to ship.
    if let (Some(folder), Some(lines), true) =
        (&args.write, &capabilities, seen.problems.is_empty())
    {
        let file = folder.join("plugin.toml");
        let text = std::fs::read_to_string(&file).map_err(file_error(&file))?;
        let edited = edit::with_capabilities(&text, lines)
            .map_err(|error| Failure::configuration(format!("{}: {error}", file.display())))?;
        super::pack::replace(&file, edited.as_bytes())?;
        screen.note(format_args!("{} is written", super::shown(&file)))?;
    }
    if screen.json {
        screen.document(&json!({
            "examples": seen.held.len(),
            "uses": seen.uses,
            "capabilities": least,
            "grant": grant,
            "problems": seen.problems,
            "denials": seen.denials,
        }))?;
    } else {
        print(&seen, capabilities.as_deref(), grant.as_deref(), screen)?;
    }
    Ok(if seen.problems.is_empty() { Exit::Ok } else { Exit::Failed })
}

/// Runs all examples, each in a workspace of its own.
async fn watch(
    host: &Host,
    tools: &[Arc<ToolDefinition>],
    workspace: Option<&Path>,
) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    for tool in tools {
        let mut uses = Vec::new();
        for example in &tool.examples {
            let folder = tempfile::tempdir()
                .map_err(|error| Failure::fault(format!("no temporary folder: {error}")))?;
            if let Some(workspace) = workspace {
                let mut left = MAX_COPIED;
                copy(workspace, folder.path(), &mut left).map_err(file_error(workspace))?;
            }
            let call = Call::new(&tool.id, &example.arguments).workspace(folder.path());
            let (outcome, used) = host.observe(call).await;
            let word = outcome.end.word();
            let held = holds(example, outcome.end);
            if !held {
                let title = example.title.as_deref().unwrap_or("an example");
                let title = one_line(title, 80);
                seen.problems.push(format!("{}, {title}: it does not hold ({word})", tool.id));
            }
            seen.held.push(held);
            for denial in outcome.receipt.denials {
                if !seen.denials.contains(&denial) {
                    seen.denials.push(denial);
                }
            }
            uses.extend(used);
        }
        let untrue = untrue_effects(&tool.effects, &uses);
        seen.problems.extend(untrue.into_iter().map(|what| format!("{}: {what}", tool.id)));
        seen.uses.extend(uses);
    }
    Ok(seen)
}

/// Whether an example ended as it says.
fn holds(example: &Example, end: End) -> bool {
    match (end, &example.value, &example.error) {
        (End::Value(output), Some(value), _) => output.value.as_ref() == Some(value),
        (End::Value(_), None, error) => error.is_none(),
        (end, None, Some(code)) => end.into_result().is_err_and(|error| error.code == *code),
        _ => false,
    }
}

/// Copies what is in a folder; links are left out.
fn copy(from: &Path, to: &Path, left: &mut usize) -> io::Result<()> {
    for entry in from.read_dir()? {
        let entry = entry?;
        *left = left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other(format!("more than {MAX_COPIED} files to copy")))?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&entry.path(), &target, left)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn print(
    seen: &Seen,
    capabilities: Option<&str>,
    grant: Option<&str>,
    screen: &mut Screen,
) -> io::Result<()> {
    let out = screen.out();
    writeln!(out, "{STRONG}Of {} examples{STRONG:#}", seen.held.len())?;
    if let Some(capabilities) = capabilities {
        writeln!(out, "\n{STRONG}plugin.toml{STRONG:#}, the least that passes:\n")?;
        file_lines(out, capabilities.trim_end())?;
    }
    writeln!(out, "\n{STRONG}ampoule.toml{STRONG:#}, the least that passes:\n")?;
    match grant {
        Some(grant) => file_lines(out, grant)?,
        None => writeln!(out, "  {}", paint(FAINT, "no grant is needed"))?,
    }
    for denial in &seen.denials {
        let denial = one_line(&denial.to_string(), 400);
        writeln!(out, "\n{}", paint(FAINT, format_args!("refused meanwhile: {denial}")))?;
    }
    for problem in &seen.problems {
        screen.warn(safe(problem))?;
    }
    Ok(())
}
