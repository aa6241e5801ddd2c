//! [`TypedConfig`]: the reference's configuration as an operator would type it.

use std::net::IpAddr;
use std::sync::Arc;

use balancer::{AsId, StickyTable, VipId};
use control::compile::Compiler as ModelCompiler;
use control::model::{LINK_LOCAL, Model};
use dataplane::interface::{InterfaceAddress, MacAddress, PortId};
use dataplane::snapshot::Snapshot;
use testkit::reference::config::{Config, Kind, NoMatch, NoMatchPrefix, Route, Timeouts};
use testkit::reference::differential::{Compiler, product_key};
use testkit::reference::scenario::Change;
use testkit::reference::service::{
    Admin, Method, Mss, Ports, Scheduler, Server, Target, Vip, VipKey as Key,
};
use testkit::reference::tunnel_settings::{OuterDf, TooBig, TunnelSettings};

/// The model, reached by command lines alone.
pub(crate) struct TypedConfig {
    model: Model,
    compiler: ModelCompiler,
    vips: Vec<Key>,
    /// Of the interfaces, by index, `local0` left out.
    names: Vec<String>,
}

/// The name of a port's interface.
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

/// The word of a method, and what goes with it.
fn encap(key: &Key, method: Method) -> String {
    match method {
        Method::Gre4 => "encap gre4".to_owned(),
        Method::Gre6 => "encap gre6".to_owned(),
        Method::Ipip => "encap ipip".to_owned(),
        Method::Gue => "encap gue".to_owned(),
        Method::L3dsr { dscp } => format!("encap l3dsr dscp {dscp}"),
        Method::Dr => "encap dr".to_owned(),
        Method::Nat if key.network.is_ipv6() => "encap nat6".to_owned(),
        Method::Nat => "encap nat4".to_owned(),
    }
}

/// The words of a VIP's parameters.
fn vip_words(given: &Vip) -> String {
    let mut words = encap(&given.key, given.method);
    match (given.target, given.key.ports) {
        (Target::Keep, _) => {}
        (Target::One(port), _) => words.push_str(&format!(" target_port {port}")),
        (Target::From(first), Ports::Range { first: from, last, .. }) => {
            words.push_str(&format!(" target_port {first}-{}", first + (last - from)));
        }
        (Target::From(_), Ports::All) => panic!("ports from nothing"),
    }
    if let Some(port) = given.node_port {
        words.push_str(&format!(" type nodeport node_port {port}"));
    }
    if given.src_ip_sticky {
        words.push_str(" src_ip_sticky");
    }
    if given.scheduler == Scheduler::RoundRobin {
        words.push_str(" scheduler rr");
    }
    // What is about TCP does nothing to other VIPs, and commands say so.
    let other = matches!(given.key.ports, Ports::Range { protocol, .. } if protocol != 6);
    match given.mss {
        _ if other => {}
        Mss::Keep => {}
        Mss::Auto => words.push_str(" mss auto"),
        Mss::At(bytes) => words.push_str(&format!(" mss {bytes}")),
    }
    if let Some(timeouts) = &given.timeouts {
        words.push_str(&timeout_words(given.key.ports, timeouts));
    }
    words
}

/// The words of the timeouts of a VIP with these ports. Those of states go before the general ones.
fn timeout_words(ports: Ports, timeouts: &Timeouts) -> String {
    let (tcp, udp) = match ports {
        Ports::All => (true, true),
        Ports::Range { protocol, .. } => (protocol == 6, protocol != 6),
    };
    let mut words = " timeout 7777".to_owned();
    if udp {
        words.push_str(&format!(" udp-timeout {}", timeouts.udp_s));
    }
    if tcp && udp {
        words.push_str(&format!(" other-timeout {}", timeouts.other_s));
    }
    if tcp {
        let Timeouts {
            syn_s, established_s, fin_wait_s, close_wait_s, time_wait_s, close_s, ..
        } = timeouts;
        words.push_str(&format!(
            " tcp-closing-timeout 7777 tcp-syn-timeout {syn_s} \
             tcp-established-timeout {established_s} tcp-fin-wait-timeout {fin_wait_s} \
             tcp-close-wait-timeout {close_wait_s} tcp-time-wait-timeout {time_wait_s} \
             tcp-close-timeout {close_s}"
        ));
    }
    words
}

/// The words that take a VIP's timeouts away.
fn no_timeouts() -> String {
    config::FlowTimeout::ALL.iter().map(|of| format!(" {of} default")).collect()
}

