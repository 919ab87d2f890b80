//! A server on loopback that does exactly what a test says, well-behaved or not.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::egress::Resolve;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// `GET /path HTTP/1.1`.
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
    /// The address it was sent to.
    pub(super) local: SocketAddr,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

type Answer = dyn Fn(Received) -> BoxFuture<'static, Vec<u8>> + Send + Sync;

/// Serves HTTP/1.1 on loopback until dropped.
pub(super) struct Server {
    pub(super) port: u16,
    log: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Answers each request with the bytes that `answer` makes, at 127.0.0.1 and
    /// 127.0.0.2.
    pub(super) async fn start(
        answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static,
    ) -> Server {
        Server::start_async(move |request| {
            let bytes = answer(&request);
            Box::pin(async move { bytes })
        })
        .await
    }

    pub(super) async fn start_async(
        answer: impl Fn(Received) -> BoxFuture<'static, Vec<u8>> + Send + Sync + 'static,
    ) -> Server {
        Server::start_with(answer, None).await
    }

    pub(super) async fn start_with(
        answer: impl Fn(Received) -> BoxFuture<'static, Vec<u8>> + Send + Sync + 'static,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Server {
        let (port, listeners) = listen().await;
        let (log, connections) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicUsize>::default());
        let answer: Arc<Answer> = Arc::new(answer);
        let mut tasks = JoinSet::new();
        for listener in listeners {
            let (log, connections) = (log.clone(), connections.clone());
            let (answer, tls) = (answer.clone(), tls.clone());
            tasks.spawn(async move {
                let mut open = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    let (log, answer, tls) = (log.clone(), answer.clone(), tls.clone());
                    open.spawn(async move {
                        let local = stream.local_addr().unwrap();
                        // A client that goes away is no failure.
                        let _ = match tls {
                            None => serve(stream, local, &log, &*answer).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => serve(stream, local, &log, &*answer).await,
                                Err(error) => Err(error),
                            },
                        };
                    });
                }
            });
        }
        Server { port, log, connections, _tasks: tasks }
    }

    /// The requests so far.
    pub(super) fn log(&self) -> Vec<Received> {
        self.log.lock().unwrap().clone()
    }

    /// How many connections were made.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One port at two addresses, so that a name can lead to either.
async fn listen() -> (u16, [TcpListener; 2]) {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = TcpListener::bind(("127.0.0.2", port)).await {
            return (port, [first, second]);
        }
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    local: SocketAddr,
    log: &Mutex<Vec<Received>>,
    answer: &Answer,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let body = if headers.contains_key("transfer-encoding") {
            while !buffer.ends_with(b"0\r\n\r\n") && stream.read_buf(&mut buffer).await? > 0 {}
            std::mem::take(&mut buffer)
        } else {
            let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
            while buffer.len() < length && stream.read_buf(&mut buffer).await? > 0 {}
            buffer.drain(..length.min(buffer.len())).collect()
        };
        let received = Received { line, headers, body, local };
        log.lock().unwrap().push(received.clone());
        let reply = answer(received).await;
        stream.write_all(&reply).await?;
        if reply.windows(17).any(|window| window == b"connection: close") {
            return stream.shutdown().await;
        }
    }
}

/// An answer with a body.
pub(super) fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    answer("200 OK", &[], body)
}

/// An answer that leads elsewhere.
pub(super) fn redirect(status: u16, location: &str) -> Vec<u8> {
    answer(&format!("{status} Elsewhere"), &[("location", location)], "")
}

/// An answer with a status, headers and a body.
pub(super) fn answer(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A resolver that answers what a test says, the next list at each question and the last one
/// from then on.
#[derive(Default)]
pub(super) struct Names {
    names: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub(super) fn new(names: &[(&str, &[&[&str]])]) -> Arc<Names> {
        let parse = |list: &&[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
        let names = names
            .iter()
            .map(|(name, answers)| ((*name).to_owned(), answers.iter().map(parse).collect()));
        Arc::new(Names { names: Mutex::new(names.collect()), asked: Mutex::default() })
    }

    /// What was asked for so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut names = self.names.lock().unwrap();
        let answers = names.get_mut(host).ok_or(io::ErrorKind::NotFound)?;
        match answers.len() {
            0 => Ok(Vec::new()),
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.remove(0)),
        }
    }
}
