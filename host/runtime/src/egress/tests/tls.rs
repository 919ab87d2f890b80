//! TLS: whose certificates are trusted, and what a redirect may not undo.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::requests::chunks;
use super::*;
use crate::egress::RequestBody;

/// What a server called `secure.example` needs, and the certificate to trust.
fn acceptor(protocols: &[&[u8]]) -> (TlsAcceptor, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["secure.example".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), cert.der().clone())
}

async fn secure(reply: Vec<u8>) -> (Server, CertificateDer<'static>) {
    let (acceptor, root) = acceptor(&[]);
    let answer = move |_| {
        let reply = reply.clone();
        Box::pin(async move { reply }) as futures::future::BoxFuture<'static, Vec<u8>>
    };
    (Server::start_with(answer, Some(acceptor)).await, root)
}

fn names() -> Arc<Names> {
    Names::new(&[("secure.example", &[&["127.0.0.1"]]), ("other.example", &[&["127.0.0.1"]])])
}

#[tokio::test]
async fn only_trusted_certificates_for_the_right_name() {
    let (server, root) = secure(ok("hello")).await;
    let url = |name: &str| format!("https://{name}:{}/?key=secret", server.port);
    let trusting = Egress::with_roots(names(), vec![root]);
    let policy = open(&["127.0.0.1"]);

    let mut response = trusting.send(&policy, get(url("secure.example"))).await.unwrap();
    assert_eq!(text(&mut response.body).await, "hello");

    for (egress, name) in [
        (&trusting, "other.example"),
        (&trusting, "127.0.0.1"),
        (&Egress::new(names()), "secure.example"),
    ] {
        let result = egress.send(&policy, get(url(name))).await;
        let Err(EgressError::Failed(error)) = result else { panic!("{name}: {result:?}") };
        assert_eq!((error.code.as_str(), error.retryable), ("unavailable", false), "{name}");
        assert!(error.message.contains("certificate"), "{}", error.message);
        assert!(!format!("{error:?}").contains("secret"));
    }
    assert_eq!(server.log().len(), 1);
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused() {
    let plain = Server::start(|_| ok("")).await;
    let location = format!("http://other.example:{}/", plain.port);
    let (server, root) = secure(redirect(302, &location)).await;
    let egress = Egress::with_roots(names(), vec![root]);
    let url = format!("https://secure.example:{}/", server.port);
    let result = egress.send(&open(&["127.0.0.1"]), get(url)).await;
    assert_eq!(gate(&result), "redirect");
    assert_eq!(plain.connections(), 0);
}

/// A server of HTTP/2 that answers `fields` headers with values of `length` bytes.
async fn http2(
    fields: usize,
    length: usize,
) -> (u16, CertificateDer<'static>, tokio::task::JoinHandle<()>) {
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let (acceptor, root) = acceptor(&[b"h2"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = service_fn(move |request: http::Request<_>| async move {
                let mut answer = http::Response::builder();
                for i in 0..fields {
                    answer = answer.header(format!("x-{i}"), "x".repeat(length));
                }
                let body = format!("{:?} {}", request.version(), request.uri());
                answer.body(http_body_util::Full::new(bytes::Bytes::from(body)))
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    });
    (port, root, task)
}

#[tokio::test]
async fn http2_where_the_other_side_speaks_it() {
    let (port, root, task) = http2(3, 10).await;
    let egress = Egress::with_roots(names(), vec![root]);
    let url = format!("https://secure.example:{port}/x?q");
    for _ in 0..2 {
        let mut response = egress.send(&open(&["127.0.0.1"]), get(&url)).await.unwrap();
        assert_eq!(text(&mut response.body).await, format!("HTTP/2.0 {url}"));
    }
    assert_eq!(gate(&egress.send(&open(&[]), get(&url)).await), "address");
    task.abort();
}

/// A server that likes HTTP/2 best and speaks HTTP/1.1 too, and answers with what it was spoken
/// to and how many bytes it was sent.
async fn either() -> (u16, CertificateDer<'static>, tokio::task::JoinHandle<()>) {
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::server::conn::auto;

    let (acceptor, root) = acceptor(&[b"h2", b"http/1.1"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move {
                let service = service_fn(|request: http::Request<Incoming>| async move {
                    let version = request.version();
                    let sent = request.into_body().collect().await?.to_bytes();
                    let body = bytes::Bytes::from(format!("{version:?} {}", sent.len()));
                    Ok::<_, hyper::Error>(http::Response::new(Full::new(body)))
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, root, task)
}

#[tokio::test]
async fn bodies_go_over_http1_whatever_else_is_offered() {
    let (port, root, task) = either().await;
    let egress = Egress::with_roots(names(), vec![root]);
    let url = format!("https://secure.example:{port}/");
    let bytes = RequestBody::Bytes("0123456789".into());
    let streamed = http::Request::post(url.as_str()).body(chunks(2, None)).unwrap();
    let declared = http::Request::post(url.as_str())
        .header("content-length", "30")
        .body(chunks(3, None))
        .unwrap();
    for (request, expected) in [
        (get(&url), "HTTP/2.0 0"),
        (
            EgressRequest { body: bytes, ..EgressRequest::new("PUT", &url, account()) },
            "HTTP/1.1 10",
        ),
        (EgressRequest::from_http(streamed, account()), "HTTP/1.1 20"),
        (EgressRequest::from_http(declared, account()), "HTTP/1.1 30"),
        (EgressRequest::new("POST", &url, account()), "HTTP/2.0 0"),
    ] {
        let mut response = egress.send(&open(&["127.0.0.1"]), request).await.unwrap();
        assert_eq!(text(&mut response.body).await, expected);
    }
    task.abort();
}

#[tokio::test]
async fn floods_of_headers_are_refused_over_http2_too() {
    // The last one is over what is parsed at all; the connection ends there.
    for (fields, length, expected) in
        [(129, 1, "too-large"), (2, 40_000, "too-large"), (40, 16_000, "unavailable")]
    {
        let (port, root, task) = http2(fields, length).await;
        let egress = Egress::with_roots(names(), vec![root]);
        let url = format!("https://secure.example:{port}/");
        let result = egress.send(&open(&["127.0.0.1"]), get(url)).await;
        assert_eq!(code(&result), expected, "{fields} of {length}");
        task.abort();
    }
}
