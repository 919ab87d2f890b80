//! Which plugins there are, under which names: a snapshot, replaced whole at a reload.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ampoule_contract::{Denial, Effects, Limits, Meter, ToolDefinition, ToolKind, ToolPattern};
use serde_json::Value;

use crate::cache::{INDEX, Index};
use crate::config::{BindingConfig, Config};
use crate::egress::HttpPattern;
use crate::error::HostError;
use crate::grants::Grants;
use crate::imports::wasi;
use crate::lock::Pin;
use crate::manifest::{Manifest, Requests, ToolManifest};
use crate::plugin::{Compiler, Plugin};
use crate::principals::Principals;
use crate::schema::Schema;

/// All bindings and tools of a host at one time.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    pub bindings: BTreeMap<String, Arc<Binding>>,
    pub tools: BTreeMap<String, Arc<BoundTool>>,
    /// Files, bindings and catalogues that were refused, and why. The others work all the same.
    pub refused: Vec<Arc<HostError>>,
    pub principals: Principals,
    /// The tools whose calls a person has to approve, whoever they are for.
    approve: Vec<ToolPattern>,
}

impl Registry {
    /// What says that a person has to approve a call of the tool `id`, where something does.
    pub(crate) fn approval(&self, id: &str, principal: Option<&str>) -> Option<String> {
        if self.approve.iter().any(|pattern| pattern.matches(id)) {
            return Some("`approve` in ampoule.toml".to_owned());
        }
        self.principals.of(principal).and_then(|(_, principal)| principal.approval(id))
    }

    /// All patterns of tools whose calls a person has to approve.
    pub(crate) fn approvals(&self) -> impl Iterator<Item = &ToolPattern> {
        self.approve.iter().chain(self.principals.approvals())
    }
}

/// A plugin under a name, with settings, grants and limits.
pub(crate) struct Binding {
    pub name: String,
    pub plugin: Arc<Plugin>,
    /// The settings, a JSON object.
    pub settings: String,
    grants: Arc<Grants>,
    principals: Principals,
    /// What of the grants is left, by principals' tables; each made when it is first needed.
    narrowed: BTreeMap<String, OnceLock<Arc<Grants>>>,
    /// The plugin as a lock would pin it.
    pub pin: Pin,
    pub requests: Requests,
    pub config: BindingConfig,
    pub limits: Limits,
    /// Something it cannot do without and is not granted.
    pub missing: Option<Denial>,
    /// The same where no call begins without it.
    pub barred: Option<Denial>,
    /// The audit's name for what it may do, once that has been written there.
    pub recorded: OnceLock<String>,
}

impl Binding {
    /// The grants that a call for `principal` has.
    pub(crate) fn grants_for(&self, principal: Option<&str>) -> &Arc<Grants> {
        let found = self.principals.of(principal);
        let narrowed = found.and_then(|(name, principal)| {
            let narrowed = self.narrowed.get(name)?;
            Some(narrowed.get_or_init(|| Arc::new(self.grants.under(principal))))
        });
        narrowed.unwrap_or(&self.grants)
    }

