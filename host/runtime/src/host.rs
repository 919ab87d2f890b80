//! The host: what an application holds. A clone is the same host.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ampoule_contract::{
    Account, Ask, AskNobody, Audit, CallContext, Denial, End, Limits, Meter, Model, Outcome,
    Receipt, Redact, ToolCall, ToolDefinition, Tools,
};
use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::admit::{Admission, Permit, Wish};
use crate::audit::{Auditor, Beginning, Recorded};
use crate::cache::Cache;
use crate::call::Request;
use crate::config::Config;
use crate::egress::Egress;
use crate::error::HostError;
use crate::lock::Pin;
use crate::manifest::Manifest;
use crate::model::Connector;
use crate::observe::{Observer, Use};
use crate::plugin::{Code, Compiler};
use crate::reach::Reach;
use crate::registry::{Binding, BoundTool, Registry};
use crate::secrets::{ConfiguredSecrets, Secrets};
use crate::sessions::Sessions;
use crate::teardown::Teardown;
use crate::worker::{CompileLimits, Worker};

/// A host of plugins. `Clone + Send + Sync`; a clone is the same host.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    compiler: Arc<Compiler>,
    loaded: ArcSwap<Loaded>,
    others: Vec<Arc<dyn Tools>>,
    models: BTreeMap<String, Arc<dyn Model>>,
    /// The embedder's own; else those of the configuration in force.
    secrets: Option<Arc<dyn Secrets>>,
    ask: Arc<dyn Ask>,
    egress: Egress,
    admission: Arc<Admission>,
    sessions: Arc<Sessions>,
    teardown: Teardown,
    auditor: Auditor,
    seed: String,
    calls: AtomicU64,
    /// How often the tools were replaced.
    changes: watch::Sender<u64>,
    pooled: bool,
    catalogs: Catalogs,
}

/// What a configuration makes, replaced whole.
struct Loaded {
    config: Config,
    registry: Registry,
    run_limits: Limits,
    secrets: Arc<ConfiguredSecrets>,
}

/// The registry of what is loaded now.
struct InForce(Guard<Arc<Loaded>>);

impl Deref for InForce {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.0.registry
    }
}

impl Loaded {
    async fn new(config: Config, compiler: &Arc<Compiler>) -> Result<Arc<Loaded>, HostError> {
        let registry = Registry::load(&config, compiler).await?;
        let run_limits =
            config.run_limits().map_err(|error| HostError::config("ampoule.toml", error))?;
        let secrets = Arc::new(ConfiguredSecrets::new(config.secrets.clone()));
        secrets.warn_of_short().await;
        Ok(Arc::new(Loaded { config, registry, run_limits, secrets }))
    }
}

/// Catalogues that are asked for their tools.
#[derive(Clone, Debug, Default)]
pub enum Catalogs {
    /// Those of all bindings.
    #[default]
    All,
    /// Those of some bindings, by name.
    Of(BTreeSet<String>),
}

impl Catalogs {
    /// None: no plugin is run before it is called.
    pub fn none() -> Catalogs {
        Catalogs::Of(BTreeSet::new())
    }

    /// Whether the catalogue of a binding is among them.
    pub fn has(&self, binding: &str) -> bool {
        match self {
            Catalogs::All => true,
            Catalogs::Of(names) => names.contains(binding),
        }
    }
}

/// Makes a [`Host`].
#[derive(Default)]
pub struct HostBuilder {
    config: Config,
    others: Vec<Arc<dyn Tools>>,
    models: BTreeMap<String, Arc<dyn Model>>,
    secrets: Option<Arc<dyn Secrets>>,
    ask: Option<Arc<dyn Ask>>,
    egress: Option<Egress>,
    auditor: Auditor,
    cache: Option<(PathBuf, PathBuf)>,
    compile_in: Option<(PathBuf, Vec<OsString>)>,
    compile_limits: CompileLimits,
    catalogs: Catalogs,
}

impl fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl HostBuilder {
    /// What the operator allows. Default: no plugin, no grant.
    #[must_use]
    pub fn config(mut self, config: Config) -> HostBuilder {
        self.config = config;
        self
    }

