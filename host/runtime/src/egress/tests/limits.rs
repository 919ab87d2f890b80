//! Sizes, counts and times of answers, and what is charged for them.

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::egress::{EgressLimits, RequestBody, Resolve, header_map};

async fn serve(reply: Vec<u8>) -> (Server, String) {
    let server = Server::start(move |_| reply.clone()).await;
    let url = format!("http://127.0.0.1:{}/?key=secret", server.port);
    (server, url)
}

async fn send(
    url: &str,
    limits: EgressLimits,
    account: &Arc<Account>,
) -> Result<EgressResponse, EgressError> {
    let request = EgressRequest { limits, ..EgressRequest::new("GET", url, account.clone()) };
    Egress::default().send(&open(&["127.0.0.1"]), request).await
}

#[tokio::test]
async fn the_rate_of_a_host_counts_redirects_and_no_other_host_or_binding() {
    let server = Server::start(|request| match request.line.contains("/again") {
        true => redirect(302, "/"),
        false => ok("here"),
    })
    .await;
    let egress = Egress::default();
    let limits = EgressLimits { host_rate: Some("3/h".parse().unwrap()), ..Default::default() };
    let (used, granted) = (account(), open(&["127.0.0.1", "127.0.0.2"]));
    let ask = async |host: &str, path: &str| {
        let url = format!("http://{host}:{}{path}", server.port);
        let request = EgressRequest::new("GET", url, used.clone());
        let request = EgressRequest { limits: limits.clone(), ..request };
        egress.send(&granted, request).await.map(|answer| answer.status.as_u16())
    };
    assert_eq!(ask("127.0.0.1", "/again").await, Ok(200));
    assert_eq!(ask("127.0.0.2", "/").await, Ok(200));
    let Err(EgressError::Failed(error)) = ask("127.0.0.1", "/again").await else {
        panic!("the fourth request went out")
    };
    assert_eq!((error.code.as_str(), error.retryable), ("rate-limited", true));
    assert!(error.message.contains("http-rate = \"3/h\""), "{error}");
    assert!(error.retry_after_ms.is_some_and(|wait| wait > 0), "{error}");
    // What was refused was neither sent nor charged.
    assert_eq!((server.log().len(), used.used(Meter::HttpRequests)), (4, 4));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_body_is_cut_at_its_limit_and_says_so() {
    let (_server, url) = serve(ok("x".repeat(100_000))).await;
    for (limit, length, cut) in
        [(0, 0, true), (1, 1, true), (99_999, 99_999, true), (100_000, 100_000, false)]
    {
        let limits = EgressLimits { max_response_bytes: limit, ..Default::default() };
        let used = account();
        let mut response = send(&url, limits, &used).await.unwrap();
        assert_eq!(text(&mut response.body).await.len(), length);
        assert_eq!(response.body.truncated(), cut, "at {limit}");
        assert_eq!(used.used(Meter::HttpBytes), length as u64);
    }
}

#[tokio::test]
async fn a_body_is_cut_where_the_account_ends() {
    let (_server, url) = serve(ok("x".repeat(100_000))).await;
    let run = Account::root(Limits::UNLIMITED.with(Meter::HttpBytes, 1234));
    let call = run.child(Limits::default());
    let mut response = send(&url, EgressLimits::default(), &call).await.unwrap();
    assert_eq!(text(&mut response.body).await.len(), 1234);
    assert!(response.body.truncated());
    assert_eq!(run.used(Meter::HttpBytes), 1234);
}

#[tokio::test]
async fn compression_is_counted_as_what_comes_out() {
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let (_server, url) = serve(answer("200 OK", &[("content-encoding", "gzip")], &bomb)).await;
    let limits = EgressLimits { max_response_bytes: 1 << 20, ..Default::default() };
    let used = account();
    let mut response = send(&url, limits, &used).await.unwrap();
    assert!(!response.headers.contains_key("content-encoding"));
    assert!(!response.headers.contains_key("content-length"));
    let (mut all, mut largest) = (0, 0);
    while let Some(chunk) = response.body.chunk().await.unwrap() {
        all += chunk.len();
        largest = largest.max(chunk.len());
    }
    assert_eq!(all, 1 << 20);
    assert!(response.body.truncated());
    assert!(largest <= 64 << 10, "a chunk of {largest} bytes");
    assert_eq!(used.used(Meter::HttpBytes), 1 << 20);
}

#[tokio::test]
async fn damaged_compression_is_invalid_data() {
    let whole = gzip(b"hello hello hello hello");
    let mut changed = whole.clone();
    changed[12] ^= 0xff;
    let cut = whole[..whole.len() - 4].to_vec();
    // Empty blocks that are not the last one (RFC 1951, section 3.2.4).
    let nothing = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec(), b"\0\0\0\xff\xff".repeat(1 << 20)];
    let nothing = nothing.concat();
    for bytes in [changed, cut, whole.repeat(2), b"not compressed".to_vec(), nothing] {
        let (_server, url) = serve(answer("200 OK", &[("content-encoding", "gzip")], &bytes)).await;
        let used = account();
        let mut response = send(&url, EgressLimits::default(), &used).await.unwrap();
        let error = loop {
            match response.body.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no error"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code, "invalid-data");
        assert_eq!(response.body.chunk().await, Ok(None));
        assert!(used.used(Meter::HttpBytes) < 10_000);
    }
}

#[tokio::test]
async fn compression_of_little_and_of_nothing_is_sound() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..200_000 {
        encoder.write_all(b"x").unwrap();
        encoder.flush().unwrap();
    }
    let little = encoder.finish().unwrap();
    assert!(little.len() > 1 << 20);
    for (bytes, length) in [(little, 200_000), (gzip(b""), 0), (Vec::new(), 0)] {
        let (_server, url) = serve(answer("200 OK", &[("content-encoding", "GZIP")], &bytes)).await;
        let mut response = send(&url, EgressLimits::default(), &account()).await.unwrap();
        assert_eq!(text(&mut response.body).await.len(), length);
        assert!(!response.body.truncated());
    }
}

