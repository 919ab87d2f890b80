//! `ampoule mcp --http` with access tokens of a real authorization server.

use std::process::Command;
use std::time::{Duration, Instant};

use ampoule_tests::root;
use ampoule_tests::served::{Answer, Served, Talking, ask, client_module, folder, free_port, node};
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};

/// oidc-provider, on loopback.
pub(crate) struct Issuer {
    process: Talking,
    pub(crate) url: String,
}

impl Issuer {
    pub(crate) fn start() -> Issuer {
        let mut command: Command = node(&root().join("tests/clients/issuer.mjs"));
        let mut process = Talking::start(command.arg(client_module("oidc-provider/lib/index.js")));
        let url = process.line();
        Issuer { process, url }
    }

    /// What it answers a client that asks for a token of its own.
    fn grant(&self, client: &str, more: &[(&str, &str)]) -> Value {
        let mut form = "grant_type=client_credentials".to_owned();
        for (name, value) in more {
            form += &format!("&{name}={value}");
        }
        let credentials = ["client_id", client, "client_secret"];
        form += &format!("&{}={}", credentials[0], credentials[1]);
        form += &format!("&{}={client}-secret-0123456789", credentials[2]);
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let address = self.url.trim_start_matches("http://").parse().unwrap();
        ask(address, "POST", "/token", &headers, &form).json()
    }

    /// A token of a client for a resource.
    fn token(&self, client: &str, resource: &str) -> String {
        let granted = self.grant(client, &[("resource", resource), ("scope", "mcp")]);
        granted["access_token"].as_str().unwrap_or_else(|| panic!("{granted}")).to_owned()
    }
}

fn configuration(issuer: &str, port: u16) -> String {
    format!(
        "plugins = [\"PLUGINS/json-filter.wasm\"]\n\
         [journal]\npath = \"journal.db\"\n\
         [principals.alice]\nsubject = \"alice\"\n\
         [oauth]\nissuer = \"{issuer}\"\nresource = \"http://127.0.0.1:{port}/mcp\"\n\
         scopes = [\"mcp\"]\n"
    )
}

fn call(served: &Served, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let arguments = json!({"input": {"a": 1, "b": 2}, "fields": ["a"]});
    served.call("json-filter", arguments, &[("Authorization", &bearer)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_real_issuer_are_taken_for_this_server_alone() {
    let mut issuer = Issuer::start();
    let port = free_port();
    let folder = folder(&configuration(&issuer.url, port));
    let served = Served::start(folder.path(), port, &["-vvv"]);
    let resource = served.url();

    // A client finds out who gives tokens.
    let missing = served.call("json-filter", json!({}), &[]);
    let challenge = missing.header("www-authenticate").unwrap().to_owned();
    let place = format!("http://127.0.0.1:{port}/.well-known/oauth-protected-resource");
    assert_eq!(missing.status, 401);
    assert_eq!(challenge, format!("Bearer resource_metadata=\"{place}/mcp\", scope=\"mcp\""));
    let path = "/.well-known/oauth-protected-resource/mcp";
    let metadata = ask(served.address, "GET", path, &[], "").json();
    assert_eq!(metadata["resource"], resource);
    assert_eq!(metadata["authorization_servers"], json!([issuer.url]));

    // It gets one, and calls with it, by hand and with a client of MCP.
    let token = issuer.token("alice", &resource);
    let answer = call(&served, &token);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["result"]["structuredContent"], json!({"a": 1}));
    let client = ().serve(served.transport(Some(&token))).await.unwrap();
    assert_eq!(client.list_all_tools().await.unwrap()[0].name, "json-filter");
    let arguments = json!({"input": {"a": 1}, "fields": ["a"]}).as_object().unwrap().clone();
    let request = CallToolRequestParams::new("json-filter").with_arguments(arguments);
    let result = client.call_tool(request).await.unwrap();
    assert_eq!(result.structured_content, Some(json!({"result": {"a": 1}})));
    client.cancel().await.unwrap();

    // What is good elsewhere is not good here.
    let elsewhere = issuer.token("alice", "https://other.example.com/mcp");
    let without_resource = issuer.grant("alice", &[]);
    let opaque = without_resource["access_token"].as_str().unwrap();
    for token in [&elsewhere, opaque, &token[..token.len() - 3]] {
        let refused = call(&served, token);
        let told = refused.header("www-authenticate").unwrap();
        assert_eq!(refused.status, 401, "{refused:?}");
        assert!(told.starts_with("Bearer error=\"invalid_token\", resource_metadata="), "{told}");
        assert!(!refused.body.contains("audience"), "{}", refused.body);
    }
    assert!(served.log().contains("an access token was refused: InvalidAudience"));
    let without_scope = issuer.grant("alice", &[("resource", &resource)]);
    let refused = call(&served, without_scope["access_token"].as_str().unwrap());
    assert_eq!(refused.status, 403);
    let told = refused.header("www-authenticate").unwrap();
    assert!(told.starts_with("Bearer error=\"insufficient_scope\""), "{told}");
    let bobs = issuer.token("bob", &resource);
    let refused = call(&served, &bobs);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("[principals.NAME]\nsubject = \"bob\""), "{}", refused.body);

    // Keys are rotated: the new one is found, the old one is no longer good.
    issuer.process.tell("rotate");
    assert_eq!(issuer.process.line(), "key-2");
    let new = issuer.token("alice", &resource);
    let begun = Instant::now();
    while call(&served, &new).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the new key is not found");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(call(&served, &token).status, 401);
    // Without its issuer a server goes on with the keys it has.
    drop(issuer);
    assert_eq!(call(&served, &new).status, 200);

    // No token is anywhere but where it was sent, however much is logged.
    let log = served.log();
    let journal = std::fs::read(folder.path().join("journal.db")).unwrap();
    assert!(log.contains("json-filter") && journal.len() > 1000);
    for token in [&token, &elsewhere, &bobs, &new] {
        for part in token.split('.').skip(1) {
            assert!(!log.contains(part), "a token is in the log");
            let in_journal = journal.windows(part.len()).any(|window| window == part.as_bytes());
            assert!(!in_journal, "a token is in the journal");
        }
    }
}

#[tokio::test]
async fn a_server_starts_without_its_issuer_and_finds_it_later() {
    let port = free_port();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let folder = folder(&configuration(&nobody, port));
    let served = Served::start(folder.path(), port, &[]);
    // {"typ":"at+jwt","alg":"RS256","kid":"k"}, {} and a signature of nothing.
    let refused = call(&served, "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.e30.AAAA");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let log = served.log();
    assert!(log.contains("no keys of the issuer") && log.contains(&nobody), "{log}");
}
