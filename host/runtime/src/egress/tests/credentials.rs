//! Secrets on the wire and in what comes back.

use http::HeaderName;

use super::*;
use crate::egress::{Credential, Inject, RequestBody, SecretValue, header_map};

const SECRET: &str = "s3cr3t/value";

fn credential(name: &str, audience: &[&str], inject: Inject) -> Credential {
    Credential {
        name: name.into(),
        audience: audience.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        inject,
        value: SecretValue::new(SECRET),
    }
}

fn bearer() -> Inject {
    Inject::Header { name: HeaderName::from_static("authorization"), prefix: "Bearer ".into() }
}

fn names() -> Arc<Names> {
    Names::new(&[
        ("api.example", &[&["127.0.0.1"]]),
        ("www.api.example", &[&["127.0.0.1"]]),
        ("evil.example", &[&["127.0.0.1"]]),
    ])
}

#[tokio::test]
async fn attached_for_the_audience_over_what_the_guest_had_set() {
    let server = Server::start(|_| ok("x")).await;
    let request = EgressRequest {
        headers: header_map([("authorization", "guest"), ("x-other", "1")]).unwrap(),
        credentials: vec![
            credential("key", &["http://api.example:*"], bearer()),
            credential("id", &["http://*.example:*"], Inject::Query { name: "id".into() }),
        ],
        ..get(format!("http://api.example:{}/?a=b&id=guest", server.port))
    };
    let response = Egress::new(names()).send(&open(&["127.0.0.1"]), request).await.unwrap();
    let received = server.log().pop().unwrap();
    assert_eq!(received.header("authorization"), Some("Bearer s3cr3t/value"));
    assert_eq!(received.line, "GET /?a=b&id=s3cr3t%2Fvalue HTTP/1.1");
    assert_eq!(response.url, format!("http://api.example:{}/?a=b", server.port));
}

