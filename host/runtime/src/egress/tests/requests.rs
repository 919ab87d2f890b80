//! What goes out.

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::*;
use crate::egress::{BoxError, RequestBody, header_map};

/// A stream of so many chunks of ten bytes.
pub(super) fn chunks(count: usize, length: Option<u64>) -> RequestBody {
    let frames = stream::iter(
        (0..count).map(|_| Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"0123456789")))),
    );
    RequestBody::Stream { body: StreamBody::new(frames).boxed_unsync(), length }
}

/// A stream that says from the start that nothing comes.
fn nothing(length: Option<u64>) -> RequestBody {
    let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
    RequestBody::Stream { body, length }
}

#[tokio::test]
async fn as_it_was_asked_for() {
    let server = Server::start(|_| ok("")).await;
    let egress = Egress::default();
    let request = EgressRequest {
        headers: header_map([("Accept", "text/html"), ("X-Two", "1"), ("content-type", "a/b")])
            .unwrap(),
        body: RequestBody::Bytes("body".into()),
        ..EgressRequest::new(
            "POST",
            format!("http://127.0.0.1:{}/a/./b?q#f", server.port),
            account(),
        )
    };
    egress.send(&open(&["127.0.0.1"]), request).await.unwrap();
    let received = server.log().pop().unwrap();
    assert_eq!(received.line, "POST /a/b?q HTTP/1.1");
    assert_eq!(received.header("host"), Some(format!("127.0.0.1:{}", server.port).as_str()));
    assert_eq!(received.header("accept"), Some("text/html"));
    assert_eq!(received.header("content-length"), Some("4"));
    assert_eq!(received.header("accept-encoding"), Some("gzip"));
    assert!(received.header("user-agent").unwrap().starts_with("ampoule/"));
    assert_eq!(received.body, b"body");
}

