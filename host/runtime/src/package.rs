//! Making a plugin's file: a component, and beside it what its author wrote, become one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ampoule_contract::Example;
use serde::Deserialize;
use serde_json::Value;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre, Linker, Val};

use crate::binary::{self, Binary};
use crate::bindings::exports::ampoule::plugin::describe;
use crate::engine::FUEL_YIELD_INTERVAL;
use crate::error::HostError;
use crate::limits::Limiter;
use crate::manifest::{Manifest, PluginFile, ToolManifest};
use crate::preinit;

/// A plugin's file in the making.
#[derive(Debug)]
pub struct Package {
    /// The component with its manifest.
    pub wasm: Vec<u8>,
    /// The manifest.
    pub manifest: Manifest,
    /// What is declared and not imported: asking for more than the code can use.
    pub unused: Vec<String>,
}

/// Fuel for `describe`, which only builds schemas.
const DESCRIBE_FUEL: u64 = 2_000_000_000;

/// Memory for `describe`.
const DESCRIBE_MEMORY: u64 = 256 << 20;

/// Time for `describe`: what its fuel takes on a slow and busy machine.
const DESCRIBE_TIME: Duration = Duration::from_secs(30);

/// What a component made with an SDK says of itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Description {
    tools: Vec<ToolManifest>,
    services: Vec<String>,
    settings_schema: Option<Value>,
}

/// Writes the manifest into the component `wasm` from what it says of itself and from
/// `plugin.toml`, `examples.json` and `Cargo.toml` in `folder`, each where it is there.
///
/// A component that exports `wizer-initialize` is pre-initialised: the function is run, and the
/// file holds the memory it leaves. Then the component's hidden `describe` is run; both with no
/// import live and under limits. Must be called within a Tokio runtime.
///
/// # Errors
/// A file is malformed, the component is not one, or the two do not fit together: an import that
/// is not declared, an export that is promised and absent, a tool without a description, an
/// example of no tool.
pub async fn pack(wasm: &[u8], folder: &Path) -> Result<Package, HostError> {
    let refused = |message: String| HostError::plugin(folder, message);
    let binary = Binary::read(wasm).map_err(refused)?;
    let started;
    let wasm = match preinit::is_wanted(&binary) {
        true => {
            started = start(wasm).await.map_err(refused)?;
            started.as_slice()
        }
        false => wasm,
    };
    let description = match binary.exports("ampoule:plugin/describe") {
        true => describe(wasm, DESCRIBE_TIME).await.map_err(refused)?,
        false => Description::default(),
    };
    let manifest = merge(description, folder)?;
    manifest.check().map_err(refused)?;
    binary::check_imports(&manifest, &binary).map_err(refused)?;
    crate::plugin::check_exports(&manifest, &binary).map_err(refused)?;
    for tool in &manifest.tools {
        for schema in [Some(&tool.input_schema), tool.output_schema.as_ref()].into_iter().flatten()
        {
            crate::schema::Schema::new(schema.clone()).compile().map_err(|error| {
                refused(format!("a schema of `{}` cannot be used: {error}", tool.name))
            })?;
        }
    }
    let wasm = binary::with_manifest(wasm, &manifest).map_err(refused)?;
    Ok(Package { unused: unused(&manifest, &binary), wasm, manifest })
}

/// Pre-initialises a component.
async fn start(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let engine = crate::engine::compiling().map_err(|error| error.to_string())?;
    let started = preinit::run(&engine, wasm, no_imports).await;
    started.map_err(|error| format!("it cannot be pre-initialised: {error:#}"))
}

async fn describe(wasm: &[u8], time: Duration) -> Result<Description, String> {
    let failed = |error: wasmtime::Error| format!("its `describe` failed: {error:#}");
    let engine = crate::engine::compiling().map_err(|error| error.to_string())?;
    let component = Component::from_binary(&engine, wasm).map_err(failed)?;
    let linker = no_imports(&component).map_err(failed)?;
    let pre = linker.instantiate_pre(&component).map_err(failed)?;
    let text = match tokio::time::timeout(time, ask(&pre)).await {
        Ok(text) => text.map_err(failed)?,
        Err(_) => return Err(format!("its `describe` did not end within {time:?}")),
    };
    crate::json::check(&text).map_err(|problem| format!("its `describe` answered: {problem}"))?;
    serde_json::from_str(&text).map_err(|error| format!("its `describe` answered: {error}"))
}

