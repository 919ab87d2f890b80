//! The URL of a request: template, base and query put together.

use ampoule_sdk::prelude::*;
use iri_string::spec::UriSpec;
use iri_string::template::UriTemplateStr;
use iri_string::template::simple_context::{SimpleContext, Value as Variable};
use url::Url;

use crate::fields::{encode_pairs, pairs, scalar};
use crate::settings::Settings;

/// The URL that a request asks for.
///
/// # Errors
/// `bad-arguments` for what is no URL, leads out of the base, or does not fit its variables;
/// `invalid-data` where `base-url` is wrong.
pub(crate) fn resolve(
    settings: &Settings,
    url: &str,
    variables: &Map<String, Value>,
    query: &Map<String, Value>,
) -> Result<Url> {
    let expanded = match variables.is_empty() {
        true => url.to_owned(),
        false => expand(url, variables)?,
    };
    // The parser would mend these in silence.
    if expanded.contains(|c: char| c.is_control() || c == '\\') {
        return Err(Error::bad_arguments("`url` holds a control character or `\\`"));
    }
    let mut url = match &settings.base_url {
        Some(base) => below(base, &expanded)?,
        None => absolute(&expanded)?,
    };
    url.set_fragment(None);
    add_query(&mut url, pairs("query", query)?, settings);
    Ok(url)
}

fn absolute(text: &str) -> Result<Url> {
    let parsed = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    parsed.ok_or_else(|| {
        Error::bad_arguments(
            "`url` is no absolute URL: begin it with `https://` or `http://` and a host",
        )
    })
}

