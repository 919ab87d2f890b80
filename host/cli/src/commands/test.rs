//! `ampoule test`: examples, cases, bad inputs and limits of built plugins.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ampoule::config::BindingConfig;
use ampoule::manifest::{PluginFile, is_plugin_name};
use ampoule::{BindingInfo, Host};
use ampoule_testing::{Count, Failure as Failed, Kind, Options, Report};
use serde_json::json;

use crate::args::{Global, TestArgs};
use crate::exit::{Exit, Failure, file_error};
use crate::render::{BAD, CODE, FAINT, GOOD, STRONG, Screen, Table, WARN, one_line, paint, safe};
use crate::setup::Setup;

/// The longest line that a failure shows.
const MAX_LINE: usize = 600;

pub(super) async fn run(
    args: &TestArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let begin = Instant::now();
    let (host, names) = host(args, global).await?;
    let refused = host.refused();
    let bindings = host.bindings();
    let mut options = Options::default();
    for binding in bindings.iter().filter(|binding| names.contains(&binding.name)) {
        let name = plugin_name(binding);
        if let Some(folder) = suites(args, binding, name)? {
            options.suites.insert(name.to_owned(), folder);
        }
    }
    let reports = ampoule_testing::test(&host, &names, &options).await?;
    // What is refused and what fails are both no success.
    let unbound = args.all && !refused.is_empty();
    let passed = reports.iter().all(Report::passed) && !unbound;
    if screen.json {
        screen.document(&json!({ "plugins": reports, "refused": refused }))?;
    } else {
        print(&reports, global.verbose > 0, screen)?;
        if args.all {
            refused.iter().try_for_each(|reason| screen.warn(format_args!("refused: {reason}")))?;
        }
        screen.note(format_args!("{:.1} s", begin.elapsed().as_secs_f64()))?;
    }
    Ok(if passed { Exit::Ok } else { Exit::Failed })
}

/// A host with what is to be tested, and the names of the bindings.
async fn host(args: &TestArgs, global: &Global) -> Result<(Host, Vec<String>), Failure> {
    let mut files = Vec::new();
    let mut names = Vec::new();
    for what in &args.what {
        let path = Path::new(what);
        match path.is_dir() {
            true if !is_plugin_name(what) || path.join("plugin.toml").is_file() => {
                files.extend(of_folder(path)?);
            }
            _ if what.ends_with(".wasm") => files.push(path.to_owned()),
            _ => names.push(what.clone()),
        }
    }
    if args.cases.is_some() && args.what.len() != 1 {
        return Err(Failure::usage("`--cases` is for one plugin"));
    }
    let mut setup = Setup::find(global)?;
    if files.is_empty() {
        setup = setup.with_plugins()?;
    }
    // Each call would be a line.
    setup.config.journal = None;
    if args.bound_as.is_some() && files.is_empty() {
        return Err(Failure::usage("`--as` is for a plugin's file or folder"));
    }
    for file in files {
        names.push(bind_file(&mut setup, args, global, &file).await?);
    }
    let host = setup.host().await?;
    let bound: Vec<_> = host.bindings().into_iter().map(|binding| binding.name).collect();
    if args.all {
        return Ok((host, bound));
    }
    match names.iter().find(|name| !bound.contains(name)) {
        Some(unknown) => Err(super::inspect::unknown(unknown, &host)),
        None => Ok((host, names)),
    }
}

/// Binds a file under the plugin's own name. It has chosen that name itself, so what the
/// configuration grants the name is not the file's: it has what `--as` says, or nothing.
async fn bind_file(
    setup: &mut Setup,
    args: &TestArgs,
    global: &Global,
    file: &Path,
) -> Result<String, Failure> {
    let BindingInfo { name, pin, .. } = super::inspect::of_file(global, file).await?.binding;
    let path = std::path::absolute(file).map_err(file_error(file))?;
    let mut binding = match &args.bound_as {
        Some(wanted) => setup.config.bindings.get(wanted).cloned().ok_or_else(|| {
            let wanted = one_line(wanted, 80);
            Failure::usage(format!("ampoule.toml has no [bindings.{wanted}] for `--as`"))
        })?,
        None => BindingConfig::default(),
    };
    binding.plugin = Some(path.to_string_lossy().into_owned());
    setup.config.bindings.insert(name.clone(), binding);
    if let Some(lock) = &mut setup.config.lock {
        lock.bindings.insert(name.clone(), pin);
    }
    Ok(name)
}

