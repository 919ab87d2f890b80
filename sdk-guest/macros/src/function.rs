//! `#[tool]` and `#[component]`: a function keeps being one and gets a type of the same name,
//! which carries its name, description and schemas.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, FnArg, ItemFn, Lit, Meta, Result};

/// What a function becomes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Tool,
    Component,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Tool => "tool",
            Kind::Component => "component",
        }
    }
}

pub(crate) fn expand(kind: Kind, arguments: TokenStream, function: ItemFn) -> Result<TokenStream> {
    check(kind, &arguments, &function)?;
    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let cfg = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let name = ident.to_string().trim_start_matches("r#").replace('_', "-");
    let description = description(kind, &function)?;
    let adapter = adapter(kind, &function);
    // Errors about the types of the arguments and the answer point at the signature.
    let span = function.sig.inputs.span();
    let implementation = match kind {
        Kind::Tool => quote_spanned! { span =>
            impl ::ampoule_sdk::plugin::Tool for #ident {
                fn name(&self) -> &'static str { #name }
                fn description(&self) -> &'static str { #description }
                fn input_schema(&self) -> ::ampoule_sdk::schemars::Schema {
                    ::ampoule_sdk::plugin::tool_input(#adapter)
                }
                fn output_schema(&self) -> ::ampoule_sdk::schemars::Schema {
                    ::ampoule_sdk::plugin::tool_output(#adapter)
                }
                fn call(&self, arguments: &str) -> ::ampoule_sdk::plugin::Called {
                    ::ampoule_sdk::plugin::call_tool(#adapter, arguments)
                }
            }
        },
        Kind::Component => quote_spanned! { span =>
            impl ::ampoule_sdk::plugin::Component for #ident {
                fn name(&self) -> &'static str { #name }
                fn description(&self) -> &'static str { #description }
                fn input_schema(&self) -> ::ampoule_sdk::schemars::Schema {
                    ::ampoule_sdk::plugin::component_input(#adapter)
                }
                fn output_schema(&self) -> ::ampoule_sdk::schemars::Schema {
                    ::ampoule_sdk::plugin::component_output(#adapter)
                }
                fn process(
                    &self,
                    settings: &str,
                    inputs: &str,
                ) -> ::ampoule_sdk::Result<::std::string::String> {
                    ::ampoule_sdk::plugin::process_component(#adapter, settings, inputs)
                }
            }
        },
    };
    // A struct with braces lives among the types only, so the function keeps its name.
    Ok(quote! {
        #function

        #(#cfg)*
        const _: () = { #implementation };

        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #visibility struct #ident {}
    })
}

/// A function pointer with as many arguments as the contract has, that runs the future of an
/// `async fn`.
fn adapter(kind: Kind, function: &ItemFn) -> TokenStream {
    let ident = &function.sig.ident;
    let parameters: &[Ident] = &match (kind, function.sig.inputs.len()) {
        (Kind::Tool, 0) => vec![],
        (Kind::Tool, _) => vec![quote::format_ident!("input")],
        (Kind::Component, _) => {
            vec![quote::format_ident!("settings"), quote::format_ident!("inputs")]
        }
    };
    let call = match function.sig.asyncness {
        Some(_) => quote!(::ampoule_sdk::block_on(#ident(#(#parameters),*))),
        None => quote!(#ident(#(#parameters),*)),
    };
    if parameters.is_empty() {
        return quote!(|_: ::ampoule_sdk::plugin::NoArguments| #call);
    }
    quote!(|#(#parameters),*| #call)
}

fn check(kind: Kind, arguments: &TokenStream, function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if !arguments.is_empty() {
        return Err(Error::new_spanned(
            arguments,
            "takes no arguments: titles, effects and limits stand in `plugin.toml`",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &signature.generics,
            format!("a {} cannot be generic: its types are its schemas", kind.word()),
        ));
    }
    if let Some(receiver @ FnArg::Receiver(_)) = signature.inputs.first() {
        return Err(Error::new_spanned(receiver, format!("a {} is a free function", kind.word())));
    }
    match (kind, signature.inputs.len()) {
        (Kind::Tool, 0 | 1) | (Kind::Component, 2) => Ok(()),
        (Kind::Tool, _) => Err(Error::new_spanned(
            &signature.inputs,
            "a tool takes one argument: make the several fields of one `#[ampoule_sdk::data]` struct",
        )),
        (Kind::Component, _) => Err(Error::new_spanned(
            signature,
            "a component takes its settings and its inputs: `fn name(settings: S, inputs: I)`",
        )),
    }
}

fn description(kind: Kind, function: &ItemFn) -> Result<String> {
    let lines: Vec<String> = function.attrs.iter().filter_map(doc_line).collect();
    let text = lines.join("\n").trim().to_owned();
    if text.is_empty() {
        return Err(Error::new_spanned(
            &function.sig.ident,
            format!("a {} needs a doc comment: it is what a model reads", kind.word()),
        ));
    }
    Ok(text)
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else { return None };
    let Expr::Lit(literal) = &meta.value else { return None };
    let Lit::Str(text) = &literal.lit else { return None };
    let text = text.value();
    let line = text.strip_prefix(' ').unwrap_or(&text);
    attribute.path().is_ident("doc").then(|| line.trim_end().to_owned())
}
