//! The tool as a whole, as far as it goes without a host.

use ampoule_sdk::{plugin, serde_json};

use super::*;

fn request(value: Value) -> Request {
    serde_json::from_value(value).expect("a request")
}

fn headers(settings: &Settings, value: Value) -> Result<Vec<(String, String)>> {
    let request = request(value);
    let body = request.body.map(Body::encode).transpose()?;
    headers_of(settings, &request.headers, body.as_ref())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The code of the error a call ends with; natively `unavailable` is as far as it gets.
fn code(arguments: &Value) -> String {
    let called = plugin::call::<Plugin>("http-request", &arguments.to_string());
    called.expect_err("there is no host").code
}

#[test]
fn the_method_follows_from_the_body() {
    let url = "http://a.test/";
    assert_eq!(method(&request(json!({ "url": url }))), "GET");
    assert_eq!(method(&request(json!({ "url": url, "body": { "text": "" } }))), "POST");
    let put = json!({ "url": url, "method": "put", "body": { "json": null } });
    assert_eq!(method(&request(put)), "PUT");
}

#[test]
fn the_first_to_set_a_header_counts() {
    let settings = Settings {
        headers: [("Accept".to_owned(), "a/b".to_owned()), ("X-One".to_owned(), "1".to_owned())]
            .into(),
        ..Settings::default()
    };
    let given = json!({ "url": "", "headers": { "accept": ["c/d", "e/f"], "x-none": null } });
    let expected = pairs(&[("accept", "c/d"), ("accept", "e/f"), ("X-One", "1")]);
    assert_eq!(headers(&settings, given), Ok(expected));
    let given =
        json!({ "url": "", "headers": { "Content-Type": "application/x" }, "body": { "json": 1 } });
    let expected = pairs(&[("Content-Type", "application/x"), ("Accept", "a/b"), ("X-One", "1")]);
    assert_eq!(headers(&settings, given), Ok(expected));
    let given = json!({ "url": "", "body": { "xml": "<a/>" } });
    let last = headers(&Settings::default(), given).expect("headers");
    assert_eq!(last, pairs(&[("content-type", "application/xml")]));
}

#[test]
fn a_multipart_body_sets_its_own_type() {
    let part = json!({ "multipart": [{ "name": "a", "text": "x" }] });
    let given = json!({ "url": "", "headers": { "content-type": "text/plain" }, "body": part });
    assert_eq!(headers(&Settings::default(), given).expect_err("two types").code, "bad-arguments");
    let settings = Settings {
        headers: [("content-type".to_owned(), "text/plain".to_owned())].into(),
        ..Settings::default()
    };
    let found = headers(&settings, json!({ "url": "", "body": part })).expect("headers");
    assert!(found.len() == 1 && found[0].1.starts_with("multipart/form-data; boundary="));
}

#[test]
fn bad_arguments_never_reach_the_network() {
    for (arguments, expected) in [
        (json!({ "url": "http://a.test/" }), "unavailable"),
        (json!({ "url": "http://a.test/", "credential": "bearer" }), "unavailable"),
        (json!({ "url": "http://a.test/", "credential": "oauth1" }), "unsupported"),
        (json!({ "url": "http://a.test/", "credential": "oauth2" }), "unsupported"),
        (json!({}), "bad-arguments"),
        (json!({ "url": 7 }), "bad-arguments"),
        (json!({ "url": "a.test" }), "bad-arguments"),
        (json!({ "url": "http://a.test/", "proxy": "http://b.test" }), "bad-arguments"),
        (json!({ "url": "http://a.test/", "credential": "mine" }), "bad-arguments"),
        (json!({ "url": "http://a.test/", "response": "xml" }), "bad-arguments"),
        (json!({ "url": "http://a.test/", "query": { "a": { "b": 1 } } }), "bad-arguments"),
        (json!({ "url": "http://a.test/", "headers": { "a": { "b": 1 } } }), "bad-arguments"),
        (json!({ "url": "http://a.test/", "headers": "a: b" }), "bad-arguments"),
        (json!({ "url": "http://a.test/", "body": "text" }), "bad-arguments"),
        (
            json!({
                "url": "http://a.test/",
                "credential": "basic",
                "headers": { "Authorization": "Basic x" }
            }),
            "bad-arguments",
        ),
    ] {
        assert_eq!(code(&arguments), expected, "{arguments}");
    }
}

#[test]
fn every_credential_has_its_name() {
    for credential in [
        Credential::None,
        Credential::Bearer,
        Credential::Basic,
        Credential::Authorization,
        Credential::ApiKey,
        Credential::QueryKey,
        Credential::Oauth1,
        Credential::Oauth2,
    ] {
        assert_eq!(serde_json::to_value(credential).ok(), Some(credential.name().into()));
    }
}
