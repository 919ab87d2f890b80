//! A guest whose every tool misbehaves in one way. `tests/tests/all/hostile.rs` has the table of
//! how each must end.

use std::hint::black_box;

#[allow(missing_docs, unreachable_pub, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit/wasi-io", "../../../wit/plugin"],
        world: "ampoule:plugin/tool-plugin@1.0.0",
        generate_all,
    });
}

use bindings::ampoule::plugin::types::{Block, Error, Output};
use bindings::ampoule::plugin::{blobs, clock, context, files, http, log, progress, tools};

struct Hostile;

bindings::export!(Hostile with_types_in bindings);

impl bindings::exports::ampoule::plugin::tool::Guest for Hostile {
    fn call(name: String, arguments: String) -> Result<Output, Error> {
        match name.as_str() {
            "endless-loop" => endless(),
            "memory-hoard" => memory_hoard(),
            "deep-recursion" => value(&recurse(1).to_string()),
            "output-flood" => value(&format!("\"{}\"", "x".repeat(number(&arguments)))),
            "error-flood" => Err(error("internal", &"y".repeat(17 << 20))),
            "block-flood" => block_flood(),
            "log-flood" => loop {
                log::log(log::Level::Info, &"z".repeat(1000), None);
            },
            "event-flood" => loop {
                progress::report(1.0, None, Some(&"z".repeat(1000)));
            },
            "host-call-loop" => loop {
                black_box(context::get("call"));
            },
            "denied-loop" => loop {
                let _ = black_box(http::send(&request("http://example.com/")));
            },
            "big-host-call" => {
                // Untouched zeros: 64 MiB of them need the memory, not the time.
                let text = String::from_utf8(vec![b' '; 20 << 20]).unwrap_or_default();
                log::log(log::Level::Info, &text, None);
                value("null")
            }
            "long-sleep" => {
                clock::sleep(3_600_000)?;
                value("null")
            }
            "handle-hoard" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(blobs::create("text/plain")?);
                }
            }
            "blob-flood" => {
                let writer = blobs::create("text/plain")?;
                let part = vec![b'b'; 1 << 20];
                loop {
                    writer.write(&part)?;
                }
            }
            "file-flood" => {
                let part = vec![b'f'; 1 << 20];
                for n in 0u32.. {
                    files::write(&format!("flood/{n}"), &part)?;
                }
                value("null")
            }
            "write-then-fail" => {
                files::write("left-behind.txt", b"this must not stay")?;
                match arguments.as_str() {
                    how if how.contains("fail") => Err(error("internal", "failed on purpose")),
                    how if how.contains("trap") => trap(),
                    how if how.contains("loop") => endless(),
                    how if how.contains("bad-output") => value("{"),
                    _ => value("null"),
                }
            }
            "tool-loop" => tools::call("hostile/tool-loop", "{}"),
            "tool-flood" => loop {
                let _ = black_box(tools::call("hostile/remember", "{}"));
            },
            "start-and-leave" => {
                black_box(tools::start("hostile/remember", "{}")?);
                black_box(tools::start("hostile/long-sleep", "{}")?);
                value("null")
            }
            "start-flood" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(tools::start("hostile/long-sleep", "{}")?);
                }
            }
            "take-nothing" => take_nothing(),
            "long-names" => {
                let name = "n".repeat(1 << 20);
                for _ in 0..40 {
                    let _ = black_box(tools::call(&name, "{}"));
                    let _ = black_box(blobs::open(&name));
                    let _ = black_box(context::get(&name));
                }
                value("null")
            }
            "blob-blocks" => blob_blocks(),
            "request-flood" => loop {
                http::send(&request(text(&arguments)))?;
            },
            "download" => {
                let response = http::send(&request(text(&arguments)))?;
                let mut bytes = 0;
                loop {
                    match response.read(1 << 20)? {
                        data if data.is_empty() => break,
                        data => bytes += data.len(),
                    }
                }
                value(&format!("{{\"bytes\":{bytes},\"truncated\":{}}}", response.truncated()))
            }
            "trap" => trap(),
            "panic" => panic!("on purpose"),
            "not-json" => value("{\"a\": "),
            "deep-json" => value(&"[".repeat(100_000)),
            "wrong-shape" => value("\"not an integer\""),
            "guess-blobs" => guess_blobs(&arguments),
            "remember" => remember(),
            other => Err(error("not-found", &format!("there is no tool `{other}`"))),
        }
    }
}

