//! Reading a component's file without running or compiling it: the manifest it carries, what it
//! imports and exports, and how much there would be to compile.

use std::borrow::Cow;
use std::collections::BTreeSet;

use wasm_encoder::ComponentSection;
use wasmparser::{ComponentTypeRef, FunctionBody, Parser, Payload};

use crate::manifest::{Manifest, SECTION};

/// The largest file of a plugin: 128 MiB.
pub(crate) const MAX_FILE_BYTES: u64 = 128 << 20;

/// How much of what takes a compiler time and memory a component may hold, modules in it
/// together. CPython, the largest language runtime known to be compiled to Wasm, has 14 modules
/// with 13,500 functions, 6.3 MiB of code, 417 KiB in the largest body and 48,000 locals.
const MOST: Work = Work {
    modules: 256,
    functions: 200_000,
    // What a compiler needs for one body grows faster than its size.
    body: 2 << 20,
    code: 64 << 20,
    // A few bytes declare thousands.
    locals: 4_000_000,
};

/// Work for a compiler.
#[derive(Default)]
struct Work {
    modules: usize,
    functions: usize,
    /// Bytes of the largest body of a function.
    body: usize,
    /// Bytes of all bodies.
    code: usize,
    locals: u64,
}

impl Work {
    /// Counts the body of a function.
    fn add(&mut self, body: &FunctionBody<'_>) -> wasmparser::Result<()> {
        let bytes = body.range().len();
        self.functions += 1;
        self.body = self.body.max(bytes);
        self.code += bytes;
        for group in body.get_locals_reader()? {
            self.locals = self.locals.saturating_add(group?.0.into());
        }
        Ok(())
    }

    /// # Errors
    /// It is more than may be.
    fn check(&self) -> Result<(), String> {
        let too_much = |what: &str, most: &dyn std::fmt::Display| {
            Err(format!("there is too much to compile: {what}, of which there may be {most}"))
        };
        if self.modules > MOST.modules {
            too_much("modules", &MOST.modules)
        } else if self.functions > MOST.functions {
            too_much("functions", &MOST.functions)
        } else if self.body > MOST.body {
            too_much("bytes in one function", &MOST.body)
        } else if self.code > MOST.code {
            too_much("bytes of code", &MOST.code)
        } else if self.locals > MOST.locals {
            too_much("local variables", &MOST.locals)
        } else {
            Ok(())
        }
    }
}

/// What a component's file says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Binary {
    /// The manifest, where it has one.
    pub manifest: Option<Vec<u8>>,
    /// The interfaces and functions it imports, with versions.
    pub imports: BTreeSet<String>,
    /// The interfaces and functions it exports, with versions.
    pub exports: BTreeSet<String>,
}

impl Binary {
    /// Reads a component.
    ///
    /// # Errors
    /// It is not a component, it is malformed, or there is too much to compile.
    pub(crate) fn read(bytes: &[u8]) -> Result<Binary, String> {
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20));
        }
        if !Parser::is_component(bytes) {
            return Err(match Parser::is_core_wasm(bytes) {
                true => "it is a core module, not a component; build it for wasm32-wasip2".into(),
                false => "it is not a WebAssembly component".into(),
            });
        }
        let mut binary = Binary::default();
        let (mut depth, mut work) = (0usize, Work::default());
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| format!("it is malformed: {error}"))? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                // Only the outermost component speaks for the file: a nested one may carry a
                // forged manifest.
                Payload::CustomSection(section) if depth == 1 && section.name() == SECTION => {
                    let another = binary.manifest.replace(section.data().to_vec());
                    if another.is_some() {
                        return Err("it has two manifests".into());
                    }
                }
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        let import = import.map_err(|error| format!("it is malformed: {error}"))?;
                        // A type is a name, not something to reach.
                        if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                            binary.imports.insert(import.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        let export = export.map_err(|error| format!("it is malformed: {error}"))?;
                        binary.exports.insert(export.name.name.to_owned());
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    work.add(&body).map_err(|error| format!("it is malformed: {error}"))?;
                    work.check()?;
                }
                Payload::ModuleSection { .. } => {
                    work.modules += 1;
                    work.check()?;
                }
                _ => {}
            }
        }
        Ok(binary)
    }

    /// Whether it exports an interface, in any version.
    pub(crate) fn exports(&self, interface: &str) -> bool {
        self.exports.iter().any(|export| without_version(export) == interface)
    }

    /// Whether it imports an interface that begins with `prefix`.
    pub(crate) fn imports(&self, prefix: &str) -> bool {
        self.imports.iter().any(|import| import.starts_with(prefix))
    }
}

