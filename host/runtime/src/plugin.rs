//! A plugin: one file, its manifest, and its code, compiled or loaded at the first call. Lives
//! as long as some registry holds it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::runtime::Handle;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::binary::{self, Binary};
use crate::bindings::exports::ampoule::{llm, plugin as iface};
use crate::cache::{Cache, Index};
use crate::error::HostError;
use crate::files;
use crate::imports::wasi;
use crate::manifest::Manifest;
use crate::reflect::{self, ReflectedTool};
use crate::state::{CallState, lock};
use crate::worker::Worker;

/// What a plugin exports whose tools depend on the settings of its binding.
const CATALOG: &str = "ampoule:plugin/catalog";

/// One plugin's file.
pub(crate) struct Plugin {
    /// Where it is.
    pub path: PathBuf,
    /// Digest of code and manifest, `sha256:…`.
    pub digest: String,
    /// What it says of itself; `None` for a component that knows nothing of Ampoule.
    pub manifest: Option<Manifest>,
    /// What it imports and exports.
    pub binary: Binary,
    code: OnceLock<Arc<Code>>,
    /// The last compilation that was begun.
    compilation: Mutex<Option<Compilation>>,
}

/// A compilation, under way or over. All who wait for it share it.
type Compilation = Shared<BoxFuture<'static, Result<Arc<Code>, Arc<HostError>>>>;

/// A plugin's code, ready to be instantiated.
pub(crate) struct Code {
    pub pre: InstancePre<CallState>,
    pub tool: Option<iface::tool::GuestIndices>,
    pub component: Option<iface::component::GuestIndices>,
    pub catalog: Option<iface::catalog::GuestIndices>,
    pub llm: Option<llm::llm::GuestIndices>,
    /// The functions of a component without a manifest.
    pub reflected: Vec<ReflectedTool>,
    /// How many places of the instance pool an instance takes.
    pub places: u32,
}

/// What compiling needs.
pub(crate) struct Compiler {
    pub engine: Engine,
    pub linker: Linker<CallState>,
    pub cache: Option<Cache>,
    /// Where code is compiled, if not in this process.
    pub worker: Option<Worker>,
}

impl Plugin {
    /// Reads a plugin's file, or what the index knows of it.
    ///
    /// # Errors
    /// The file cannot be read, is no component, or its manifest is refused.
    pub(crate) fn read(path: &Path, index: &mut Index) -> Result<Plugin, HostError> {
        let refused = |message: String| HostError::plugin(path, message);
        let file = files::open_regular(path, true).map_err(HostError::io(path))?;
        let metadata = file.metadata().map_err(HostError::io(path))?;
        if metadata.len() > binary::MAX_FILE_BYTES {
            return Err(refused(format!("larger than {} MiB", binary::MAX_FILE_BYTES >> 20)));
        }
        let known = index.get(path, &metadata).cloned();
        let known = match known {
            Some(known) => known,
            None => {
                let bytes = files::read_bounded(file, binary::MAX_FILE_BYTES);
                let bytes = bytes.map_err(HostError::io(path))?;
                let binary = Binary::read(&bytes).map_err(refused)?;
                let manifest = binary.manifest.as_deref().map(Manifest::from_section);
                let manifest = manifest.transpose().map_err(refused)?;
                index.insert(path, &metadata, crate::digest::of(&bytes), manifest, &binary)
            }
        };
        let binary = Binary {
            manifest: None,
            imports: known.imports.into_iter().collect(),
            exports: known.exports.into_iter().collect(),
        };
        if let Some(manifest) = &known.manifest {
            // Again: what the index knows may come from a host that checked less.
            manifest.check().map_err(refused)?;
            binary::check_imports(manifest, &binary).map_err(refused)?;
            check_exports(manifest, &binary).map_err(refused)?;
        }
        Ok(Plugin {
            path: path.to_owned(),
            digest: known.digest,
            manifest: known.manifest,
            binary,
            code: OnceLock::new(),
            compilation: Mutex::default(),
        })
    }

    /// Whether its instances may be kept between the calls of a session. What a component of
    /// `wasi:http` has in the host cannot be told apart, so none of those is.
    pub(crate) fn keeps_state(&self) -> bool {
        let asks = self.manifest.as_ref().is_some_and(|manifest| manifest.sessions);
        asks && !self.binary.imports(wasi::HTTP)
    }

    /// Whether its tools depend on the settings of its binding.
    pub(crate) fn has_catalog(&self) -> bool {
        self.manifest.is_some() && self.binary.exports(CATALOG)
    }