    /// Adds a plugin's file, or a folder of them, to the search path.
    #[must_use]
    pub fn plugins(mut self, path: impl Into<PathBuf>) -> HostBuilder {
        self.config.plugins.push(path.into());
        self
    }

    /// Adds tools that are no plugins: Rust functions ([`FunctionTool`](crate::FunctionTool)),
    /// agents, other hosts. Plugins with a grant
    /// can call them too.
    #[must_use]
    pub fn tools(mut self, tools: Arc<dyn Tools>) -> HostBuilder {
        self.others.push(tools);
        self
    }

    /// Adds a model under a name, beside the connectors that are bound.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>, model: Arc<dyn Model>) -> HostBuilder {
        self.models.insert(name.into(), model);
        self
    }

    /// Where secrets come from. Default: what `[secrets]` of the configuration names.
    #[must_use]
    pub fn secrets(mut self, secrets: Arc<dyn Secrets>) -> HostBuilder {
        self.secrets = Some(secrets);
        self
    }

    /// How questions reach a person. Default: they do not.
    #[must_use]
    pub fn ask(mut self, ask: Arc<dyn Ask>) -> HostBuilder {
        self.ask = Some(ask);
        self
    }

    /// The way to the network. Default: the system's resolver and roots of trust.
    #[must_use]
    pub fn egress(mut self, egress: Egress) -> HostBuilder {
        self.egress = Some(egress);
        self
    }

    /// Where each call, grant and refusal is recorded. Default: nowhere. Where it cannot record,
    /// calls end as a fault before the plugin is entered.
    #[must_use]
    pub fn audit(mut self, audit: Arc<dyn Audit>) -> HostBuilder {
        self.auditor.audit = Some(audit);
        self
    }

    /// What every event passes before it is recorded. Default: it is recorded as it is.
    #[must_use]
    pub fn redact(mut self, redact: Arc<dyn Redact>) -> HostBuilder {
        self.auditor.redact = Some(redact);
        self
    }

    /// Keeps compiled code in `folder`, authenticated with the key in `key`, which must lie
    /// outside it. Default: nothing is kept and each process compiles anew.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>, key: impl Into<PathBuf>) -> HostBuilder {
        self.cache = Some((folder.into(), key.into()));
        self
    }

    /// Compiles in a process of its own, made anew for each plugin that is not in the cache: it
    /// ends where compiling takes more memory or time than [`HostBuilder::compile_limits`] says,
    /// or breaks down, and the host goes on without that plugin. The process is `program` with
    /// `arguments`, gets no environment, and must call [`compile_worker`](crate::compile_worker).
    /// Default: plugins are compiled within this process, under bounds on their size only.
    #[must_use]
    pub fn compile_in(
        mut self,
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> HostBuilder {
        let arguments = arguments.into_iter().map(Into::into).collect();
        self.compile_in = Some((program.into(), arguments));
        self
    }

    /// What compiling one plugin may take, where it is done in a process of its own.
    #[must_use]
    pub fn compile_limits(mut self, limits: CompileLimits) -> HostBuilder {
        self.compile_limits = limits;
        self
    }

    /// Which catalogues are asked for their tools, which runs the plugin. The others are bound with
    /// the tools of their manifests alone. Default: those of all bindings that the configuration
    /// names.
    #[must_use]
    pub fn catalogs(mut self, catalogs: Catalogs) -> HostBuilder {
        self.catalogs = catalogs;
        self
    }

    /// Makes the host. Must be called within a Tokio runtime, as must everything of a host.
    ///
    /// # Errors
    /// The engine, the cache or the configuration cannot be used. A plugin that is refused is no
    /// error: [`Host::refused`] lists it.
    pub async fn build(self) -> Result<Host, HostError> {
        if self.config.journal.is_some() && self.auditor.audit.is_none() {
            let message = "it asks for a `[journal]`, and this program keeps none";
            return Err(HostError::config("ampoule.toml", message));
        }
        let (engine, pooled) = crate::engine::engine()?;
        let linker = crate::imports::linker(&engine).map_err(|error| HostError::engine(&error))?;
        let fingerprint = crate::engine::fingerprint(&engine);
        let cache = self.cache.map(|(folder, key)| Cache::open(&folder, &key, &fingerprint));
        let limits = self.compile_limits;
        let worker = self
            .compile_in
            .map(|(program, arguments)| Worker::new(program, arguments, limits, fingerprint));
        let cache = cache.transpose()?;
        let compiler = Arc::new(Compiler { engine, linker, cache, worker });
        let admission = Admission::new(&self.config.concurrency);
        let sessions = Sessions::new(&self.config.sessions);
        let loaded = Loaded::new(self.config, &compiler).await?;
        let host = Host(Arc::new(Inner {
            compiler,
            loaded: ArcSwap::new(loaded),
            others: self.others,
            models: self.models,
            secrets: self.secrets,
            ask: self.ask.unwrap_or_else(|| Arc::new(AskNobody)),
            egress: self.egress.unwrap_or_default(),
            admission,
            sessions,
            teardown: Teardown::new(),
            auditor: self.auditor,
            seed: crate::digest::secret_id()[..8].to_owned(),
            calls: AtomicU64::new(0),
            changes: watch::Sender::new(0),
            pooled,
            catalogs: self.catalogs,
        }));
        let discovered = host.discovered().await;
        host.install(discovered);
        Ok(host)
    }
}

