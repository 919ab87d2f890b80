//! `export!`: what a plugin provides, and the exports of the component for just that.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, Path, Result, Token, Type};

/// `tool, tool; components: a, b; catalog: Type; llm: Type; settings: Type; initialise: function`.
#[derive(Default)]
pub(crate) struct Exports {
    tools: Vec<Path>,
    components: Vec<Path>,
    catalog: Option<Type>,
    llm: Option<Type>,
    settings: Option<Type>,
    initialise: Option<Path>,
}

impl Parse for Exports {
    fn parse(input: ParseStream<'_>) -> Result<Exports> {
        let mut exports = Exports::default();
        while !input.is_empty() {
            if input.peek(Ident) && input.peek2(Token![:]) && !input.peek2(Token![::]) {
                let key: Ident = input.parse()?;
                input.parse::<Token![:]>()?;
                match key.to_string().as_str() {
                    "components" => exports.components.extend(paths(input)?),
                    "catalog" => exports.catalog = Some(input.parse()?),
                    "llm" => exports.llm = Some(input.parse()?),
                    "settings" => exports.settings = Some(input.parse()?),
                    "initialise" => exports.initialise = Some(input.parse()?),
                    _ => {
                        return Err(Error::new(
                            key.span(),
                            "expected `components`, `catalog`, `llm`, `settings` or `initialise`",
                        ));
                    }
                }
            } else {
                exports.tools.extend(paths(input)?);
            }
            if !input.is_empty() {
                input.parse::<Token![;]>()?;
            }
        }
        let Exports { tools, components, catalog, llm, .. } = &exports;
        if tools.is_empty() && components.is_empty() && catalog.is_none() && llm.is_none() {
            return Err(input.error("a plugin exports at least one tool, component or connector"));
        }
        Ok(exports)
    }
}

/// Paths separated by commas, up to a `;` or the end.
fn paths(input: ParseStream<'_>) -> Result<Vec<Path>> {
    let mut paths = Punctuated::<Path, Token![,]>::new();
    while !input.is_empty() && !input.peek(Token![;]) {
        paths.push_value(input.parse()?);
        if input.is_empty() || input.peek(Token![;]) {
            break;
        }
        paths.push_punct(input.parse()?);
    }
    Ok(paths.into_iter().collect())
}

pub(crate) fn expand(exports: Exports) -> TokenStream {
    let Exports { tools, components, catalog, llm, settings, initialise } = exports;
    let services = llm.as_ref().map(|_| "llm").into_iter();
    let settings = settings.map(|settings| {
        quote! {
            fn settings_schema() -> ::core::option::Option<::ampoule_sdk::schemars::Schema> {
                ::core::option::Option::Some(::ampoule_sdk::schema::input::<#settings>())
            }
        }
    });
    let call_catalog = catalog.as_ref().map(|catalog| {
        quote! {
            fn call_catalog(
                name: &str,
                arguments: &str,
            ) -> ::core::option::Option<::ampoule_sdk::plugin::Called> {
                ::core::option::Option::Some(
                    ::ampoule_sdk::plugin::call_catalog::<#catalog>(name, arguments)
                )
            }
        }
    });
    let preinitialised = initialise.as_ref().map(|initialise| {
        quote! {
            #[cfg(target_arch = "wasm32")]
            impl ::ampoule_sdk::bindings::preinitialised::Guest for Plugin {
                fn wizer_initialize() {
                    #initialise()
                }
            }
        }
    });
    let worlds = [
        (initialise.is_some(), "preinitialised", "export_preinitialised", quote!(Plugin)),
        (true, "describe", "export_describe", quote!(Plugin)),
        (!tools.is_empty() || catalog.is_some(), "tool", "export_tool", quote!(Plugin)),
        (!components.is_empty(), "component", "export_component", quote!(Plugin)),
        (catalog.is_some(), "catalog", "export_catalog", quote!(#catalog)),
        (llm.is_some(), "connector", "export_llm", quote!(#llm)),
    ];
    let worlds = worlds.into_iter().filter(|world| world.0).map(|(_, module, export, provider)| {
        let module = Ident::new(module, proc_macro2::Span::call_site());
        let export = Ident::new(export, proc_macro2::Span::call_site());
        quote! {
            const _: () = {
                type Provider = #provider;
                ::ampoule_sdk::bindings::#module::#export!(
                    Provider with_types_in ::ampoule_sdk::bindings::#module
                );
            };
        }
    });
    quote! {
        /// What this crate exports; `ampoule_sdk::plugin` calls it natively.
        #[derive(Clone, Copy, Debug)]
        pub struct Plugin;

        impl ::ampoule_sdk::plugin::Plugin for Plugin {
            const TOOLS: &'static [&'static dyn ::ampoule_sdk::plugin::Tool] =
                &[#(&#tools {}),*];
            const COMPONENTS: &'static [&'static dyn ::ampoule_sdk::plugin::Component] =
                &[#(&#components {}),*];
            const SERVICES: &'static [&'static str] = &[#(#services),*];
            #settings
            #call_catalog
        }

        #preinitialised

        #(#[cfg(target_arch = "wasm32")] #worlds)*
    }
}
