//! `ampoule inspect`: what a plugin is, and what it can do at most.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use ampoule::lock::Standing;
use ampoule::manifest::is_plugin_name;
use ampoule::{
    BindingInfo, Catalogs, Effects, Example, Host, Limits, Meter, ToolDefinition, Tools,
};
use serde_json::json;

use crate::args::{Global, InspectArgs};
use crate::exit::{Exit, Failure};
use crate::render::{
    CODE, FAINT, GOOD, STRONG, Screen, Table, WARN, bytes, file_lines, indented, one_line, paint,
    parameters, safe,
};
use crate::setup::Setup;

/// The name a file is bound under until its manifest has told its own.
const UNNAMED: &str = "plugin";

/// Characters of an example's arguments and value that are shown.
const EXAMPLE_CHARS: usize = 300;

/// A plugin and its tools.
pub(super) struct Inspected {
    pub(super) binding: BindingInfo,
    pub(super) tools: Vec<Arc<ToolDefinition>>,
    /// How it stands to the lock, where there is one.
    pub(super) standing: Option<Standing>,
    /// What it asks for beyond what the lock accepts.
    pub(super) asks: Vec<String>,
}

pub(super) async fn run(
    args: &InspectArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let is_file = args.what.ends_with(".wasm") || Path::new(&args.what).is_file();
    let inspected = match is_file {
        true => of_file(global, Path::new(&args.what)).await?,
        false => of_name(global, &args.what).await?,
    };
    if screen.json {
        screen.document(&json!({
            "binding": inspected.binding,
            "tools": inspected.tools,
            "lock": { "standing": inspected.standing, "asks": inspected.asks },
        }))?;
    } else {
        print(&inspected, is_file, screen)?;
    }
    Ok(Exit::Ok)
}

