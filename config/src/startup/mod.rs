//! The TOML file the daemon starts from.

mod balancing;
mod cpu;
mod dpdk;
mod host;
mod network;
mod table;

use std::path::PathBuf;

pub use cpu::{Cpu, Poll, Workers, core_list, parse_core_list};
pub use dpdk::{Dev, Device, Dpdk, Hugepages};

use table::{Problems, Table};
use toml::de::DeTable;

use crate::{Command, Problem, Span, Spanned};

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

impl Startup {
    /// Reads and checks a TOML file's text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order of the text; [`crate::report()`] prints it. Values are
    /// checked even when others are wrong; only a text that is not TOML is not looked into.
    pub fn parse(text: &str) -> Result<Startup, Vec<Problem>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let problems = Problems::default();
        if !errors.is_empty() {
            for error in errors {
                let span = error.span().unwrap_or(text.len()..text.len());
                problems.note(Problem::new(span.into(), error.message()));
            }
            return Err(problems.into_sorted());
        }
        let sections = ["cpu", "dpdk", "unix", "interface", "route", "neighbor", "lb", "vip"];
        let root = Table::new("", document.span().into(), document.get_ref(), &sections, &problems);
        let startup = Startup::read(&root, &problems);
        for statement in &startup.commands {
            // VIPs are judged where they are read, together with their other mistakes.
            if !matches!(statement.command, Command::LbVipAdd(_)) {
                crate::unsupported(&statement.command).into_iter().for_each(|p| problems.note(p));
            }
        }
        let problems = problems.into_sorted();
        if problems.is_empty() { Ok(startup) } else { Err(problems) }
    }

    fn read(root: &Table<'_>, problems: &Problems) -> Startup {
        let dpdk = host::dpdk(root);
        host::check_devs(&dpdk.devs, problems);
        let interfaces = network::interfaces(root, &dpdk.devs, problems);
        let mut commands = network::interface_statements(&interfaces);
        commands.extend(network::neighbors(root, &interfaces, &dpdk.devs, problems));
        commands.extend(network::routes(root, &interfaces, problems));
        commands.extend(balancing::conf(root));
        commands.extend(balancing::nat_statements(&interfaces));
        commands.extend(balancing::vips(root, &interfaces, problems));
        Startup { cpu: host::cpu(root, &dpdk.devs), unix: host::unix(root), dpdk, commands }
    }
}
