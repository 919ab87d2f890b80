//! `mcp`: a fresh instance for every `tools/call`, over stdio and over HTTP, beside a bare server on
//! the same library whose tool is a native echo.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, Implementation, InitializeResult, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
    ToolsCapability,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{
    StreamableHttpClientTransport, StreamableHttpServerConfig, StreamableHttpService,
    TokioChildProcess,
};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient, RoleServer, ServerHandler,
    ServiceExt,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::call::{guest, program, runtime};
use crate::figures::Times;

/// The bar: at most this many times the bare server's time.
const BAR: f64 = 1.5;

/// The name both servers give their tool.
const TOOL: &str = "bench__echo";

/// Calls at once in the second half.
const AT_ONCE: usize = 16;

/// How often each server is asked in turn then. Of the times and of their ratios the one in the middle
/// counts: a round is short, so that a machine that is slow for a second slows both of a pair, and there
/// are so many that they last longer than it is slow.
const ROUNDS: usize = 241;

type Client = RunningService<RoleClient, ()>;

pub fn run(calls: usize) -> Result<()> {
    runtime(2)?.block_on(measure(calls))
}

async fn measure(calls: usize) -> Result<()> {
    println!(
        "{:<28} {:>16} {:>16} {:>8}",
        "tools/call", "bare, p50 µs", "Ampoule, p50 µs", "ratio"
    );
    let mut worst: f64 = 0.0;
    for transport in ["stdio", "HTTP"] {
        let (bare, whole) = match transport {
            "stdio" => (Served::stdio(bare()?).await?, Served::stdio(own()?).await?),
            _ => (Served::http(bare()?).await?, Served::http(own()?).await?),
        };
        for bytes in [100, 10_000] {
            worst = worst.max(one_by_one(&bare, &whole, transport, bytes, calls).await?);
        }
        println!("{:<28} {:>16} {:>16}", "", "calls/s", "calls/s");
        for bytes in [100, 10_000] {
            worst = worst.max(at_once(&bare, &whole, transport, bytes, calls).await?);
        }
        bare.end().await?;
        whole.end().await?;
    }
    let verdict = if worst <= BAR { "met" } else { "NOT met" };
    println!("\nat most {BAR} times the bare server: {verdict} ({worst:.2})");
    Ok(())
}

/// One call after the other, of both servers in turn.
async fn one_by_one(
    bare: &Served,
    whole: &Served,
    transport: &str,
    bytes: usize,
    calls: usize,
) -> Result<f64> {
    let (mut floor, mut own) = (Times::default(), Times::default());
    for round in 0..calls + calls / 10 {
        for (server, times) in [(bare, &mut floor), (whole, &mut own)] {
            let started = Instant::now();
            echo(&server.client, bytes).await?;
            // The first tenth warms up.
            if round >= calls / 10 {
                times.push(started.elapsed());
            }
        }
    }
    let (floor, own) = (floor.quantile(0.5), own.quantile(0.5));
    let name = format!("{transport}, {bytes} B, one");
    println!("{name:<28} {floor:>16.1} {own:>16.1} {:>8.2}", own / floor);
    Ok(own / floor)
}

/// Many at once, of both servers in turn.
async fn at_once(
    bare: &Served,
    whole: &Served,
    transport: &str,
    bytes: usize,
    calls: usize,
) -> Result<f64> {
    let mut rounds = Vec::new();
    let calls = (calls / 4).max(AT_ONCE);
    for _ in 0..ROUNDS + 1 {
        let floor = throughput(&bare.client, bytes, calls).await?;
        let own = throughput(&whole.client, bytes, calls).await?;
        rounds.push([floor, own, floor / own]);
    }
    // The first one warms up.
    rounds.remove(0);
    let [floor, own, ratio] = [0, 1, 2].map(|column| {
        let mut column: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        column.sort_by(f64::total_cmp);
        column[column.len() / 2]
    });
    let name = format!("{transport}, {bytes} B, {AT_ONCE} at once");
    println!("{name:<28} {floor:>16.0} {own:>16.0} {ratio:>8.2}");
    Ok(ratio)
}