/// A tool a plugin may call.
pub(crate) enum Callee {
    /// A plugin's.
    Plugin(Arc<BoundTool>),
    /// Another's.
    Other(Arc<dyn Tools>, Arc<ToolDefinition>),
}

impl Callee {
    pub(crate) fn id(&self) -> &str {
        match self {
            Callee::Plugin(tool) => &tool.definition.id,
            Callee::Other(_, definition) => &definition.id,
        }
    }
}

/// A host that is not kept alive.
#[derive(Clone, Default)]
pub(crate) struct WeakHost(Weak<Inner>);

impl WeakHost {
    /// The host.
    ///
    /// # Panics
    /// It is gone: asked outside a call.
    pub(crate) fn get(&self) -> Host {
        Host(self.0.upgrade().expect("a host lives as long as its calls"))
    }
}

impl Host {
    /// Itself, not kept alive.
    pub(crate) fn weak(&self) -> WeakHost {
        WeakHost(Arc::downgrade(&self.0))
    }

    /// Begins a host.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Calls a tool. Always answers, with a receipt whatever the end; dropping the future
    /// cancels the call and frees everything but file work already handed to a thread.
    pub async fn call(&self, call: ToolCall) -> Outcome {
        self.dispatch(call, None).await
    }

    /// Calls a tool as [`Host::call`] does, and tells what its plugin used of what it was allowed,
    /// each thing once; what the tools it calls use is not among it.
    pub async fn observe(&self, call: ToolCall) -> (Outcome, Vec<Use>) {
        let observer = Observer::default();
        let outcome = self.dispatch(call, Some(observer.clone())).await;
        (outcome, observer.uses())
    }

    async fn dispatch(&self, call: ToolCall, observer: Option<Observer>) -> Outcome {
        let ToolCall { tool, arguments, context } = call;
        let found = self.find(&tool);
        if let Some(callee) = &found
            && let Some(denial) = self.refuses(callee.id(), &context)
        {
            return self.refused_call(callee.id(), &arguments, &context, denial);
        }
        match found {
            Some(Callee::Plugin(tool)) => {
                let above = context.budget.clone().unwrap_or_else(|| self.run_account());
                // A tool that is no plugin may lie between: what it was called with says how deep.
                let depth = above.used(Meter::ToolDepth);
                let limits = tool.binding.limits_for(context.principal.as_deref());
                let account = above.child(limits);
                let caller = None;
                let request =
                    Request { arguments, context, account, depth, caller, observer, tape: None };
                crate::call::invoke(self.clone(), tool, request).await.outcome
            }
            Some(Callee::Other(tools, definition)) => {
                let tool = definition.id.clone();
                let budget = context.budget.clone().unwrap_or_else(|| self.run_account());
                let context = CallContext { budget: Some(budget), ..context };
                let call = ToolCall { tool, arguments, context };
                crate::audit::call_other(self, &*tools, call, None).await
            }
            None => self.refused_call(&tool, &arguments, &context, self.unknown(&tool)),
        }
    }

