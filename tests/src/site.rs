//! A web site on loopback: the origin `http://fixture.test` of the plugins' examples, and
//! whatever else a test wants to be answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// A running site. Dropping it stops it.
pub struct Site {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

/// A request the site has got.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Site {
    /// Starts the site on a free port of 127.0.0.1.
    pub async fn start() -> Site {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let log = log.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, log.clone()));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A client that goes away in the middle is what some tests are about.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Site { address, seen, task }
    }

    /// Its origin, `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The grant lines that open exactly this site to a binding.
    pub fn grant(&self, binding: &str) -> String {
        format!(
            "[bindings.{binding}]\ngrant.http = [\"* {}/**\"]\ngrant.addresses = [\"127.0.0.1\"]\n",
            self.origin()
        )
    }
}

/// A page with a heading, a table, links and text that is not its content.
pub const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en"><head><title>Ampoules &amp; vials</title>
<meta name="description" content="All about sealed glass.">
<style>body { color: black }</style><script>var hidden = "never seen";</script></head>
<body><nav><a href="/">Home</a> <a href="/other">Other</a></nav>
<main><article><h1>Ampoules</h1>
<p>An ampoule is a small <b>sealed</b> vial. It keeps its content from the air, and it is opened
by snapping off the neck at a prepared point, which is why nothing gets in or out unnoticed.</p>
<p>Ampoules are made of glass, and most are filled and sealed in one pass by a machine that melts
the neck shut over a flame. The <a href="https://example.com/glass?a=1&amp;b=2">glass</a> is clear
or amber.</p>
<table><tr><th>Size</th><th>Price</th></tr><tr><td>1 ml</td><td>0.10</td></tr>
<tr><td>2 ml</td><td>0.15</td></tr></table>
<ul class="uses"><li>medicine</li><li>perfume</li></ul>
<pre><code>fn open() {}</code></pre>
</article></main><footer>Contact us</footer></body></html>"#;

/// The description of an API whose requests the site echoes, at `/openapi.yaml`.
const API: &str = include_str!("../cases/openapi/pets.yaml");

async fn answer(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let seen = Seen {
        method: parts.method.to_string(),
        target: target.clone(),
        headers: headers.collect(),
        body: body.to_vec(),
    };
    log.lock().unwrap().push(seen.clone());
    let respond = |status: u16, media_type: &str, body: Vec<u8>| {
        let response = Response::builder().status(status).header("content-type", media_type);
        Ok(response.body(Full::new(body.into())).unwrap())
    };
    let path = parts.uri.path().to_owned();
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|n| n.parse::<u64>().ok());
    if let Some(milliseconds) = number("/delay/") {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        return respond(200, "text/plain", format!("waited {milliseconds}").into_bytes());
    }
    if let Some(status) = number("/status/") {
        let body = format!("{{\"status\":{status}}}");
        return respond(u16::try_from(status).unwrap(), "application/json", body.into_bytes());
    }
    if let Some(bytes) = number("/bytes/") {
        let body = vec![b'x'; usize::try_from(bytes).unwrap()];
        return respond(200, "application/octet-stream", body);
    }
    if let Some(target) = path.strip_prefix("/redirect/") {
        let location = parts.uri.query().unwrap_or("/");
        let response =
            Response::builder().status(target.parse::<u16>().unwrap()).header("location", location);
        return Ok(response.body(Full::default()).unwrap());
    }
    match path.as_str() {
        "/" | "/page" | "/page.html" => respond(200, "text/html; charset=utf-8", PAGE.into()),
        "/data.json" => respond(200, "application/json", br#"{"a":1,"b":[true,null]}"#.to_vec()),
        "/text" => respond(200, "text/plain; charset=utf-8", b"plain text".to_vec()),
        "/latin1" => respond(200, "text/html; charset=iso-8859-1", b"<p>caf\xe9</p>".to_vec()),
        "/openapi.yaml" => respond(200, "application/yaml", API.into()),
        "/robots.txt" => {
            respond(200, "text/plain", b"User-agent: *\nDisallow: /private/\n".to_vec())
        }
        "/private/page" => respond(200, "text/html", b"<p>private</p>".to_vec()),
        path if path == "/echo" || path.starts_with("/echo/") => {
            let headers: serde_json::Map<_, _> = seen
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect();
            let echo = serde_json::json!({
                "method": seen.method,
                "target": seen.target,
                "headers": headers,
                "body": String::from_utf8_lossy(&seen.body),
            });
            respond(200, "application/json", echo.to_string().into_bytes())
        }
        // For a guest that means ill: what it was sent, in a way nobody looks for.
        "/backwards" => {
            let sent = seen.header("authorization").unwrap_or_default();
            respond(200, "text/plain", sent.chars().rev().collect::<String>().into_bytes())
        }
        _ => respond(404, "text/html", b"<title>Not found</title><p>nothing here</p>".to_vec()),
    }
}
