//! Documentation a component carries: the custom section `package-docs`, in which wit-parser's
//! `PackageMetadata` keeps the doc comments of one WIT package.
//!
//! Compilers leave it out of the components they make; whoever packs a component can put it
//! back. It names interfaces and worlds without their package.

use std::collections::HashSet;
use std::ops::Deref;

use indexmap::IndexMap;
use serde::Deserialize;
use wasmparser::{Chunk, Parser, Payload};

/// The custom section.
const SECTION: &str = "package-docs";

/// The largest section that is read: 1 MiB.
const MAX_BYTES: usize = 1 << 20;

/// The longest text about one thing, in characters; what is longer is cut, and ends in `…`.
const MAX_CHARS: usize = 4_000;

/// The doc comments of a component. Empty where it carries none.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Docs {
    interfaces: IndexMap<String, InterfaceDocs>,
    worlds: IndexMap<String, WorldDocs>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InterfaceDocs {
    funcs: IndexMap<String, FunctionDocs>,
    types: IndexMap<String, TypeDocs>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WorldDocs {
    types: IndexMap<String, TypeDocs>,
    /// Functions it imports or exports; with `func_exports` there, those it imports.
    funcs: IndexMap<String, FunctionDocs>,
    func_exports: IndexMap<String, FunctionDocs>,
    /// Interfaces written in the world itself, imported or exported likewise.
    interfaces: IndexMap<String, InterfaceDocs>,
    interface_exports: IndexMap<String, InterfaceDocs>,
}

/// The first version of the format has the text alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum FunctionDocs {
    Text(Text),
    Record {
        #[serde(default)]
        docs: Option<Text>,
    },
}

/// What is written about a type.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TypeDocs {
    /// About the type itself.
    #[serde(rename = "docs")]
    pub(super) text: Option<Text>,
    /// About its fields, cases or flags, by name.
    pub(super) items: IndexMap<String, Text>,
}

/// A doc comment of at most [`MAX_CHARS`].
#[derive(Deserialize)]
#[serde(from = "String")]
pub(super) struct Text(String);

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(super::clipped(text.trim(), MAX_CHARS))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Docs {
    /// Reads the documentation of a component that exports `interfaces`. One that cannot be read
    /// is none: it describes, and decides nothing.
    pub(super) fn read<'a>(wasm: &[u8], interfaces: impl Iterator<Item = &'a str>) -> Docs {
        let read = section(wasm).and_then(|data| data.map_or(Ok(Docs::default()), parse));
        let mut docs = read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the documentation of a component is unreadable");
            Docs::default()
        });
        // The same name in two packages: nothing says which of them is meant.
        let mut seen = HashSet::new();
        for name in interfaces.map(short_name) {
            if !seen.insert(name) {
                docs.interfaces.shift_remove(name);
            }
        }
        docs
    }

    /// What is written about an exported function.
    pub(super) fn of_function(&self, interface: Option<&str>, name: &str) -> Option<&str> {
        let docs = match interface {
            Some(interface) => self.interface(interface)?.funcs.get(name),
            None => only(self.worlds.values().filter_map(|world| {
                world.func_exports.get(name).or_else(|| world.funcs.get(name))
            })),
        };
        match docs? {
            FunctionDocs::Text(text) => Some(text),
            FunctionDocs::Record { docs } => docs.as_deref(),
        }
    }

    /// What is written about a type an interface names: there, or in the one other interface
    /// from which it may have taken the name.
    pub(super) fn of_type(&self, interface: Option<&str>, name: &str) -> Option<&TypeDocs> {
        let own = match interface {
            Some(interface) => self.interface(interface).and_then(|docs| docs.types.get(name)),
            None => only(self.worlds.values().filter_map(|world| world.types.get(name))),
        };
        own.or_else(|| only(self.interfaces.values().filter_map(|docs| docs.types.get(name))))
    }

    fn interface(&self, name: &str) -> Option<&InterfaceDocs> {
        if name.contains('/') {
            return self.interfaces.get(short_name(name));
        }
        only(self.worlds.values().filter_map(|world| {
            world.interface_exports.get(name).or_else(|| world.interfaces.get(name))
        }))
    }
}

/// `interface` of `namespace:package/interface@version`.
pub(super) fn short_name(interface: &str) -> &str {
    let name = interface.split_once('@').map_or(interface, |(name, _)| name);
    name.rsplit_once('/').map_or(name, |(_, short)| short)
}

/// The only item there is.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}

/// The section's content, from the outermost component: a nested one speaks for itself alone.
fn section(wasm: &[u8]) -> Result<Option<&[u8]>, String> {
    let mut parser = Parser::new(0);
    let (mut rest, mut found) = (wasm, None);
    loop {
        let chunk = parser.parse(rest, true).map_err(|error| error.to_string())?;
        let Chunk::Parsed { consumed, payload } = chunk else {
            return Err("it ends too early".into());
        };
        rest = &rest[consumed..];
        match payload {
            Payload::CustomSection(custom) if custom.name() == SECTION => match found {
                None => found = Some(custom.data()),
                Some(_) => return Err(format!("there are two sections `{SECTION}`")),
            },
            Payload::ModuleSection { unchecked_range: nested, .. }
            | Payload::ComponentSection { unchecked_range: nested, .. } => {
                rest = rest.get(nested.len()..).ok_or("it ends too early")?;
            }
            Payload::End(_) => return Ok(found),
            _ => {}
        }
    }
}

fn parse(data: &[u8]) -> Result<Docs, String> {
    if data.len() > MAX_BYTES {
        return Err(format!("the section `{SECTION}` is larger than {MAX_BYTES} bytes"));
    }
    let json = match data {
        [0 | 1, json @ ..] => json,
        _ => return Err(format!("the section `{SECTION}` is of an unknown version")),
    };
    serde_json::from_slice(json).map_err(|error| error.to_string())
}
