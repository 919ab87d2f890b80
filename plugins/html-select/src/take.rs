//! What is taken of an element.

use ampoule_sdk::prelude::*;
use shared_html::{NodeRef, text};
use url::Url;

use crate::table;

/// Bytes of an answer, near enough.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// What to take of an element.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum Take {
    /// Its text, blocks on lines of their own.
    #[default]
    Text,
    /// The HTML inside it.
    Html,
    /// Its HTML, itself included.
    OuterHtml,
    /// The attribute that `attribute` names, as it stands there; null where it has none.
    Attribute,
    /// All its attributes, as an object.
    Attributes,
    /// Where it leads and its text, as `{"url", "text"}`: its `href` or `src`, absolute where a base
    /// is known; null where it has neither.
    Link,
    /// The rows of a table, each a list of texts; cells over several rows or columns are repeated.
    Table,
    /// The rows of a table as objects, by the texts of its first row.
    Records,
    /// Only whether it is there: true.
    Exists,
}

impl Take {
    /// What is taken of an element.
    pub(crate) fn of(
        self,
        node: &NodeRef<'_>,
        attribute: Option<&str>,
        base: Option<&Url>,
    ) -> Result<Value> {
        Ok(match self {
            Take::Text => text(node).into(),
            Take::Html => node.inner_html().to_string().into(),
            Take::OuterHtml => node.html().to_string().into(),
            Take::Attribute => {
                attribute.and_then(|name| node.attr(name)).map(|value| value.to_string()).into()
            }
            Take::Attributes => node
                .attrs()
                .into_iter()
                .map(|attribute| (attribute.name.local.to_string(), attribute.value.to_string()))
                .map(|(name, value)| (name, Value::from(value)))
                .collect::<Map<String, Value>>()
                .into(),
            Take::Link => match node.attr("href").or_else(|| node.attr("src")) {
                None => Value::Null,
                Some(target) => {
                    let target = target.trim();
                    let url = match base {
                        Some(base) => base.join(target).map_or(target.to_owned(), String::from),
                        None => target.to_owned(),
                    };
                    let seen = text(node);
                    let seen = match seen.is_empty() {
                        true => node.attr("alt").map(|alt| alt.to_string()).unwrap_or_default(),
                        false => seen,
                    };
                    json!({ "url": url, "text": seen })
                }
            },
            Take::Table => table::rows(node)?.into(),
            Take::Records => table::records(node)?.into(),
            Take::Exists => true.into(),
        })
    }
}

/// What is left of the size of an answer.
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget(MAX_ANSWER_BYTES)
    }

    /// The value where there is room for it.
    pub(crate) fn spend(&mut self, value: Value) -> Option<Value> {
        self.0 = self.0.checked_sub(size(&value))?;
        Some(value)
    }
}

/// The size of a value in bytes, near enough. Values here are a few levels deep.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 4,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() + 6 + size(value)).sum::<usize>() + 2
        }
        _ => 8,
    }
}
