//! A folder served over HTTP on loopback, for as long as the value lives.

use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tiny_http::{Header, Method, Request, Response, Server};

/// Serves the files of a folder until it is dropped.
pub(crate) struct Site {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
    port: u16,
}

impl Site {
    /// Serves `folder` at a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) fn start(folder: &Path) -> Result<Site> {
        let server = Server::http("127.0.0.1:0")
            .map_err(|error| anyhow::anyhow!("no port of 127.0.0.1 can be had: {error}"))?;
        let port = server.server_addr().to_ip().context("the server has no address")?.port();
        let server = Arc::new(server);
        let (answering, folder) = (Arc::clone(&server), folder.to_owned());
        let thread = thread::spawn(move || {
            for request in answering.incoming_requests() {
                // A client that went away is none of our concern.
                let _ = answer(request, &folder);
            }
        });
        Ok(Site { server, thread: Some(thread), port })
    }

    /// Scheme, host and port, without a slash at the end.
    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // It only answers requests; if it panicked there is nothing left to do.
            let _ = thread.join();
        }
    }
}

fn answer(request: Request, folder: &Path) -> std::io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(Response::empty(405));
    }
    let file = path_of(request.url(), folder).and_then(|path| {
        let file = File::open(&path).ok()?;
        file.metadata().ok()?.is_file().then_some((path, file))
    });
    let Some((path, file)) = file else {
        return request.respond(Response::from_string("not found\n").with_status_code(404));
    };
    let response = Response::from_file(file);
    match Header::from_bytes("content-type", media_type(&path)) {
        Ok(header) => request.respond(response.with_header(header)),
        Err(()) => request.respond(response),
    }
}

/// The file a request means; nothing outside `folder`, and no name that would have to be decoded.
fn path_of(url: &str, folder: &Path) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next()?.strip_prefix('/')?;
    let index = if path.is_empty() || path.ends_with('/') { "index.html" } else { "" };
    let relative = PathBuf::from(format!("{path}{index}"));
    let is_plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && !path.contains('%')).then(|| folder.join(relative))
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use super::*;

    fn get(site: &Site, target: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", site.port)).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_serves_the_folder_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("xtask-site-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("site/docs")).unwrap();
        std::fs::write(folder.join("secret.txt"), "secret").unwrap();
        std::fs::write(folder.join("site/docs/index.html"), "<h1>Docs</h1>").unwrap();
        let site = Site::start(&folder.join("site")).unwrap();

        let page = get(&site, "/docs/?q=1");
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.to_lowercase().contains("content-type: text/html"), "{page}");
        assert!(page.ends_with("<h1>Docs</h1>"), "{page}");
        for target in ["/", "/docs", "/../secret.txt", "/%2e%2e/secret.txt", "//secret.txt", "x"] {
            assert!(get(&site, target).starts_with("HTTP/1.1 404"), "{target}");
        }

        let port = site.port;
        drop(site);
        // The port is closed by the server's own thread, a moment later.
        let is_open = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_open() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!is_open(), "it has stopped");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
