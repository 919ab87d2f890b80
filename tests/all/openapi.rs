//! The plugin `openapi` from a document to requests: the site describes its API, the operations
//! become tools, and calls of them arrive as the document says, with a secret that stays outside.

use ampoule::{End, Host, Outcome, Tools};
use ampoule_tests::site::{Seen, Site};
use ampoule_tests::{Table, builder, call, value};
use serde_json::{Value, json};

/// The token of the API.
const TOKEN: &str = "pets-token-5f2c9a7e41d8b036";

/// A host with the API of `site` bound as `pets`, with these grants of HTTP and this audience of
/// the token.
async fn bound(site: &Site, http: &str, audience: &str) -> (Host, tempfile::NamedTempFile) {
    let origin = site.origin();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), TOKEN).unwrap();
    let config = format!(
        r#"
        [secrets.token]
        file = "{}"
        [bindings.pets]
        plugin = "PLUGINS/openapi.wasm"
        grant.http = [{http}]
        grant.addresses = ["127.0.0.1"]
        grant.secrets.bearer = {{ secret = "token", audience = ["{audience}"] }}
        settings = {{ url = "{origin}/openapi.yaml" }}
        "#,
        secret.path().display()
    );
    (builder(&config).build().await.unwrap(), secret)
}

/// The same with all that the API needs.
async fn granted(site: &Site) -> (Host, tempfile::NamedTempFile) {
    let http = format!("\"GET {0}/**\", \"POST {0}/**\"", site.origin());
    let (host, secret) = bound(site, &http, &site.origin()).await;
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    (host, secret)
}