    /// The code: from the cache, or compiled now, once for all who ask. Whoever stops waiting
    /// leaves the compilation to the others; one that failed is begun again by the next.
    ///
    /// # Errors
    /// The file has changed since it was read, or the engine refuses it.
    pub(crate) async fn code(
        self: &Arc<Plugin>,
        compiler: &Arc<Compiler>,
    ) -> Result<&Arc<Code>, HostError> {
        if let Some(code) = self.code.get() {
            return Ok(code);
        }
        let compilation = self.compilation(compiler);
        match compilation.await {
            Ok(code) => Ok(self.code.get_or_init(|| code)),
            Err(error) => Err(again(&error)),
        }
    }

    /// The compilation under way or done, or a new one.
    fn compilation(self: &Arc<Plugin>, compiler: &Arc<Compiler>) -> Compilation {
        let mut last = lock(&self.compilation);
        if let Some(last) = &*last
            && !matches!(last.peek(), Some(Err(_)))
        {
            return last.clone();
        }
        let (plugin, compiler) = (self.clone(), compiler.clone());
        // It takes up to seconds and cannot be interrupted.
        let work = tokio::task::spawn_blocking(move || plugin.compile(&compiler));
        let compilation = async move {
            let compiled = work.await.map_err(|error| HostError::Engine(error.to_string()));
            compiled.flatten().map(Arc::new).map_err(Arc::new)
        };
        let compilation = compilation.boxed().shared();
        // Seen through to its end, also when nobody waits for it any more.
        drop(tokio::spawn(compilation.clone()));
        *last = Some(compilation.clone());
        compilation
    }

    fn compile(&self, compiler: &Compiler) -> Result<Code, HostError> {
        let refused = |message: String| HostError::plugin(&self.path, message);
        let cached = compiler.cache.as_ref().and_then(|cache| cache.load(&self.digest));
        // A component without a manifest is read again for its types' documentation.
        let source = match (&cached, &self.manifest) {
            (Some(_), Some(_)) => None,
            _ => Some(self.source()?),
        };
        let component = match (&cached, &source) {
            (Some(code), _) => {
                // SAFETY: the cache gives only bytes that carry the MAC of this host's key for
                // this plugin and this engine, so this engine has made them.
                unsafe { Component::deserialize(&compiler.engine, code) }
            }
            (None, Some(source)) => match &compiler.worker {
                None => Component::from_binary(&compiler.engine, source),
                Some(worker) => {
                    let compiled = Handle::current().block_on(worker.compile(source));
                    let code = compiled.map_err(refused)?;
                    // SAFETY: a process that this host has started from its own program has made
                    // them for this engine, and they came over a pipe that only it holds.
                    unsafe { Component::deserialize(&compiler.engine, code) }
                }
            },
            (None, None) => return Err(refused("its source is gone".into())),
        };
        let component = component.map_err(|error| refused(format!("{error:#}")))?;
        if cached.is_none()
            && let Some(cache) = &compiler.cache
            && let Ok(code) = component.serialize()
        {
            cache.store(&self.digest, &code);
        }
        let pre = compiler
            .linker
            .instantiate_pre(&component)
            .map_err(|error| refused(format!("its imports cannot be met: {error:#}")))?;
        let malformed = |error: wasmtime::Error| refused(format!("{error:#}"));
        let has = |interface: &str| self.binary.exports(interface);
        Ok(Code {
            tool: has("ampoule:plugin/tool")
                .then(|| iface::tool::GuestIndices::new(&pre))
                .transpose()
                .map_err(malformed)?,
            component: has("ampoule:plugin/component")
                .then(|| iface::component::GuestIndices::new(&pre))
                .transpose()
                .map_err(malformed)?,
            catalog: has(CATALOG)
                .then(|| iface::catalog::GuestIndices::new(&pre))
                .transpose()
                .map_err(malformed)?,
            llm: has("ampoule:llm/llm")
                .then(|| llm::llm::GuestIndices::new(&pre))
                .transpose()
                .map_err(malformed)?,
            reflected: match &source {
                Some(source) if self.manifest.is_none() => {
                    reflect::exports(&compiler.engine, &component, source)
                }
                _ => Vec::new(),
            },
            places: crate::engine::places(&component),
            pre,
        })
    }