#[tokio::test]
async fn what_was_compressed_and_flushed_comes_at_once() {
    // A server that has more to say and does not say it.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&[b'x'; 100_000]).unwrap();
    encoder.flush().unwrap();
    let length = encoder.get_ref().len() + 1;
    let head = format!("content-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
    let mut reply = format!("HTTP/1.1 200 OK\r\n{head}").into_bytes();
    reply.extend_from_slice(encoder.get_ref());
    let (_server, url) = serve(reply).await;
    let limits = EgressLimits { total_time: Duration::from_secs(2), ..Default::default() };
    let mut response = send(&url, limits, &account()).await.unwrap();
    let mut all = 0;
    while all < 100_000 {
        all += response.body.chunk().await.unwrap().unwrap().len();
    }
    assert_eq!(response.body.chunk().await.unwrap_err().code, "timeout");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nhalf";
    let (_server, url) = serve(reply.to_vec()).await;
    let mut response = send(&url, EgressLimits::default(), &account()).await.unwrap();
    assert_eq!(response.body.chunk().await.unwrap().unwrap(), "half");
    let error = response.body.chunk().await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("unavailable", true));
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let flood = |count: usize, value: &str| {
        let names: Vec<_> = (0..count).map(|i| format!("x-{i}")).collect();
        let headers: Vec<_> = names.iter().map(|name| (name.as_str(), value)).collect();
        answer("200 OK", &headers, "")
    };
    for reply in [
        flood(129, "x"),
        flood(1000, "x"),
        flood(100_000, "x"),
        flood(2, &"x".repeat(40_000)),
        flood(1, &"x".repeat(1_000_000)),
    ] {
        let (_server, url) = serve(reply).await;
        let result = send(&url, EgressLimits::default(), &account()).await;
        assert_eq!(code(&result), "too-large");
    }
    let (_server, url) = serve(flood(100, "x")).await;
    assert!(send(&url, EgressLimits::default(), &account()).await.is_ok());
}

#[tokio::test]
async fn headers_of_the_connection_stay_there() {
    let reply = answer("200 OK", &[("keep-alive", "x"), ("x-mine", "y"), ("upgrade", "z")], "");
    let (_server, url) = serve(reply).await;
    let response = send(&url, EgressLimits::default(), &account()).await.unwrap();
    let names: Vec<_> = response.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["content-length", "x-mine"]);
}

