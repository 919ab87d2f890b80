//! A component without the SDK and without Ampoule's contract: its own WIT, `wasi:http` for the
//! network, `std::fs` (so `wasi:filesystem`) for files. It shows that any component is a plugin,
//! held to the same gates.

// The generated bindings carry no documentation of their own.
#[allow(missing_docs)]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "plain" });
}

use bindings::{Guest, Summary};
use std::io::Write as _;
use std::time::UNIX_EPOCH;

use http::Uri;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    Scheme,
};
use wasip2::io::poll::poll;
use wasip2::io::streams::{InputStream, StreamError};

struct Plain;

bindings::export!(Plain with_types_in bindings);

impl Guest for Plain {
    fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }

    fn fetch(url: String) -> Result<String, String> {
        let response = send(&url)?;
        let status = response.status();
        let body = response.consume().map_err(|()| "the body was taken already".to_owned())?;
        let bytes = read_all(body)?;
        match status {
            200..=299 => String::from_utf8(bytes).map_err(|e| e.to_string()),
            _ => Err(format!("status {status}")),
        }
    }

    fn post_all(urls: Vec<String>, bytes: u32) -> Result<Vec<String>, String> {
        let mut pending = Vec::new();
        for url in &urls {
            let request = request(url)?;
            request.set_method(&Method::Post).map_err(|()| "no POST")?;
            let body = request.body().map_err(|()| "the body was taken already")?;
            let answer = outgoing_handler::handle(request, None).map_err(in_words)?;
            write_all(&body, bytes as usize)?;
            OutgoingBody::finish(body, None).map_err(in_words)?;
            pending.push((answer.subscribe(), answer, url));
        }
        let mut answers = Vec::new();
        while !pending.is_empty() {
            let ready = poll(&pending.iter().map(|(pollable, ..)| pollable).collect::<Vec<_>>());
            let (pollable, answer, url) = pending.remove(ready[0] as usize);
            let response = answer.get().ok_or("nothing is there")?.map_err(|()| "it was taken")?;
            drop(pollable);
            let response = response.map_err(in_words)?;
            let status = response.status();
            let body = response.consume().map_err(|()| "the body was taken already")?;
            answers.push(format!("{url} {status} {}", read_all(body)?.len()));
        }
        Ok(answers)
    }

    fn hoard(requests: u32) -> u32 {
        let mut held = Vec::new();
        let mut pieces = 0;
        for _ in 0..requests {
            let request = OutgoingRequest::new(Fields::new());
            if let Ok(body) = request.body() {
                if let Ok(stream) = body.write() {
                    while let Ok(most @ 1..) = stream.check_write() {
                        pieces += u32::from(stream.write(&vec![b'x'; most as usize]).is_ok());
                    }
                }
                held.push((request, body));
            }
        }
        pieces
    }

    fn name(bytes: u32) -> bool {
        let request = OutgoingRequest::new(Fields::new());
        request.set_authority(Some(&"x".repeat(bytes as usize))).is_ok()
    }

    fn read_file(path: String) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|e| e.to_string())
    }

    fn listing(path: String) -> Result<Vec<String>, String> {
        let in_words = |error: std::io::Error| error.to_string();
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(path).map_err(in_words)? {
            let entry = entry.map_err(in_words)?;
            let about = entry.metadata().map_err(in_words)?;
            let changed = about.modified().map_err(in_words)?;
            let changed = changed.duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
            let name = entry.file_name();
            lines.push(format!("{} {} {changed:?}", name.display(), about.len()));
        }
        let mut out = std::io::stdout();
        lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(in_words)?;
        Ok(lines)
    }

    fn spread(numbers: Vec<f64>) -> Option<Summary> {
        let mut sorted = numbers.clone();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        let median = f64::midpoint(lower, upper);
        Some(Summary { median, distances: numbers.iter().map(|n| (n - median).abs()).collect() })
    }
}

/// A GET that is not sent yet.
fn request(url: &str) -> Result<OutgoingRequest, String> {
    let uri: Uri = url.parse().map_err(|e| format!("{url}: {e}"))?;
    let scheme = match uri.scheme_str() {
        Some("https") => Scheme::Https,
        Some("http") => Scheme::Http,
        _ => return Err(format!("{url}: not an http or https URL")),
    };
    let request = OutgoingRequest::new(Fields::new());
    request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(uri.authority().map(http::uri::Authority::as_str)))
        .and_then(|()| request.set_path_with_query(uri.path_and_query().map(|path| path.as_str())))
        .map_err(|()| format!("{url}: refused by wasi:http"))?;
    Ok(request)
}

/// Writes as many bytes as there are, whenever there is room for some.
fn write_all(body: &OutgoingBody, mut bytes: usize) -> Result<(), String> {
    let stream = body.write().map_err(|()| "the stream was taken already")?;
    let in_words = |error: StreamError| format!("{error:?}");
    while bytes > 0 {
        let most = stream.check_write().map_err(in_words)? as usize;
        let piece = most.min(bytes);
        match piece {
            0 => stream.subscribe().block(),
            _ => stream.write(&vec![b'x'; piece]).map_err(in_words)?,
        }
        bytes -= piece;
    }
    stream.blocking_flush().map_err(in_words)
}

/// Sends a GET and waits for status and headers.
fn send(url: &str) -> Result<IncomingResponse, String> {
    let request = request(url)?;
    let pending = outgoing_handler::handle(request, None).map_err(in_words)?;
    pending.subscribe().block();
    match pending.get() {
        Some(Ok(answer)) => answer.map_err(in_words),
        Some(Err(())) | None => Err("the answer was taken already".to_owned()),
    }
}

fn read_all(body: IncomingBody) -> Result<Vec<u8>, String> {
    let stream: InputStream = body.stream().map_err(|()| "the stream was taken already")?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(e)) => return Err(e.to_debug_string()),
        }
    }
}

fn in_words(code: ErrorCode) -> String {
    format!("{code:?}")
}
