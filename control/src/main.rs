//! `sluiced`: the daemon.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use control::daemon;
use tracing_subscriber::EnvFilter;

/// Sluice, a layer-4 load balancer on DPDK.
#[derive(Debug, Parser)]
#[command(name = "sluiced", version, about)]
struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/sluice/sluice.toml")]
    config: PathBuf,
    /// Check the configuration file, say what is wrong with it, and end.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("SLUICE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    match args.check {
        true => daemon::check(&args.config),
        false => daemon::run(&args.config),
    }
}
