//! Access tokens over HTTP: what stands in the answers. How tokens are judged is tested beside the
//! code, and against an authorization server in the tests of the whole.

use std::sync::Arc;

use ampoule_contract::{Scope, SecureUrl, ToolCall};
use ampoule_server::{Access, BearerToken, Documents, HttpOptions, OAuth, ServeOptions};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::harness::*;
use crate::http::{ALICE, Web, who};

/// An issuer that is down.
struct Down;

#[async_trait::async_trait]
impl Documents for Down {
    async fn get(&self, _: &Url, _: usize) -> Result<Vec<u8>, String> {
        Err("nobody answers".into())
    }
}

fn options() -> HttpOptions {
    let secure = |text: &str| SecureUrl::try_from(text.to_owned()).unwrap();
    let oauth = OAuth {
        issuer: secure("https://as.example.com"),
        resource: secure("https://mcp.example.com/mcp"),
        jwks: None,
        scopes: vec![Scope::try_from("mcp".to_owned()).unwrap()],
        subjects: [("a1".to_owned(), "alice".to_owned())].into(),
        principal: None,
        documents: Arc::new(Down),
    };
    let token = BearerToken::new(ALICE, Some("alice".into())).unwrap();
    HttpOptions { access: Access::OAuth(Box::new(oauth), vec![token]), ..HttpOptions::default() }
}

const METADATA: &str = "/.well-known/oauth-protected-resource";

#[tokio::test]
async fn a_client_without_a_token_is_told_who_gives_one() {
    let web = Web::start(who(), options()).await;
    let challenge = "resource_metadata=\"https://mcp.example.com\
                     /.well-known/oauth-protected-resource/mcp\", scope=\"mcp\"";
    for (headers, error) in [
        (&[][..], ""),
        (&[("Authorization", "Bearer nonsense-0123456789")], "error=\"invalid_token\", "),
        (&[("Authorization", "Basic YTpi")], "error=\"invalid_token\", "),
    ] {
        let refused = web.call("who", headers).await;
        let told = refused.header("www-authenticate").map(str::to_owned);
        assert_eq!((refused.status, told), (401, Some(format!("Bearer {error}{challenge}"))));
    }
    // A token in the address is none (RFC 6750, section 2.3; forbidden by MCP).
    let in_address = format!("/mcp?access_token={ALICE}");
    assert_eq!(web.send("POST", &in_address, &[], "{}").await.status, 401);

    for path in [METADATA, "/.well-known/oauth-protected-resource/mcp"] {
        let metadata = web.send("GET", path, &[], "").await;
        assert_eq!(
            (metadata.status, metadata.header("content-type")),
            (200, Some("application/json"))
        );
        let expected = json!({
            "resource": "https://mcp.example.com/mcp",
            "authorization_servers": ["https://as.example.com"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Ampoule",
            "scopes_supported": ["mcp"],
        });
        assert_eq!(metadata.json(), expected);
        assert_eq!(web.send("POST", path, &[], "{}").await.status, 405);
    }
    assert_eq!(web.send("GET", &format!("{METADATA}/other"), &[], "").await.status, 404);
    // The gates before it hold for the metadata too.
    let host = ("Host", "evil.example.com");
    assert_eq!(web.send("GET", METADATA, &[host], "").await.status, 403);
    let origin = ("Origin", "https://evil.example.com");
    assert_eq!(web.send("GET", METADATA, &[origin], "").await.status, 403);
    web.end().await;
}

#[tokio::test]
async fn without_an_issuer_static_tokens_are_good_and_no_others() {
    let web = Web::start(who(), options()).await;
    let answer = web.call("who", &[("Authorization", &format!("Bearer {ALICE}"))]).await;
    assert_eq!(answer.json()["result"]["structuredContent"], "alice");
    // {"typ":"at+jwt","alg":"ES256","kid":"k"}, {} and a signature of nothing.
    let token = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA";
    let refused = web.call("who", &[("Authorization", &format!("Bearer {token}"))]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    web.end().await;
}

#[tokio::test]
async fn a_tool_sees_nothing_of_the_token() {
    let shelf = Shelf::default().with(tool("all"), |call: ToolCall| async move {
        outcome(&call, value(json!(format!("{call:?}"))))
    });
    let web = Web::start(shelf, options()).await;
    let bearer = format!("Bearer {ALICE}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Proxy-Authorization", "Bearer proxy-0123456789"),
        ("Cookie", "session=cookie-0123456789"),
    ];
    let answer = web.call("all", &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("alice"), "{}", answer.body);
    for secret in [ALICE, "proxy-0123456789", "cookie-0123456789"] {
        assert!(!answer.body.contains(secret), "{}", answer.body);
    }
    web.end().await;
}

#[tokio::test]
async fn other_machines_are_served_where_an_issuer_tells_who_they_are() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let serve = ServeOptions { shutdown, ..ServeOptions::default() };
    ampoule_server::serve_http(Arc::new(who()), listener, serve, options()).await.unwrap();
}

#[tokio::test]
async fn without_an_issuer_there_is_no_metadata() {
    let web = Web::start(who(), HttpOptions::default()).await;
    assert_eq!(web.send("GET", METADATA, &[], "").await.status, 404);
    web.end().await;
}
