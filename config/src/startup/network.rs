//! Reads `[[interface]]`, `[[route]]` and `[[neighbor]]`.

use std::net::IpAddr;

use super::Statement;
use super::table::{Problems, Table};
use crate::value::{self, Parsed, Token};
use crate::{Command, Family, MacAddress, Prefix, Problem, Span, Spanned, defaults};

/// One `[[interface]]`.
pub(super) struct Interface {
    pub(super) name: Spanned<String>,
    pub(super) addresses: Vec<Spanned<Prefix>>,
    up: bool,
    mtu: Option<Spanned<u16>>,
    pub(super) nat: Vec<Family>,
    pub(super) span: Span,
}

/// One `[[route]]`.
struct Route {
    prefix: Spanned<Prefix>,
    via: Option<Spanned<IpAddr>>,
    interface: Option<Spanned<String>>,
    span: Span,
}

/// One `[[neighbor]]`.
struct Neighbor {
    interface: Spanned<String>,
    address: Spanned<IpAddr>,
    mac: Spanned<MacAddress>,
    span: Span,
}

/// A prefix without host bits. The CLI clears them as VPP does; in a file they are a mistake.
pub(super) fn network(token: Token<'_>, noun: &str) -> Parsed<Prefix> {
    let prefix = value::prefix(token, noun)?;
    if prefix.value == prefix.network() {
        return Ok(prefix);
    }
    let (net, host) = (prefix.network(), Prefix::host(prefix.address()));
    Err(Problem::new(token.span, format!("invalid {noun}: {prefix} has bits below its length"))
        .with_hint(format!("write {net} for the network or {host} for the one address")))
}

/// The names that interfaces can have in the file.
pub(super) struct Names<'a> {
    /// The devices and sub-interfaces.
    pub(super) ethernet: Vec<&'a str>,
    /// The tunnels.
    pub(super) tunnels: Vec<&'a str>,
    /// The tap to the kernel.
    pub(super) tap: Option<&'a str>,
}

impl Names<'_> {
    fn all(&self) -> impl Iterator<Item = &str> {
        self.ethernet.iter().chain(&self.tunnels).copied()
    }

    /// Is this the name of a tunnel?
    pub(super) fn is_tunnel(&self, name: &str) -> bool {
        self.tunnels.contains(&name)
    }

    /// Notes a name that no interface has.
    fn check(&self, name: &Spanned<String>, problems: &Problems) {
        // `local0` is always there, although nobody would think of configuring it.
        let there = self.all().chain(self.tap).chain(["local0"]).any(|known| known == name.value);
        if there {
            return;
        }
        let known: Vec<&str> = self.all().collect();
        let problem = Problem::new(name.span, format!("there is no device called `{name}`"));
        problems.note(match crate::suggest::closest(name, known.iter().copied()) {
            Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
            None if known.is_empty() => problem.with_hint("add a [[dpdk.dev]] with this name"),
            None => problem.with_hint(format!("there are {}", known.join(", "))),
        });
    }
}

/// Reads every `[[interface]]` and checks them against the names there are and each other.
pub(super) fn interfaces(
    root: &Table<'_>,
    names: &Names<'_>,
    problems: &Problems,
) -> Vec<Interface> {
    let keys = ["name", "address", "state", "mtu", "lb-nat4-in", "lb-nat6-in"];
    let tables = root.tables("interface", "[[interface]]", &keys);
    let interfaces: Vec<Interface> = tables.iter().filter_map(interface).collect();
    for (i, interface) in interfaces.iter().enumerate() {
        names.check(&interface.name, problems);
        if let Some(first) = interfaces[..i].iter().find(|other| other.name == interface.name) {
            let reason = format!("the interface {} is configured twice", interface.name);
            problems.note(
                Problem::new(interface.name.span, reason)
                    .with_related(first.name.span, "first here")
                    .with_hint("one [[interface]] can have several addresses"),
            );
        }
    }
    check_subnets(&interfaces, problems);
    interfaces
}