/// A plugin's file, read without any configuration.
///
/// # Errors
/// It is no plugin.
pub(super) async fn of_file(global: &Global, file: &Path) -> Result<Inspected, Failure> {
    if !file.is_file() {
        return Err(Failure::configuration(format!("there is no file {}", file.display())));
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = if is_plugin_name(&stem) { stem } else { UNNAMED.to_owned() };
    let setup = Setup::of_file(global, file, &name)?;
    let host = setup.host().await?;
    // Its manifest knows its name better than the file does.
    let own = host.bindings().into_iter().find_map(|binding| Some(binding.manifest?.name));
    if let Some(own) = own.filter(|own| *own != name) {
        host.reload(Setup::of_file(global, file, &own)?.config).await?;
    }
    match host.bindings().into_iter().next() {
        Some(binding) => {
            Ok(Inspected { tools: host.tools(), binding, standing: None, asks: Vec::new() })
        }
        None => Err(Failure::configuration(host.refused().join("\n"))),
    }
}

/// A binding, or the binding of a tool.
async fn of_name(global: &Global, name: &str) -> Result<Inspected, Failure> {
    let mut setup = Setup::find(global)?.with_plugins()?;
    // Looked at without the lock: what it refuses is what one wants to look at most. Nothing of it
    // is run before that.
    let lock = setup.config.lock.take();
    setup.catalogs = match &lock {
        Some(lock) => Catalogs::Of(super::accept::accepted(&setup, lock).await?),
        None => Catalogs::All,
    };
    let host = setup.host().await?;
    let all = host.tools();
    let of_tool = all.iter().find(|tool| tool.id == name || tool.model_name() == name);
    let binding = of_tool.map_or(name, |tool| tool.binding.as_str());
    let found = host.bindings().into_iter().find(|known| known.name == binding);
    let Some(binding) = found else { return Err(unknown(name, &host)) };
    let tools = all.iter().filter(|tool| tool.binding == binding.name).cloned().collect();
    let (name, pin) = (&binding.name, &binding.pin);
    let standing = lock.as_ref().map(|lock| lock.standing(name, pin));
    let asks = lock.map(|lock| lock.beyond(name, pin)).unwrap_or_default();
    Ok(Inspected { binding, tools, standing, asks })
}

pub(super) fn unknown(name: &str, host: &Host) -> Failure {
    let known: Vec<_> = host.bindings().into_iter().map(|binding| binding.name).collect();
    let message = format!("there is no plugin or tool `{}`", one_line(name, 80));
    let mut hint = match known.is_empty() {
        true => "No plugin is bound.".to_owned(),
        false => format!("There are: {}", known.join(", ")),
    };
    for refused in host.refused() {
        hint.push_str(&format!("\nRefused: {refused}"));
    }
    Failure::new(Exit::Denied, message).hint(hint)
}

fn print(inspected: &Inspected, is_file: bool, screen: &mut Screen) -> io::Result<()> {
    let Inspected { binding, tools, standing, asks } = inspected;
    let width = screen.width();
    let out = screen.out();
    head(out, binding, is_file, width)?;

    writeln!(out, "\n{STRONG}This plugin can at most{STRONG:#}")?;
    reach(out, binding, is_file, width)?;

    if let Some(standing) = standing {
        writeln!(out, "\n{STRONG}By ampoule.lock{STRONG:#}")?;
        writeln!(out, "  {}", super::accept::words(*standing))?;
        super::accept::lines(out, asks)?;
    }

    writeln!(out, "\n{STRONG}Limits of a call{STRONG:#}")?;
    limits(&binding.limits).print(out, width)?;

    for tool in tools {
        writeln!(out)?;
        print_tool(out, tool, width)?;
    }
    if let Some(lines) = &binding.allow {
        writeln!(
            out,
            "\n{STRONG}To grant all it asks for{STRONG:#}, add to ampoule.toml, as narrow as you can:\n"
        )?;
        file_lines(out, lines)?;
    }
    Ok(())
}

fn head(
    out: &mut impl Write,
    binding: &BindingInfo,
    is_file: bool,
    width: Option<usize>,
) -> io::Result<()> {
    let manifest = binding.manifest.as_ref();
    let name = manifest.map_or(&binding.name, |manifest| &manifest.name);
    write!(out, "{STRONG}{}{STRONG:#}", safe(name))?;
    match manifest {
        Some(manifest) => {
            writeln!(out, " {}", safe(&manifest.version))?;
            writeln!(out, "{}", indented(&manifest.summary, "", width))?;
        }
        None => writeln!(out, "\nA component that knows nothing of Ampoule")?,
    }
    let mut table = Table::plain().indent(2);
    let mut row = |what: &str, value: String| table.row([paint(FAINT, what), value]);
    row("file", super::shown(&binding.path));
    if !is_file && *name != binding.name {
        row("bound as", binding.name.clone());
    }
    if let Some(license) = manifest.and_then(|manifest| manifest.license.as_ref()) {
        row("licence", one_line(license, 200));
    }
    if let Some(group) = manifest.and_then(|manifest| manifest.group.clone()) {
        row("group", group);
    }
    row("size", bytes(binding.size));
    row("digest", binding.digest.clone());
    if let Some(manifest) = manifest.filter(|manifest| !manifest.services.is_empty()) {
        row("serves", one_line(&manifest.services.join(", "), 200));
    }
    if manifest.is_some_and(|manifest| manifest.sessions) {
        row("sessions", "its instances may be kept between the calls of a session".into());
    }
    let imports = binding.imports.iter().map(|import| one_line(import, 120)).collect::<Vec<_>>();
    row("imports", if imports.is_empty() { "nothing".into() } else { imports.join(", ") });
    writeln!(out)?;
    table.print(out, width)
}

/// One line for each thing it asks for, with what is granted of it.
fn reach(
    out: &mut impl Write,
    binding: &BindingInfo,
    is_file: bool,
    width: Option<usize>,
) -> io::Result<()> {
    if binding.reach.is_empty() {
        return writeln!(out, "  compute: it reaches nothing outside itself");
    }
    let mut table = Table::plain().indent(2);
    for reach in &binding.reach {
        let state = match (is_file, reach.granted) {
            (true, _) => String::new(),
            (false, true) => paint(GOOD, "granted"),
            (false, false) => paint(WARN, "not granted"),
        };
        let mut action = safe(&reach.action).into_owned();
        if !reach.required && binding.manifest.is_some() {
            action.push_str(&paint(FAINT, " (optional)"));
        }
        if let Some(note) = reach.note.as_ref().filter(|_| reach.granted) {
            action.push_str(&paint(FAINT, format!(" ({})", safe(note))));
        }
        let cells = [state, action];
        // Nothing is granted to a file that is not bound, so there is nothing to say of it.
        table.row(cells.into_iter().skip(usize::from(is_file)));
    }
    table.print(out, width)?;
    match (&binding.missing, is_file) {
        (Some(_), false) => {
            writeln!(
                out,
                "  {}",
                paint(WARN, "It lacks something it requires: calls that need that are denied.")
            )
        }
        _ => Ok(()),
    }
}

/// The limits, those that differ from the host's own marked.
fn limits(limits: &Limits) -> Table {
    let mut table = Table::plain().indent(2).right([1, 4]);
    let cells: Vec<_> = limits
        .iter()
        .map(|(meter, n)| {
            let shown = if n == u64::MAX { "none".into() } else { meter.show(n) };
            let own = n != meter.default_limit() && meter != Meter::Stack;
            [meter.to_string(), if own { paint(CODE, shown) } else { shown }, " ".into()]
        })
        .collect();
    for pair in cells.chunks(2) {
        table.row(pair.iter().flatten().cloned());
    }
    table
}

fn print_tool(out: &mut impl Write, tool: &ToolDefinition, width: Option<usize>) -> io::Result<()> {
    let title = tool.title.as_ref().map(|title| format!(" · {}", one_line(title, 200)));
    let effects = paint(FAINT, format!("({})", effects(&tool.effects)));
    let id = safe(&tool.id);
    writeln!(
        out,
        "{STRONG}Tool{STRONG:#} {CODE}{id}{CODE:#}{} {effects}",
        title.unwrap_or_default()
    )?;
    writeln!(out, "{}", indented(&tool.description, "  ", width))?;
    let parameters = parameters(&tool.input_schema, 2);
    writeln!(out)?;
    match parameters.is_empty() {
        true => writeln!(out, "  {}", paint(FAINT, "no parameters"))?,
        false => parameters.print(out, width)?,
    }
    for example in &tool.examples {
        writeln!(out, "\n  {}", paint(FAINT, title_of(example)))?;
        writeln!(out, "    {CODE}{}{CODE:#}", one_line(&command(tool, example), EXAMPLE_CHARS))?;
        let answer = match (&example.value, &example.error) {
            (Some(value), _) => one_line(&value.to_string(), EXAMPLE_CHARS),
            (None, Some(code)) => format!("error {}", one_line(code, 80)),
            (None, None) => continue,
        };
        writeln!(out, "    {answer}")?;
    }
    Ok(())
}

fn title_of(example: &Example) -> String {
    example.title.as_ref().map_or_else(|| "example".to_owned(), |title| one_line(title, 200))
}

/// An example as one would type it.
pub(super) fn command(tool: &ToolDefinition, example: &Example) -> String {
    let arguments = example.arguments.to_string().replace('\'', "'\\''");
    format!("ampoule call {} '{arguments}'", tool.id)
}

/// What calling a tool may change, in words.
pub(super) fn effects(effects: &Effects) -> String {
    let mut words = Vec::new();
    match (effects.read_only, effects.destructive) {
        (true, _) => words.push("read-only"),
        (false, true) => words.push("may destroy"),
        (false, false) => words.push("adds only"),
    }
    if effects.idempotent && !effects.read_only {
        words.push("idempotent");
    }
    if effects.open_world {
        words.push("open world");
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_told_in_words() {
        assert_eq!(effects(&Effects::default()), "may destroy, open world");
        let pure =
            Effects { read_only: true, destructive: false, idempotent: true, open_world: false };
        assert_eq!(effects(&pure), "read-only");
    }

    #[test]
    fn all_limits_are_shown() {
        let mut out = Vec::new();
        limits(&Limits::default()).print(&mut out, None).expect("a vector takes all");
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(Meter::ALL.iter().all(|meter| text.contains(meter.name())), "{text}");
    }
}
