//! The model as the commands that would make it.

use std::net::IpAddr;

use config::{Admin, Command, Family, LbAs, LbNoMatch, Prefix, SubInterface, VlanKind, defaults};

use super::apply_link::TUNNEL_MTU;
use super::{InterfaceModel, Kind, Model, Network, Server, Vip};

impl Model {
    /// Commands that bring a fresh box with the same devices into this state, in an order in which
    /// each finds what it needs.
    pub fn commands(&self) -> Vec<Command> {
        let links = self.interfaces.iter();
        let mut commands: Vec<Command> =
            links.clone().flat_map(|link| self.interface_commands(link)).collect();
        commands.extend(self.neighbor_commands());
        commands.extend(self.route_commands());
        commands.extend(self.lb.settings.command().map(Command::LbConf));
        commands.extend(links.flat_map(nat_commands));
        for vip in self.lb.active() {
            commands.push(Command::LbVipAdd(vip.spec.clone()));
            commands.extend(vip.server_commands().map(Command::LbAs));
        }
        commands.extend(self.policy_commands());
        commands
    }

    /// Static neighbours.
    pub fn neighbor_commands(&self) -> impl Iterator<Item = Command> {
        self.static_neighbors.iter().map(|((id, address), mac)| Command::SetIpNeighbor {
            interface: self.name_of(*id).to_owned().into(),
            address: (*address).into(),
            mac: Some(config::MacAddress(mac.0).into()),
            is_static: true,
            del: false,
        })
    }

    /// Routes.
    pub fn route_commands(&self) -> impl Iterator<Item = Command> {
        self.routes.iter().map(|(network, route)| Command::IpRoute {
            prefix: prefix(*network).into(),
            via: route.next_hop.map(Into::into),
            interface: Some(self.name_of(route.interface).to_owned().into()),
            del: false,
        })
    }

    /// `lb no-match`.
    pub fn policy_commands(&self) -> impl Iterator<Item = Command> {
        self.lb.no_match.iter().map(|(network, policy)| {
            let (prefix, policy) = (prefix(*network).into(), Some((*policy).into()));
            Command::LbNoMatch(LbNoMatch { prefix, policy })
        })
    }

    /// All about an interface.
    pub fn commands_of(&self, interface: &InterfaceModel) -> Vec<Command> {
        let mut commands = self.interface_commands(interface);
        commands.extend(nat_commands(interface));
        commands
    }

    fn interface_commands(&self, interface: &InterfaceModel) -> Vec<Command> {
        let name = || interface.name.to_string().into();
        let mut commands = Vec::new();
        let mut usual_mtu = defaults::MTU;
        match interface.kind {
            Kind::SubInterface { parent, number, tags } => {
                let kind = match tags.outer.0 {
                    0x88a8 => VlanKind::Dot1ad,
                    _ => VlanKind::Dot1q,
                };
                let tags = config::VlanTags { kind, outer: tags.outer.1, inner: tags.inner };
                commands.push(Command::CreateSubInterface(SubInterface {
                    parent: self.name_of(parent).to_owned().into(),
                    id: number.into(),
                    tags: tags.into(),
                }));
            }
            Kind::Tunnel { source, destination, instance } => {
                usual_mtu = TUNNEL_MTU;
                commands.push(Command::CreateIpipTunnel {
                    source: source.into(),
                    destination: destination.into(),
                    instance: Some(instance.into()),
                });
            }
            Kind::Device(_) | Kind::Punt(_) => {}
            Kind::Local => usual_mtu = interface.mtu,
        }
        if interface.mtu != usual_mtu {
            commands
                .push(Command::SetInterfaceMtu { interface: name(), mtu: interface.mtu.into() });
        }
        for own in &interface.addresses {
            commands.push(Command::SetInterfaceIpAddress {
                interface: name(),
                address: Prefix::new(own.address, own.prefix_len)
                    .unwrap_or(Prefix::host(own.address))
                    .into(),
                del: false,
            });
        }
        let up_at_start = matches!(interface.kind, Kind::Punt(_));
        if interface.up != up_at_start {
            let up = interface.up;
            commands.push(Command::SetInterfaceState { interface: name(), up });
        }
        commands
    }
}

fn nat_commands(interface: &InterfaceModel) -> impl Iterator<Item = Command> {
    let families = [(interface.nat4_in, Family::Ip4), (interface.nat6_in, Family::Ip6)];
    families.into_iter().filter(|(on, _)| *on).map(|(_, family)| Command::LbSetInterfaceNat {
        family,
        interfaces: vec![interface.name.to_string().into()],
        del: false,
    })
}

impl Vip {
    /// One `lb as` per weight and way, in the order of the ASs, then those that drain.
    pub fn server_commands(&self) -> impl Iterator<Item = LbAs> {
        let servers = || self.servers.iter().filter(|server| !server.removed);
        let command = |server: &Server| LbAs {
            vip: self.spec.key,
            addresses: vec![IpAddr::into(server.address)],
            weight: None,
            encap: None,
            dscp: None,
            admin: None,
            del: false,
            flush: false,
        };
        let add = |server: &Server| LbAs {
            weight: (server.weight != defaults::WEIGHT).then(|| server.weight.into()),
            encap: server.encap.filter(|own| *own != self.spec.encap()).map(Into::into),
            dscp: server.dscp.map(Into::into),
            ..command(server)
        };
        let drain = |server: &Server| LbAs { admin: Some(server.admin.into()), ..command(server) };
        let drained = servers().filter(|server| server.admin != Admin::Up).map(drain);
        let mut groups: Vec<LbAs> = Vec::new();
        for next in servers().map(add).chain(drained) {
            let settings = |of: &LbAs| (of.weight, of.encap, of.dscp, of.admin);
            match groups.last_mut() {
                Some(last) if settings(last) == settings(&next) => {
                    last.addresses.extend(next.addresses);
                }
                _ => groups.push(next),
            }
        }
        groups.into_iter()
    }
}

fn prefix(network: Network) -> Prefix {
    Prefix::new(network.address, network.prefix_len).unwrap_or(Prefix::host(network.address))
}
