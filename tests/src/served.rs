//! The command `ampoule mcp --http` in a folder of its own, and what is asked of it by hand.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rmcp::RoleClient;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, Transport};
use serde_json::{Value, json};

use crate::{command, root};

/// The longest that an answer takes.
const SOON: Duration = Duration::from_secs(30);

/// A folder whose `ampoule.toml` names the built plugins, with more lines.
pub fn folder(lines: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), lines);
    folder
}

/// Writes `ampoule.toml` of such a folder.
pub fn configure(folder: &Path, lines: &str) {
    let plugins = Value::from(root().join("target/plugins").display().to_string());
    let config = lines.replace("PLUGINS", plugins.as_str().unwrap());
    std::fs::write(folder.join("ampoule.toml"), config).unwrap();
}

/// A port that nobody listens on now, and that the system gives to nobody by itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The command, serving; dropping it ends it.
pub struct Served {
    child: Child,
    /// Where it serves.
    pub address: SocketAddr,
    log: PathBuf,
}

impl Served {
    /// Starts it on a port of loopback, which may be 0, with further arguments.
    pub fn start(folder: &Path, port: u16, arguments: &[&str]) -> Served {
        let log = folder.join("served.log");
        let child = Command::new(command())
            .args(["mcp", "--http", &format!("127.0.0.1:{port}")])
            .args(arguments)
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut served = Served { child, address: SocketAddr::from(([127, 0, 0, 1], port)), log };
        let begun = Instant::now();
        served.address = loop {
            let log = served.log();
            let address = log.split("MCP is served at http://").nth(1);
            if let Some((address, _)) = address.and_then(|rest| rest.split_once("/mcp")) {
                break address.parse().unwrap();
            }
            assert!(served.child.try_wait().unwrap().is_none(), "it ended: {log}");
            assert!(begun.elapsed() < SOON, "it does not serve: {log}");
            std::thread::sleep(Duration::from_millis(10));
        };
        served
    }

    /// The URL at which MCP is spoken.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// How rmcp's client reaches it, with a token where there is one.
    pub fn transport(&self, token: Option<&str>) -> impl Transport<RoleClient> + use<> {
        // The one of the tests is as good as any; a second time it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = StreamableHttpClientTransportConfig::with_uri(self.url());
        if let Some(token) = token {
            config = config.auth_header(token.to_owned());
        }
        StreamableHttpClientTransport::from_config(config)
    }

    /// What it has said on standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Calls a tool by hand in the current revision; the answer as it came.
    pub fn call(&self, tool: &str, arguments: Value, headers: &[(&str, &str)]) -> Answer {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let own = [
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", tool),
        ];
        let headers = [&own[..], headers].concat();
        ask(self.address, "POST", "/mcp", &headers, &body.to_string())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// Its status; 0 where there was no answer.
    pub status: u16,
    /// Its status line and headers.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// Asks a server on loopback for something, with HTTP/1.0, so that it hangs up afterwards.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    // One that is hung up on in the middle has answered nothing.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A program that prints lines and reads some; dropping it ends it.
pub struct Talking {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Talking {
    /// Starts it.
    pub fn start(command: &mut Command) -> Talking {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Talking { child, lines }
    }

    /// The next line it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it ended: {line}");
        line.trim_end().to_owned()
    }

    /// Tells it a line.
    pub fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Node, which the tests have of their own, with a script.
pub fn node(script: &Path) -> Command {
    let program =
        root().join("target/tools/bin").join(format!("node{}", std::env::consts::EXE_SUFFIX));
    for path in [&program, script] {
        assert!(path.is_file(), "{}: run `cargo xtask setup`", path.display());
    }
    let mut command = Command::new(program);
    command.arg(script);
    command
}

/// A file of a package that `xtask/node` pins.
pub fn module(path: &str) -> PathBuf {
    root().join("target/tools/node/node_modules").join(path)
}

/// A file of a package that `tests/clients/node` pins.
pub fn client_module(path: &str) -> PathBuf {
    root().join("target/tools/clients/node_modules").join(path)
}