/// The words of an AS.
fn server_words(key: &Key, with: &Server) -> String {
    format!("weight {} {}", with.weight, encap(key, with.method))
}

fn tunnel_words(tunnels: &TunnelSettings) -> String {
    let dscp = tunnels.dscp.map_or_else(|| "copy".to_owned(), |dscp| dscp.to_string());
    let ecn = if tunnels.ecn { "rfc6040" } else { "zero" };
    let df = match tunnels.df {
        OuterDf::Copy => "copy",
        OuterDf::Set => "set",
        OuterDf::Clear => "clear",
    };
    let too_big = match tunnels.too_big {
        TooBig::Drop => "drop",
        TooBig::Fragment => "fragment",
    };
    let mut words = format!(
        "tunnel-ttl {} tunnel-dscp {dscp} tunnel-ecn {ecn} tunnel-df {df} too-big {too_big} \
         gue-port {}",
        tunnels.ttl, tunnels.gue_port
    );
    let sources = [tunnels.source(false), tunnels.source(true)].into_iter().zip([4, 6]);
    for (source, version) in sources.filter_map(|(source, version)| Some((source?, version))) {
        words.push_str(&format!(" ip{version}-src-address {source}"));
    }
    words
}

fn policy(policy: NoMatch) -> &'static str {
    match policy {
        NoMatch::Drop => "drop",
        NoMatch::Reset => "rst",
        NoMatch::Icmp => "icmp",
        NoMatch::Punt => "punt",
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
        self.type_in(&format!("lb vip {name} {} new_len 1009", vip_words(given)));
        for (server, with) in &given.servers {
            self.type_in(&format!("lb as {name} {server} {}", server_words(&given.key, with)));
        }
    }

    fn add_interface(&mut self, config: &Config, index: u16) {
        let interface = config.interface(index);
        match &interface.kind {
            Kind::Port => {
                let port = PortId(index - 1);
                self.model.add_device(&link(index), port, mac(interface.mac), 1500);
                self.names.push(link(index));
            }
            Kind::Vlan { parent, outer, inner, service_tag } => {
                let parent = self.name(*parent).to_owned();
                let kind = if *service_tag { "dot1ad" } else { "dot1q" };
                let inner = inner.map(|vlan| format!(" inner-dot1q {vlan}")).unwrap_or_default();
                self.type_in(&format!(
                    "create sub-interfaces {parent} {index} {kind} {outer}{inner}"
                ));
                self.names.push(format!("{parent}.{index}"));
            }
            Kind::Tunnel { source, destination } => {
                self.type_in(&format!(
                    "create ipip tunnel src {source} dst {destination} instance {index}"
                ));
                self.names.push(format!("ipip{index}"));
            }
        }
        let name = self.name(index).to_owned();
        self.type_in(&format!("set interface mtu {} {name}", interface.mtu));
        for (address, len) in &interface.addresses {
            self.type_in(&format!("set interface ip address {name} {address}/{len}"));
        }
        if interface.up {
            self.type_in(&format!("set interface state {name} up"));
        }
        for (on, nat) in [(interface.nat4_in, "nat4"), (interface.nat6_in, "nat6")] {
            if on {
                self.type_in(&format!("lb set interface {nat} in {name}"));
            }
        }
    }

    /// The name of an interface.
    fn name(&self, index: u16) -> &str {
        &self.names[usize::from(index) - 1]
    }

    /// The words of a route. One whose next hop is on a tunnel goes through the tunnel.
    fn route_words(&self, route: &Route) -> String {
        format!("{}/{} via {}", route.network, route.prefix_len, route.next_hop)
    }

    fn neighbor(&mut self, interface: u16, address: IpAddr, to: [u8; 6]) {
        let (link, to) = (self.name(interface).to_owned(), mac(to));
        self.type_in(&format!("set ip neighbor {link} {address} {to} static"));
    }
}