/// What an instance describes itself with.
async fn ask(pre: &InstancePre<Limiter>) -> wasmtime::Result<String> {
    let mut store = Store::new(pre.engine(), Limiter::of(DESCRIBE_MEMORY));
    store.limiter(|limiter| limiter);
    store.set_fuel(DESCRIBE_FUEL)?;
    store.fuel_async_yield_interval(Some(FUEL_YIELD_INTERVAL))?;
    let instance = pre.instantiate_async(&mut store).await?;
    let guest = describe::GuestIndices::new(pre)?.load(&mut store, &instance)?;
    guest.call_describe(&mut store).await
}

/// Imports that trap, but for clocks that stand still and randomness that is zero: hash maps of
/// some guests ask for a seed even to describe themselves.
fn no_imports(component: &Component) -> wasmtime::Result<Linker<Limiter>> {
    let mut linker = Linker::new(component.engine());
    linker.define_unknown_imports_as_traps(component)?;
    linker.allow_shadowing(true);
    let names: Vec<String> = {
        let ty = component.component_type();
        ty.imports(component.engine()).map(|(name, _)| name.to_owned()).collect()
    };
    for name in names {
        let (function, answer) = match binary::without_version(&name) {
            "wasi:clocks/wall-clock" => {
                let fields = vec![
                    ("seconds".to_owned(), Val::U64(0)),
                    ("nanoseconds".to_owned(), Val::U32(0)),
                ];
                ("now", Val::Record(fields))
            }
            "wasi:clocks/monotonic-clock" => ("now", Val::U64(0)),
            "wasi:random/random" => ("get-random-u64", Val::U64(0)),
            "wasi:random/insecure-seed" => {
                ("insecure-seed", Val::Tuple(vec![Val::U64(0), Val::U64(0)]))
            }
            _ => continue,
        };
        linker.instance(&name)?.func_new(function, move |_, _, _, results| {
            results[0] = answer.clone();
            Ok(())
        })?;
    }
    Ok(linker)
}

/// What `Cargo.toml` says, of which only this is read.
#[derive(Default, Deserialize)]
struct CargoFile {
    package: Option<CargoPackage>,
}

#[derive(Default, Deserialize)]
struct CargoPackage {
    name: Option<String>,
    version: Option<toml::Value>,
    description: Option<toml::Value>,
    license: Option<toml::Value>,
}

fn merge(description: Description, folder: &Path) -> Result<Manifest, HostError> {
    let author = folder.join("plugin.toml");
    let file = match author.exists() {
        true => PluginFile::read(&author)?,
        false => PluginFile::default(),
    };
    let cargo = cargo_package(folder)?;
    let refused = |message: String| HostError::config(&author, message);
    let missing = |what: &str| refused(format!("`{what}` is missing here and in Cargo.toml"));
    let mut tools = description.tools;
    for (name, more) in file.tools {
        let at = tools.iter().position(|tool| tool.name == name);
        let tool = match at {
            Some(at) => &mut tools[at],
            None => {
                tools.push(ToolManifest { name: name.clone(), ..ToolManifest::default() });
                tools.last_mut().expect("one was pushed")
            }
        };
        tool.kind = more.kind.unwrap_or(tool.kind);
        tool.title = more.title.or(tool.title.take());
        tool.effects = more.effects.unwrap_or(tool.effects);
        tool.output_schema = more.output_schema.or(tool.output_schema.take());
        if let Some(description) = more.description {
            tool.description = description;
        }
        match more.input_schema {
            Some(schema) => tool.input_schema = schema,
            None if tool.input_schema.is_null() => {
                return Err(refused(format!(
                    "the code has no tool `{name}`; a whole tool needs `description` and \
                     `input-schema` in [tools.{name}]"
                )));
            }
            None => {}
        }
    }
    if let Some(tool) = tools.iter().find(|tool| tool.description.trim().is_empty()) {
        return Err(refused(format!("the tool `{}` has no description", tool.name)));
    }
    for (name, examples) in examples(folder)? {
        let Some(tool) = tools.iter_mut().find(|tool| tool.name == name) else {
            let message = format!("there is no tool `{name}`");
            return Err(HostError::config(folder.join("examples.json"), message));
        };
        tool.examples = examples;
    }
    let mut services = description.services;
    services.extend(file.services);
    services.dedup();
    Ok(Manifest {
        name: file.name.or(cargo.name).ok_or_else(|| missing("name"))?,
        version: match file.version.or(text(cargo.version, folder, "version")) {
            Some(version) => version,
            None => return Err(missing("version")),
        },
        summary: match file.summary.or(text(cargo.description, folder, "description")) {
            Some(summary) => summary,
            None => return Err(missing("summary")),
        },
        group: file.group,
        license: file.license.or(text(cargo.license, folder, "license")),
        capabilities: file.capabilities,
        limits: file.limits,
        sessions: file.sessions,
        settings_schema: file.settings_schema.or(description.settings_schema),
        tools,
        services,
    })
}

