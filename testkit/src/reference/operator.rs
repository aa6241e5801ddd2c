//! What an operator does in a scenario.

use std::net::IpAddr;

use super::config::{Config, Kind, Route};
use super::hosts::pick;
use super::ip::Header;
use super::player::Player;
use super::route::{connected, is_on_link};
use super::scenario::{Change, Pick, Step};
use super::service::{Ports, Server, Vip};

/// True when no VIP of the configuration is in the way of another.
pub fn is_free(config: &Config, vip: &Vip) -> bool {
    let clashes = |other: &Vip| {
        let same_prefix =
            other.key.network == vip.key.network && other.key.prefix_len == vip.key.prefix_len;
        let node = vip.node_port.is_some()
            && vip.node_port == other.node_port
            && vip.protocol() == other.protocol()
            && vip.key.network.is_ipv6() == other.key.network.is_ipv6();
        node || same_prefix && overlap(other.key.ports, vip.key.ports)
    };
    !config.vips.iter().any(clashes)
}

/// True when two VIPs of one prefix could both take a packet and neither comes first: two all-port
/// ones, the same port twice, or two ranges. A port within a range is taken out of it.
fn overlap(a: Ports, b: Ports) -> bool {
    match (a, b) {
        (Ports::All, Ports::All) => true,
        (
            Ports::Range { protocol: p, first: a, last: b },
            Ports::Range { protocol: q, first: c, last: d },
        ) => {
            let single = (a == b, c == d);
            p == q && a <= d && c <= b && single.0 == single.1
        }
        _ => false,
    }
}

/// True when a route of these can be added.
pub fn is_possible(config: &Config, route: &Route) -> bool {
    let known =
        |other: &Route| other.network == route.network && other.prefix_len == route.prefix_len;
    let link = connected(config, route.next_hop).map(|(link, _)| config.interface(link));
    !config.routes.iter().any(known)
        && link.is_some_and(|link| !matches!(link.kind, Kind::Tunnel { .. }))
        && !config.is_own(route.next_hop)
}

impl Player {
    /// The change that a step is, if it is one and makes sense.
    pub(super) fn change(&mut self, step: &Step, config: &Config) -> Option<Change> {
        let interface = |at: Pick| pick(&config.indices().collect::<Vec<_>>(), at);
        match step {
            Step::AddServer(vip, server, weight) => self.add_server(*vip, *server, *weight, config),
            Step::RemoveServer(vip, server, flush) => {
                let flush = *flush;
                if server % 3 > 0
                    && let Some((vip, server)) = self.last_server(server / 3, config)
                {
                    return Some(Change::RemoveServer { vip, server, flush });
                }
                let vip = vip % config.vips.len().max(1);
                let servers = config.vips.get(vip)?.servers.keys().copied();
                let server = pick(&servers.collect::<Vec<IpAddr>>(), *server)?;
                Some(Change::RemoveServer { vip, server, flush })
            }
            Step::SetAdmin(vip, server, admin) => {
                let vip = vip % config.vips.len().max(1);
                let servers = config.vips.get(vip)?.servers.keys().copied();
                let server = pick(&servers.collect::<Vec<IpAddr>>(), *server)?;
                Some(Change::SetAdmin { vip, server, admin: *admin })
            }
            Step::Learn(at, mac) => {
                let last = self.needed.pop();
                let (interface, address) = last.or_else(|| pick(&self.universe.neighbors, *at))?;
                let mac = [2, 0x0b, 0, 0, 0, *mac];
                is_on_link(config, interface, address).then_some(Change::Learn {
                    interface,
                    address,
                    mac,
                })
            }
            Step::Forget(at) => {
                let known: Vec<_> = config.neighbors.keys().copied().collect();
                let (interface, address) = pick(&known, *at)?;
                Some(Change::Forget { interface, address })
            }
            Step::SetUp(at, up) => Some(Change::SetUp { interface: interface(*at)?, up: *up }),
            Step::SetNat4In(at, on) => {
                Some(Change::SetNat4In { interface: interface(*at)?, on: *on })
            }
            Step::SetNat6In(at, on) => {
                Some(Change::SetNat6In { interface: interface(*at)?, on: *on })
            }
            Step::AddVip(vip) => is_free(config, vip).then(|| Change::AddVip((**vip).clone())),
            Step::RemoveVip(at) => pick(&config.vips, *at).map(|vip| Change::RemoveVip(vip.key)),
            Step::SetTimeouts(at, timeouts) => {
                let vip = at % config.vips.len().max(1);
                config.vips.get(vip)?;
                Some(Change::SetTimeouts { vip, timeouts: *timeouts })
            }
            Step::AddRoute(route) => is_possible(config, route).then_some(Change::AddRoute(*route)),
            Step::RemoveRoute(at) => pick(&config.routes, *at).map(Change::RemoveRoute),
            _ => None,
        }
    }

    fn add_server(&self, vip: Pick, server: Pick, weight: u8, config: &Config) -> Option<Change> {
        let vip = vip % config.vips.len().max(1);
        let to = config.vips.get(vip)?;
        let server = pick(&possible_servers(&self.universe.servers, to), server)?;
        // How an AS is reached does not change while it is there.
        let present = to.servers.get(&server).copied();
        // Nor does one that drains stop to, as its weight is only remembered.
        let with = Server { weight, ..present.unwrap_or(Server::new(weight, to.method)) };
        Some(Change::AddServer { vip, server, with })
    }

    /// The AS that one of the last packets went to, and a VIP that has it.
    fn last_server(&self, back: Pick, config: &Config) -> Option<(usize, IpAddr)> {
        let (_, frame) = pick(&self.sent, back)?;
        let server = Header::of(&frame[14..]).destination;
        let vip = config.vips.iter().position(|vip| vip.servers.contains_key(&server))?;
        Some((vip, server))
    }
}

/// Hosts whose address is of a family that the VIP's method can reach.
pub fn possible_servers(servers: &[IpAddr], vip: &Vip) -> Vec<IpAddr> {
    let fits = |server: &IpAddr| vip.method.reaches(vip.key.network, *server);
    servers.iter().copied().filter(fits).collect()
}
