//! `ampoule docs`: the catalogue of plugins, as Markdown.

mod page;
mod suites;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ampoule::{Catalogs, Host, Tools};
use serde_json::json;

use crate::args::{DocsArgs, Global};
use crate::exit::{Exit, Failure, file_error};
use crate::render::Screen;
use crate::setup::Setup;

/// What each file begins with; only files that do are ever replaced or removed.
const MARK: &str = "<!-- Written by `ampoule docs`. -->\n";

/// The index.
const INDEX: &str = "README.md";

pub(super) async fn run(
    args: &DocsArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let mut setup = Setup::find(global)?.with_plugins()?;
    // Only plugins under their own names, as they come: neither bindings nor what is granted.
    setup.config.bindings.clear();
    setup.config.principals.clear();
    setup.config.lock = None;
    setup.catalogs = Catalogs::none();
    setup.config.journal = None;
    let host = setup.host().await?;
    if let Some(reason) = host.refused().first() {
        return Err(Failure::configuration(reason.clone())
            .hint("The catalogue would not be whole; nothing is written."));
    }
    let files = files(&host)?;
    let folder = args.dir.as_path();
    let stale = stale(folder, &files)?;
    let mut changed = Vec::new();
    for (name, text) in &files {
        let path = folder.join(name);
        match fs::read_to_string(&path) {
            Ok(there) if there == *text => {}
            Ok(there) if !there.starts_with(MARK) => {
                let message = format!("{} was not written by this command", path.display());
                return Err(Failure::configuration(message)
                    .hint("Name another folder, or remove the file."));
            }
            _ => changed.push(name.clone()),
        }
    }
    if !args.check {
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        for name in &changed {
            let path = folder.join(name);
            fs::write(&path, &files[name]).map_err(file_error(&path))?;
        }
        for name in &stale {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(file_error(&path))?;
        }
    }
    if screen.json {
        screen.document(&json!({ "pages": files.len(), "changed": changed, "stale": stale }))?;
    } else {
        let done = if args.check { "is not up to date" } else { "is written" };
        for name in &changed {
            screen.note(format_args!("{} {done}", super::shown(&folder.join(name))))?;
        }
        let done = if args.check { "is of no plugin any more" } else { "is removed" };
        for name in &stale {
            screen.note(format_args!("{} {done}", super::shown(&folder.join(name))))?;
        }
    }
    let current = changed.is_empty() && stale.is_empty();
    Ok(if args.check && !current { Exit::Failed } else { Exit::Ok })
}

/// The page of one binding, where it has a manifest.
pub(super) fn page_of(host: &Host, name: &str) -> Option<String> {
    let binding = host.bindings().into_iter().find(|binding| binding.name == name)?;
    let tools = host.tools();
    let tools: Vec<_> = tools.iter().filter(|tool| tool.binding == name).collect();
    Some(page::of_plugin(&binding, binding.manifest.as_ref()?, &tools))
}

/// All files of the catalogue, by their names.
fn files(host: &Host) -> Result<BTreeMap<String, String>, Failure> {
    let tools = host.tools();
    let bindings = host.bindings();
    let plugins = bindings.iter().filter_map(|binding| {
        let manifest = binding.manifest.as_ref()?;
        Some((binding, manifest))
    });
    let plugins: Vec<_> = plugins.collect();
    let mut files = BTreeMap::new();
    let mut conformance = Vec::new();
    for (binding, manifest) in &plugins {
        let tools: Vec<_> = tools.iter().filter(|tool| tool.binding == binding.name).collect();
        let mut page = page::of_plugin(binding, manifest, &tools);
        let suites = suites::of_plugin(binding, manifest)?;
        page.push_str(&page::conformance(&suites));
        files.insert(format!("{}.md", binding.name), format!("{MARK}\n{page}"));
        conformance.push((binding.name.as_str(), suites));
    }
    let index = page::index(&plugins) + &page::conformance_index(&conformance);
    files.insert(INDEX.to_owned(), format!("{MARK}\n{index}"));
    Ok(files)
}

/// The pages in a folder that this command has written and would not write now.
fn stale(folder: &Path, files: &BTreeMap<String, String>) -> Result<Vec<String>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut stale = Vec::new();
    for entry in folder.read_dir().map_err(file_error(folder))? {
        let path = entry.map_err(file_error(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_page = path.extension().is_some_and(|ending| ending == "md");
        let ours = || fs::read_to_string(&path).is_ok_and(|text| text.starts_with(MARK));
        if is_page && !files.contains_key(&name) && ours() {
            stale.push(name);
        }
    }
    stale.sort();
    Ok(stale)
}
