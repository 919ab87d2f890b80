//! Benchmarks: the whole path beside the bare engine, on the same guest, in one run.
//!
//! Absolute times say something about the machine; the ratios say something about Ampoule.

mod bare;
mod call;
mod figures;
mod safety;

use clap::Parser;

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
        Command::Safety { calls } => safety::run(calls),
    }
}