/// Starts tools and waits for each, but takes no result before it is refused another.
fn take_nothing() -> Result<Output, Error> {
    let mut kept = Vec::new();
    let refused = loop {
        match tools::start("hostile/remember", "{}") {
            Ok(pending) => {
                pending.subscribe().block();
                kept.push(pending);
            }
            Err(error) => break error,
        }
    };
    kept[0].take()?;
    let again = tools::start("hostile/remember", "{}").is_ok();
    value(&format!("{{\"kept\":{},\"code\":\"{}\",\"again\":{again}}}", kept.len(), refused.code))
}

fn value(json: &str) -> Result<Output, Error> {
    Ok(Output {
        value: Some(json.to_owned()),
        blocks: Vec::new(),
        truncated: false,
        next: None,
        meta: None,
    })
}

fn error(code: &str, message: &str) -> Error {
    Error {
        code: code.to_owned(),
        message: message.to_owned(),
        log: None,
        retryable: false,
        retry_after_ms: None,
        data: None,
    }
}

fn request(url: &str) -> http::Request {
    http::Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: None,
        body_blob: None,
        credentials: Vec::new(),
        redirects: None,
        timeout_ms: None,
        max_bytes: None,
        options: None,
    }
}

/// The last text in the arguments.
fn text(arguments: &str) -> &str {
    arguments.rsplit('"').nth(1).unwrap_or_default()
}

/// One large blob, named by every block.
fn blob_blocks() -> Result<Output, Error> {
    let writer = blobs::create("application/octet-stream")?;
    writer.write(&vec![b'b'; 1 << 20])?;
    let block = Block {
        kind: "file".to_owned(),
        media_type: None,
        text: None,
        data: None,
        blob: Some(writer.finish()?.id()),
        uri: None,
        meta: None,
    };
    let blocks = vec![block; 5_000];
    Ok(Output { value: None, blocks, truncated: false, next: None, meta: None })
}

/// The digits of the arguments, as one number.
fn number(arguments: &str) -> usize {
    let digits: String = arguments.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn endless<T>() -> T {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

fn trap<T>() -> T {
    std::process::abort()
}

fn memory_hoard() -> Result<Output, Error> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(black_box(vec![1; 1 << 20]));
    }
}

/// Without a frame in linear memory, so that it is the native stack that ends it.
#[inline(never)]
fn recurse(n: u64) -> u64 {
    static ZERO: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let more = ZERO.load(std::sync::atomic::Ordering::Relaxed) == 0;
    if more { recurse(n + 1).rotate_left(3) ^ n } else { n }
}

fn block_flood() -> Result<Output, Error> {
    let block = Block {
        kind: "text".to_owned(),
        media_type: None,
        text: Some(String::new()),
        data: None,
        blob: None,
        uri: None,
        meta: None,
    };
    let blocks = vec![block; 100_000];
    Ok(Output { value: None, blocks, truncated: false, next: None, meta: None })
}

fn guess_blobs(arguments: &str) -> Result<Output, Error> {
    // The id stands in the text, but not as `{"$blob": id}`: seeing it is not being passed it.
    let id = arguments.split('"').find(|part| part.len() == 32).unwrap_or("0");
    match blobs::open(id) {
        Ok(blob) => value(&format!("{}", blob.size())),
        Err(error) => Err(error),
    }
}

/// Survives from call to call wherever an instance does.
static mut CALLS: u32 = 0;

fn remember() -> Result<Output, Error> {
    // SAFETY: a component instance has one thread.
    let calls = unsafe {
        CALLS += 1;
        CALLS
    };
    value(&calls.to_string())
}