fn interface(table: &Table<'_>) -> Option<Interface> {
    let name = table.required("name", |t| value::name(t, "interface name"));
    let addresses = table.strings("address", "[\"192.168.1.254/24\"]", value::interface_address);
    let up = table.parsed("state", value::state).is_none_or(|state| state.value);
    let mtu = table.integer("mtu", &defaults::MTU_RANGE);
    let on = |key| table.flag(key).is_some_and(|flag| flag.value);
    let nat = [("lb-nat4-in", Family::Ip4), ("lb-nat6-in", Family::Ip6)];
    let nat = nat.into_iter().filter(|(key, _)| on(key)).map(|(_, family)| family).collect();
    Some(Interface { name: name?, addresses, up, mtu, nat, span: table.span })
}

fn check_subnets(interfaces: &[Interface], problems: &Problems) {
    let all: Vec<(&Interface, Spanned<Prefix>)> =
        interfaces.iter().flat_map(|i| i.addresses.iter().map(move |a| (i, *a))).collect();
    for (n, (interface, address)) in all.iter().enumerate() {
        for (other, first) in &all[..n] {
            let other_link =
                other.name != interface.name && value::is_link_local(address.address());
            let same = address.address() == first.address() && !other_link;
            let reason = if same {
                format!("the address {} is given twice", address.address())
            } else if other.name != interface.name
                && !value::is_link_local(address.address())
                && address.overlaps(first)
            {
                format!(
                    "{address} on {} overlaps {first} on {}: a packet could go either way",
                    interface.name, other.name
                )
            } else {
                continue;
            };
            problems.note(
                Problem::new(address.span, reason).with_related(first.span, "the other address"),
            );
            break;
        }
    }
}

/// The interface whose subnet has `address` as a neighbour.
fn connected(interfaces: &[Interface], address: IpAddr) -> Option<&Interface> {
    interfaces.iter().find(|i| i.addresses.iter().any(|p| p.contains(address)))
}

/// Notes what is wrong with a neighbour's address; `what` begins the message. A link-local address
/// is on every link.
fn check_connected(
    interfaces: &[Interface],
    address: Spanned<IpAddr>,
    what: &str,
    problems: &Problems,
) {
    if value::is_link_local(address.value) {
        return;
    }
    let subnets: Vec<String> = interfaces
        .iter()
        .flat_map(|i| i.addresses.iter().map(|p| format!("{} ({})", p.network(), i.name)))
        .collect();
    let Some(interface) = connected(interfaces, address.value) else {
        let reason = format!("the {what} {address} is not on a connected subnet");
        let problem = Problem::new(address.span, reason);
        problems.note(match subnets[..] {
            [] => problem.with_hint("no interface has an address"),
            _ => problem.with_hint(format!("connected are {}", subnets.join(", "))),
        });
        return;
    };
    if let Some(own) = interface.addresses.iter().find(|p| p.address() == address.value) {
        let reason = format!("the {what} {address} is our own address on {}", interface.name);
        problems.note(Problem::new(address.span, reason).with_related(own.span, "it is ours"));
    }
}

/// The commands of some interfaces; NAT is apart because it comes after `lb conf`.
pub(super) fn interface_statements<'a>(
    interfaces: impl Iterator<Item = &'a Interface>,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    for Interface { name, addresses, up, mtu, span, .. } in interfaces {
        let interface = || name.clone();
        if let Some(mtu) = *mtu {
            let command = Command::SetInterfaceMtu { interface: interface(), mtu };
            statements.push(Statement { command, span: mtu.span });
        }
        for &address in addresses {
            let command =
                Command::SetInterfaceIpAddress { interface: interface(), address, del: false };
            statements.push(Statement { command, span: address.span });
        }
        let command = Command::SetInterfaceState { interface: interface(), up: *up };
        statements.push(Statement { command, span: *span });
    }
    statements
}

