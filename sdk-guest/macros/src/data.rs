//! `#[data]`: the derives and attributes that make a type an argument, a value, a setting.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::token::Paren;
use syn::{Attribute, Data, DeriveInput, Expr, Ident, Result, Token};

/// What stands in the brackets of `#[data(…)]`.
pub(crate) struct Options {
    open: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        if input.is_empty() {
            return Ok(Options { open: false });
        }
        let word: Ident = input.parse()?;
        if word != "open" {
            return Err(syn::Error::new(word.span(), "the only option is `open`"));
        }
        Ok(Options { open: true })
    }
}

pub(crate) fn expand(options: Options, item: DeriveInput) -> TokenStream {
    let closed =
        !options.open && !mentions(&item.attrs, "deny_unknown_fields") && !flattened(&item);
    let closed = closed.then(|| quote!(#[serde(deny_unknown_fields)]));
    let is_enum = matches!(item.data, Data::Enum(_));
    let kebab = is_enum && !mentions(&item.attrs, "rename_all");
    let kebab = kebab.then(|| quote!(#[serde(rename_all = "kebab-case")]));
    quote! {
        #[derive(
            ::core::clone::Clone,
            ::core::fmt::Debug,
            ::ampoule_sdk::serde::Serialize,
            ::ampoule_sdk::serde::Deserialize,
            ::ampoule_sdk::schemars::JsonSchema,
        )]
        #[serde(crate = "::ampoule_sdk::serde")]
        #[schemars(crate = "::ampoule_sdk::schemars")]
        #closed
        #kebab
        #item
    }
}

/// Whether a field is flattened, which serde cannot join with the refusal of unknown fields.
fn flattened(item: &DeriveInput) -> bool {
    let fields: Vec<_> = match &item.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        Data::Union(_) => Vec::new(),
    };
    fields.iter().any(|field| mentions(&field.attrs, "flatten"))
}

/// Whether a `#[serde(…)]` has this word.
fn mentions(attributes: &[Attribute], word: &str) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("serde")).any(|attribute| {
        let mut found = false;
        // What cannot be read here is reported by serde itself.
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta.path.is_ident(word);
            if meta.input.peek(Token![=]) {
                meta.value()?.parse::<Expr>()?;
            } else if meta.input.peek(Paren) {
                meta.input.parse::<TokenTree>()?;
            }
            Ok(())
        });
        found
    })
}