    /// Why a principal may not call a tool at all, if it may not.
    pub(crate) fn refuses(&self, tool: &str, context: &CallContext) -> Option<Denial> {
        let registry = self.registry();
        let (_, principal) = registry.principals.of(context.principal.as_deref())?;
        principal.calls(tool).err()
    }

    /// A call that was refused before anything was made for it; the audit has it all the same.
    fn refused_call(
        &self,
        tool: &str,
        arguments: &str,
        context: &CallContext,
        denial: Denial,
    ) -> Outcome {
        let (id, mut end) = (self.next_id(), End::Denied(denial.clone()));
        let shown: String = tool.chars().take(80).collect();
        let call = Beginning {
            id: &id,
            tool: &shown,
            binding: None,
            context,
            account: None,
            arguments: Some(arguments),
        };
        let recorded = Recorded::start(self, call).map_err(|fault| end = fault).ok();
        let mut receipt = Receipt::empty(id, tool.to_owned(), end.word());
        receipt.denials.push(denial);
        let mut outcome = Outcome { end, receipt };
        if let Some(recorded) = recorded {
            recorded.end(&mut outcome);
        }
        outcome
    }

    fn unknown(&self, tool: &str) -> Denial {
        let shown: String = tool.chars().take(80).collect();
        let names: Vec<_> = self.definitions().iter().map(|tool| tool.id.clone()).collect();
        let nearest = nearest(&shown, &names);
        let hint = match (nearest, names.len()) {
            (Some(nearest), _) => format!("; did you mean `{nearest}`?"),
            (None, 0) => "; there are no tools at all: set `plugins` in ampoule.toml".into(),
            (None, 1..=20) => format!("; there are {}", names.join(", ")),
            (None, n) => format!("; there are {n} others"),
        };
        Denial {
            gate: "registry",
            message: format!("there is no tool `{shown}`{hint}"),
            allow: None,
        }
    }