#[tokio::test]
async fn without_what_belongs_to_the_host() {
    let server = Server::start(|_| ok("")).await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    for name in [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "proxy-connection",
        "x-http-method-override",
        "x-original-url",
        "x-forwarded-host",
    ] {
        let request = EgressRequest { headers: header_map([(name, "1")]).unwrap(), ..get(&url) };
        let result = Egress::default().send(&open(&["127.0.0.1"]), request).await;
        assert_eq!(code(&result), "bad-arguments", "{name}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn refused_before_anything_is_resolved_or_charged() {
    let names = Names::new(&[]);
    let egress = Egress::new(names.clone());
    let used = account();
    let granted = policy(&["GET https://api.example/v1/**"], &[]);
    for (method, url, expected) in [
        ("GET", "https://other.example/", "grant"),
        ("POST", "https://api.example/v1/x", "grant"),
        ("GET", "https://api.example/v1/..%2fx", "url"),
        ("CONNECT", "https://api.example/v1/x", "method"),
        ("GET ", "https://api.example/v1/x", "method"),
    ] {
        let request = EgressRequest::new(method, url, used.clone());
        assert_eq!(gate(&egress.send(&granted, request).await), expected, "{method} {url}");
    }
    assert_eq!(used.used(Meter::HttpRequests), 0);
    assert!(names.asked().is_empty());
}

#[tokio::test]
async fn bodies_are_charged_before_they_are_sent() {
    let server = Server::start(|_| ok("")).await;
    let egress = Egress::default();
    let policy = open(&["127.0.0.1"]);
    let url = format!("http://127.0.0.1:{}/", server.port);
    let send = |body, limit| {
        let account = Account::root(Limits::UNLIMITED.with(Meter::HttpBytes, limit));
        let request = EgressRequest { body, ..EgressRequest::new("POST", &url, account.clone()) };
        (egress.send(&policy, request), account)
    };
    let ten = || RequestBody::Bytes("0123456789".into());

    let (sent, account) = send(ten(), 10);
    sent.await.unwrap();
    assert_eq!(account.used(Meter::HttpBytes), 10);
    let (sent, _) = send(ten(), 9);
    assert!(matches!(sent.await, Err(EgressError::Limit(b)) if b.meter == Meter::HttpBytes));
    assert_eq!(server.log().len(), 1);

    let (sent, account) = send(chunks(5, None), 50);
    sent.await.unwrap();
    assert_eq!(account.used(Meter::HttpBytes), 50);
    let (sent, account) = send(chunks(5, None), 49);
    assert!(matches!(sent.await, Err(EgressError::Limit(b)) if b.meter == Meter::HttpBytes));
    assert_eq!(account.used(Meter::HttpBytes), 40);
}

#[tokio::test]
async fn streams_of_known_and_unknown_length() {
    let server = Server::start(|_| ok("")).await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    for (length, header) in [(Some(20), "content-length"), (None, "transfer-encoding")] {
        let body = chunks(2, length);
        let request = EgressRequest { body, ..EgressRequest::new("PUT", &url, account()) };
        Egress::default().send(&open(&["127.0.0.1"]), request).await.unwrap();
        assert!(server.log().pop().unwrap().header(header).is_some(), "{length:?}");
    }
}

#[tokio::test]
async fn a_body_is_as_long_as_it_was_declared_or_fails() {
    let server = Server::start(|_| ok("")).await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    for (body, length) in [
        (chunks(3, Some(20)), 20),
        (chunks(3, Some(25)), 25),
        (chunks(1, Some(5)), 5),
        (chunks(1, Some(20)), 20),
        (chunks(0, Some(20)), 20),
        (nothing(Some(1)), 1),
    ] {
        let (shown, used) = (format!("{body:?}"), account());
        let request = EgressRequest { body, ..EgressRequest::new("POST", &url, used.clone()) };
        let result = Egress::default().send(&open(&["127.0.0.1"]), request).await;
        assert_eq!(code(&result), "bad-arguments", "{shown}");
        assert!(used.used(Meter::HttpBytes) <= length, "{shown}");
    }
    assert!(server.log().iter().all(|request| request.body.len() <= 20));
    let request =
        EgressRequest { body: nothing(Some(0)), ..EgressRequest::new("POST", &url, account()) };
    Egress::default().send(&open(&["127.0.0.1"]), request).await.unwrap();
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let server = Server::start(|_| ok("")).await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let body = RequestBody::Bytes(sent.clone().into());
    let url = format!("http://127.0.0.1:{}/", server.port);
    let request = EgressRequest { body, ..EgressRequest::new("POST", url, account()) };
    Egress::default().send(&open(&["127.0.0.1"]), request).await.unwrap();
    let received = server.log().pop().unwrap();
    assert_eq!(received.header("content-length"), Some("1000000"));
    assert!(received.body == sent);
}

#[tokio::test]
async fn a_connection_that_was_answered_early_ends() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let first = stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"first")))]);
    let frames = stream::StreamExt::chain(first, stream::pending());
    let body = RequestBody::Stream { body: StreamBody::new(frames).boxed_unsync(), length: None };
    let mut request = EgressRequest { body, ..EgressRequest::new("POST", url, account()) };
    request.limits.total_time = std::time::Duration::from_millis(500);
    let sent = tokio::spawn(async move {
        let mut response = Egress::default().send(&open(&["127.0.0.1"]), request).await.unwrap();
        text(&mut response.body).await
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").await.unwrap();
    assert_eq!(sent.await.unwrap(), "early");
    // The rest of the body never comes; nobody waits for it after the time of the request.
    let end = async { while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), end).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_nothing_is_no_body() {
    let server = Server::start(|_| ok("")).await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    let request = EgressRequest { body: nothing(None), ..get(url) };
    Egress::default().send(&open(&["127.0.0.1"]), request).await.unwrap();
    let received = server.log().pop().unwrap();
    assert_eq!(received.header("transfer-encoding"), None);
    assert_eq!(received.header("content-length"), None);
}

#[tokio::test]
async fn times_may_be_any_number() {
    let server = Server::start(|_| ok("")).await;
    let mut request = get(format!("http://127.0.0.1:{}/", server.port));
    request.limits.total_time = std::time::Duration::MAX;
    request.limits.time_to_headers = std::time::Duration::MAX;
    Egress::default().send(&open(&["127.0.0.1"]), request).await.unwrap();
}

#[tokio::test]
async fn as_wasi_http_has_it() {
    let server = Server::start(|_| ok("")).await;
    let request = http::Request::builder()
        .method("PUT")
        .uri(format!("http://127.0.0.1:{}/x?q", server.port))
        .header("host", "other.example")
        .header("content-length", "20")
        .header("x-mine", "1")
        .body(chunks(2, None))
        .unwrap();
    let request = EgressRequest::from_http(request, account());
    Egress::default().send(&open(&["127.0.0.1"]), request).await.unwrap();
    let received = server.log().pop().unwrap();
    assert_eq!(received.line, "PUT /x?q HTTP/1.1");
    assert_ne!(received.header("host"), Some("other.example"));
    assert_eq!(received.header("content-length"), Some("20"));
    assert_eq!(received.body, b"01234567890123456789");
}

#[tokio::test]
async fn wasi_http_may_set_no_other_headers_than_a_guest() {
    let server = Server::start(|_| ok("")).await;
    for name in ["x-http-method-override", "x-original-url", "forwarded", "te"] {
        let request = http::Request::get(format!("http://127.0.0.1:{}/", server.port))
            .header(name, "x")
            .body(RequestBody::Empty)
            .unwrap();
        let request = EgressRequest::from_http(request, account());
        let result = Egress::default().send(&open(&["127.0.0.1"]), request).await;
        assert_eq!(code(&result), "bad-arguments", "{name}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_body_that_fails_is_an_error_and_not_a_request() {
    let server = Server::start(|_| ok("")).await;
    let frames = stream::iter([
        Ok(Frame::data(Bytes::from_static(b"half"))),
        Err::<_, BoxError>("the guest gave up".into()),
    ]);
    let body = RequestBody::Stream { body: StreamBody::new(frames).boxed_unsync(), length: None };
    let url = format!("http://127.0.0.1:{}/", server.port);
    let request = EgressRequest { body, ..EgressRequest::new("POST", url, account()) };
    let result = Egress::default().send(&open(&["127.0.0.1"]), request).await;
    assert_eq!(code(&result), "unavailable");
}

#[tokio::test]
async fn dropping_gives_the_request_up() {
    use tokio::io::AsyncReadExt;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let sent = tokio::spawn(async move {
        Egress::default().send(&open(&["127.0.0.1"]), get(url)).await.is_ok()
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    sent.abort();
    // The other side sees the connection end.
    assert!(matches!(stream.read(&mut [0; 1024]).await, Ok(0) | Err(_)));
}
