//! The TOML file the daemon starts from.

mod api;
mod cpu;
mod dpdk;
mod fixed;
mod host;
mod lb;
mod links;
mod network;
mod privileges;
mod punt;
mod state;
mod table;
mod vips;

use std::path::PathBuf;

pub use api::Api;
pub use cpu::{Cpu, Poll, Workers, core_list, parse_core_list};
pub use dpdk::{Dev, Device, Dpdk, Hugepages};
pub(crate) use fixed::quoted;
pub use fixed::{Fixed, Restart};
pub use privileges::{Privileges, Seccomp};
pub use punt::{Punt, punt_needs_tap};
pub use state::State;

use links::Link;
use network::{Interface, Names};
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
    /// Whether `debug …` commands are carried out.
    pub debug_commands: bool,
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
    /// `[api]`
    pub api: Api,
    /// `[privileges]`
    pub privileges: Privileges,
    /// `[punt]`
    pub punt: Option<Punt>,
    /// All sections that only a start takes up, as written.
    pub fixed: Fixed,
    /// `[state]`
    pub state: Option<State>,
    /// Everything else, in an order in which each command finds what it needs: devices' interfaces,
    /// sub-interfaces, tunnels, neighbours, routes, `lb conf`, NAT interfaces, policies, VIPs, ASs.
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
        let sections = [
            "cpu",
            "dpdk",
            "unix",
            "api",
            "privileges",
            "punt",
            "state",
            "interface",
            "sub-interface",
            "tunnel",
            "route",
            "neighbor",
            "lb",
            "no-match",
            "vip",
        ];
        let root = Table::new("", document.span().into(), document.get_ref(), &sections, &problems);
        let mut startup = Startup::read(&root, &problems);
        startup.fixed = Fixed::read(document.get_ref());
        let problems = problems.into_sorted();
        if problems.is_empty() { Ok(startup) } else { Err(problems) }
    }

    fn read(root: &Table<'_>, problems: &Problems) -> Startup {
        let dpdk = host::dpdk(root);
        host::check_devs(&dpdk.devs, problems);
        let subs = links::sub_interfaces(root, &dpdk.devs, problems);
        let tunnels = links::tunnels(root, problems);
        let both: Vec<&Link> = subs.iter().chain(&tunnels).collect();
        links::check_names(&both, &dpdk.devs, problems);
        let punt = punt::punt(root, &dpdk.devs, problems);
        let devs = dpdk.devs.iter().map(|dev| dev.name.as_str());
        let names = Names {
            ethernet: devs.chain(subs.iter().map(|link| link.name.as_str())).collect(),
            tunnels: tunnels.iter().map(|link| link.name.as_str()).collect(),
            tap: punt.as_ref().map(|punt| punt.tap.as_str()),
        };
        let interfaces = network::interfaces(root, &names, problems);
        let mut commands = link_statements(&interfaces, [&subs, &tunnels]);
        commands.extend(network::neighbors(root, &interfaces, &names, problems));
        commands.extend(network::routes(root, &interfaces, &names, problems));
        let lb = lb::section(root);
        commands.extend(lb.as_ref().and_then(lb::conf));
        commands.extend(lb::nat_statements(&interfaces));
        commands.extend(lb::no_match(root, problems));
        commands.extend(vips::vips(root, lb.as_ref(), &interfaces, problems));
        punt::check(root, punt.as_ref(), &commands, problems);
        Startup {
            cpu: host::cpu(root, &dpdk.devs),
            unix: host::unix(root),
            api: api::api(root),
            privileges: privileges::privileges(root),
            punt,
            fixed: Fixed::default(),
            state: state::state(root),
            dpdk,
            commands,
        }
    }
}

/// The commands of the interfaces that are there from the start, then of each kind of link: those
/// that make them, and those that configure them.
fn link_statements(interfaces: &[Interface], kinds: [&[Link]; 2]) -> Vec<Statement> {
    let is_in = |links: &[Link], interface: &Interface| {
        links.iter().any(|link| link.name == interface.name)
    };
    let made = |interface: &Interface| kinds.iter().any(|links| is_in(links, interface));
    let there = interfaces.iter().filter(|interface| !made(interface));
    let mut commands = network::interface_statements(there);
    for links in kinds {
        commands.extend(links.iter().map(|link| link.statement.clone()));
        let own = interfaces.iter().filter(|interface| is_in(links, interface));
        commands.extend(network::interface_statements(own));
    }
    commands
}
