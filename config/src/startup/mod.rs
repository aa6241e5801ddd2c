//! The TOML file the daemon starts from.

mod cpu;
mod dpdk;

use std::path::PathBuf;

pub use cpu::{Cpu, Poll, Workers, core_list, parse_core_list};
pub use dpdk::{Dev, Device, Dpdk, Hugepages};

use crate::{Command, Span, Spanned};

/// The `[unix]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unix {
    /// The socket `sluicectl` and the HTTP API use.
    pub cli_listen: Spanned<PathBuf>,
    /// A file of commands to run at start, after those of the TOML file.
    pub exec: Option<Spanned<PathBuf>>,
}

/// A command and the place of the TOML file it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The command; its spans are into the TOML text too.
    pub command: Command,
    /// The key and value, or the table header, that asks for it.
    pub span: Span,
}

/// A whole TOML file, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// `[cpu]`
    pub cpu: Cpu,
    /// `[dpdk]`
    pub dpdk: Dpdk,
    /// `[unix]`
    pub unix: Unix,
    /// Everything else, in an order in which each command finds what it needs: interfaces,
    /// neighbours, routes, `lb conf`, NAT interfaces, VIPs, ASs.
    pub commands: Vec<Statement>,
}
