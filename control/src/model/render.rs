//! The model as the commands that would make it.

use std::net::IpAddr;

use config::{
    Command, Family, LbAs, LbConf, LbVipAdd, PortRange, Prefix, Protocol, VipKey, VipPort, defaults,
};

use super::{LbModel, Model, Vip};

impl Model {
    /// Commands that bring a fresh box with the same devices into this state, in an order in which
    /// each finds what it needs.
    pub fn commands(&self) -> Vec<Command> {
        let mut commands = self.interface_commands();
        commands.extend(self.static_neighbors.iter().map(|((id, address), mac)| {
            Command::SetIpNeighbor {
                interface: self.name_of(*id).to_owned().into(),
                address: (*address).into(),
                mac: Some(config::MacAddress(mac.0).into()),
                is_static: true,
                del: false,
            }
        }));
        commands.extend(self.routes.iter().map(|(network, route)| Command::IpRoute {
            prefix: prefix(network.address, network.prefix_len).into(),
            via: route.next_hop.map(Into::into),
            interface: Some(self.name_of(route.interface).to_owned().into()),
            del: false,
        }));
        commands.extend(self.lb.conf_command().map(Command::LbConf));
        for interface in self.interfaces.iter() {
            let nat_in = [(interface.nat4_in, Family::Ip4), (interface.nat6_in, Family::Ip6)];
            let on = nat_in.into_iter().filter(|(on, _)| *on);
            commands.extend(on.map(|(_, family)| Command::LbSetInterfaceNat {
                family,
                interfaces: vec![interface.name.to_string().into()],
                del: false,
            }));
        }
        for vip in self.lb.vips.values().filter(|vip| !vip.removed) {
            commands.push(Command::LbVipAdd(vip.add_command()));
            commands.extend(vip.server_commands().map(Command::LbAs));
        }
        commands
    }

    fn interface_commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        for interface in self.interfaces.iter() {
            let name = || interface.name.to_string().into();
            if interface.is_ethernet() && interface.mtu != defaults::MTU {
                commands.push(Command::SetInterfaceMtu {
                    interface: name(),
                    mtu: interface.mtu.into(),
                });
            }
            for own in &interface.addresses {
                commands.push(Command::SetInterfaceIpAddress {
                    interface: name(),
                    address: prefix(own.address, own.prefix_len).into(),
                    del: false,
                });
            }
            if interface.up {
                commands.push(Command::SetInterfaceState { interface: name(), up: true });
            }
        }
        commands
    }
}

impl LbModel {
    /// `lb conf` with what differs from the defaults.
    fn conf_command(&self) -> Option<LbConf> {
        let other = |value: u32, default: u32| (value != default).then(|| value.into());
        let conf = LbConf {
            ip4_src_address: self.ip4_src_address.map(Into::into),
            ip6_src_address: self.ip6_src_address.map(Into::into),
            buckets: other(self.buckets, defaults::BUCKETS),
            timeout_s: other(self.timeout_s, defaults::TIMEOUT_S),
            tcp_established_timeout_s: other(
                self.tcp_established_timeout_s,
                defaults::TCP_ESTABLISHED_TIMEOUT_S,
            ),
            tcp_closing_timeout_s: other(
                self.tcp_closing_timeout_s,
                defaults::TCP_CLOSING_TIMEOUT_S,
            ),
            hash_key_file: self.hash_key_file.clone().map(Into::into),
            ..LbConf::default()
        };
        (conf != LbConf::default()).then_some(conf)
    }
}

impl Vip {
    fn command_key(&self) -> VipKey {
        let tcp = self.key.protocol == balancer::Protocol::Tcp;
        let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
        VipKey {
            prefix: prefix(self.key.address.into(), 32).into(),
            port: Some(VipPort {
                protocol: protocol.into(),
                ports: PortRange::one(self.key.port).into(),
            }),
        }
    }

    fn add_command(&self) -> LbVipAdd {
        LbVipAdd {
            encap: Some(self.encap.into()),
            service_type: Some(self.service_type.into()),
            target_port: Some(PortRange::one(self.target_port).into()),
            new_len: (self.new_len != defaults::NEW_LEN).then(|| self.new_len.into()),
            src_ip_sticky: self.src_ip_sticky,
            name: self.name.as_ref().map(|name| name.to_string().into()),
            ..LbVipAdd::new(self.command_key())
        }
    }

    /// One `lb as` per weight, in the order of the ASs.
    fn server_commands(&self) -> impl Iterator<Item = LbAs> {
        let mut groups: Vec<LbAs> = Vec::new();
        for server in self.servers.iter().filter(|server| !server.removed) {
            let weight = (server.weight != defaults::WEIGHT).then(|| server.weight.into());
            let address = IpAddr::V4(server.address).into();
            match groups.last_mut() {
                Some(group) if group.weight == weight => group.addresses.push(address),
                _ => groups.push(LbAs {
                    vip: self.command_key(),
                    addresses: vec![address],
                    weight,
                    encap: None,
                    dscp: None,
                    del: false,
                    flush: false,
                }),
            }
        }
        groups.into_iter()
    }
}

fn prefix(address: IpAddr, prefix_len: u8) -> Prefix {
    Prefix::new(address, prefix_len).unwrap_or(Prefix::host(address))
}
