//! `sluicectl`: commands for a running `sluiced`.

#![forbid(unsafe_code)]

mod client;
mod names;
mod script;
mod session;
mod wait;

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use client::{Client, Place};
use script::{Outcome, ScriptError};

/// A command failed.
const FAILED: u8 = 1;
/// The daemon was not reached, or could not be understood.
const NO_DAEMON: u8 = 2;
/// `wait` was not answered in time.
const TIMED_OUT: u8 = 3;

/// Commands for a running sluiced.
///
/// With words, runs them as one command. Without, reads commands from the terminal, or a script
/// from standard input: one command a line, `#` begins a comment. Exits with 1 if a command
/// failed, with 2 if the daemon was not reached, and with 3 if `wait` timed out.
#[derive(Parser)]
#[command(name = "sluicectl", version)]
struct Arguments {
    /// The daemon's socket [default: $SLUICE_SOCKET, else /run/sluice/cli.sock]
    #[arg(short, long)]
    socket: Option<PathBuf>,
    /// The daemon's TCP listener instead, such as http://127.0.0.1:8080
    #[arg(long, conflicts_with = "socket")]
    url: Option<String>,
    /// The file of the token that the TCP listener asks for
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// A command, such as `show lb vips`; `help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let socket = arguments
        .socket
        .or_else(|| std::env::var_os("SLUICE_SOCKET").map(PathBuf::from))
        .unwrap_or_else(|| config::defaults::CLI_LISTEN.into());
    let place = match &arguments.url {
        Some(url) => Place::of_url(url, arguments.token_file.as_ref()),
        None => Ok(Place::Socket(socket)),
    };
    let place = match place {
        Ok(place) => place,
        Err(error) => return no_daemon(error),
    };
    let client = match Client::new(place) {
        Ok(client) => client,
        Err(error) => return no_daemon(error),
    };
    let outcome = if !arguments.words.is_empty() {
        // One command, whatever the words contain.
        let line = arguments.words.join(" ").replace(['\n', '\r'], " ");
        script::run_line(&client, &line, &mut io::stdout(), &mut io::stderr())
    } else if io::stdin().is_terminal() {
        return match session::run(&Rc::new(client)) {
            Ok(ok) => status(ok),
            Err(error) => no_daemon(error),
        };
    } else {
        let stdin = io::stdin().lock();
        script::run_script(&client, stdin, &mut io::stdout(), &mut io::stderr())
            .map(|failed| if failed == 0 { Outcome::Done } else { Outcome::Failed })
    };
    match outcome {
        Ok(Outcome::TimedOut) => ExitCode::from(TIMED_OUT),
        Ok(outcome) => status(outcome != Outcome::Failed),
        // `sluicectl show trace | head` is no failure.
        Err(ScriptError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => no_daemon(error),
    }
}

fn status(ok: bool) -> ExitCode {
    if ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn no_daemon(error: impl Display) -> ExitCode {
    eprintln!("sluicectl: {error}");
    ExitCode::from(NO_DAEMON)
}