    fn source(&self) -> Result<Vec<u8>, HostError> {
        let bytes = files::open_regular(&self.path, true)
            .and_then(|file| files::read_bounded(file, binary::MAX_FILE_BYTES))
            .map_err(HostError::io(&self.path))?;
        if crate::digest::of(&bytes) != self.digest {
            return Err(HostError::plugin(&self.path, "the file has changed; reload the host"));
        }
        Ok(bytes)
    }
}

/// The error of a shared compilation, for one of those who waited.
fn again(error: &HostError) -> HostError {
    match error {
        HostError::Config { path, message } => HostError::config(path, message),
        HostError::Plugin { path, message } => HostError::plugin(path, message),
        HostError::Io { path, source } => HostError::Io {
            path: path.clone(),
            source: std::io::Error::new(source.kind(), source.to_string()),
        },
        HostError::Engine(message) => HostError::Engine(message.clone()),
    }
}

/// Refuses a manifest that promises what the component does not export.
pub(crate) fn check_exports(manifest: &Manifest, binary: &Binary) -> Result<(), String> {
    use ampoule_contract::ToolKind;
    let provides = |kind| manifest.tools.iter().any(|tool| tool.kind == kind);
    for (promised, interface) in [
        // What a catalogue names is called as any tool.
        (provides(ToolKind::Tool) || binary.exports(CATALOG), "ampoule:plugin/tool"),
        (provides(ToolKind::Component), "ampoule:plugin/component"),
        (manifest.services.iter().any(|service| service == "llm"), "ampoule:llm/llm"),
    ] {
        if promised && !binary.exports(interface) {
            return Err(format!("its manifest promises `{interface}`, which it does not export"));
        }
    }
    match manifest.services.iter().find(|service| *service != "llm") {
        Some(unknown) => Err(format!("it is a connector for `{unknown}`, which this host lacks")),
        None => Ok(()),
    }
}

#[cfg(test)]
impl Compiler {
    /// One without a cache.
    pub(crate) fn uncached() -> Arc<Compiler> {
        let (engine, _) = crate::engine::engine().expect("an engine");
        let linker = crate::imports::linker(&engine).expect("a linker");
        Arc::new(Compiler { engine, linker, cache: None, worker: None })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A plugin that does nothing.
    fn nothing() -> Vec<u8> {
        let manifest =
            Manifest { name: "nothing".into(), version: "1.0.0".into(), ..Manifest::default() };
        let component = wasm_encoder::Component::new().finish();
        binary::with_manifest(&component, &manifest).expect("packed")
    }

    #[tokio::test]
    async fn all_who_ask_share_a_compilation_and_a_failed_one_is_begun_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nothing.wasm");
        fs::write(&path, nothing()).expect("written");
        let plugin = Arc::new(Plugin::read(&path, &mut Index::default()).expect("read"));
        let compiler = Compiler::uncached();

        fs::remove_file(&path).expect("removed");
        let (one, other) = tokio::join!(plugin.code(&compiler), plugin.code(&compiler));
        for failed in [one, other] {
            let error = failed.err().expect("the file is gone");
            assert!(matches!(&error, HostError::Io { path: at, .. } if *at == path), "{error}");
        }

        fs::write(&path, nothing()).expect("written");
        // One asks and gives up at once.
        drop(plugin.code(&compiler).now_or_never());
        let begun = plugin.compilation(&compiler);
        assert!(plugin.compilation(&compiler).ptr_eq(&begun));
        let code = plugin.code(&compiler).await.expect("compiled");
        assert!(Arc::ptr_eq(code, &begun.await.expect("the same")));
        assert!(Arc::ptr_eq(code, plugin.code(&compiler).await.expect("kept")));
    }

    #[tokio::test]
    async fn a_compilation_that_nobody_waits_for_ends_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nothing.wasm");
        fs::write(&path, nothing()).expect("written");
        let plugin = Arc::new(Plugin::read(&path, &mut Index::default()).expect("read"));
        let compiler = Compiler::uncached();
        let begun = plugin.compilation(&compiler);
        while begun.peek().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert!(begun.peek().is_some_and(Result::is_ok));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().expect("a folder");
        let (pipe, zero) = (folder.path().join("a.wasm"), folder.path().join("b.wasm"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("run");
        assert!(made.success());
        std::os::unix::fs::symlink("/dev/zero", &zero).expect("linked");
        for path in [&pipe, &zero, &folder.path().to_owned()] {
            let error = Plugin::read(path, &mut Index::default()).err().expect("refused");
            assert!(error.to_string().ends_with("it is not a regular file"), "{error}");
        }
    }
}