#[tokio::test]
async fn slow_headers_time_out() {
    let server = Server::start_async(|_| Box::pin(std::future::pending())).await;
    let url = format!("http://127.0.0.1:{}/?key=secret", server.port);
    for limits in [
        EgressLimits { time_to_headers: Duration::from_millis(50), ..Default::default() },
        EgressLimits { total_time: Duration::from_millis(50), ..Default::default() },
    ] {
        let result = send(&url, limits, &account()).await;
        assert_eq!(code(&result), "timeout");
        assert!(!format!("{result:?}").contains("secret"));
    }
}

#[tokio::test]
async fn a_change_of_protocol_is_no_answer() {
    let reply = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let (_server, url) = serve(reply.to_vec()).await;
    let result = send(&url, EgressLimits::default(), &account()).await;
    assert_eq!(code(&result), "unavailable");
}

#[tokio::test]
async fn endless_hints_time_out() {
    let (_server, url) =
        serve(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(10_000)).await;
    let limits = EgressLimits { time_to_headers: Duration::from_millis(200), ..Default::default() };
    assert_eq!(code(&send(&url, limits, &account()).await), "timeout");
}

#[tokio::test]
async fn a_silent_name_server_times_out() {
    let limits = EgressLimits { time_to_headers: Duration::from_millis(50), ..Default::default() };
    let request = EgressRequest { limits, ..get("http://silent.example/") };
    let resolver = Arc::new(HalfSilent { asked: AtomicUsize::new(0) });
    let result = Egress::new(resolver).send(&open(&[]), request).await;
    assert_eq!(code(&result), "timeout");
}

/// Never finds what begins with `silent`; everything else is at home.
struct HalfSilent {
    asked: AtomicUsize,
}

#[async_trait::async_trait]
impl Resolve for HalfSilent {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if host.starts_with("silent") {
            self.asked.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }
}

#[tokio::test]
async fn names_that_never_answer_are_the_trouble_of_one_policy() {
    let (server, _) = serve(ok("")).await;
    let resolver = Arc::new(HalfSilent { asked: AtomicUsize::new(0) });
    let egress = Egress::new(resolver.clone());
    let send = async |policy: &Policy, name: &str, body: RequestBody, time: Duration| {
        let url = format!("http://{name}.example:{}/", server.port);
        let mut request = EgressRequest { body, ..EgressRequest::new("POST", url, account()) };
        request.limits.time_to_headers = time;
        egress.send(policy, request).await
    };
    let (one, other) = (open(&["127.0.0.1"]), open(&["127.0.0.1", "127.0.0.2"]));
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(10));
    for i in 0..3 {
        // With a body it is another client, of the same policy.
        for body in [RequestBody::Empty, RequestBody::Bytes("x".into())] {
            let result = send(&one, &format!("silent-{i}"), body, short).await;
            assert_eq!(code(&result), "timeout");
        }
    }
    // The callers have given up; their look-ups go on.
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 4);
    assert_eq!(code(&send(&one, "a", RequestBody::Empty, short).await), "timeout");
    assert!(send(&other, "a", RequestBody::Empty, long).await.is_ok());
}

#[tokio::test]
async fn a_slow_body_times_out_and_a_full_one_is_only_cut() {
    // Says it will send ten bytes, sends four and waits.
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfour".to_vec();
    let (_server, url) = serve(reply).await;
    let limits = |max| EgressLimits {
        total_time: Duration::from_millis(200),
        max_response_bytes: max,
        ..Default::default()
    };
    let mut response = send(&url, limits(100), &account()).await.unwrap();
    assert_eq!(response.body.chunk().await.unwrap().unwrap(), "four");
    assert_eq!(response.body.chunk().await.unwrap_err().code, "timeout");
    assert_eq!(response.body.chunk().await, Ok(None));

    let mut response = send(&url, limits(4), &account()).await.unwrap();
    assert_eq!(text(&mut response.body).await, "four");
    assert!(response.body.truncated());
}

#[tokio::test]
async fn what_a_guest_sends_is_bounded_and_charged() {
    let (server, url) = serve(ok("")).await;
    let many = header_map((0..200).map(|i| (format!("x-{i}"), "x"))).unwrap();
    let request = EgressRequest { headers: many, ..get(&url) };
    let result = Egress::default().send(&open(&["127.0.0.1"]), request).await;
    assert_eq!(code(&result), "too-large");
    assert_eq!(server.connections(), 0);
}