/// `ns:package/interface` without `@version`.
pub(crate) fn without_version(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// Refuses a component whose imports its manifest does not declare: the import list is the
/// true request for capabilities, and the manifest must not say less.
pub(crate) fn check_imports(manifest: &Manifest, binary: &Binary) -> Result<(), String> {
    let all = manifest.capabilities.all();
    for import in &binary.imports {
        let declared = match without_version(import) {
            "ampoule:plugin/types"
            | "ampoule:plugin/context"
            | "ampoule:plugin/log"
            | "ampoule:plugin/progress"
            | "ampoule:plugin/blobs" => true,
            "ampoule:plugin/clock" => all.clock,
            "ampoule:plugin/random" => all.random,
            "ampoule:plugin/ask" => all.ask,
            "ampoule:plugin/http" => !all.http.is_empty(),
            "ampoule:plugin/files" => all.files.is_some(),
            "ampoule:plugin/tools" => !all.tools.is_empty(),
            // A request may name a secret to attach; the interface is for signing.
            "ampoule:plugin/secrets" => !all.secrets.is_empty(),
            // A connector's own export drags its resource type in as an import without functions.
            "ampoule:llm/llm" if binary.exports("ampoule:llm/llm") => true,
            "ampoule:llm/llm" | "ampoule:llm/waiting" => all.services.iter().any(|s| s == "llm"),
            name if name.starts_with("wasi:http/") => !all.http.is_empty(),
            name if name.starts_with("ampoule:") => {
                return Err(format!("it imports `{import}`, which this host does not offer"));
            }
            // Other WASI interfaces are stand-ins that reach nothing.
            name => name.starts_with("wasi:"),
        };
        if !declared {
            return Err(match import.starts_with("ampoule:") || import.starts_with("wasi:") {
                true => format!(
                    "it imports `{import}` but its manifest does not declare it; add it under \
                     [capabilities] in plugin.toml"
                ),
                false => format!("it imports `{import}`, which this host does not offer"),
            });
        }
    }
    Ok(())
}

/// The component with `manifest` in its section, in place of one that was there.
///
/// # Errors
/// It is not a well-formed component.
pub(crate) fn with_manifest(bytes: &[u8], manifest: &Manifest) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(bytes.len() + 4096);
    let (mut depth, mut copied) = (0usize, 0usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| format!("it is malformed: {error}"))? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 1 && section.name() == SECTION => {
                // The section's range is its content; before it stand one byte of id and the
                // length in LEB128.
                let range = section.range();
                let start = section_start(bytes, range.start, range.len());
                out.extend_from_slice(&bytes[copied..start]);
                copied = range.end;
            }
            _ => {}
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    let data = serde_json::to_vec(manifest).map_err(|error| error.to_string())?;
    wasm_encoder::CustomSection { name: SECTION.into(), data: Cow::Owned(data) }
        .append_to_component(&mut out);
    Ok(out)
}

