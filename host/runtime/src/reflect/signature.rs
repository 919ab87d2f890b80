//! Types and functions as WIT text.

use std::fmt::Write;

use wasmtime::component::types::Type;

use super::names::Scope;

/// A type written out to its leaves. Two types are the same exactly if this is.
///
/// Only for types that have passed [`Allowance::check`](super::schema::Allowance::check).
pub(super) fn structure(ty: &Type) -> String {
    let mut text = String::new();
    write_type(&mut text, ty, None);
    text
}

/// A function as WIT declares it, with the names its types have.
pub(super) fn function(
    name: &str,
    params: &[(String, Type)],
    result: Option<&Type>,
    scope: Scope<'_>,
) -> String {
    let mut text = format!("{name}: func(");
    separated(&mut text, params, |text, (name, ty)| {
        text.push_str(name);
        text.push_str(": ");
        write_type(text, ty, Some(scope));
    });
    text.push(')');
    if let Some(result) = result {
        text.push_str(" -> ");
        write_type(&mut text, result, Some(scope));
    }
    text
}

fn write_type(text: &mut String, ty: &Type, scope: Option<Scope<'_>>) {
    if let Some(name) = scope.and_then(|scope| scope.name(ty)) {
        return text.push_str(name);
    }
    let inner = |text: &mut String, ty: Type| write_type(text, &ty, scope);
    match ty {
        Type::Bool => text.push_str("bool"),
        Type::S8 => text.push_str("s8"),
        Type::U8 => text.push_str("u8"),
        Type::S16 => text.push_str("s16"),
        Type::U16 => text.push_str("u16"),
        Type::S32 => text.push_str("s32"),
        Type::U32 => text.push_str("u32"),
        Type::S64 => text.push_str("s64"),
        Type::U64 => text.push_str("u64"),
        Type::Float32 => text.push_str("f32"),
        Type::Float64 => text.push_str("f64"),
        Type::Char => text.push_str("char"),
        Type::String => text.push_str("string"),
        Type::List(list) => bracketed(text, "list", [list.ty()], inner),
        Type::FixedLengthList(list) => {
            text.push_str("list<");
            inner(text, list.ty());
            // Writing to a string cannot fail.
            let _ = write!(text, ", {}>", list.len());
        }
        Type::Map(map) => bracketed(text, "map", [map.key(), map.value()], inner),
        Type::Tuple(tuple) => bracketed(text, "tuple", tuple.types(), inner),
        Type::Option(option) => bracketed(text, "option", [option.ty()], inner),
        Type::Record(record) => {
            text.push_str("record { ");
            separated(text, record.fields(), |text, field| {
                text.push_str(field.name);
                text.push_str(": ");
                inner(text, field.ty);
            });
            text.push_str(" }");
        }
        Type::Variant(variant) => {
            text.push_str("variant { ");
            separated(text, variant.cases(), |text, case| {
                text.push_str(case.name);
                if let Some(ty) = case.ty {
                    text.push('(');
                    inner(text, ty);
                    text.push(')');
                }
            });
            text.push_str(" }");
        }
        Type::Enum(names) => listed(text, "enum", names.names()),
        Type::Flags(flags) => listed(text, "flags", flags.names()),
        Type::Result(result) => match (result.ok(), result.err()) {
            (None, None) => text.push_str("result"),
            (Some(ok), None) => bracketed(text, "result", [ok], inner),
            (ok, Some(err)) => {
                text.push_str("result<");
                match ok {
                    Some(ok) => inner(text, ok),
                    None => text.push('_'),
                }
                text.push_str(", ");
                inner(text, err);
                text.push('>');
            }
        },
        Type::Own(_) => text.push_str("own<_>"),
        Type::Borrow(_) => text.push_str("borrow<_>"),
        Type::Future(_) => text.push_str("future<_>"),
        Type::Stream(_) => text.push_str("stream<_>"),
        Type::ErrorContext => text.push_str("error-context"),
    }
}

/// `name<a, b>`
fn bracketed(
    text: &mut String,
    name: &str,
    types: impl IntoIterator<Item = Type>,
    each: impl FnMut(&mut String, Type),
) {
    text.push_str(name);
    text.push('<');
    separated(text, types, each);
    text.push('>');
}

/// `name { a, b }`
fn listed<'a>(text: &mut String, name: &str, names: impl IntoIterator<Item = &'a str>) {
    text.push_str(name);
    text.push_str(" { ");
    separated(text, names, |text, name| text.push_str(name));
    text.push_str(" }");
}

fn separated<T>(
    text: &mut String,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        each(text, item);
    }
}