/// A URL below the base: `text` is a path, or the whole URL.
fn below(base: &str, text: &str) -> Result<Url> {
    let wrong = || {
        Error::invalid_data(
            "the setting `base-url` of this binding is wrong: it is an `https` or `http` URL \
             without user, query and fragment",
        )
    };
    let base = absolute(base).map_err(|_| wrong())?;
    let plain = base.query().is_none() && base.fragment().is_none();
    if !plain || !base.username().is_empty() || base.password().is_some() {
        return Err(wrong());
    }
    let root = base.as_str().trim_end_matches('/');
    let whole = ["http://", "https://"].iter().any(|scheme| starts_with(text, scheme));
    let url = if whole {
        absolute(text)?
    } else {
        let path = text.trim_start_matches('/');
        let slash = if path.is_empty() || path.starts_with(['?', '#']) { "" } else { "/" };
        absolute(&format!("{root}{slash}{path}"))?
    };
    let path = base.path().trim_end_matches('/');
    let inside = url.path().strip_prefix(path).is_some_and(|rest| {
        // Encoded slashes are slashes to some servers.
        let rest = rest.to_ascii_lowercase().replace("%2f", "/").replace("%5c", "/");
        (rest.is_empty() || rest.starts_with('/')) && !rest.split('/').any(is_dots)
    });
    if !inside || url.origin() != base.origin() || !url.username().is_empty() {
        let message = format!("`url` leads out of {root}, which is all this binding is for");
        return Err(Error::bad_arguments(message));
    }
    Ok(url)
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether a part of a path is `.` or `..`, its dots perhaps encoded.
fn is_dots(part: &str) -> bool {
    matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

/// Puts variables into a template (RFC 6570), of which each must be used and none may be missing.
fn expand(template: &str, variables: &Map<String, Value>) -> Result<String> {
    let bad = |what: String| Error::bad_arguments(format!("`variables`: {what}"));
    let template = UriTemplateStr::new(template)
        .map_err(|error| bad(format!("`url` is no URI template (RFC 6570): {error}")))?;
    let mut unused: Vec<&str> = variables.keys().map(String::as_str).collect();
    for name in template.variables() {
        unused.retain(|other| *other != name.as_str());
        if variables.get(name.as_str()).is_none_or(Value::is_null) {
            return Err(bad(format!("`{}` of `url` has no value", name.as_str())));
        }
    }
    if let Some(name) = unused.first() {
        return Err(bad(format!("`{{{name}}}` does not stand in `url`")));
    }
    let mut context = SimpleContext::new();
    for (name, value) in variables {
        let text = |value: &Value| {
            let text = scalar("variables", name, value)?.unwrap_or_default();
            match is_dots(&text) {
                true => Err(bad(format!("`{name}` is {text:?}, which would change the path"))),
                false => Ok(text),
            }
        };
        let value = match value {
            Value::Array(items) => Variable::List(items.iter().map(text).collect::<Result<_>>()?),
            one => Variable::String(text(one)?),
        };
        context.insert(name.as_str(), value);
    }
    let expanded = template.expand::<UriSpec, _>(&context);
    expanded.map(|url| url.to_string()).map_err(|error| bad(error.to_string()))
}

/// Adds parameters to the query, then those of the settings that it does not have yet.
fn add_query(url: &mut Url, mut added: Vec<(String, String)>, settings: &Settings) {
    let own: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    for (name, value) in &settings.query {
        let there = own.contains(name) || added.iter().any(|(other, _)| other == name);
        if !there {
            added.push((name.clone(), value.clone()));
        }
    }
    if added.is_empty() {
        return;
    }
    let added = encode_pairs(&added);
    let query = match url.query() {
        None | Some("") => added,
        Some(query) => format!("{query}&{added}"),
    };
    url.set_query(Some(&query));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn api() -> Settings {
        Settings {
            base_url: Some("https://api.example.com/v1/".into()),
            query: [("units".to_owned(), "metric".to_owned())].into(),
            ..Settings::default()
        }
    }

    fn url(settings: &Settings, url: &str, variables: Value, query: Value) -> Result<String> {
        resolve(settings, url, &object(variables), &object(query)).map(String::from)
    }

    #[test]
    fn queries_are_joined() {
        for (text, query, expected) in [
            ("https://a.test", json!({ "q": "a b+c" }), "https://a.test/?q=a%20b%2Bc"),
            ("https://a.test/p?x=1#top", json!({ "y": [1, 2] }), "https://a.test/p?x=1&y=1&y=2"),
            ("https://a.test/p?", json!({ "y": "é" }), "https://a.test/p?y=%C3%A9"),
            ("https://a.test/p?x=a%2Fb", json!({}), "https://a.test/p?x=a%2Fb"),
        ] {
            let found = url(&Settings::default(), text, json!({}), query);
            assert_eq!(found.as_deref(), Ok(expected));
        }
    }

    #[test]
    fn paths_stay_below_the_base() {
        for (text, expected) in [
            ("weather", "https://api.example.com/v1/weather?units=metric"),
            ("/weather?units=si", "https://api.example.com/v1/weather?units=si"),
            ("//evil.test/", "https://api.example.com/v1/evil.test/?units=metric"),
            ("@evil.test", "https://api.example.com/v1/@evil.test?units=metric"),
            ("", "https://api.example.com/v1?units=metric"),
            ("?a=..%2f..", "https://api.example.com/v1?a=..%2f..&units=metric"),
            ("HTTPS://api.example.com:443/v1/x", "https://api.example.com/v1/x?units=metric"),
        ] {
            assert_eq!(url(&api(), text, json!({}), json!({})).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "../admin",
            "x/../../admin",
            "%2e%2e/admin",
            "..%2fadmin",
            "x%2f..%2F%2e%2e%5cadmin",
            "https://api.example.com/v2",
            "https://api.example.com/v10",
            "https://api.example.com.evil.test/v1/x",
            "https://api.example.com:8443/v1/x",
            "http://api.example.com/v1/x",
            "https://user@api.example.com/v1/x",
            "a\\..\\..\\b",
            "a\nb",
        ] {
            let error = url(&api(), text, json!({}), json!({})).expect_err(text);
            assert_eq!(error.code, "bad-arguments", "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["", "example.com/x", "/x", "ftp://a.test/", "file:///etc/passwd", "https://"] {
            let error = url(&Settings::default(), text, json!({}), json!({})).expect_err(text);
            assert_eq!(error.code, "bad-arguments", "{text}");
        }
        for base in ["api.example.com", "https://a.test/?k=1", "https://u:p@a.test", "data:,x"] {
            let settings = Settings { base_url: Some(base.into()), ..Settings::default() };
            let error = url(&settings, "x", json!({}), json!({})).expect_err(base);
            assert_eq!(error.code, "invalid-data", "{base}");
        }
    }

    #[test]
    fn templates_are_strict() {
        let variables = json!({ "owner": "a/b ü", "tags": ["x", "y"], "n": 7 });
        assert_eq!(
            url(&api(), "users/{owner}/{n}{?tags*}", variables, json!({})).as_deref(),
            Ok("https://api.example.com/v1/users/a%2Fb%20%C3%BC/7?tags=x&tags=y&units=metric")
        );
        for (text, variables, what) in [
            ("users/{owner}", json!({ "name": "a" }), "owner"),
            ("users/{owner}", json!({ "owner": null }), "owner"),
            ("users", json!({ "owner": "a" }), "owner"),
            ("users/{owner}", json!({ "owner": ".." }), "path"),
            ("users/{owner}", json!({ "owner": { "a": 1 } }), "owner"),
            ("users/{", json!({ "owner": "a" }), "template"),
        ] {
            let error = url(&api(), text, variables, json!({})).expect_err(text);
            assert_eq!(error.code, "bad-arguments");
            assert!(error.message.contains(what), "{}", error.message);
        }
        // Braces mean nothing where no variables are given.
        let literal =
            url(&Settings::default(), "https://a.test/?f={\"a\":1}", json!({}), json!({}));
        assert_eq!(literal.as_deref(), Ok("https://a.test/?f={%22a%22:1}"));
    }
}
