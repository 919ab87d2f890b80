//! Benchmarks: the whole path beside the bare engine, on the same guest, in one run.
//!
//! Absolute times say something about the machine; the ratios say something about Ampoule.

mod bare;
mod call;
mod code;
mod figures;
mod mcp;
mod plugins;
mod safety;

use std::net::SocketAddr;

use clap::Parser;

/// As the command `ampoule` has it; in all that runs in this process, the bare engine too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "ampoule-bench", about)]
enum Command {
    /// A fresh call: no-op, echoes of three sizes, one host import; throughput on one core and
    /// on all
    Call {
        /// Calls of each kind; a tenth of it for the largest echo
        #[arg(long, default_value_t = 3000)]
        calls: usize,
    },
    /// JavaScript and Python: `1+1` and a heavy program in a fresh interpreter, the whole path, the
    /// bare engine, native interpreters and other sandboxes
    Code {
        /// Calls of the small programs; a two-hundredth of it for the heavy ones
        #[arg(long, default_value_t = 3000)]
        calls: usize,
    },
    /// A fresh instance for every `tools/call`, over stdio and HTTP, one and 16 at once, beside a
    /// bare server on the same library
    Mcp {
        /// Calls of each kind
        #[arg(long, default_value_t = 2000)]
        calls: usize,
    },
    /// The bare server that `mcp` measures against, with the same flag as `ampoule mcp`
    #[command(hide = true)]
    BareMcp {
        /// The address to serve on, in place of stdin and stdout
        #[arg(long)]
        http: Option<SocketAddr>,
    },
    /// Each plugin on 10 MB of data of its kind: time, fuel and memory for a megabyte, or the limit
    /// that it meets
    Plugins,
    /// What each layer of safety costs by itself, from the bare engine to the whole path
    Safety {
        /// Calls of each kind through each layer
        #[arg(long, default_value_t = 3000)]
        calls: usize,
    },
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Call { calls } => call::run(calls),
        Command::Code { calls } => code::run(calls),
        Command::Mcp { calls } => mcp::run(calls),
        Command::BareMcp { http } => mcp::serve_bare(http),
        Command::Plugins => plugins::run(),
        Command::Safety { calls } => safety::run(calls),
    }
}
