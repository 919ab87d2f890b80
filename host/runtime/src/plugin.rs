//! A plugin: one file, its manifest, and its code, compiled or loaded at the first call. Lives
//! as long as some registry holds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OnceCell;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::binary::{self, Binary};
use crate::bindings::exports::ampoule::{llm, plugin as iface};
use crate::cache::{Cache, Index};
use crate::error::HostError;
use crate::manifest::Manifest;
use crate::reflect::{self, ReflectedTool};
use crate::state::CallState;

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
    code: OnceCell<Arc<Code>>,
}

/// A plugin's code, ready to be instantiated.
pub(crate) struct Code {
    pub pre: InstancePre<CallState>,
    pub tool: Option<iface::tool::GuestIndices>,
    pub component: Option<iface::component::GuestIndices>,
    pub llm: Option<llm::llm::GuestIndices>,
    /// The functions of a component without a manifest.
    pub reflected: Vec<ReflectedTool>,
}

/// What compiling needs.
pub(crate) struct Compiler {
    pub engine: Engine,
    pub linker: Linker<CallState>,
    pub cache: Option<Cache>,
}

impl Plugin {
    /// Reads a plugin's file, or what the index knows of it.
    ///
    /// # Errors
    /// The file cannot be read, is no component, or its manifest is refused.
    pub(crate) fn read(path: &Path, index: &mut Index) -> Result<Plugin, HostError> {
        let refused = |message: String| HostError::plugin(path, message);
        let metadata = fs::metadata(path).map_err(HostError::io(path))?;
        if metadata.len() > binary::MAX_FILE_BYTES {
            return Err(refused(format!("larger than {} MiB", binary::MAX_FILE_BYTES >> 20)));
        }
        let known = index.get(path, &metadata).cloned();
        let known = match known {
            Some(known) => known,
            None => {
                let bytes = fs::read(path).map_err(HostError::io(path))?;
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
            binary::check_imports(manifest, &binary).map_err(refused)?;
            check_exports(manifest, &binary).map_err(refused)?;
        }
        Ok(Plugin {
            path: path.to_owned(),
            digest: known.digest,
            manifest: known.manifest,
            binary,
            code: OnceCell::new(),
        })
    }

    /// The code: from the cache, or compiled now.
    ///
    /// # Errors
    /// The file has changed since it was read, or the engine refuses it.
    pub(crate) async fn code(
        self: &Arc<Plugin>,
        compiler: &Arc<Compiler>,
    ) -> Result<&Arc<Code>, HostError> {
        let (plugin, compiler) = (self.clone(), compiler.clone());
        self.code
            .get_or_try_init(|| async move {
                // Compiling takes up to seconds and cannot be interrupted.
                let work = tokio::task::spawn_blocking(move || plugin.compile(&compiler));
                work.await.map_err(|error| HostError::Engine(error.to_string()))?.map(Arc::new)
            })
            .await
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
            (None, Some(source)) => Component::from_binary(&compiler.engine, source),
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
            pre,
        })
    }

    fn source(&self) -> Result<Vec<u8>, HostError> {
        let bytes = fs::read(&self.path).map_err(HostError::io(&self.path))?;
        if crate::digest::of(&bytes) != self.digest {
            return Err(HostError::plugin(&self.path, "the file has changed; reload the host"));
        }
        Ok(bytes)
    }
}

/// Refuses a manifest that promises what the component does not export.
pub(crate) fn check_exports(manifest: &Manifest, binary: &Binary) -> Result<(), String> {
    use ampoule_contract::ToolKind;
    let provides = |kind| manifest.tools.iter().any(|tool| tool.kind == kind);
    for (promised, interface) in [
        (provides(ToolKind::Tool), "ampoule:plugin/tool"),
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
