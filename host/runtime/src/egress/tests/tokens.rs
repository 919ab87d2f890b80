//! Secrets that are not sent themselves: OAuth 2 clients and AWS keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::egress::{ClientCredentials, Credential, Inject, SecretValue};

const SECRET: &str = "client secret/1";

fn client(port: u16) -> Credential {
    Credential {
        name: "key".into(),
        audience: vec!["http://api.example:*".parse().unwrap()],
        inject: Inject::OAuth2(ClientCredentials {
            token_url: format!("http://id.example:{port}/token"),
            client_id: "the client".into(),
            scope: Some("read write".into()),
        }),
        value: SecretValue::new(SECRET),
    }
}

fn names() -> Arc<Names> {
    Names::new(&[("api.example", &[&["127.0.0.1"]]), ("id.example", &[&["127.0.0.1"]])])
}

/// A token endpoint that gives `answer` and counts its tokens in it, and an API that repeats what
/// it was sent and takes no token for `/refused`.
async fn server(answer: &'static str) -> Server {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |request| {
        let target = request.line.split(' ').nth(1).unwrap();
        match target {
            "/token" => {
                let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                ok(answer.replace('#', &n.to_string()))
            }
            "/refused" => super::answer("401 Unauthorized", &[], ""),
            _ => ok(request.header("authorization").unwrap_or("none")),
        }
    })
    .await
}

const GOOD: &str =
    r#"{"access_token": "token-number-#", "token_type": "Bearer", "expires_in": 3600}"#;

/// What the API gets for each path, and how often a token was fetched.
async fn sent(answer: &'static str, paths: &[&str]) -> (Vec<String>, usize) {
    let server = server(answer).await;
    let egress = Egress::new(names());
    for path in paths {
        let request = EgressRequest {
            credentials: vec![client(server.port)],
            ..get(format!("http://api.example:{}{path}", server.port))
        };
        let mut response = egress.send(&open(&["127.0.0.1"]), request).await.unwrap();
        let echoed = text(&mut response.body).await;
        assert!(!echoed.contains("token-number"), "{echoed}");
        assert!(echoed.is_empty() || echoed == "Bearer [secret key]", "{echoed}");
    }
    let log = server.log();
    let (tokens, calls): (Vec<_>, Vec<_>) =
        log.into_iter().partition(|request| request.line == "POST /token HTTP/1.1");
    for request in &tokens {
        let pair = STANDARD.encode("the+client:client+secret%2F1");
        assert_eq!(request.header("authorization"), Some(&*format!("Basic {pair}")));
        assert_eq!(request.body, b"grant_type=client_credentials&scope=read+write");
    }
    let calls = calls.iter().map(|request| request.header("authorization").unwrap().to_owned());
    (calls.collect(), tokens.len())
}

#[tokio::test]
async fn a_token_is_got_once_and_kept() {
    let (calls, fetched) = sent(GOOD, &["/a", "/b", "/c"]).await;
    assert_eq!(calls, ["Bearer token-number-0"; 3]);
    assert_eq!(fetched, 1);
}

#[tokio::test]
async fn a_token_that_ends_or_is_refused_is_got_anew() {
    // Within the leeway, and without a word about it, it is not kept.
    for short in [
        r#"{"access_token": "token-number-#", "token_type": "bearer", "expires_in": 30}"#,
        r#"{"access_token": "token-number-#", "token_type": "bearer"}"#,
    ] {
        let (calls, fetched) = sent(short, &["/a", "/b"]).await;
        assert_eq!(calls, ["Bearer token-number-0", "Bearer token-number-1"]);
        assert_eq!(fetched, 2);
    }
    let (calls, fetched) = sent(GOOD, &["/a", "/refused", "/b"]).await;
    let expected = ["Bearer token-number-0", "Bearer token-number-0", "Bearer token-number-1"];
    assert_eq!(calls, expected);
    assert_eq!(fetched, 2);
}

#[tokio::test]
async fn what_is_no_token_is_not_attached_and_not_repeated() {
    for answer in [
        "",
        "[]",
        "{}",
        "not json s3cr3t",
        r#"{"access_token": "s3cr3t", "token_type": "mac"}"#,
        r#"{"access_token": "", "token_type": "bearer"}"#,
        r#"{"access_token": 7, "token_type": "bearer"}"#,
    ] {
        let server = server(answer).await;
        let request = EgressRequest {
            credentials: vec![client(server.port)],
            ..get(format!("http://api.example:{}/", server.port))
        };
        let result = Egress::new(names()).send(&open(&["127.0.0.1"]), request).await;
        assert_eq!(code(&result), "unauthorized", "{answer}");
        assert!(!format!("{result:?}").contains("s3cr3t"), "{result:?}");
        assert_eq!(server.log().len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn the_token_endpoint_has_its_own_grant_and_audience() {
    let server = server(GOOD).await;
    let port = server.port;
    let egress = Egress::new(names());
    let send = async |grant: &[&str], url: String| {
        let request = EgressRequest { credentials: vec![client(port)], ..get(url) };
        egress.send(&policy(grant, &["127.0.0.1"]), request).await
    };
    let api = format!("http://api.example:{port}/");
    // Another binding may have got a token: this one still needs the grant.
    assert!(send(&["* http://**:*/**"], api.clone()).await.is_ok());
    let result = send(&["* http://api.example:*/**"], api).await;
    assert_eq!(gate(&result), "grant");
    // Nor does the token go to the endpoint itself, or the secret to the API.
    let result = send(&["* http://**:*/**"], format!("http://id.example:{port}/x")).await;
    assert_eq!(gate(&result), "audience");
    assert_eq!(server.log().len(), 2);
}

#[tokio::test]
async fn aws_keys_sign_and_stay() {
    let server = Server::start(|request| {
        ok(format!("{} ENCODED+KEY+ENCODED+KEY the-session-token", request.headers.len()))
    })
    .await;
    let request = EgressRequest {
        body: crate::egress::RequestBody::Bytes("{}".into()),
        credentials: vec![Credential {
            inject: Inject::AwsSigV4 { service: "dynamodb".into(), region: "eu-west-1".into() },
            value: SecretValue::new("AKIDEXAMPLE:ENCODED+KEY+ENCODED+KEY:the-session-token"),
            ..client(server.port)
        }],
        ..EgressRequest::new("POST", format!("http://api.example:{}/", server.port), account())
    };
    let mut response = Egress::new(names()).send(&open(&["127.0.0.1"]), request).await.unwrap();
    let echoed = text(&mut response.body).await;
    assert!(echoed.ends_with(" [secret key] [secret key]"), "{echoed}");
    let received = server.log().pop().unwrap();
    let authorization = received.header("authorization").unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
    assert!(authorization.contains("/eu-west-1/dynamodb/aws4_request, SignedHeaders=host;"));
    assert_eq!(received.header("x-amz-security-token"), Some("the-session-token"));
    assert!(!format!("{received:?}").contains("ENCODED+KEY"));
}