async fn throughput(client: &Arc<Client>, bytes: usize, calls: usize) -> Result<f64> {
    let done = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                while done.fetch_add(1, Ordering::Relaxed) < calls {
                    echo(&client, bytes).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(calls as f64 / started.elapsed().as_secs_f64())
}

async fn echo(client: &Arc<Client>, bytes: usize) -> Result<()> {
    let arguments = json!({ "text": "x".repeat(bytes) });
    let Value::Object(map) = &arguments else { return Err(anyhow!("no object")) };
    let call = CallToolRequestParams::new(TOOL).with_arguments(map.clone());
    let result = client.call_tool(call).await?;
    ensure!(result.is_error != Some(true), "{result:?}");
    ensure!(result.structured_content.as_ref() == Some(&arguments), "another answer");
    Ok(())
}

/// A server in a process of its own, and its client.
struct Served {
    client: Arc<Client>,
    /// Over HTTP; over stdio the client owns it.
    process: Option<Child>,
}

impl Served {
    async fn stdio(command: Command) -> Result<Served> {
        let transport = TokioChildProcess::new(command)?;
        let client = Arc::new(().serve_with_lifecycle(transport, current()).await?);
        Ok(Served { client, process: None })
    }

    /// A server that says on stderr at which address it serves.
    async fn http(mut command: Command) -> Result<Served> {
        command.args(["--http", "127.0.0.1:0"]).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let lines = process.stderr.take().context("no stderr")?;
        let mut lines = BufReader::new(lines).lines();
        let url = loop {
            let line = lines.next_line().await?.context("the server ended before it served")?;
            if let Some(at) = line.find("http://") {
                let url = line[at..].split(|c: char| c.is_whitespace() || c == '\u{1b}').next();
                break url.unwrap_or_default().to_owned();
            }
        };
        // What it says later must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        // A second time it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The library's own client opens a connection for each request; those of agents keep them.
        let config = StreamableHttpClientTransportConfig::with_uri(url);
        let kept = reqwest::Client::builder().build()?;
        let transport = StreamableHttpClientTransport::with_client(kept, config);
        let client = Arc::new(().serve_with_lifecycle(transport, current()).await?);
        Ok(Served { client, process: Some(process) })
    }

    async fn end(self) -> Result<()> {
        let client = Arc::into_inner(self.client).context("the client is in use")?;
        client.cancel().await?;
        if let Some(mut process) = self.process {
            process.kill().await?;
        }
        Ok(())
    }
}

/// Speaking the current revision.
fn current() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

/// The command `ampoule mcp` with the guest of the benchmarks.
fn own() -> Result<Command> {
    let mut command = Command::new(program()?);
    // Away from any ampoule.toml.
    command.current_dir(std::env::temp_dir());
    command.arg("mcp").arg("--plugins").arg(guest()?).args(["--tools", "bench/echo"]);
    Ok(command)
}

/// The bare server.
fn bare() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare-mcp");
    Ok(command)
}

/// Serves a native echo on the library alone.
pub fn serve_bare(http: Option<SocketAddr>) -> Result<()> {
    runtime(2)?.block_on(async {
        let Some(address) = http else {
            Bare.serve(rmcp::transport::stdio()).await?.waiting().await?;
            return Ok(());
        };
        let listener = TcpListener::bind(address).await?;
        eprintln!("http://{}/mcp", listener.local_addr()?);
        let config = StreamableHttpServerConfig::default().with_json_response(true);
        let sessions = Arc::new(LocalSessionManager::default());
        let service = StreamableHttpService::new(|| Ok(Bare), sessions, config);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let service = service.clone();
            let answer = hyper::service::service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, std::convert::Infallible>(service.handle(request).await) }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, answer));
        }
    })
}

#[derive(Clone)]
struct Bare;

impl ServerHandler for Bare {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::default();
        capabilities.tools = Some(ToolsCapability::default());
        InitializeResult::new(capabilities).with_server_info(Implementation::new("bare", "1"))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({ "type": "object" }).as_object().cloned().unwrap_or_default();
        Ok(ListToolsResult::with_all_items(vec![Tool::new(TOOL, "Echo", Arc::new(schema))]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<rmcp::model::CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        Ok(CallToolResult::structured(arguments).into())
    }
}
