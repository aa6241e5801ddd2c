//! Reads `[[interface]]`, `[[route]]` and `[[neighbor]]`.

use std::net::IpAddr;

use super::table::{Problems, Table};
use super::{Dev, Statement};
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
    via: Spanned<IpAddr>,
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

/// Reads every `[[interface]]` and checks them against the devices and each other.
pub(super) fn interfaces(root: &Table<'_>, devs: &[Dev], problems: &Problems) -> Vec<Interface> {
    let keys = ["name", "address", "state", "mtu", "lb-nat4-in", "lb-nat6-in"];
    let tables = root.tables("interface", "[[interface]]", &keys);
    let interfaces: Vec<Interface> = tables.iter().filter_map(interface).collect();
    for (i, interface) in interfaces.iter().enumerate() {
        check_name(&interface.name, devs, problems);
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

fn check_name(name: &Spanned<String>, devs: &[Dev], problems: &Problems) {
    if devs.iter().any(|dev| dev.name == *name) {
        return;
    }
    let known: Vec<&str> = devs.iter().map(|dev| dev.name.as_str()).collect();
    let problem = Problem::new(name.span, format!("there is no device called `{name}`"));
    problems.note(match crate::suggest::closest(name, known.iter().copied()) {
        Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => problem.with_hint("add a [[dpdk.dev]] with this name"),
        None => problem.with_hint(format!("the [[dpdk.dev]] are {}", known.join(", "))),
    });
}

fn check_subnets(interfaces: &[Interface], problems: &Problems) {
    let all: Vec<(&Interface, Spanned<Prefix>)> =
        interfaces.iter().flat_map(|i| i.addresses.iter().map(move |a| (i, *a))).collect();
    for (n, (interface, address)) in all.iter().enumerate() {
        for (other, first) in &all[..n] {
            let same = address.address() == first.address();
            let reason = if same {
                format!("the address {} is given twice", address.address())
            } else if other.name != interface.name && address.overlaps(first) {
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

/// Notes what is wrong with a neighbour's address; `what` begins the message.
fn check_connected(
    interfaces: &[Interface],
    address: Spanned<IpAddr>,
    what: &str,
    problems: &Problems,
) {
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

/// The commands of the interfaces; NAT is apart because it comes after `lb conf`.
pub(super) fn interface_statements(interfaces: &[Interface]) -> Vec<Statement> {
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
    devs: &[Dev],
    problems: &Problems,
) -> Vec<Statement> {
    let tables = root.tables("neighbor", "[[neighbor]]", &["interface", "address", "mac"]);
    let neighbors: Vec<Neighbor> = tables.iter().filter_map(neighbor).collect();
    for (i, neighbor) in neighbors.iter().enumerate() {
        check_name(&neighbor.interface, devs, problems);
        check_connected(interfaces, neighbor.address, "neighbor", problems);
        let on = connected(interfaces, neighbor.address.value);
        if let Some(other) = on.filter(|on| on.name != neighbor.interface) {
            let reason =
                format!("{} is on {}, not on {}", neighbor.address, other.name, neighbor.interface);
            problems.note(Problem::new(neighbor.interface.span, reason));
        }
        let twin = |n: &&Neighbor| n.address == neighbor.address;
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
    problems: &Problems,
) -> Vec<Statement> {
    let tables = root.tables("route", "[[route]]", &["prefix", "via"]);
    let routes: Vec<Route> = tables.iter().filter_map(route).collect();
    for (i, route) in routes.iter().enumerate() {
        check_connected(interfaces, route.via, "next hop", problems);
        if route.prefix.family() != Family::of(route.via.value) {
            let reason = format!("the next hop {} is not of the prefix's family", route.via);
            problems.note(Problem::new(route.via.span, reason));
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
            via: Some(r.via),
            interface: None,
            del: false,
        },
        span: r.span,
    };
    routes.into_iter().map(statement).collect()
}

fn route(table: &Table<'_>) -> Option<Route> {
    let prefix = table.required("prefix", |t| network(t, "route prefix"));
    let via = table.required("via", |t| value::host_address(t, "next hop"));
    Some(Route { prefix: prefix?, via: via?, span: table.span })
}
