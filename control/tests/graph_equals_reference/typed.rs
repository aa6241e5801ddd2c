//! [`TypedConfig`]: the reference's configuration as an operator would type it.

use std::net::IpAddr;
use std::sync::Arc;

use balancer::{AsId, StickyTable, VipId};
use control::compile::{LbCompiler, compile};
use control::model::Model;
use dataplane::interface::{MacAddress, PortId};
use dataplane::snapshot::Snapshot;
use testkit::reference::config::Config;
use testkit::reference::differential::{Compiler, product_key};
use testkit::reference::scenario::Change;
use testkit::reference::service::{Ports, Target, Vip, VipKey as Key};

/// The model, reached by command lines alone.
pub(crate) struct TypedConfig {
    model: Model,
    lb: LbCompiler,
    vips: Vec<Key>,
}

/// The name of an interface.
fn link(index: u16) -> String {
    format!("GigabitEthernet0/{index}/0")
}

/// The words that name a VIP.
fn vip(key: &Key) -> String {
    let Key { network, prefix_len, ports } = key;
    match ports {
        Ports::All => format!("{network}/{prefix_len}"),
        Ports::Range { protocol, first, last } => {
            let protocol = if *protocol == 6 { "tcp" } else { "udp" };
            let port = if first == last { format!("{first}") } else { format!("{first}-{last}") };
            format!("{network}/{prefix_len} protocol {protocol} port {port}")
        }
    }
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

    fn add_vip(&mut self, given: &Vip) {
        let name = vip(&given.key);
        let Target::One(target) = given.target else { panic!("{:?}", given.target) };
        self.type_in(&format!(
            "lb vip {name} encap nat4 type clusterip target_port {target} new_len 1009"
        ));
        for (server, with) in &given.servers {
            self.type_in(&format!("lb as {name} {server} weight {}", with.weight));
        }
    }

    fn neighbor(&mut self, interface: u16, address: IpAddr, to: [u8; 6]) {
        let (link, to) = (link(interface), mac(to));
        self.type_in(&format!("set ip neighbor {link} {address} {to} static"));
    }
}

impl Compiler for TypedConfig {
    fn start(config: &Config) -> Self {
        let (model, lb) = (Model::default(), LbCompiler::default());
        let vips = config.vips.iter().map(|vip| vip.key).collect();
        let mut typed = Self { model, lb, vips };
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
        for given in &config.vips {
            typed.add_vip(given);
        }
        typed
    }

    fn change(&mut self, change: &Change) -> bool {
        match change.clone() {
            Change::AddServer { vip: at, server, with } => {
                let (vip, weight) = (vip(&self.vips[at]), with.weight);
                self.line(&format!("lb as {vip} {server} weight {weight}"))
            }
            Change::RemoveServer { vip: at, server, flush } => {
                let vip = vip(&self.vips[at]);
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
            Change::AddVip(vip) => {
                self.add_vip(&vip);
                self.vips.push(vip.key);
                true
            }
            Change::RemoveVip(key) => {
                self.vips.retain(|vip| *vip != key);
                self.line(&format!("lb vip {} del", vip(&key)))
            }
            Change::AddRoute(route) => {
                let (network, len, next_hop) = (route.network, route.prefix_len, route.next_hop);
                self.line(&format!("ip route add {network}/{len} via {next_hop}"))
            }
            Change::RemoveRoute(route) => {
                let (network, len, next_hop) = (route.network, route.prefix_len, route.next_hop);
                self.line(&format!("ip route del {network}/{len} via {next_hop}"))
            }
            Change::SetNat6In { interface, on } => {
                let del = if on { "" } else { " del" };
                self.line(&format!("lb set interface nat6 in {}{del}", link(interface)))
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

    fn vip(&self, key: &Key) -> VipId {
        let vip = self.model.lb.find(product_key(key)).expect("a configured VIP");
        VipId::new(vip.index).expect("an index within bounds")
    }
}