    /// The limits that a call for `principal` has.
    pub(crate) fn limits_for(&self, principal: Option<&str>) -> Limits {
        let found = self.principals.of(principal);
        found.map_or(self.limits, |(_, principal)| self.limits.min(&principal.caps))
    }
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

/// The plugins on the search path by their names.
///
/// A name stands for grants and secrets, and whoever can put a file on the path chooses what it
/// calls itself. So a name that several files claim is none of theirs.
#[derive(Default)]
struct Found(BTreeMap<String, Vec<Arc<Plugin>>>);

impl Found {
    /// Adds a plugin; the same file in another place is no other plugin.
    fn add(&mut self, plugin: Plugin) {
        let name = match &plugin.manifest {
            Some(manifest) => manifest.name.clone(),
            None => plugin.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let plugins = self.0.entry(name).or_default();
        if plugins.iter().all(|known| known.digest != plugin.digest) {
            plugins.push(Arc::new(plugin));
        }
    }

    /// The one plugin of a name, for a binding.
    ///
    /// # Errors
    /// There is none, or there are several.
    fn plugin(&self, name: &str, binding: &str) -> Result<&Arc<Plugin>, String> {
        match self.0.get(name).map(Vec::as_slice) {
            None => Err(format!("there is no plugin `{name}` on the search path")),
            Some([plugin]) => Ok(plugin),
            Some(several) => Err(several_called(name, several, binding)),
        }
    }
}

/// How many files of one name a message lists.
const LISTED_FILES: usize = 8;

/// That a name has several plugins, and what to do.
fn several_called(name: &str, plugins: &[Arc<Plugin>], binding: &str) -> String {
    let listed = plugins.iter().take(LISTED_FILES).map(|plugin| plugin.path.display().to_string());
    let mut files: Vec<_> = listed.collect();
    if plugins.len() > LISTED_FILES {
        files.push(format!("{} more", plugins.len() - LISTED_FILES));
    }
    format!(
        "different files are all called `{name}`, so none of them is bound by that name: {}; \
         remove all but one, or bind the one that is meant by its path:\n\
         [bindings.{binding}]\nplugin = \"PATH\"",
        files.join(", ")
    )
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
        let principals = Principals::new(&config.principals);
        let principals = principals.map_err(|error| HostError::config("ampoule.toml", error))?;
        let mut registry =
            Registry { principals, approve: config.approve.clone(), ..Registry::default() };
        let mut found = Found::default();
        for path in registry.search(&config.plugins) {
            match Plugin::read(&path, &mut index) {
                Ok(plugin) => found.add(plugin),
                Err(error) => registry.refuse(error),
            }
        }
        // A file that several bindings name is one plugin, compiled once.
        let mut named: BTreeMap<&str, Arc<Plugin>> = BTreeMap::new();
        for (name, binding) in &config.bindings {
            let plugin = match binding.plugin.as_deref() {
                // A path means that file, whatever others call themselves.
                Some(path) if binding.names_a_path() => match named.get(path) {
                    Some(known) => Ok(known.clone()),
                    None => Plugin::read(Path::new(path), &mut index)
                        .map(|plugin| named.entry(path).or_insert(Arc::new(plugin)).clone()),
                },
                wanted => found.plugin(wanted.unwrap_or(name), name).cloned().map_err(|problem| {
                    HostError::config("ampoule.toml", format!("[bindings.{name}]: {problem}"))
                }),
            };
            let bound = match plugin {
                Ok(plugin) => registry.bind(name, plugin, config, binding, None, compiler).await,
                Err(error) => Err(error),
            };
            if let Err(error) = bound {
                registry.refuse(error);
            }
        }
        for (name, plugins) in &found.0 {
            if config.bindings.contains_key(name) {
                continue;
            }
            let bound = match &plugins[..] {
                [plugin] if plugin.manifest.is_some() => {
                    let nothing = BindingConfig::default();
                    registry.bind(name, plugin.clone(), config, &nothing, None, compiler).await
                }
                [plugin] => {
                    let message = format!(
                        "it has no manifest; bind it in ampoule.toml to use it:\n\
                         [bindings.{name}]\nplugin = {:?}",
                        plugin.path.to_string_lossy()
                    );
                    Err(HostError::plugin(&plugin.path, message))
                }
                several => {
                    let message = several_called(name, several, name);
                    Err(HostError::plugin(&several[0].path, message))
                }
            };
            if let Err(error) = bound {
                registry.refuse(error);
            }
        }
        if let Some(cache) = &compiler.cache
            && index.settle()
        {
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
                    self.refuse(HostError::Io { path: place.clone(), source });
                }
            }
        }
        files
    }

    fn refuse(&mut self, error: HostError) {
        self.refused.push(Arc::new(error));
    }

    /// Binds a plugin once more, with the tools that its catalogue offers this binding, or says why
    /// it keeps only its own.
    pub(crate) async fn add_discovered(
        &mut self,
        name: &str,
        discovered: Result<Vec<ToolManifest>, String>,
        all: &Config,
        compiler: &Arc<Compiler>,
    ) {
        let Some(binding) = self.bindings.get(name).cloned() else { return };
        let bound = match discovered {
            Ok(tools) => {
                let (plugin, config) = (binding.plugin.clone(), binding.config.clone());
                self.bind(name, plugin, all, &config, Some(tools), compiler).await
            }
            Err(problem) => {
                let message = format!("bound as `{name}`: its catalogue: {problem}");
                Err(HostError::plugin(&binding.plugin.path, message))
            }
        };
        if let Err(error) = bound {
            self.refuse(error);
        }
    }

    async fn bind(
        &mut self,
        name: &str,
        plugin: Arc<Plugin>,
        all: &Config,
        config: &BindingConfig,
        discovered: Option<Vec<ToolManifest>>,
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
        let mut limits = limits.with(Meter::Stack, crate::engine::GUEST_STACK_BYTES as u64);
        if plugin.binary.imports(wasi::HTTP) {
            let handles = limits.get(Meter::Handles).min(wasi::MAX_HTTP_HANDLES);
            limits = limits.with(Meter::Handles, handles);
        }
        let settings = Value::Object(config.settings.clone());
        if let Some(schema) = plugin.manifest.as_ref().and_then(|m| m.settings_schema.clone()) {
            let checked = Schema::new(schema).validate(&settings);
            checked.map_err(|problem| refused(format!("settings: {problem}")))?;
        }
        let grants = match &plugin.manifest {
            Some(_) => Grants::new(name, &requests, &config.grant),
            // Nobody could ask for more in its name: what is refused is what is not granted.
            None => {
                let asked = Requests { http: vec![HttpPattern::any()], ..requests.clone() };
                Grants::new(name, &asked, &config.grant)
            }
        };
        let mut tools = match &plugin.manifest {
            Some(manifest) => from_manifest(manifest),
            None => reflected(&plugin, compiler).await?,
        };
        let discovered = discovered.unwrap_or_default();
        let offered = tools.iter().map(|(tool, _)| tool).chain(&discovered);
        let pin = Pin::new(&plugin, offered.map(|tool| (tool.name.as_str(), tool.effects)))
            .with_discovered(&discovered);
        if let Some(lock) = &all.lock {
            lock.admit(name, &pin, config.names_a_path()).map_err(refused)?;
        }
        let principals = self.principals.clone();
        let binding = Arc::new(Binding {
            name: name.to_owned(),
            settings: settings.to_string(),
            missing: grants.missing(&requests),
            barred: grants.barred(&requests),
            grants: Arc::new(grants),
            narrowed: principals.names().map(|name| (name.clone(), OnceLock::new())).collect(),
            principals,
            pin,
            requests,
            config: config.clone(),
            limits,
            plugin: plugin.clone(),
            recorded: OnceLock::new(),
        });
        tools.extend(discovered.into_iter().map(|tool| (tool, EntryPoint::Tool)));
        // What a catalogue offers may come and go; the ids of the others stay.
        let alone = tools.len() == 1 && !plugin.has_catalog();
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
                sessions: plugin.keeps_state(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a plugin that does nothing; each `version` has another digest.
    fn place(folder: &tempfile::TempDir, file: &str, name: &str, version: &str) {
        let manifest =
            Manifest { name: name.into(), version: version.into(), ..Manifest::default() };
        let component = wasm_encoder::Component::new().finish();
        let wasm = crate::binary::with_manifest(&component, &manifest).expect("packed");
        std::fs::write(folder.path().join(file), wasm).expect("written");
    }

    /// The registry of the plugins in a folder, for which `DIR` stands.
    async fn load(folder: &tempfile::TempDir, bindings: &str) -> Registry {
        let folder = folder.path().display().to_string();
        let bindings = bindings.replace("DIR", &folder);
        let config = Config::parse(&format!("plugins = ['{folder}']\n{bindings}")).expect("valid");
        Registry::load(&config, &Compiler::uncached()).await.expect("loaded")
    }

    /// The bindings, each with the version of its plugin.
    fn bound(registry: &Registry) -> Vec<(&str, &str)> {
        let bindings = registry.bindings.iter().filter_map(|(name, binding)| {
            let manifest = binding.plugin.manifest.as_ref()?;
            Some((name.as_str(), manifest.version.as_str()))
        });
        bindings.collect()
    }

    #[tokio::test]
    async fn a_name_that_two_files_claim_is_neithers() {
        let folder = tempfile::tempdir().expect("a folder");
        place(&folder, "a.wasm", "openai", "6.6.6");
        place(&folder, "openai.wasm", "openai", "1.0.0");
        place(&folder, "other.wasm", "other", "2.0.0");
        for (bindings, expected, refused) in [
            ("", &[("other", "2.0.0")][..], &["plugin "][..]),
            ("[bindings.openai]", &[("other", "2.0.0")], &["ampoule.toml: [bindings.openai]: "]),
            (
                "[bindings.groq]\nplugin = 'openai'",
                &[("other", "2.0.0")],
                &["ampoule.toml: [bindings.groq]: ", "plugin "],
            ),
            (
                "[bindings.openai]\nplugin = 'DIR/openai.wasm'",
                &[("openai", "1.0.0"), ("other", "2.0.0")],
                &[],
            ),
            (
                "[bindings.mine]\nplugin = 'DIR/openai.wasm'",
                &[("mine", "1.0.0"), ("other", "2.0.0")],
                &["plugin "],
            ),
        ] {
            let registry = load(&folder, bindings).await;
            assert_eq!(bound(&registry), expected, "{bindings}");
            let messages: Vec<_> = registry.refused.iter().map(ToString::to_string).collect();
            assert_eq!(messages.len(), refused.len(), "{bindings}: {messages:?}");
            for (message, begins) in messages.iter().zip(refused) {
                assert!(message.starts_with(begins), "{message}");
                for part in ["/a.wasm", "/openai.wasm", "[bindings.", "plugin = \"PATH\""] {
                    assert!(message.contains(part), "{message}");
                }
            }
        }
    }

    #[tokio::test]
    async fn the_same_file_twice_is_one_plugin() {
        let folder = tempfile::tempdir().expect("a folder");
        place(&folder, "a.wasm", "openai", "1.0.0");
        place(&folder, "openai.wasm", "openai", "1.0.0");
        let registry = load(&folder, "[bindings.groq]\nplugin = 'openai'").await;
        assert_eq!(bound(&registry), [("groq", "1.0.0"), ("openai", "1.0.0")]);
        assert!(registry.refused.is_empty(), "{:?}", registry.refused);
    }

    #[tokio::test]
    async fn a_file_without_a_manifest_takes_no_name_from_one_that_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        place(&folder, "real.wasm", "openai", "1.0.0");
        let component = wasm_encoder::Component::new().finish();
        for file in ["openai.wasm", "real.wasm.wasm"] {
            std::fs::write(folder.path().join(file), &component).expect("written");
        }
        let registry = load(&folder, "[bindings.openai]").await;
        assert!(registry.bindings.is_empty());
        // What reads like a path is one, and no name of a file that is called like it.
        let registry = load(&folder, "[bindings.mine]\nplugin = 'real.wasm'").await;
        assert!(!registry.bindings.contains_key("mine"));
        let registry = load(&folder, "[bindings.openai]\nplugin = 'DIR/real.wasm'").await;
        assert_eq!(bound(&registry), [("openai", "1.0.0")]);
    }
}