/// Reads every `[[neighbor]]`.
pub(super) fn neighbors(
    root: &Table<'_>,
    interfaces: &[Interface],
    names: &Names<'_>,
    problems: &Problems,
) -> Vec<Statement> {
    let tables = root.tables("neighbor", "[[neighbor]]", &["interface", "address", "mac"]);
    let neighbors: Vec<Neighbor> = tables.iter().filter_map(neighbor).collect();
    for (i, neighbor) in neighbors.iter().enumerate() {
        names.check(&neighbor.interface, problems);
        check_connected(interfaces, neighbor.address, "neighbor", problems);
        let link_local = value::is_link_local(neighbor.address.value);
        let on = connected(interfaces, neighbor.address.value).filter(|_| !link_local);
        if let Some(other) = on.filter(|on| on.name != neighbor.interface) {
            let reason =
                format!("{} is on {}, not on {}", neighbor.address, other.name, neighbor.interface);
            problems.note(Problem::new(neighbor.interface.span, reason));
        }
        let twin = |n: &&Neighbor| {
            n.address == neighbor.address && (!link_local || n.interface == neighbor.interface)
        };
        if let Some(first) = neighbors[..i].iter().find(twin) {
            let reason = format!("the neighbor {} is given twice", neighbor.address);
            problems.note(
                Problem::new(neighbor.address.span, reason)
                    .with_related(first.address.span, "first here"),
            );
        }
    }
    let statement = |n: Neighbor| Statement {
        command: Command::SetIpNeighbor {
            interface: n.interface,
            address: n.address,
            mac: Some(n.mac),
            is_static: true,
            del: false,
        },
        span: n.span,
    };
    neighbors.into_iter().map(statement).collect()
}

fn neighbor(table: &Table<'_>) -> Option<Neighbor> {
    let interface = table.required("interface", |t| value::name(t, "interface name"));
    let address = table.required("address", |t| value::host_address(t, "neighbor address"));
    let mac = table.required("mac", value::mac);
    Some(Neighbor { interface: interface?, address: address?, mac: mac?, span: table.span })
}

/// Reads every `[[route]]`.
pub(super) fn routes(
    root: &Table<'_>,
    interfaces: &[Interface],
    names: &Names<'_>,
    problems: &Problems,
) -> Vec<Statement> {
    let tables = root.tables("route", "[[route]]", &["prefix", "via", "interface"]);
    let routes: Vec<Route> = tables.iter().filter_map(route).collect();
    for (i, route) in routes.iter().enumerate() {
        if let Some(name) = &route.interface {
            names.check(name, problems);
        }
        match (route.via, &route.interface) {
            (Some(via), interface) => {
                check_connected(interfaces, via, "next hop", problems);
                problems.keep(value::check_hop(route.prefix.value, via, interface.is_some()));
            }
            (None, Some(name)) if names.is_tunnel(name) => {}
            (None, Some(name)) => problems.note(
                Problem::new(name.span, format!("a route through {name} needs its next hop"))
                    .with_hint("add `via`; only a tunnel goes to one place"),
            ),
            (None, None) => problems.note(
                Problem::new(route.span, "[[route]] lacks `via`")
                    .with_hint("the address of the next hop, or `interface` with a tunnel"),
            ),
        }
        if let Some(first) = routes[..i].iter().find(|r| r.prefix == route.prefix) {
            let reason = format!("the route {} is given twice", route.prefix);
            problems.note(
                Problem::new(route.prefix.span, reason)
                    .with_related(first.prefix.span, "first here"),
            );
        }
    }
    let statement = |r: Route| Statement {
        command: Command::IpRoute {
            prefix: r.prefix,
            via: r.via,
            interface: r.interface,
            del: false,
        },
        span: r.span,
    };
    routes.into_iter().map(statement).collect()
}

fn route(table: &Table<'_>) -> Option<Route> {
    let prefix = table.required("prefix", |t| network(t, "route prefix"));
    let via = table.parsed("via", |t| value::host_address(t, "next hop"));
    let interface = table.parsed("interface", |t| value::name(t, "interface name"));
    // A key that is there but wrong has been noted already.
    if table.failed("via", &via) || table.failed("interface", &interface) {
        return None;
    }
    Some(Route { prefix: prefix?, via, interface, span: table.span })
}
