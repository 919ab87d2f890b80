//! Which plugins there are, under which names: a snapshot, replaced whole at a reload.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ampoule_contract::{Denial, Effects, Limits, Meter, ToolDefinition, ToolKind};
use serde_json::Value;

use crate::cache::{INDEX, Index};
use crate::config::{BindingConfig, Config};
use crate::error::HostError;
use crate::grants::Grants;
use crate::manifest::{Manifest, Requests, ToolManifest, limits_over};
use crate::plugin::{Compiler, Plugin};
use crate::schema::Schema;

/// All bindings and tools of a host at one time.
#[derive(Default)]
pub(crate) struct Registry {
    pub bindings: BTreeMap<String, Arc<Binding>>,
    pub tools: BTreeMap<String, Arc<BoundTool>>,
    /// Files and bindings that were refused, and why. The others work all the same.
    pub refused: Vec<HostError>,
}

/// A plugin under a name, with settings, grants and limits.
pub(crate) struct Binding {
    pub name: String,
    pub plugin: Arc<Plugin>,
    /// The settings, a JSON object.
    pub settings: String,
    pub grants: Grants,
    pub requests: Requests,
    pub config: BindingConfig,
    pub limits: Limits,
    /// Why none of its tools can be called: something it cannot do without is not granted.
    pub missing: Option<Denial>,
}

/// A tool of a binding, with its schemas.
pub(crate) struct BoundTool {
    pub definition: Arc<ToolDefinition>,
    pub binding: Arc<Binding>,
    pub input: Schema,
    pub output: Option<Schema>,
    pub entry: EntryPoint,
}

/// How a tool is entered.
pub(crate) enum EntryPoint {
    /// `tool.call`.
    Tool,
    /// `component.process`.
    Component,
    /// An exported function of a component without a manifest, by its place in
    /// [`Code::reflected`](crate::plugin::Code::reflected).
    Function(usize),
}

impl Registry {
    /// Reads every plugin on the search path and binds it as the configuration says.
    ///
    /// # Errors
    /// The configuration itself is unusable. A plugin that is refused is no error: it is listed.
    pub(crate) async fn load(
        config: &Config,
        compiler: &Arc<Compiler>,
    ) -> Result<Registry, HostError> {
        config.caps().map_err(|error| HostError::config("ampoule.toml", error))?;
        let mut index: Index =
            compiler.cache.as_ref().map(|cache| cache.table(INDEX)).unwrap_or_default();
        let mut registry = Registry::default();
        let mut plugins = BTreeMap::new();
        for path in registry.search(&config.plugins) {
            match Plugin::read(&path, &mut index) {
                Ok(plugin) => {
                    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    let name = plugin.manifest.as_ref().map_or(stem, |m| m.name.clone());
                    plugins.entry(name).or_insert_with(|| Arc::new(plugin));
                }
                Err(error) => registry.refused.push(error),
            }
        }
        for (name, binding) in &config.bindings {
            let wanted = binding.plugin.as_deref().unwrap_or(name);
            let plugin = match plugins.get(wanted) {
                Some(plugin) => Ok(plugin.clone()),
                None if binding.plugin.is_some() && wanted.contains(['/', '.']) => {
                    Plugin::read(Path::new(wanted), &mut index).map(Arc::new)
                }
                None => {
                    let message = format!(
                        "[bindings.{name}]: there is no plugin `{wanted}` on the search path"
                    );
                    Err(HostError::config("ampoule.toml", message))
                }
            };
            let bound = match plugin {
                Ok(plugin) => registry.bind(name, plugin, config, binding, compiler).await,
                Err(error) => Err(error),
            };
            if let Err(error) = bound {
                registry.refused.push(error);
            }
        }
        for (name, plugin) in plugins {
            if registry.bindings.contains_key(&name) || config.bindings.contains_key(&name) {
                continue;
            }
            let bound = match plugin.manifest {
                Some(_) => {
                    let nothing = BindingConfig::default();
                    registry.bind(&name, plugin, config, &nothing, compiler).await
                }
                None => {
                    let message = format!(
                        "it has no manifest; bind it in ampoule.toml to use it:\n\
                         [bindings.{name}]\nplugin = {:?}",
                        plugin.path.to_string_lossy()
                    );
                    Err(HostError::plugin(&plugin.path, message))
                }
            };
            if let Err(error) = bound {
                registry.refused.push(error);
            }
        }
        if let Some(cache) = &compiler.cache {
            index.retain_existing();
            cache.store_table(INDEX, &index);
        }
        Ok(registry)
    }