/// The one request of a call, beside that for the document.
fn only_request(site: &Site, before: usize) -> Seen {
    let mut seen = site.seen().split_off(before);
    seen.retain(|request| request.target != "/openapi.yaml");
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_tools_and_requests_are_as_the_document_says() {
    let site = Site::start().await;
    let (host, _secret) = granted(&site).await;
    let tools = host.tools();
    let ids: Vec<_> = tools.iter().map(|tool| tool.id.as_str()).collect();
    let operations = ["createPet", "deletePet", "getMissing", "getPet", "listPets"];
    let mut expected = operations.map(|name| format!("pets/{name}")).to_vec();
    expected.extend(["pets/call".to_owned(), "pets/operations".to_owned()]);
    expected.sort();
    assert_eq!(ids, expected);
    let list = tools.iter().find(|tool| tool.id == "pets/listPets").unwrap();
    assert!(list.description.starts_with("List pets"), "{}", list.description);
    assert_eq!(list.input_schema["required"], json!(["limit"]));
    assert_eq!((list.effects.read_only, list.effects.open_world), (true, true));

    for (tool, arguments, method, target, headers, body) in [
        (
            "listPets",
            json!({ "tags": ["a b", "c&d"], "limit": 5, "X-Request-Id": "r-1", "session": "s 1" }),
            "GET",
            "/echo/pets?tags=a%20b&tags=c%26d&limit=5",
            vec![
                ("x-request-id", "r-1"),
                ("cookie", "session=s%201"),
                ("authorization", "Bearer pets-token-5f2c9a7e41d8b036"),
            ],
            Value::Null,
        ),
        (
            "createPet",
            json!({ "body": { "name": "Rex", "tag": "dog" } }),
            "POST",
            "/echo/pets",
            vec![
                ("content-type", "application/json"),
                ("authorization", "Bearer pets-token-5f2c9a7e41d8b036"),
            ],
            json!({ "name": "Rex", "tag": "dog" }),
        ),
        // This one asks for no token, so none goes with it.
        (
            "getPet",
            json!({ "petId": "a/b \u{fc}" }),
            "GET",
            "/echo/pets/a%2Fb%20%C3%BC",
            vec![("authorization", "")],
            Value::Null,
        ),
    ] {
        let before = site.seen().len();
        let outcome = call(&host, &format!("pets/{tool}"), arguments).await;
        let request = only_request(&site, before);
        assert_eq!((request.method.as_str(), request.target.as_str()), (method, target));
        for (name, value) in headers {
            assert_eq!(request.header(name).unwrap_or_default(), value, "{tool}, {name}");
        }
        let sent: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        assert_eq!(body, sent, "{tool}");
        // The site says what it was sent; the token is not let in.
        let told = format!("{outcome:?}");
        assert!(!told.contains(TOKEN), "{told}");
        let End::Value(output) = outcome.end else { panic!("{told}") };
        let answer = output.value.unwrap();
        assert_eq!((&answer["status"], &answer["kind"]), (&json!(200), &json!("json")), "{answer}");
        assert_eq!(answer["body"]["target"], target, "{answer}");
    }

    // The same by name, for documents with more operations than a model can be shown.
    let found = value(&host, "pets/operations", json!({ "search": "get a pet" })).await;
    assert_eq!(found[0]["name"], "getPet", "{found}");
    let by_name = json!({ "operation": "getPet", "arguments": { "petId": "7" } });
    let called = value(&host, "pets/call", by_name).await;
    assert_eq!(called["answer"]["body"]["target"], "/echo/pets/7", "{called}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_or_not_in_the_document_is_refused() {
    let site = Site::start().await;
    let (host, _secret) = granted(&site).await;
    let mut table = Table::new("An API bound by its document");
    let mut refused = async |host: &Host, tool: &str, arguments: Value| -> Outcome {
        let before = site.seen().len();
        let outcome = call(host, tool, arguments.clone()).await;
        table.call(tool, &arguments.to_string(), &outcome);
        let seen = site.seen().split_off(before);
        assert!(seen.iter().all(|request| request.target == "/openapi.yaml"), "{tool}: {seen:?}");
        assert!(!format!("{outcome:?}").contains(TOKEN));
        outcome
    };
    for (tool, arguments) in [
        ("pets/listPets", json!({})),
        ("pets/listPets", json!({ "limit": 0 })),
        ("pets/listPets", json!({ "limit": 1, "other": 1 })),
        ("pets/getPet", json!({})),
        ("pets/createPet", json!({ "body": { "tag": "dog" } })),
        ("pets/createPet", json!({ "body": { "name": "Rex", "owner": 1 } })),
    ] {
        let outcome = refused(&host, tool, arguments).await;
        assert!(matches!(outcome.end, End::BadArguments(_)), "{tool}: {:?}", outcome.end);
    }
    // The operator has granted GET and POST.
    let outcome = refused(&host, "pets/deletePet", json!({ "petId": "7" })).await;
    assert_eq!((failed(&outcome), outcome.receipt.denials.len()), ("denied", 1), "{outcome:?}");
    let allow = outcome.receipt.denials[0].allow.as_deref().unwrap_or_default();
    assert!(allow.contains(&format!("DELETE {}/echo/pets/7", site.origin())), "{allow}");
    // The token is for another site.
    let http = format!("\"GET {}/**\"", site.origin());
    let (other, _secret) = bound(&site, &http, "https://pets.example.com").await;
    let outcome = refused(&other, "pets/listPets", json!({ "limit": 1 })).await;
    assert_eq!(failed(&outcome), "denied", "{outcome:?}");
    // Without the document there are no operations.
    let (none, _secret) = bound(&site, "", &site.origin()).await;
    let reasons = none.refused();
    assert!(reasons.len() == 1 && reasons[0].contains("its catalogue: denied"), "{reasons:?}");
    assert_eq!(none.tools().len(), 2);

    let outcome = call(&host, "pets/getMissing", json!({})).await;
    assert_eq!(failed(&outcome), "not-found");
    let End::Failed(error) = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(error.data.unwrap()["body"], json!({ "status": 404 }));
}

/// The code of the error that a call failed with.
fn failed(outcome: &Outcome) -> &str {
    match &outcome.end {
        End::Failed(error) => &error.code,
        other => panic!("{other:?}"),
    }
}
