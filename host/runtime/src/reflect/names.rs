//! The names WIT gave to the types of a component.
//!
//! A function's type holds no names of types, only their structure; the interfaces export the
//! names beside the functions. A type is recognised by its structure, and where two names have
//! the same structure it keeps none, because the wrong name would be worse.

use std::collections::HashMap;

use wasmtime::Engine;
use wasmtime::component::types::{self, ComponentItem, Type};

use super::docs::{Docs, TypeDocs};
use super::schema::Allowance;
use super::signature;

/// A name, or `None` for a structure that has several.
type Named = Option<String>;

/// The named types of a component.
#[derive(Default)]
pub(super) struct TypeNames {
    /// By interface; the component's own under `None`. Types are keyed by their structure as text.
    scopes: HashMap<Option<String>, HashMap<String, Named>>,
    /// Of all interfaces together.
    anywhere: HashMap<String, Named>,
}

impl TypeNames {
    /// Collects the names that exports and imports give to types; of a component with too many
    /// of them, those that come first.
    pub(super) fn collect(engine: &Engine, component: &types::Component) -> TypeNames {
        let mut names = TypeNames::default();
        let mut allowance = Allowance::COMPONENT;
        for (name, item) in component.exports(engine).chain(component.imports(engine)) {
            match item.ty {
                ComponentItem::Type(ty) => names.add(None, name, &ty, &mut allowance),
                ComponentItem::ComponentInstance(instance) => {
                    for (inner, item) in instance.exports(engine) {
                        if let ComponentItem::Type(ty) = item.ty {
                            names.add(Some(name), inner, &ty, &mut allowance);
                        }
                    }
                }
                _ => {}
            }
        }
        names
    }

    fn add(&mut self, scope: Option<&str>, name: &str, ty: &Type, allowance: &mut Allowance) {
        let measured = |left: &mut Allowance| left.take(name).and_then(|()| left.check(ty));
        if !is_nominal(ty) || allowance.lend(measured).is_err() {
            return;
        }
        let structure = signature::structure(ty);
        let insert = |known: &mut HashMap<String, Named>| {
            known
                .entry(structure.clone())
                .and_modify(|other| {
                    if other.as_deref() != Some(name) {
                        *other = None;
                    }
                })
                .or_insert_with(|| Some(name.to_owned()));
        };
        insert(self.scopes.entry(scope.map(str::to_owned)).or_default());
        insert(&mut self.anywhere);
    }

    /// The names as one interface sees them: its own first.
    pub(super) fn scope<'a>(&'a self, interface: Option<&'a str>, docs: &'a Docs) -> Scope<'a> {
        Scope { names: self, own: self.scopes.get(&interface.map(str::to_owned)), interface, docs }
    }
}

/// Whether WIT declares such a type by name; others are only abbreviated by theirs.
fn is_nominal(ty: &Type) -> bool {
    matches!(ty, Type::Record(_) | Type::Variant(_) | Type::Enum(_) | Type::Flags(_))
}

/// Names and documentation as seen from one interface.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    names: &'a TypeNames,
    own: Option<&'a HashMap<String, Named>>,
    interface: Option<&'a str>,
    docs: &'a Docs,
}

impl<'a> Scope<'a> {
    /// The name of a type that has passed [`Allowance::check`].
    pub(super) fn name(&self, ty: &Type) -> Option<&'a str> {
        if !is_nominal(ty) {
            return None;
        }
        let structure = signature::structure(ty);
        let own = self.own.and_then(|own| own.get(&structure));
        own.or_else(|| self.names.anywhere.get(&structure))?.as_deref()
    }

    /// What is written about a type that has passed [`Allowance::check`].
    pub(super) fn docs(&self, ty: &Type) -> Option<&'a TypeDocs> {
        self.docs.of_type(self.interface, self.name(ty)?)
    }
}