impl Compiler for TypedConfig {
    fn start(config: &Config) -> Self {
        let (model, compiler) = (Model::default(), ModelCompiler::default());
        let vips = config.vips.iter().map(|vip| vip.key).collect();
        let mut typed = Self { model, compiler, vips, names: Vec::new() };
        for index in config.indices() {
            typed.add_interface(config, index);
        }
        for route in &config.routes {
            let words = typed.route_words(route);
            typed.type_in(&format!("ip route add {words}"));
        }
        for ((interface, address), to) in &config.neighbors {
            typed.neighbor(*interface, *address, *to);
        }
        typed.type_in(&format!("lb conf{}", timeout_words(Ports::All, &config.timeouts)));
        typed.type_in(&format!("lb conf {}", tunnel_words(&config.tunnels)));
        typed.type_in(&format!("lb conf no-match {}", policy(config.no_match)));
        for given in &config.vips {
            typed.add_vip(given);
        }
        for prefix in &config.no_match_prefixes {
            let NoMatchPrefix { network, prefix_len, policy: given } = prefix;
            typed.line(&format!("lb no-match {network}/{prefix_len} {}", policy(*given)));
        }
        typed
    }

    fn change(&mut self, change: &Change) -> bool {
        match change.clone() {
            Change::AddServer { vip: at, server, with } => {
                let key = self.vips[at];
                let words = server_words(&key, &with);
                self.line(&format!("lb as {} {server} {words}", vip(&key)))
            }
            Change::RemoveServer { vip: at, server, flush } => {
                let vip = vip(&self.vips[at]);
                let flush = if flush { " flush" } else { "" };
                self.line(&format!("lb as {vip} {server} del{flush}"))
            }
            Change::SetAdmin { vip: at, server, admin } => {
                let words = match admin {
                    Admin::Up => "undrain",
                    Admin::Drain => "drain",
                    Admin::DrainThenDel => "drain then del",
                };
                let vip = vip(&self.vips[at]);
                self.line(&format!("lb as {vip} {server} {words}"))
            }
            Change::Learn { interface, address, mac } => {
                self.neighbor(interface, address, mac);
                true
            }
            Change::Forget { interface, address } => {
                self.line(&format!("set ip neighbor del {} {address}", self.name(interface)))
            }
            Change::SetUp { interface, up } => {
                let state = if up { "up" } else { "down" };
                self.line(&format!("set interface state {} {state}", self.name(interface)))
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
            Change::SetTimeouts { vip: at, timeouts } => {
                let key = self.vips[at];
                let words = timeouts
                    .map_or_else(no_timeouts, |timeouts| timeout_words(key.ports, &timeouts));
                self.line(&format!("lb vip {}{words} update", vip(&key)))
            }
            Change::AddRoute(route) => {
                self.line(&format!("ip route add {}", self.route_words(&route)))
            }
            Change::RemoveRoute(route) => {
                self.line(&format!("ip route del {}/{}", route.network, route.prefix_len))
            }
            Change::SetNat6In { interface, on } => {
                let del = if on { "" } else { " del" };
                self.line(&format!("lb set interface nat6 in {}{del}", self.name(interface)))
            }
            Change::SetNat4In { interface, on } => {
                let del = if on { "" } else { " del" };
                self.line(&format!("lb set interface nat4 in {}{del}", self.name(interface)))
            }
        }
    }

    fn collect(&mut self, live_flows: &dyn Fn(AsId) -> u32) -> bool {
        let live = |index| AsId::new(index).map_or(0, |id| u64::from(live_flows(id)));
        let drained: Vec<_> = (self.model.lb.active())
            .flat_map(|vip| vip.servers.iter().map(|server| (vip.index, server.index)))
            .filter(|(_, server)| live(*server) == 0)
            .collect();
        for (vip, server) in drained {
            self.model.lb.end_drain(vip, server);
        }
        self.model.lb.collect(live) > 0
    }

    fn snapshot(&mut self, generation: u64, tables: Vec<Arc<StickyTable>>) -> Snapshot {
        let mut snapshot = *self.compiler.compile(&self.model, generation, &tables).snapshot;
        // The reference's interfaces have no addresses but those that they are given.
        for interface in Arc::make_mut(&mut snapshot.interfaces) {
            let given = |own: &&InterfaceAddress| !LINK_LOCAL.contains(own.address);
            interface.addresses = interface.addresses.iter().filter(given).copied().collect();
        }
        // Its tunnels take what they are told to, however little the way to their far end does.
        for adjacency in
            Arc::make_mut(&mut snapshot.adjacencies).iter_mut().filter(|a| a.tunnel.is_some())
        {
            adjacency.mtu = snapshot.interfaces[adjacency.interface.index()].mtu;
        }
        snapshot
    }

    fn vip(&self, key: &Key) -> VipId {
        let vip = self.model.lb.find(product_key(key)).expect("a configured VIP");
        VipId::new(vip.index).expect("an index within bounds")
    }
}