fn cargo_package(folder: &Path) -> Result<CargoPackage, HostError> {
    let path = folder.join("Cargo.toml");
    if !path.exists() {
        return Ok(CargoPackage::default());
    }
    let text = std::fs::read_to_string(&path).map_err(HostError::io(&path))?;
    let file: CargoFile = toml::from_str(&text).map_err(|error| HostError::config(&path, error))?;
    Ok(file.package.unwrap_or_default())
}

/// A value of `Cargo.toml`, looked up in the workspace's where it is `{ workspace = true }`.
fn text(value: Option<toml::Value>, folder: &Path, key: &str) -> Option<String> {
    match value? {
        toml::Value::String(text) => Some(text),
        toml::Value::Table(table) if table.get("workspace")?.as_bool()? => {
            let folder = folder.canonicalize().ok()?;
            let root = folder.ancestors().skip(1).find_map(|above| {
                let text = std::fs::read_to_string(above.join("Cargo.toml")).ok()?;
                toml::from_str::<toml::Table>(&text).ok()?.remove("workspace")
            });
            Some(root?.get("package")?.get(key)?.as_str()?.to_owned())
        }
        _ => None,
    }
}

/// The examples of a folder's tools, by tool.
fn examples(folder: &Path) -> Result<BTreeMap<String, Vec<Example>>, HostError> {
    let path = folder.join("examples.json");
    if path.exists() { read_examples(&path) } else { Ok(BTreeMap::new()) }
}

/// Reads `examples.json`: the examples of each tool, by the tool's name.
///
/// # Errors
/// It cannot be read, or is not what such a file may be; with the line where it is known.
pub fn read_examples(path: &Path) -> Result<BTreeMap<String, Vec<Example>>, HostError> {
    let text = std::fs::read_to_string(path).map_err(HostError::io(path))?;
    let examples: BTreeMap<String, Vec<Example>> =
        serde_json::from_str(&text).map_err(|error| HostError::config(path, error))?;
    for (tool, examples) in &examples {
        if examples.iter().any(|example| example.value.is_some() && example.error.is_some()) {
            let message = format!("`{tool}`: an example has a `value` or an `error`, not both");
            return Err(HostError::config(path, message));
        }
    }
    Ok(examples)
}

/// What a manifest declares and the component does not import.
fn unused(manifest: &Manifest, binary: &Binary) -> Vec<String> {
    let all = manifest.capabilities.all();
    let imports = |prefix: &str| binary.imports(prefix);
    let wasi = imports("wasi:");
    let http = imports("ampoule:plugin/http") || imports("wasi:http");
    [
        ("clock", all.clock, imports("ampoule:plugin/clock") || wasi),
        ("random", all.random, imports("ampoule:plugin/random") || wasi),
        ("ask", all.ask, imports("ampoule:plugin/ask")),
        ("http", !all.http.is_empty(), http),
        (
            "files",
            all.files.is_some(),
            imports("ampoule:plugin/files") || imports("wasi:filesystem"),
        ),
        ("tools", !all.tools.is_empty(), imports("ampoule:plugin/tools")),
        ("secrets", !all.secrets.is_empty(), http || imports("ampoule:plugin/secrets")),
        ("services", !all.services.is_empty(), imports("ampoule:llm")),
    ]
    .into_iter()
    .filter(|(_, declared, used)| *declared && !used)
    .map(|(name, ..)| name.to_owned())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component whose `describe` does `body`; at 0 there is the text `{}`.
    fn component(body: &str) -> Vec<u8> {
        let text = format!(
            r#"(component
                (core module $m
                    (memory (export "memory") 1)
                    (data (i32.const 0) "\10\00\00\00\02\00\00\00")
                    (data (i32.const 16) "{{}}")
                    (func (export "describe") (result i32) {body}))
                (core instance $i (instantiate $m))
                (func $describe (result string)
                    (canon lift (core func $i "describe") (memory $i "memory")))
                (instance $e (export "describe" (func $describe)))
                (export "ampoule:plugin/describe@1.0.0" (instance $e)))"#
        );
        wat::parse_str(text).expect("a component")
    }

    #[tokio::test]
    async fn describe_is_run_under_limits_of_which_time_is_one() {
        let answers = describe(&component("(i32.const 0)"), DESCRIBE_TIME).await;
        assert!(answers.is_ok_and(|description| description.tools.is_empty()));
        let error = describe(&component("(unreachable)"), DESCRIBE_TIME).await.err();
        assert!(error.is_some_and(|error| error.starts_with("its `describe` failed")));
        let endless = component("(loop $again (br $again)) (unreachable)");
        let error = describe(&endless, Duration::from_millis(20)).await.err();
        assert_eq!(error.as_deref(), Some("its `describe` did not end within 20ms"));
    }
}