    /// All tools there are now, plugins' and others', in byte order of their ids.
    pub(crate) fn definitions(&self) -> Vec<Arc<ToolDefinition>> {
        let registry = self.registry();
        let mut all: Vec<_> = registry.tools.values().map(|tool| tool.definition.clone()).collect();
        for others in &self.0.others {
            let new =
                others.tools().into_iter().filter(|tool| !registry.tools.contains_key(&tool.id));
            all.extend(new);
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The tool with an id, or with the name of an id for models.
    pub(crate) fn find(&self, id: &str) -> Option<Callee> {
        if let Some(tool) = self.registry().tool(id) {
            return Some(Callee::Plugin(tool.clone()));
        }
        self.0.others.iter().find_map(|others| {
            let tools = others.tools();
            let tool = tools.iter().find(|tool| tool.id == id || tool.model_name() == id)?;
            Some(Callee::Other(others.clone(), tool.clone()))
        })
    }

    /// The model under a name: one that was added, or a binding that is a connector for `llm`.
    pub fn model(&self, name: &str) -> Option<Arc<dyn Model>> {
        if let Some(model) = self.0.models.get(name) {
            return Some(model.clone());
        }
        let binding = self.registry().bindings.get(name)?.clone();
        let manifest = binding.plugin.manifest.as_ref()?;
        let is_connector = manifest.services.iter().any(|service| service == "llm");
        is_connector.then(|| Arc::new(Connector { host: self.clone(), binding }) as Arc<dyn Model>)
    }

    /// The names of all models there are.
    pub fn models(&self) -> Vec<String> {
        let registry = self.registry();
        let bound = registry.bindings.values().filter(|binding| {
            let manifest = binding.plugin.manifest.as_ref();
            manifest.is_some_and(|m| m.services.iter().any(|service| service == "llm"))
        });
        let mut names: Vec<_> = bound.map(|binding| binding.name.clone()).collect();
        names.extend(self.0.models.keys().cloned());
        names.sort();
        names
    }

    /// What is bound, for people: see [`BindingInfo`].
    pub fn bindings(&self) -> Vec<BindingInfo> {
        let registry = self.registry();
        registry.bindings.values().map(|binding| BindingInfo::new(binding)).collect()
    }

    /// The plugins and bindings that were refused, and why.
    pub fn refused(&self) -> Vec<String> {
        self.registry().refused.iter().map(ToString::to_string).collect()
    }

    /// Reads configuration, secrets and plugins again and replaces all of them at once; calls
    /// under way keep the plugin and the grants they began with.
    ///
    /// # Errors
    /// The configuration is unusable; everything stays as it was.
    pub async fn reload(&self, config: Config) -> Result<(), HostError> {
        let loaded = Loaded::new(config, &self.0.compiler).await?;
        let loaded = self.beside(loaded).discovered().await;
        self.0.admission.configure(&loaded.config.concurrency);
        self.0.sessions.configure(&loaded.config.sessions);
        self.install(loaded);
        self.0.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    fn install(&self, loaded: Arc<Loaded>) {
        self.0.loaded.store(loaded);
        crate::approval::warn_of_idle(self);
    }

    /// A host that shares all with this one but what a configuration makes.
    fn beside(&self, loaded: Arc<Loaded>) -> Host {
        let inner = &*self.0;
        Host(Arc::new(Inner {
            compiler: inner.compiler.clone(),
            loaded: ArcSwap::new(loaded),
            others: inner.others.clone(),
            models: inner.models.clone(),
            secrets: inner.secrets.clone(),
            ask: inner.ask.clone(),
            egress: inner.egress.clone(),
            admission: inner.admission.clone(),
            sessions: inner.sessions.clone(),
            teardown: inner.teardown.clone(),
            auditor: inner.auditor.clone(),
            seed: crate::digest::secret_id()[..8].to_owned(),
            calls: AtomicU64::new(0),
            changes: watch::Sender::new(0),
            pooled: inner.pooled,
            catalogs: inner.catalogs.clone(),
        }))
    }

    /// What this host's configuration makes, with the tools that the catalogues of its plugins
    /// offer.
    async fn discovered(&self) -> Arc<Loaded> {
        let loaded = self.0.loaded.load_full();
        // What a catalogue offers depends on settings: who has none is not run for it.
        let asked = loaded.registry.bindings.values().filter(|binding| {
            self.0.catalogs.has(&binding.name)
                && binding.plugin.has_catalog()
                && loaded.config.bindings.contains_key(&binding.name)
        });
        let asked: Vec<_> = asked.cloned().collect();
        if asked.is_empty() {
            return loaded;
        }
        let answers = asked.iter().map(|binding| crate::discover::tools(self, binding));
        let answers = futures::future::join_all(answers).await;
        let mut registry = Registry::clone(&loaded.registry);
        for (binding, tools) in asked.iter().zip(answers) {
            let compiler = &self.0.compiler;
            registry.add_discovered(&binding.name, tools, &loaded.config, compiler).await;
        }
        Arc::new(Loaded {
            config: loaded.config.clone(),
            registry,
            run_limits: loaded.run_limits,
            secrets: loaded.secrets.clone(),
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.0.loaded.load().config.clone()
    }

    /// Compiles, or loads from the cache, the code of every plugin now, several at once, so that
    /// no first call has to wait for it. Returns what could not be compiled.
    pub async fn warm(&self) -> Vec<HostError> {
        let registry = self.registry();
        let plugins = registry.bindings.values().map(|binding| binding.plugin.clone());
        let compiled = plugins.map(|plugin| {
            let compiler = self.0.compiler.clone();
            async move { plugin.code(&compiler).await.err() }
        });
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let compiled = futures::StreamExt::buffer_unordered(
            futures::stream::iter(compiled.collect::<Vec<_>>()),
            at_once,
        );
        let errors: Vec<_> = futures::StreamExt::collect(compiled).await;
        errors.into_iter().flatten().collect()
    }

    /// Whether instances come from a pool; without one a fresh call costs several times as much.
    pub fn pooled(&self) -> bool {
        self.0.pooled
    }

    /// Whether only the pages a call has touched are made clean after it, which Linux offers from
    /// 6.7 on; without it a fresh call costs about twice as much.
    pub fn scans_pages() -> bool {
        crate::engine::scans_pages()
    }

    /// A new account for a run, with the limits the operator gives runs.
    pub fn run_account(&self) -> Arc<Account> {
        Account::root(self.0.loaded.load().run_limits)
    }

    /// A name for a new run, unlike any other's.
    pub fn run_id(&self) -> String {
        self.next_id()
    }

    /// The tools and bindings of the configuration in force. Not to be held for long.
    pub(crate) fn registry(&self) -> impl Deref<Target = Registry> + use<> {
        InForce(self.0.loaded.load())
    }

    /// Closes a session: the instance it keeps goes now, or with the call that uses it. Whether
    /// there was one.
    pub fn close_session(&self, principal: Option<&str>, binding: &str, id: &str) -> bool {
        self.0.sessions.close(principal, binding, id)
    }

    /// How many sessions are kept now.
    pub fn sessions(&self) -> usize {
        self.0.sessions.count()
    }

    pub(crate) fn queue_time(&self) -> Duration {
        self.0.admission.queue_time()
    }

    pub(crate) fn held_sessions(&self) -> &Arc<Sessions> {
        &self.0.sessions
    }

    pub(crate) fn teardown(&self) -> &Teardown {
        &self.0.teardown
    }

    pub(crate) fn compiler(&self) -> &Arc<Compiler> {
        &self.0.compiler
    }

    pub(crate) fn secrets(&self) -> Arc<dyn Secrets> {
        match &self.0.secrets {
            Some(own) => own.clone(),
            None => self.0.loaded.load().secrets.clone(),
        }
    }

    pub(crate) fn ask(&self) -> &dyn Ask {
        &*self.0.ask
    }

    pub(crate) fn auditor(&self) -> &Auditor {
        &self.0.auditor
    }

    pub(crate) fn egress(&self) -> &Egress {
        &self.0.egress
    }

    /// An id for a call: unlike any other of this process, and in all likelihood of any.
    pub(crate) fn next_id(&self) -> String {
        format!("{}-{}", self.0.seed, self.0.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts a call against the rates, and waits for the plugin's code.
    ///
    /// # Errors
    /// `overloaded`, with what to change; `cancelled`; `fault` where the code is refused.
    pub(crate) async fn prepare(
        &self,
        binding: &Binding,
        depth: u64,
        context: &CallContext,
    ) -> Result<Arc<Code>, End> {
        self.0.admission.count(context, &binding.name, binding.config.rate, depth > 0)?;
        let late = async {
            match context.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            code = binding.plugin.code(&self.0.compiler) => {
                code.cloned().map_err(|error| End::Fault(error.to_string()))
            }
            () = context.cancel.cancelled() => Err(End::Cancelled),
            () = late => {
                let message = "the deadline passed while the plugin was compiled; try again";
                Err(End::Overloaded(message.into()))
            }
        }
    }

    /// Leave for a call to run, once it is its turn: see [`crate::admit`].
    ///
    /// # Errors
    /// `overloaded`, with what to change; `cancelled`.
    pub(crate) async fn admit(
        &self,
        binding: &Binding,
        depth: u64,
        context: &CallContext,
        places: u32,
    ) -> Result<Permit, End> {
        let (calls, inner) = (binding.config.calls, depth > 0);
        let wish = Wish { context, plugin: &binding.name, calls, places, inner };
        self.0.admission.admit(&wish).await
    }
}

#[async_trait::async_trait]
impl Tools for Host {
    fn tools(&self) -> Vec<Arc<ToolDefinition>> {
        self.definitions()
    }

    fn tools_for(&self, principal: Option<&str>) -> Vec<Arc<ToolDefinition>> {
        let mut tools = self.definitions();
        if let Some((_, principal)) = self.registry().principals.of(principal) {
            tools.retain(|tool| principal.calls(&tool.id).is_ok());
        }
        tools
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.0.changes.subscribe())
    }

    async fn call(&self, call: ToolCall) -> Outcome {
        Host::call(self, call).await
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("bindings", &self.registry().bindings.len())
            .finish_non_exhaustive()
    }
}

/// A binding, for people and for `ampoule inspect`.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BindingInfo {
    /// Its name.
    pub name: String,
    /// The plugin's file.
    pub path: PathBuf,
    /// Digest of the file.
    pub digest: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// What the plugin says of itself; absent for a component that knows nothing of Ampoule.
    pub manifest: Option<Manifest>,
    /// What the compiled component imports.
    pub imports: Vec<String>,
    /// What it can do at most, and what of it is granted.
    pub reach: Vec<Reach>,
    /// The lines of `ampoule.toml` that would grant all of it that is not granted.
    pub allow: Option<String>,
    /// The lines that would allow what it cannot do without and is not granted.
    pub missing: Option<Denial>,
    /// The limits of a call.
    pub limits: Limits,
    /// The plugin as a lock would pin it.
    pub pin: Pin,
    /// Whether a catalogue offers tools that depend on settings.
    pub catalog: bool,
}

impl BindingInfo {
    pub(crate) fn new(binding: &crate::registry::Binding) -> BindingInfo {
        let plugin = &binding.plugin;
        let grant = &binding.config.grant;
        let (reach, allow) = match &plugin.manifest {
            Some(_) => (
                crate::reach::reach(&binding.requests, grant),
                crate::reach::lines(&binding.name, &binding.requests, grant),
            ),
            None => crate::reach::of_component(&binding.name, &plugin.binary, grant),
        };
        BindingInfo {
            name: binding.name.clone(),
            path: plugin.path.clone(),
            digest: plugin.digest.clone(),
            size: std::fs::metadata(&plugin.path).map_or(0, |metadata| metadata.len()),
            manifest: plugin.manifest.clone(),
            imports: plugin.binary.imports.iter().cloned().collect(),
            reach,
            allow,
            missing: binding.missing.clone(),
            limits: binding.limits,
            pin: binding.pin.clone(),
            catalog: plugin.has_catalog(),
        }
    }
}

/// A fault of the host inside an import.
#[derive(Debug)]
pub(crate) struct HostFault(String);

impl fmt::Display for HostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HostFault {}

/// A fault of the host, as imports end a call with it.
pub(crate) fn fault(message: impl Into<String>) -> wasmtime::Error {
    HostFault(message.into()).into()
}

/// The name that is nearest to a misspelt one, if any is near.
fn nearest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    let near = names.iter().map(|name| (distance(wanted, name), name.as_str())).min()?;
    (near.0 <= wanted.len() / 3).then_some(near.1)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Where the command and other programs of a user keep compiled code, and its key: the platform's
/// cache and configuration folders (`$XDG_CACHE_HOME`, `$XDG_CONFIG_HOME`, else below `$HOME`).
///
/// `None` where the user has no home.
pub fn user_cache() -> Option<(PathBuf, PathBuf)> {
    let place = |variable: &str, below_home: &str| {
        let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        set.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(below_home)))
    };
    let cache = place("XDG_CACHE_HOME", ".cache")?.join("ampoule");
    let key = place("XDG_CONFIG_HOME", ".config")?.join("ampoule").join("cache.key");
    Some((cache, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_recognised() {
        let names = ["json-filter".to_owned(), "hash".to_owned()];
        assert_eq!(nearest("json_filter", &names), Some("json-filter"));
        assert_eq!(nearest("jsonfilter", &names), Some("json-filter"));
        assert_eq!(nearest("weather", &names), None);
    }
}