/// The plugins of a folder: the built file of a source folder, or the files in it.
fn of_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let author = folder.join("plugin.toml");
    if !author.is_file() {
        let entries = folder.read_dir().map_err(file_error(folder))?;
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "wasm"));
        files.sort();
        return match files.is_empty() {
            true => {
                let message = format!("there is no plugin in {}", folder.display());
                Err(Failure::configuration(message))
            }
            false => Ok(files),
        };
    }
    let folder = std::path::absolute(folder).map_err(file_error(folder))?;
    let own = PluginFile::read(&author)?.name;
    let of_folder = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = own.or(of_folder).unwrap_or_default();
    let file = format!("target/plugins/{name}.wasm");
    let built = folder.ancestors().map(|above| above.join(&file)).find(|file| file.is_file());
    let built = built.ok_or_else(|| {
        Failure::configuration(format!("{name} is not built: there is no {file} here or above"))
            .hint("Build it with `ampoule build`, or name its file.")
    })?;
    Ok(vec![built])
}

fn plugin_name(binding: &BindingInfo) -> &str {
    binding.manifest.as_ref().map_or(&binding.name, |manifest| &manifest.name)
}

/// The folder of a plugin's suites, if it has one.
fn suites(args: &TestArgs, binding: &BindingInfo, name: &str) -> Result<Option<PathBuf>, Failure> {
    if let Some(folder) = &args.cases {
        return match folder.is_dir() {
            true => Ok(Some(folder.clone())),
            false => Err(Failure::usage(format!("{} is not a folder", folder.display()))),
        };
    }
    // A source folder that was named has its own beside plugin.toml.
    let named = args.what.iter().map(|what| Path::new(what).join("tests"));
    let mut named = named.filter(|folder| folder.with_file_name("plugin.toml").is_file());
    if args.what.len() == 1
        && let Some(folder) = named.find(|folder| folder.is_dir())
    {
        return Ok(Some(folder));
    }
    found_suites(binding, name)
}

/// The folder of a plugin's suites as it is found here, beside its file or above.
pub(super) fn found_suites(binding: &BindingInfo, name: &str) -> Result<Option<PathBuf>, Failure> {
    let here = std::env::current_dir().map_err(file_error(Path::new(".")))?;
    let file = std::path::absolute(&binding.path).map_err(file_error(&binding.path))?;
    Ok(ampoule_testing::find_suites(name, [here.as_path(), file.as_path()]))
}

fn print(reports: &[Report], verbose: bool, screen: &mut Screen) -> Result<(), Failure> {
    let width = screen.width();
    let out = screen.out();
    let mut table =
        Table::new(["", "plugin", "examples", "cases", "bad inputs", "limits"]).right([2, 3, 4]);
    for report in reports {
        table.row([
            if report.passed() { paint(GOOD, "ok") } else { paint(BAD, "FAIL") },
            report.binding.clone(),
            count(report.examples),
            count(report.cases),
            count(report.bad_inputs),
            count(report.limits),
        ]);
    }
    table.print(out, width)?;
    for report in reports {
        for failure in &report.failures {
            print_failure(out, &report.binding, failure)?;
        }
    }
    let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for report in reports {
        for skipped in &report.skipped {
            *reasons.entry((&report.binding, &skipped.why)).or_default() += 1;
            if verbose {
                let title = one_line(&skipped.title, 120);
                let why = one_line(&skipped.why, 200);
                let kind = word(skipped.kind);
                writeln!(out, "\nskipped: {}, {kind} \"{title}\": {why}", report.binding)?;
            }
        }
    }
    if !verbose {
        for ((binding, why), n) in reasons {
            let why = one_line(why, 200);
            writeln!(out, "{}", paint(FAINT, format_args!("skipped: {binding}, {n}: {why}")))?;
        }
    }
    Ok(())
}

/// `7`, or `7 of 9` where some failed, with those that were left out.
fn count(count: Count) -> String {
    let Count { passed, failed, skipped } = count;
    let mut text = match failed {
        0 => passed.to_string(),
        _ => paint(WARN, format_args!("{passed} of {}", passed + failed)),
    };
    if skipped > 0 {
        text.push_str(&format!(", {skipped} skipped"));
    }
    text
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Example => "example",
        Kind::Case => "case",
        Kind::BadInput => "bad input",
        Kind::Limit => "limit",
    }
}

fn print_failure(out: &mut impl Write, binding: &str, failure: &Failed) -> Result<(), Failure> {
    let title = one_line(&failure.title, MAX_LINE);
    let tool = match failure.tool == binding {
        true => binding.to_owned(),
        false => format!("{binding}/{}", safe(&failure.tool)),
    };
    write!(out, "\n{STRONG}{tool}{STRONG:#}, {} \"{title}\"", word(failure.kind))?;
    match &failure.file {
        Some(file) => writeln!(out, " {}", paint(FAINT, super::shown(file)))?,
        None => writeln!(out)?,
    }
    let mut table = Table::plain().indent(2);
    let line = |text: &str| one_line(text, MAX_LINE);
    table.row([paint(FAINT, "arguments"), paint(CODE, line(&failure.arguments))]);
    table.row([paint(FAINT, "expected"), line(&failure.expected)]);
    table.row([paint(FAINT, "found"), paint(WARN, line(&failure.found))]);
    for difference in &failure.differences {
        table.row([String::new(), line(difference)]);
    }
    table.print(out, None)?;
    Ok(())
}
