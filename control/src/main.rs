//! `sluiced`: the daemon.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use control::daemon;
use control::supervisor::{FAILED, Supervisor};
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
    /// Run the daemon as a child, and start it again when it ends abnormally.
    #[arg(long, conflicts_with = "check")]
    supervise: bool,
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
    match (args.check, args.supervise) {
        (true, _) => daemon::check(&args.config),
        (false, true) => supervise(),
        (false, false) => daemon::run(&args.config),
    }
}

/// Runs this program again, with the same arguments but for `--supervise`.
fn supervise() -> ExitCode {
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--supervise");
    let ended = Supervisor::new(arguments.collect()).and_then(|supervisor| supervisor.run());
    ended.unwrap_or_else(|error| {
        eprintln!("supervising the daemon: {error}");
        ExitCode::from(FAILED)
    })
}
