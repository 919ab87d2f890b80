//! The bindings that tests need beside the operator's: the same plugins with other grants and
//! limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ampoule::config::{BindingConfig, ConcurrencyConfig, GrantConfig, SecretGrant, SecretSource};
use ampoule::manifest::LimitValue;
use ampoule::{BindingInfo, Config, Host, HostError, Meter, ToolDefinition, Tools};

use crate::Options;
use crate::suite::Suite;

/// The only request that is granted for bad inputs. No name below `.invalid` is ever resolved
/// (RFC 6761, section 6.4).
const NOWHERE: &str = "GET http://ampoule.invalid/";

/// A name that no tool, service or secret has.
const NOBODY: &str = "ampoule-test-nobody";

/// Fuel of a bad input: what runs a second or less. To end by it is as good an end as another.
const BAD_INPUT_FUEL: u64 = 500_000_000;

/// Time of a bad input.
const BAD_INPUT_MS: u64 = 10_000;

/// Memory with which no guest of any use can begin: one page.
pub(crate) const HARDLY_ANY_MEMORY: u64 = 64 << 10;

/// A binding under test.
pub(crate) struct Subject {
    pub name: String,
    pub files: bool,
    /// Its tools, each with the same tool of the bindings for tests.
    pub tools: Vec<Subtool>,
    pub suites: Vec<(std::path::PathBuf, Suite)>,
}

/// A tool under test.
pub(crate) struct Subtool {
    pub tool: Arc<ToolDefinition>,
    /// The tool where it reaches nothing.
    pub sealed: Option<String>,
    /// The tool where it has hardly any memory.
    pub starved: Option<String>,
}

/// Binds each plugin twice more: so that it reaches nothing, and so that it has hardly any memory.
///
/// # Errors
/// See [`crate::test`].
pub(crate) async fn prepare(
    host: &Host,
    names: &[String],
    options: &Options,
) -> Result<Vec<Subject>, HostError> {
    let problem = |message: String| HostError::Config { path: "ampoule.toml".into(), message };
    let bound: BTreeMap<_, _> =
        host.bindings().into_iter().map(|info| (info.name.clone(), info)).collect();
    // The lock has let the others in already, and has no line for those that are added. What is not
    // tested is left out, so that nothing else of it is run.
    let mut config = Config { lock: None, ..host.config() };
    config.bindings.retain(|name, _| names.contains(name));
    config.concurrency = ConcurrencyConfig::default();
    config.secrets.insert(NOBODY.into(), SecretSource::Env(NOBODY.to_uppercase()));
    let mut others = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let info = bound.get(name).ok_or_else(|| problem(format!("`{name}` is not bound")))?;
        let own = config.bindings.remove(name).unwrap_or_default();
        // Bound by its own name it needs no entry, but the others need to name it.
        let plugin = own.plugin.clone().unwrap_or_else(|| name.clone());
        let plugin = Some(plugin);
        let own = BindingConfig {
            plugin: plugin.clone(),
            rate: None,
            http_rate: None,
            calls: None,
            grant: GrantConfig { files: asked_files(info).or(own.grant.files), ..own.grant },
            ..own
        };
        let sealed = BindingConfig { grant: nothing(info)?, ..own.clone() };
        let (sealed_name, starved_name) = (format!("test-{i}-sealed"), format!("test-{i}-starved"));
        let least = |meter: Meter, most: u64| {
            (meter.name().to_owned(), LimitValue::Number(info.limits.get(meter).min(most)))
        };
        let mut limits = own.limits.clone();
        limits.extend([least(Meter::Fuel, BAD_INPUT_FUEL), least(Meter::WallTime, BAD_INPUT_MS)]);
        let starved_limits = [least(Meter::Memory, HARDLY_ANY_MEMORY)].into();
        let starved = BindingConfig { limits: starved_limits, ..sealed.clone() };
        config.bindings.insert(sealed_name.clone(), BindingConfig { limits, ..sealed });
        config.bindings.insert(starved_name.clone(), starved);
        config.bindings.insert(name.clone(), own);
        others.push((sealed_name, starved_name));
    }
    host.reload(config).await?;
    let tools = host.tools();
    let mut subjects = Vec::new();
    for (name, (sealed, starved)) in names.iter().zip(&others) {
        let info = &bound[name];
        let twin = |binding: &str, tool: &ToolDefinition| {
            let mut twins = tools.iter().filter(|twin| twin.binding == binding);
            twins.find(|twin| twin.name == tool.name).map(|twin| twin.id.clone())
        };
        let own = tools.iter().filter(|tool| tool.binding == *name);
        let plugin = info.manifest.as_ref().map_or(name, |manifest| &manifest.name);
        let suites = match options.suites.get(plugin) {
            Some(folder) => Suite::read_all(folder)?,
            None => Vec::new(),
        };
        let tools: Vec<_> = own
            .map(|tool| Subtool {
                sealed: twin(sealed, tool),
                starved: twin(starved, tool),
                tool: tool.clone(),
            })
            .collect();
        known_tools(&tools, &suites)?;
        let files =
            info.imports.iter().any(|name| name.contains("files") || name.contains("filesystem"));
        subjects.push(Subject { name: name.clone(), files, tools, suites });
    }
    Ok(subjects)
}

/// # Errors
/// A case is of no tool.
fn known_tools(tools: &[Subtool], suites: &[(std::path::PathBuf, Suite)]) -> Result<(), HostError> {
    let names: BTreeSet<_> = tools.iter().map(|tool| tool.tool.name.as_str()).collect();
    for (path, suite) in suites {
        for case in &suite.cases {
            let found = match &case.tool {
                Some(tool) => names.contains(tool.as_str()),
                None => names.len() == 1,
            };
            if !found {
                let names: Vec<_> = names.iter().copied().collect();
                let message = format!(
                    "{:?}: `tool` must name one of the plugin's: {}",
                    case.title,
                    names.join(", ")
                );
                return Err(HostError::Config { path: path.clone(), message });
            }
        }
    }
    Ok(())
}

fn asked_files(info: &BindingInfo) -> Option<ampoule::manifest::FileAccess> {
    info.manifest.as_ref().and_then(|manifest| manifest.capabilities.all().files)
}

/// Grants with which a plugin is entered and reaches nothing but a workspace.
fn nothing(info: &BindingInfo) -> Result<GrantConfig, HostError> {
    let Some(manifest) = &info.manifest else { return Ok(GrantConfig::default()) };
    let fault = |error: String| HostError::Config { path: "ampoule.toml".into(), message: error };
    let asked = manifest.capabilities.all();
    let required = &manifest.capabilities;
    let mut grant = GrantConfig {
        ask: required.ask,
        files: asked.files,
        services: required.services.iter().map(|name| (name.clone(), NOBODY.into())).collect(),
        secrets: required
            .secrets
            .keys()
            .map(|name| (name.clone(), SecretGrant { secret: NOBODY.into(), audience: None }))
            .collect(),
        ..GrantConfig::default()
    };
    if !asked.http.is_empty() {
        grant.http.push(NOWHERE.parse().map_err(fault)?);
    }
    if !required.tools.is_empty() {
        grant.tools.push(NOBODY.parse().map_err(fault)?);
    }
    Ok(grant)
}