    /// The plugins' files on the search path, in order.
    fn search(&mut self, path: &[PathBuf]) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for place in path {
            if place.is_file() {
                files.push(place.clone());
                continue;
            }
            match std::fs::read_dir(place) {
                Ok(entries) => {
                    let entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
                    let mut found: Vec<_> = entries
                        .filter(|path| path.extension().is_some_and(|ending| ending == "wasm"))
                        .collect();
                    found.sort();
                    files.extend(found);
                }
                Err(source) => {
                    self.refused.push(HostError::Io { path: place.clone(), source });
                }
            }
        }
        files
    }

    async fn bind(
        &mut self,
        name: &str,
        plugin: Arc<Plugin>,
        all: &Config,
        config: &BindingConfig,
        compiler: &Arc<Compiler>,
    ) -> Result<(), HostError> {
        let refused = |message: String| {
            HostError::plugin(&plugin.path, format!("bound as `{name}`: {message}"))
        };
        let (requests, base) = match &plugin.manifest {
            Some(manifest) => (manifest.capabilities.clone(), manifest.limits()),
            // The binding stands for the manifest: what is granted is what is asked for.
            None => (crate::reach::requested_by(&config.grant), Limits::default()),
        };
        let limits = all.limits_of(&base, config).map_err(refused)?;
        let limits = limits.with(Meter::Stack, crate::engine::GUEST_STACK_BYTES as u64);
        let settings = Value::Object(config.settings.clone());
        if let Some(schema) = plugin.manifest.as_ref().and_then(|m| m.settings_schema.clone()) {
            let checked = Schema::new(schema).validate(&settings);
            checked.map_err(|problem| refused(format!("settings: {problem}")))?;
        }
        let grants = Grants::new(name, &requests, &config.grant);
        let binding = Arc::new(Binding {
            name: name.to_owned(),
            settings: settings.to_string(),
            missing: grants.missing(&requests),
            grants,
            requests,
            config: config.clone(),
            limits,
            plugin: plugin.clone(),
        });
        let tools = match &plugin.manifest {
            Some(manifest) => from_manifest(manifest),
            None => reflected(&plugin, compiler).await?,
        };
        let alone = tools.len() == 1;
        for (tool, entry) in tools {
            let id = if alone { name.to_owned() } else { format!("{name}/{}", tool.name) };
            let definition = ToolDefinition {
                id: id.clone(),
                binding: name.to_owned(),
                name: tool.name,
                kind: tool.kind,
                title: tool.title,
                description: tool.description,
                input_schema: tool.input_schema.clone(),
                output_schema: tool.output_schema.clone(),
                effects: tool.effects,
                examples: tool.examples,
                digest: plugin.digest.clone(),
            };
            let bound = BoundTool {
                definition: Arc::new(definition),
                binding: binding.clone(),
                input: Schema::new(tool.input_schema),
                output: tool.output_schema.map(Schema::new),
                entry,
            };
            self.tools.insert(id, Arc::new(bound));
        }
        self.bindings.insert(name.to_owned(), binding);
        Ok(())
    }

    /// The tool with an id, or with the name of an id for models.
    pub(crate) fn tool(&self, id: &str) -> Option<&Arc<BoundTool>> {
        self.tools.get(id).or_else(|| self.tools.get(&id.replacen("__", "/", 1))).or_else(|| {
            // `binding/tool` also names the only tool of a binding.
            let (binding, name) = id.split_once('/')?;
            self.tools.get(binding).filter(|tool| tool.definition.name == name)
        })
    }
}

fn from_manifest(manifest: &Manifest) -> Vec<(ToolManifest, EntryPoint)> {
    let tools = manifest.tools.iter().cloned();
    tools
        .map(|tool| match tool.kind {
            ToolKind::Tool => (tool, EntryPoint::Tool),
            ToolKind::Component => (tool, EntryPoint::Component),
        })
        .collect()
}

async fn reflected(
    plugin: &Arc<Plugin>,
    compiler: &Arc<Compiler>,
) -> Result<Vec<(ToolManifest, EntryPoint)>, HostError> {
    let code = plugin.code(compiler).await?;
    let offered = code.reflected.iter().enumerate().filter(|(_, tool)| tool.unsupported.is_none());
    Ok(offered
        .map(|(at, tool)| {
            let manifest = ToolManifest {
                name: tool.name.clone(),
                kind: ToolKind::Tool,
                title: None,
                description: tool.description.clone(),
                input_schema: tool.input_schema.clone(),
                output_schema: tool.output_schema.clone(),
                effects: Effects::default(),
                examples: Vec::new(),
            };
            (manifest, EntryPoint::Function(at))
        })
        .collect())
}
