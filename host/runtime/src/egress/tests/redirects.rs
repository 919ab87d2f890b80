//! Redirects: each judged like a first request.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use super::*;
use crate::egress::{EgressLimits, RequestBody, header_map};

/// A server that sends `/STATUS/TARGET` on to `TARGET` and answers everything else.
async fn redirector() -> Server {
    Server::start(|request| {
        let target = request.line.split(' ').nth(1).unwrap();
        match target[1..].split_once('/') {
            Some((status, to)) if status.starts_with('3') && !to.is_empty() => {
                redirect(status.parse().unwrap(), to)
            }
            _ => ok("end"),
        }
    })
    .await
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused() {
    let server = redirector().await;
    let names =
        Names::new(&[("public.example", &[&["127.0.0.2"]]), ("inside.example", &[&["127.0.0.1"]])]);
    let egress = Egress::new(names);
    for target in [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://inside.example/",
        "//inside.example/",
    ] {
        let url = format!("http://public.example:{}/302/{target}", server.port);
        let result = egress.send(&open(&["127.0.0.2"]), get(url)).await;
        assert_eq!(gate(&result), "address", "{target}");
    }
    assert_eq!(server.connections(), 6);
}

#[tokio::test]
async fn a_redirect_is_held_to_the_patterns() {
    let egress = Egress::default();
    for (location, expected) in [
        ("/admin", Some("grant")),
        ("/open/../admin", Some("grant")),
        ("/open/..%2fadmin", Some("url")),
        ("https://other.example/", Some("grant")),
        ("ftp://other.example/", Some("url")),
        ("http://user@127.0.0.1/", Some("url")),
        ("file:///etc/passwd", Some("url")),
        ("/open/end", None),
        ("open/end?q#f", None),
    ] {
        let server = Server::start(move |request| match request.line.contains("/start") {
            true => redirect(302, location),
            false => ok("end"),
        })
        .await;
        let base = format!("http://127.0.0.1:{}", server.port);
        let grants = [format!("GET {base}/start"), format!("GET {base}/open/**")];
        let policy = policy(&[&grants[0], &grants[1]], &["127.0.0.1"]);
        let result = egress.send(&policy, get(format!("{base}/start"))).await;
        match expected {
            Some(expected) => {
                assert_eq!(gate(&result), expected, "{location}");
                let Err(EgressError::Denied(denial)) = result else { unreachable!() };
                assert!(denial.message.starts_with("redirected by http://127.0.0.1:"), "{denial}");
                assert_eq!(server.log().len(), 1);
            }
            None => assert_eq!(text(&mut result.unwrap().body).await, "end", "{location}"),
        }
    }
}

#[tokio::test]
async fn methods_and_bodies_change_as_rfc_9110_says() {
    let server = redirector().await;
    let egress = Egress::default();
    let policy = open(&["127.0.0.1"]);
    for (status, method, then, body) in [
        (301, "POST", "GET", ""),
        (302, "POST", "GET", ""),
        (303, "POST", "GET", ""),
        (307, "POST", "POST", "data"),
        (308, "POST", "POST", "data"),
        (301, "PUT", "PUT", "data"),
        (303, "PUT", "GET", ""),
        (303, "DELETE", "GET", ""),
        (303, "HEAD", "HEAD", "data"),
        (302, "GET", "GET", "data"),
    ] {
        let url = format!("http://127.0.0.1:{}/{status}//end", server.port);
        let request = EgressRequest {
            body: RequestBody::Bytes("data".into()),
            headers: header_map([("content-type", "text/plain"), ("x-mine", "1")]).unwrap(),
            ..EgressRequest::new(method, &url, account())
        };
        let response = egress.send(&policy, request).await.unwrap();
        assert_eq!(response.url, format!("http://127.0.0.1:{}/end", server.port));
        let last = server.log().pop().unwrap();
        assert_eq!(last.line, format!("{then} /end HTTP/1.1"), "{status} {method}");
        assert_eq!(last.body, body.as_bytes(), "{status} {method}");
        assert_eq!(last.header("content-type").is_some(), !body.is_empty());
        assert_eq!(last.header("x-mine"), Some("1"));
    }
}

#[tokio::test]
async fn across_origins_only_harmless_headers_go_along() {
    let server = redirector().await;
    let names = Names::new(&[("a.example", &[&["127.0.0.1"]]), ("b.example", &[&["127.0.0.1"]])]);
    let egress = Egress::new(names);
    let port = server.port;
    let headers = || {
        header_map([
            ("authorization", "Bearer guest"),
            ("cookie", "a=b"),
            ("x-api-key", "guest"),
            ("accept", "text/plain"),
        ])
        .unwrap()
    };
    for (target, kept) in [
        (format!("http://a.example:{port}/end"), true),
        ("/end".to_owned(), true),
        (format!("http://b.example:{port}/end"), false),
        // There and back again: what was dropped stays dropped.
        (format!("http://b.example:{port}/302/http://a.example:{port}/end"), false),
    ] {
        let url = format!("http://a.example:{port}/302/{target}");
        let request = EgressRequest { headers: headers(), ..get(url) };
        egress.send(&open(&["127.0.0.1"]), request).await.unwrap();
        let last = server.log().pop().unwrap();
        for name in ["authorization", "cookie", "x-api-key"] {
            assert_eq!(last.header(name).is_some(), kept, "{name} to {target}");
        }
        assert_eq!(last.header("accept"), Some("text/plain"));
        assert_eq!(last.header("referer"), None);
    }
}

#[tokio::test]
async fn the_number_is_bounded_and_each_is_charged() {
    let server = Server::start(|_| redirect(302, "/again")).await;
    let egress = Egress::default();
    let url = format!("http://127.0.0.1:{}/", server.port);
    let with = |max_redirects, account: &Arc<Account>| EgressRequest {
        limits: EgressLimits { max_redirects, ..EgressLimits::default() },
        ..EgressRequest::new("GET", &url, account.clone())
    };
    let used = account();
    let result = egress.send(&open(&["127.0.0.1"]), with(5, &used)).await;
    assert_eq!(code(&result), "too-large");
    assert_eq!(used.used(Meter::HttpRequests), 6);

    let answer = egress.send(&open(&["127.0.0.1"]), with(0, &account())).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(answer.headers["location"], "/again");

    let few = Account::root(Limits::UNLIMITED.with(Meter::HttpRequests, 2));
    let result = egress.send(&open(&["127.0.0.1"]), with(5, &few)).await;
    let Err(EgressError::Limit(breach)) = result else { panic!("{result:?}") };
    assert_eq!(breach.meter, Meter::HttpRequests);
    assert_eq!(few.used(Meter::HttpRequests), 2);
}

#[tokio::test]
async fn what_is_no_redirect_is_an_answer() {
    let egress = Egress::default();
    for reply in [
        answer("302 Found", &[], ""),
        answer("304 Not Modified", &[("location", "/x")], ""),
        answer("300 Multiple Choices", &[("location", "/x")], ""),
        answer("305 Use Proxy", &[("location", "http://proxy.example/")], ""),
        answer("201 Created", &[("location", "/x")], ""),
    ] {
        let server = Server::start(move |_| reply.clone()).await;
        let url = format!("http://127.0.0.1:{}/", server.port);
        egress.send(&open(&["127.0.0.1"]), get(url)).await.unwrap();
        assert_eq!(server.log().len(), 1);
    }
}

#[tokio::test]
async fn a_stream_is_sent_once() {
    let server = redirector().await;
    let send = |status: u16| EgressRequest {
        body: RequestBody::Stream {
            body: Full::new(Bytes::from("data")).map_err(|never| match never {}).boxed_unsync(),
            length: Some(4),
        },
        ..EgressRequest::new(
            "POST",
            format!("http://127.0.0.1:{}/{status}//end", server.port),
            account(),
        )
    };
    let egress = Egress::default();
    let answer = egress.send(&open(&["127.0.0.1"]), send(307)).await.unwrap();
    assert_eq!(answer.status, 307);
    let answer = egress.send(&open(&["127.0.0.1"]), send(303)).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(server.log().pop().unwrap().line, "GET /end HTTP/1.1");
}