#[tokio::test]
async fn not_sent_to_others_at_all() {
    let server = Server::start(|_| ok("x")).await;
    for (audience, url) in [
        (&["http://api.example:*"][..], "http://evil.example"),
        (&["http://api.example"], "http://api.example"),
        (&["https://api.example:*"], "http://api.example"),
        (&[], "http://api.example"),
    ] {
        let request = EgressRequest {
            credentials: vec![credential("key", audience, bearer())],
            ..get(format!("{url}:{}/", server.port))
        };
        let result = Egress::new(names()).send(&open(&["127.0.0.1"]), request).await;
        assert_eq!(gate(&result), "audience", "{audience:?} and {url}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn dropped_and_attached_again_along_redirects() {
    let server = Server::start(|request| {
        let target = request.line.split(' ').nth(1).unwrap();
        let target = target.split('?').next().unwrap();
        match target.strip_prefix("/to/") {
            Some(to) => redirect(302, to),
            None => ok("end"),
        }
    })
    .await;
    let port = server.port;
    let there = format!("http://evil.example:{port}/to/http://api.example:{port}/end");
    let send = async |target: &str| {
        let before = server.log().len();
        let request = EgressRequest {
            credentials: vec![
                credential("key", &["http://api.example:*", "http://*.api.example:*"], bearer()),
                credential("id", &["http://api.example:*"], Inject::Query { name: "id".into() }),
            ],
            ..get(format!("http://api.example:{port}/to/{target}"))
        };
        Egress::new(names()).send(&open(&["127.0.0.1"]), request).await.unwrap();
        let log = server.log();
        let seen = |request: &server::Received| {
            let header = request.header("authorization") == Some("Bearer s3cr3t/value");
            (header, request.line.contains("id=s3cr3t%2Fvalue"))
        };
        log[before..].iter().map(seen).collect::<Vec<_>>()
    };
    let (both, header, none) = ((true, true), (true, false), (false, false));
    assert_eq!(send("/end").await, [both, both]);
    assert_eq!(send(&format!("http://www.api.example:{port}/end")).await, [both, header]);
    assert_eq!(send(&format!("http://evil.example:{port}/end")).await, [both, none]);
    assert_eq!(send(&there).await, [both, none, both]);
}

#[tokio::test]
async fn not_in_what_comes_back() {
    // A server that repeats whatever it was sent, to itself and to others.
    let server = Server::start(|request| {
        let target = request.line.split(' ').nth(1).unwrap().to_owned();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        match target.starts_with("/away") {
            true => {
                redirect(302, &format!("http://evil.example:{}/?{query}", request.local.port()))
            }
            false => answer("200 OK", &[("x-echo", &target), ("x-plain", SECRET)], ""),
        }
    })
    .await;
    let request = |path: &str| EgressRequest {
        credentials: vec![credential(
            "id",
            &["http://api.example:*"],
            Inject::Query { name: "id".into() },
        )],
        ..get(format!("http://api.example:{}{path}", server.port))
    };
    let egress = Egress::new(names());
    let response = egress.send(&open(&["127.0.0.1"]), request("/stay?a=b")).await.unwrap();
    assert_eq!(response.headers["x-echo"], "/stay?a=b&id=[secret id]");
    assert_eq!(response.headers["x-plain"], "[secret id]");
    let response = egress.send(&open(&["127.0.0.1"]), request("/away?a=b")).await.unwrap();
    assert_eq!(server.log().pop().unwrap().line, "GET /?a=b HTTP/1.1");
    assert!(!format!("{response:?}").contains("s3cr3t"));

    let mut request = request("/away?a=b");
    request.limits.max_redirects = 0;
    let response = egress.send(&open(&["127.0.0.1"]), request).await.unwrap();
    assert!(!format!("{:?}", response.headers).contains("s3cr3t"));
}

#[tokio::test]
async fn a_redirect_may_not_carry_it_away() {
    for slash in ["/", "%2F", "%2f"] {
        let server = Server::start(move |request| {
            let port = request.local.port();
            redirect(302, &format!("http://evil.example:{port}/{}", SECRET.replace('/', slash)))
        })
        .await;
        let request = EgressRequest {
            credentials: vec![credential("key", &["http://api.example:*"], bearer())],
            ..get(format!("http://api.example:{}/", server.port))
        };
        let result = Egress::new(names()).send(&open(&["127.0.0.1"]), request).await;
        assert_eq!(gate(&result), "secret", "{slash}");
        assert!(!format!("{result:?}").contains("s3cr3t"));
        assert_eq!(server.log().len(), 1);
    }
}

#[tokio::test]
async fn not_in_errors() {
    let reset = Server::start(|_| b"no HTTP at all\r\n\r\nconnection: close".to_vec()).await;
    let policy = open(&["127.0.0.1"]);
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for port in [reset.port, closed] {
        let request = EgressRequest {
            credentials: vec![
                credential("id", &["http://api.example:*"], Inject::Query { name: "id".into() }),
                credential("key", &["http://api.example:*"], bearer()),
            ],
            body: RequestBody::Bytes(SECRET.into()),
            ..EgressRequest::new(
                "POST",
                format!("http://api.example:{port}/?other=guests-own"),
                account(),
            )
        };
        assert!(!format!("{request:?}").contains("s3cr3t"));
        let result = Egress::new(names()).send(&policy, request).await;
        assert_eq!(code(&result), "unavailable");
        let shown = format!("{result:?}");
        assert!(!shown.contains("s3cr3t") && !shown.contains("guests-own"), "{shown}");
    }
}

#[tokio::test]
async fn two_in_one_place_are_refused() {
    let request = EgressRequest {
        credentials: vec![
            credential("a", &["http://api.example"], bearer()),
            credential("b", &["http://api.example"], Inject::Basic { username: "u".into() }),
        ],
        ..get("http://api.example/")
    };
    let result = Egress::new(names()).send(&open(&["127.0.0.1"]), request).await;
    assert_eq!(code(&result), "bad-arguments");
}

#[tokio::test]
async fn no_request_carries_a_secret_of_the_run_elsewhere() {
    let server = Server::start(|_| ok("x")).await;
    let secrets = Arc::new(crate::RunSecrets::default());
    secrets
        .add("key", &["http://api.example:*".parse().unwrap()], &SecretValue::new(SECRET))
        .unwrap();
    let evil = format!("http://evil.example:{}", server.port);
    let api = format!("http://api.example:{}", server.port);
    let egress = Egress::new(names());
    let send = async |method: &str, url: String, headers: &[(&str, &str)], body: RequestBody| {
        let request = EgressRequest {
            headers: header_map(headers.iter().copied()).unwrap(),
            body,
            secrets: secrets.clone(),
            ..EgressRequest::new(method, url, account())
        };
        egress.send(&open(&["127.0.0.1"]), request).await
    };
    let stream = |size: usize| {
        let text = format!("{}it is {SECRET}, is it not?", "x".repeat(1000));
        let pieces: Vec<_> =
            text.into_bytes().chunks(size).map(bytes::Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(|piece| Ok(http_body::Frame::data(piece)));
        let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
        let body = http_body_util::combinators::UnsyncBoxBody::new(body);
        RequestBody::Stream { body, length: None }
    };
    let nothing = || RequestBody::Empty;
    for (url, headers) in [
        (format!("{evil}/s3cr3t%2Fvalue"), &[][..]),
        (format!("{evil}/?q=s3cr3t/value"), &[]),
        (format!("{evil}/?q=%5Cu0073%5Cu0033cr3t/value"), &[]),
        (format!("{evil}/"), &[("x-found", "czNjcjN0L3ZhbHVl")]),
        (format!("{evil}/"), &[("x-7333637233742f76616c7565", "")]),
    ] {
        let result = send("GET", url.clone(), headers, nothing()).await;
        assert_eq!(gate(&result), "secret", "{url} {headers:?}");
        assert!(!format!("{result:?}").contains("s3cr3t"));
    }
    let result = send("POST", evil.clone(), &[], RequestBody::Bytes(SECRET.into())).await;
    assert_eq!(gate(&result), "secret");
    assert_eq!(server.connections(), 0);
    // To its own audience it may go, and what is none anywhere.
    assert!(send("POST", api.clone(), &[], RequestBody::Bytes(SECRET.into())).await.is_ok());
    assert!(send("POST", evil.clone(), &[], RequestBody::Bytes("s3cr3t".into())).await.is_ok());
    for size in [1, 5, 7, 4096] {
        let result = send("POST", evil.clone(), &[], stream(size)).await;
        assert_eq!(gate(&result), "secret", "in pieces of {size}");
        assert!(send("POST", api.clone(), &[], stream(size)).await.is_ok(), "in pieces of {size}");
        // The one before may have sent some of its pieces by now.
        let mut log = server.log().into_iter();
        let received = log.rfind(|r| r.header("host").unwrap().starts_with("api")).unwrap();
        let body = unchunked(&received.body);
        assert!(body.ends_with("it is s3cr3t/value, is it not?"), "in pieces of {size}: {body}");
    }
    let evil_got =
        server.log().into_iter().filter(|r| r.header("host").unwrap().starts_with("evil"));
    assert!(evil_got.into_iter().all(|r| !String::from_utf8_lossy(&r.body).contains(SECRET)));
}

#[tokio::test]
async fn what_a_server_repeats_in_its_body_is_taken_out() {
    let server = Server::start(|request| ok(request.header("authorization").unwrap())).await;
    let request = EgressRequest {
        headers: header_map([("accept-encoding", "br")]).unwrap(),
        credentials: vec![credential("key", &["http://api.example:*"], bearer())],
        ..get(format!("http://api.example:{}/", server.port))
    };
    let mut response = Egress::new(names()).send(&open(&["127.0.0.1"]), request).await.unwrap();
    assert_eq!(text(&mut response.body).await, "Bearer [secret key]");
    // In another coding it would not have been found.
    assert_eq!(server.log().pop().unwrap().header("accept-encoding"), Some("gzip"));
}

/// A chunked body (RFC 9112, section 7.1) without its framing.
fn unchunked(body: &[u8]) -> String {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let (mut rest, mut whole) = (text.as_str(), String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    whole
}
