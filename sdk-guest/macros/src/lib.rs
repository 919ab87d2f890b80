//! The macros of `ampoule-sdk`, which documents them where it re-exports them.

mod data;
mod export;
mod function;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes a function a tool.
#[proc_macro_attribute]
pub fn tool(arguments: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(function::Kind::Tool, arguments.into(), parse_macro_input!(item))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a function a component.
#[proc_macro_attribute]
pub fn component(arguments: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(function::Kind::Component, arguments.into(), parse_macro_input!(item))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Derives what a type needs.
#[proc_macro_attribute]
pub fn data(arguments: TokenStream, item: TokenStream) -> TokenStream {
    data::expand(parse_macro_input!(arguments), parse_macro_input!(item)).into()
}

/// Exports.
#[proc_macro]
pub fn export(input: TokenStream) -> TokenStream {
    export::expand(parse_macro_input!(input)).into()
}
