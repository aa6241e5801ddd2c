//! [`TypedConfig`]: the reference's configuration as an operator would type it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use balancer::{AsId, Ports, Prefix, Protocol, StickyTable, VipId, VipKey};
use control::compile::{LbCompiler, compile};
use control::model::Model;
use dataplane::interface::{MacAddress, PortId};
use dataplane::snapshot::Snapshot;
use testkit::reference::config::{Config, Service};
use testkit::reference::differential::Compiler;
use testkit::reference::scenario::Change;

/// The model, reached by command lines alone.
pub(crate) struct TypedConfig {
    model: Model,
    lb: LbCompiler,
    services: Vec<Service>,
}

/// The name of an interface.
fn link(index: u16) -> String {
    format!("GigabitEthernet0/{index}/0")
}

fn vip(service: Service) -> String {
    let Service { address, protocol, port } = service;
    let protocol = if protocol == 6 { "tcp" } else { "udp" };
    format!("{address}/32 protocol {protocol} port {port}")
}

fn mac(mac: [u8; 6]) -> MacAddress {
    MacAddress(mac)
}

impl TypedConfig {
    /// Types one line; false if it was refused.
    fn line(&mut self, line: &str) -> bool {
        let command = config::parse_line(line).unwrap_or_else(|e| panic!("{line}: {e:?}"));
        let mut changed = self.model.clone();
        let ok = changed.apply(&command).is_ok();
        if ok {
            self.model = changed;
        }
        ok
    }

    /// Types one line that must be accepted.
    fn type_in(&mut self, line: &str) {
        let command = config::parse_line(line).unwrap_or_else(|e| panic!("{line}: {e:?}"));
        self.model.apply(&command).unwrap_or_else(|problem| panic!("{line}: {problem:?}"));
    }

    fn neighbor(&mut self, interface: u16, address: Ipv4Addr, to: [u8; 6]) {
        let (link, to) = (link(interface), mac(to));
        self.type_in(&format!("set ip neighbor {link} {address} {to} static"));
    }
}

impl Compiler for TypedConfig {
    fn start(config: &Config) -> Self {
        let (model, lb) = (Model::default(), LbCompiler::default());
        let services = config.vips.iter().map(|vip| vip.service).collect();
        let mut typed = Self { model, lb, services };
        for index in config.indices() {
            let interface = config.interface(index);
            let name = link(index);
            typed.model.add_device(&name, PortId(index - 1), mac(interface.mac), 1500);
            typed.type_in(&format!("set interface mtu {} {name}", interface.mtu));
            for (address, len) in &interface.addresses {
                typed.type_in(&format!("set interface ip address {name} {address}/{len}"));
            }
            if interface.up {
                typed.type_in(&format!("set interface state {name} up"));
            }
            if interface.nat4_in {
                typed.type_in(&format!("lb set interface nat4 in {name}"));
            }
        }
        for route in &config.routes {
            let (network, len, next_hop) = (route.network, route.prefix_len, route.next_hop);
            typed.type_in(&format!("ip route add {network}/{len} via {next_hop}"));
        }
        for ((interface, address), to) in &config.neighbors {
            typed.neighbor(*interface, *address, *to);
        }
        let timeouts = config.timeouts;
        typed.type_in(&format!(
            "lb conf timeout {} tcp-established-timeout {} tcp-closing-timeout {}",
            timeouts.timeout_s, timeouts.established_s, timeouts.closing_s
        ));
        for (at, given) in config.vips.iter().enumerate() {
            let (name, target) = (vip(given.service), given.target_port);
            typed.type_in(&format!(
                "lb vip {name} encap nat4 type clusterip target_port {target} new_len 1009"
            ));
            for (server, weight) in &given.servers {
                let added =
                    typed.change(&Change::AddServer { vip: at, server: *server, weight: *weight });
                assert!(added, "{server} was refused");
            }
        }
        typed
    }

    fn change(&mut self, change: &Change) -> bool {
        match *change {
            Change::AddServer { vip: at, server, weight } => {
                let vip = vip(self.services[at]);
                self.line(&format!("lb as {vip} {server} weight {weight}"))
            }
            Change::RemoveServer { vip: at, server, flush } => {
                let vip = vip(self.services[at]);
                let flush = if flush { " flush" } else { "" };
                self.line(&format!("lb as {vip} {server} del{flush}"))
            }
            Change::Learn { interface, address, mac } => {
                self.neighbor(interface, address, mac);
                true
            }
            Change::Forget { interface, address } => {
                self.line(&format!("set ip neighbor del {} {address}", link(interface)))
            }
            Change::SetUp { interface, up } => {
                let state = if up { "up" } else { "down" };
                self.line(&format!("set interface state {} {state}", link(interface)))
            }
            Change::SetNat4In { interface, on } => {
                let del = if on { "" } else { " del" };
                self.line(&format!("lb set interface nat4 in {}{del}", link(interface)))
            }
        }
    }

    fn collect(&mut self, live_flows: &dyn Fn(AsId) -> u32) -> bool {
        let live = |index| AsId::new(index).map_or(0, |id| u64::from(live_flows(id)));
        self.model.lb.collect(live) > 0
    }

    fn snapshot(&mut self, generation: u64, tables: Vec<Arc<StickyTable>>) -> Snapshot {
        *compile(&self.model, generation, &mut self.lb, &tables).snapshot
    }

    fn vip(&self, service: Service) -> VipId {
        let protocol = if service.protocol == 6 { Protocol::Tcp } else { Protocol::Udp };
        let prefix = Prefix::host(service.address.into());
        let key = VipKey { prefix, ports: Ports::one(protocol, service.port) };
        let vip = self.model.lb.find(key).expect("a configured VIP");
        VipId::new(vip.index).expect("an index within bounds")
    }
}
