//! Which secrets go with an operation.

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use ampoule_sdk::secrets;

use crate::document::Document;
use crate::operation::Operation;

/// The secrets of this plugin, where the host puts each: `header` or `query`, and the name. As in
/// `plugin.toml`.
const SECRETS: [(&str, &str, &str); 15] = [
    ("bearer", "header", "authorization: bearer"),
    ("basic", "header", "authorization: basic"),
    ("authorization", "header", "authorization"),
    ("x-api-key", "header", "x-api-key"),
    ("api-key", "header", "api-key"),
    ("apikey", "header", "apikey"),
    ("x-auth-token", "header", "x-auth-token"),
    ("x-access-token", "header", "x-access-token"),
    ("subscription-key", "header", "ocp-apim-subscription-key"),
    ("query-key", "query", "key"),
    ("query-api-key", "query", "api_key"),
    ("query-apikey", "query", "apikey"),
    ("query-token", "query", "token"),
    ("query-access-token", "query", "access_token"),
    ("query-appid", "query", "appid"),
];

/// Whether a name is that of a secret of this plugin.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|(secret, ..)| *secret == name)
}

/// The names of all secrets, for a message.
pub(crate) fn names() -> String {
    SECRETS.map(|(name, ..)| name).join(", ")
}

/// The secrets to send with an operation: of the alternatives it allows, the first whose secrets
/// are all there; where there is none, nothing if that is allowed, else the first, so that the host
/// says what is not granted.
///
/// # Errors
/// `unsupported` where no secret of this plugin goes where the API wants it; `invalid-data` where
/// the document does not say.
pub(crate) fn credentials(
    document: &Document,
    operation: &Operation<'_>,
    mapping: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let required = operation.value.get("security").or_else(|| document.root().get("security"));
    let alternatives = match required.and_then(Value::as_array) {
        Some(alternatives) if !alternatives.is_empty() => alternatives,
        _ => return Ok(Vec::new()),
    };
    let (mut first, mut problem) = (None, None);
    for alternative in alternatives.iter().filter_map(Value::as_object) {
        let names = alternative.keys().map(|scheme| secret(document, scheme, mapping));
        match names.collect::<Result<Vec<String>>>() {
            Ok(names) => {
                if names.iter().all(|name| secrets::exists(name)) && !names.is_empty() {
                    return Ok(names);
                }
                first.get_or_insert(names);
            }
            Err(error) => drop(problem.get_or_insert(error)),
        }
    }
    let optional = alternatives.iter().any(|one| one.as_object().is_some_and(Map::is_empty));
    match (optional, first, problem) {
        (true, ..) => Ok(Vec::new()),
        (false, Some(names), _) => Ok(names),
        (false, None, Some(problem)) => Err(problem),
        (false, None, None) => Ok(Vec::new()),
    }
}

/// The secret for a security scheme of the document.
fn secret(document: &Document, scheme: &str, mapping: &BTreeMap<String, String>) -> Result<String> {
    if let Some(name) = mapping.get(scheme) {
        return Ok(name.clone());
    }
    let schemes = document.root().pointer("/components/securitySchemes");
    let shown: String = scheme.chars().take(80).collect();
    let found = schemes.and_then(|schemes| schemes.get(scheme)).ok_or_else(|| {
        Error::invalid_data(format!("the document has no security scheme `{shown}`"))
    })?;
    let found = document.resolve(found)?;
    let text = |name: &str| {
        found.get(name).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase()
    };
    let (place, name) = match text("type").as_str() {
        "oauth2" | "openidconnect" => ("header".to_owned(), "authorization: bearer".to_owned()),
        "http" => match text("scheme").as_str() {
            one @ ("bearer" | "basic") => ("header".to_owned(), format!("authorization: {one}")),
            _ => ("header".to_owned(), "authorization".to_owned()),
        },
        "apikey" => (text("in"), text("name")),
        other => (other.to_owned(), String::new()),
    };
    let found = SECRETS.iter().find(|(_, at, what)| *at == place && *what == name);
    found.map(|(secret, ..)| (*secret).to_owned()).ok_or_else(|| {
        Error::unsupported(format!(
            "the API wants `{shown}` ({place} `{name}`), and no secret of this plugin goes there; \
             `auth` in the settings maps it to one of: {}",
            names()
        ))
    })
}
