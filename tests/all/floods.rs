//! Floods against `ampoule mcp --http`: connections, bodies. A good client is answered all the while,
//! and what the process holds stays bounded.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ampoule_tests::Table;
use ampoule_tests::served::{Served, folder};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

/// How many connections are held open, where the system lets this process have as many files.
const CONNECTIONS: u64 = 10_000;

/// How long a good client waits for its answer at most.
const SOON: Duration = Duration::from_secs(5);

/// The longest message that the command reads: 32 MiB.
const MAX_BODY: usize = 32 << 20;

/// How many large bodies the server reads at once.
const LARGE_BODIES: usize = 8;

fn serve() -> (tempfile::TempDir, Served) {
    let folder = folder("plugins = [\"PLUGINS/json-filter.wasm\"]\n");
    let served = Served::start(folder.path(), 0, &[]);
    is_well(&served);
    (folder, served)
}

/// A good client is answered, and soon; how long it took.
#[track_caller]
fn is_well(served: &Served) -> Duration {
    let begun = Instant::now();
    let arguments = json!({"input": {"a": 1, "b": 2}, "fields": ["a"]});
    let answer = served.call("json-filter", arguments, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["result"]["structuredContent"], json!({"a": 1}));
    let took = begun.elapsed();
    assert!(took < SOON, "a good client had to wait for {took:?}");
    took
}

/// The memory that a process has in use, in bytes.
fn memory(served: &Served) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// The files that a process has open.
fn files(served: &Served) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", served.pid())).unwrap().count()
}

/// How many of so many files this process may have more.
fn allowed(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX).min(wanted + 1_000);
    if now.current.is_some_and(|current| current < most) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..now }).unwrap();
    }
    wanted.min(most - 500)
}

#[test]
fn ten_thousand_idle_connections_keep_nobody_out() {
    let (_folder, served) = serve();
    let (memory_before, files_before) = (memory(&served), files(&served));
    let connections = allowed(CONNECTIONS);
    let mut open = Vec::new();
    let mut longest = Duration::ZERO;
    for n in 0..connections {
        let mut stream = TcpStream::connect(served.address).unwrap();
        // Some say nothing at all, some begin a head, some are nobody the server would let in.
        let begun: &[u8] = match n % 4 {
            0 => b"",
            1 => b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
            2 => b"GET /mcp HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
            _ => b"\x16\x03\x01\x02\x00\x01",
        };
        // The server may have made room of it already.
        let _ = stream.write_all(begun);
        open.push(stream);
        if n % 64 == 63 {
            // Where the queue of the system is full, a connection is tried again after a second.
            std::thread::sleep(Duration::from_millis(1));
        }
        if n % 1_000 == 999 {
            longest = longest.max(is_well(&served));
        }
    }
    assert_eq!(open.len() as u64, connections);
    let grown = memory(&served).saturating_sub(memory_before);
    let files = files(&served) - files_before;
    let mut table = Table::new("Idle connections");
    let end = format!("+{} KiB, +{files} files, answered in {longest:?}", grown >> 10);
    table.row("idle", &format!("{connections} connections"), "places of strangers", &end);
    assert!(grown < 64 << 20, "{grown} more bytes in use");
    assert!(files < 200, "{files} more files open");
    is_well(&served);
}

/// The head of a request whose body follows.
fn head(body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n\
         {body}\r\n\r\n"
    )
}

/// How many bytes of a connection may wait in the system: sent and not yet under way, arrived and not
/// yet read.
fn in_the_system() -> usize {
    let most = |buffers: &str| {
        let path = format!("/proc/sys/net/ipv4/{buffers}");
        let sizes = std::fs::read_to_string(path).unwrap();
        sizes.split_whitespace().last().unwrap().parse::<usize>().unwrap()
    };
    most("tcp_wmem") + most("tcp_rmem")
}

/// The status of what a server answers before it hangs up.
fn status(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_gigabyte_is_read_to_the_bound_and_no_further() {
    let (_folder, served) = serve();
    let before = memory(&served);
    // Announced, it is refused before any of it has come.
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.write_all(head("Content-Length: 1073741824").as_bytes()).unwrap();
    assert_eq!(status(&mut stream), "413");
    // Unannounced, when there is too much of it.
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.write_all(head("Transfer-Encoding: chunked").as_bytes()).unwrap();
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    let mut sent = 0;
    let broke = loop {
        match stream.write_all(chunk.as_bytes()) {
            Ok(()) => sent += 1 << 20,
            Err(error) => break error.kind(),
        }
        assert!(sent < 1 << 30, "all of it was taken");
    };
    assert!(matches!(broke, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{broke}");
    let most = MAX_BODY + in_the_system() + 2 * chunk.len();
    assert!(sent < most, "{sent} bytes were taken, of {most} at most");
    is_well(&served);
    let grown = memory(&served).saturating_sub(before);
    let mut table = Table::new("A body without end");
    let end = format!("{} MiB sent, +{} MiB", sent >> 20, grown >> 20);
    table.row("endless", "1 GiB in pieces", "the longest message", &end);
    assert!(grown < 2 * MAX_BODY, "{grown} more bytes in use");
}

#[test]
fn many_large_bodies_wait_for_each_other() {
    let (_folder, served) = serve();
    let before = memory(&served);
    let part = vec![b' '; 1 << 20];
    // More than may be read at once, each short of its end.
    let mut bodies: Vec<_> = (0..4 * LARGE_BODIES)
        .map(|_| {
            let mut stream = TcpStream::connect(served.address).unwrap();
            stream.set_nonblocking(true).unwrap();
            let head = head(&format!("Content-Length: {MAX_BODY}"));
            assert_eq!(stream.write(head.as_bytes()).unwrap(), head.len());
            (stream, 0)
        })
        .collect();
    let begun = Instant::now();
    let mut most = 0;
    let (mut checked, mut moved) = (Instant::now(), Instant::now());
    while begun.elapsed() < Duration::from_secs(20) && moved.elapsed() < Duration::from_secs(1) {
        for (stream, sent) in &mut bodies {
            let rest = (MAX_BODY - 1 - *sent).min(part.len());
            // One that is not read at the moment is full.
            if let Ok(written) = stream.write(&part[..rest])
                && written > 0
            {
                *sent += written;
                moved = Instant::now();
            }
        }
        if checked.elapsed() > Duration::from_millis(200) {
            most = most.max(memory(&served).saturating_sub(before));
            is_well(&served);
            checked = Instant::now();
        }
    }
    let whole = bodies.iter().filter(|(_, sent)| *sent == MAX_BODY - 1).count();
    let mut table = Table::new("Large bodies");
    let end = format!("{whole} read at once, +{} MiB", most >> 20);
    table.row("large", &format!("{} bodies", bodies.len()), "places of large bodies", &end);
    assert_eq!(whole, LARGE_BODIES);
    assert!(most < 2 * LARGE_BODIES * MAX_BODY, "{most} more bytes in use");
    drop(bodies);
    is_well(&served);
}