/// Where a custom section with content at `content` of `len` bytes begins: its id byte.
fn section_start(bytes: &[u8], content: usize, len: usize) -> usize {
    // The length may be written in one to five bytes of LEB128, padded or not.
    (1..=5usize)
        .filter_map(|width| content.checked_sub(width + 1))
        .find(|&start| {
            let written = &bytes[start + 1..content];
            let value = written.iter().rev().fold(0usize, |v, b| v << 7 | usize::from(b & 0x7f));
            let more = written[..written.len() - 1].iter().all(|b| b & 0x80 != 0);
            bytes[start] == 0 && value == len && more && written[written.len() - 1] & 0x80 == 0
        })
        .unwrap_or(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> Vec<u8> {
        wasm_encoder::Component::new().finish()
    }

    fn manifest(name: &str) -> Manifest {
        Manifest { name: name.into(), version: "1.0.0".into(), ..Manifest::default() }
    }

    #[test]
    fn a_manifest_is_written_replaced_and_read() {
        let once = with_manifest(&component(), &manifest("first")).expect("written");
        let twice = with_manifest(&once, &manifest("second")).expect("replaced");
        let section = Binary::read(&twice).expect("read").manifest.expect("there");
        assert_eq!(Manifest::from_section(&section).expect("valid").name, "second");
        assert_eq!(twice.len(), once.len() + 1);
    }

    #[test]
    fn a_nested_manifest_does_not_count_and_two_are_refused() {
        let inner = with_manifest(&component(), &manifest("forged")).expect("written");
        let mut outer = wasm_encoder::Component::new();
        outer.section(&wasm_encoder::RawSection { id: 4, data: &inner });
        let outer = outer.finish();
        assert!(Binary::read(&outer).expect("read").manifest.is_none());
        let mut twice = with_manifest(&component(), &manifest("a")).expect("written");
        let again = wasm_encoder::CustomSection { name: SECTION.into(), data: b"{}".into() };
        again.append_to_component(&mut twice);
        assert!(Binary::read(&twice).unwrap_err().contains("two manifests"));
    }

    #[test]
    fn what_is_not_a_component_is_refused() {
        assert!(Binary::read(b"").is_err());
        assert!(Binary::read(b"hello").is_err());
        let module = wasm_encoder::Module::new().finish();
        assert!(Binary::read(&module).unwrap_err().contains("core module"));
        assert!(Binary::read(&component()[..7]).is_err());
    }

    /// A component of modules with functions, each with so many locals and bytes.
    fn functions(modules: usize, functions: u32, locals: u32, bytes: usize) -> Vec<u8> {
        use wasm_encoder::{CodeSection, Function, FunctionSection, Module, TypeSection};
        let (mut types, mut declared, mut code) =
            (TypeSection::new(), FunctionSection::new(), CodeSection::new());
        types.ty().function([], []);
        for _ in 0..functions {
            declared.function(0);
            let mut body = Function::new([(locals, wasm_encoder::ValType::I32)]);
            body.raw(std::iter::repeat_n(1, bytes)).instruction(&wasm_encoder::Instruction::End);
            code.function(&body);
        }
        let mut module = Module::new();
        module.section(&types).section(&declared).section(&code);
        let mut component = wasm_encoder::Component::new();
        for _ in 0..modules {
            component.section(&wasm_encoder::ModuleSection(&module));
        }
        component.finish()
    }

    #[test]
    fn what_would_be_too_much_to_compile_is_refused_unread() {
        assert!(Binary::read(&functions(3, 1000, 10, 100)).is_ok());
        for (bomb, words) in [
            (functions(1, 1_000_000, 0, 0), "functions, of which there may be 200000"),
            (functions(5, 50_000, 0, 0), "functions, of which there may be 200000"),
            (functions(1, 1, 0, 2 << 20), "bytes in one function, of which there may be 2097152"),
            (functions(34, 1, 0, 2_000_000), "bytes of code, of which there may be 67108864"),
            (functions(1, 100, 50_000, 0), "local variables, of which there may be 4000000"),
            (functions(1, 1, u32::MAX, 0), "local variables, of which there may be 4000000"),
            (functions(257, 0, 0, 0), "modules, of which there may be 256"),
        ] {
            let error = Binary::read(&bomb).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn undeclared_imports_are_refused() {
        let binary =
            |import: &str| Binary { imports: [import.to_owned()].into(), ..Binary::default() };
        let nothing = manifest("x");
        assert!(check_imports(&nothing, &binary("ampoule:plugin/log@1.0.0")).is_ok());
        assert!(check_imports(&nothing, &binary("wasi:cli/environment@0.2.3")).is_ok());
        for import in [
            "ampoule:plugin/http@1.0.0",
            "ampoule:plugin/files@1.0.0",
            "ampoule:llm/llm@1.0.0",
            "ampoule:plugin/everything@1.0.0",
            "wasi:http/outgoing-handler@0.2.0",
            "other:thing/here",
        ] {
            assert!(check_imports(&nothing, &binary(import)).is_err(), "{import}");
        }
    }
}
