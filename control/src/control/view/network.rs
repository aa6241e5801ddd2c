//! Interfaces, ports, the FIB and neighbours.

use config::{Family, FibQuery};
use dataplane::fib::FibEntry;

use crate::compile::FibRow;
use crate::control::Control;
use crate::model::{InterfaceModel, Kind, NeighborKey, Network};
use crate::show::fib::{Fib, FibStatus};
use crate::show::hardware::{Hardware, PortStatus};
use crate::show::interfaces::{
    Addresses, InterfaceAddresses, InterfaceCounters, InterfaceStatus, Interfaces,
};
use crate::show::neighbors::{NeighborStatus, Neighbors};
use crate::show::trace::{drop_reason, fib_entry_text};
use crate::show::tunnels::{TunnelStatus, Tunnels};

impl Control {
    fn by_name(&self) -> Vec<&InterfaceModel> {
        let mut interfaces: Vec<_> = self.model.interfaces.iter().collect();
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        interfaces
    }

    /// `show interface`.
    pub fn interfaces(&self) -> Interfaces {
        let status = |interface: &InterfaceModel| {
            let baseline = self.baseline.interfaces.get(&interface.id.0).copied();
            InterfaceStatus {
                name: interface.name.to_string(),
                index: interface.id.0,
                up: interface.up,
                link: self.link_state(interface.id).name(),
                mtu_bytes: interface.mtu,
                nat4_in: interface.nat4_in,
                nat6_in: interface.nat6_in,
                counters: self.traffic_of(interface).since(&baseline.unwrap_or_default()),
            }
        };
        Interfaces { interfaces: self.by_name().into_iter().map(status).collect() }
    }

    /// What an interface has counted, ever.
    pub(in crate::control) fn traffic_of(&self, interface: &InterfaceModel) -> InterfaceCounters {
        let mut sum = InterfaceCounters::default();
        for worker in &self.workers {
            let Some(stats) = worker.shared.interfaces.get(interface.id.index()) else { continue };
            sum.rx_packets += stats.rx_packets.get();
            sum.rx_bytes += stats.rx_bytes.get();
            sum.tx_packets += stats.tx_packets.get();
            sum.tx_bytes += stats.tx_bytes.get();
            sum.drops += stats.drops.get();
            sum.punts += stats.punts.get();
            sum.ip4_packets += stats.ip4.get();
            sum.ip6_packets += stats.ip6.get();
            sum.tx_errors += stats.tx_errors.get();
        }
        if let Kind::Device(port) | Kind::Punt(port) = interface.kind {
            let driver = self.hardware.counters(port);
            sum.rx_missed = driver.rx_missed;
            sum.rx_no_buffer = driver.rx_no_buffer;
            sum.rx_errors = driver.rx_errors;
            // The driver of a virtual device first claims to have sent what it then could not.
            sum.tx_errors += driver.tx_errors;
        }
        sum
    }

    /// `show interface address`.
    pub fn addresses(&self) -> Addresses {
        let of = |interface: &InterfaceModel| InterfaceAddresses {
            name: interface.name.to_string(),
            index: interface.id.0,
            up: interface.up,
            addresses: interface
                .own_addresses()
                .map(|own| format!("{}/{}", own.address, own.prefix_len))
                .collect(),
        };
        Addresses { interfaces: self.by_name().into_iter().map(of).collect() }
    }

    /// `show hardware-interfaces`.
    pub fn hardware_status(&self) -> Hardware {
        let status = |interface: &InterfaceModel| {
            let (Kind::Device(port) | Kind::Punt(port)) = interface.kind else { return None };
            let facts = self.hardware.facts(port);
            let link = self.hardware.link(port);
            Some(PortStatus {
                name: interface.name.to_string(),
                index: interface.id.0,
                device: facts.device,
                driver: facts.driver,
                link_up: link.up,
                speed_mbps: link.speed_mbps,
                full_duplex: link.full_duplex,
                mac: interface.mac.to_string(),
                numa_node: facts.numa_node,
                rx_queues: facts.queues.0,
                rx_queues_max: facts.queues_max.0,
                tx_queues: facts.queues.1,
                tx_queues_max: facts.queues_max.1,
                rx_descriptors: facts.descriptors.0,
                tx_descriptors: facts.descriptors.1,
                mtu_bytes: facts.mtu,
                promiscuous: facts.promiscuous,
                rx_offloads_available: facts.rx_offloads,
                tx_offloads_available: facts.tx_offloads,
                rx_queue_threads: facts.rx_queue_threads,
                rx_mode: facts.rx_mode,
                statistics: self.hardware.counters(port),
                extended_statistics: self.hardware.extended(port),
            })
        };
        Hardware { ports: self.by_name().into_iter().filter_map(status).collect() }
    }

    /// `show ip fib`, `show ip6 fib`.
    pub fn fib(&self, family: Family, query: &FibQuery) -> Fib {
        let best = self.preferred_rows(family);
        let wanted: Vec<FibRow> = match query {
            FibQuery::All | FibQuery::Summary => best,
            FibQuery::Entry { prefix, longest_match } => {
                let network = Network::new(prefix.address(), prefix.length());
                let covers = best.iter().filter(|row| match longest_match {
                    true => row.network.contains(prefix.address()),
                    false => row.network == network,
                });
                covers.max_by_key(|row| row.network.prefix_len).into_iter().copied().collect()
            }
        };
        Fib { family, entries: wanted.iter().map(|row| self.fib_status(row)).collect() }
    }

    /// The rows in force: of equal prefixes the one of the preferred source.
    fn preferred_rows(&self, family: Family) -> Vec<FibRow> {
        let of_family = |row: &FibRow| Family::of(row.network.address) == family;
        self.compiler.rows().filter(of_family).collect()
    }

    fn fib_status(&self, row: &FibRow) -> FibStatus {
        let snapshot = self.snapshot();
        let name = |id| snapshot.interface(id).map(|interface| interface.name.to_string());
        let adjacency = match row.entry {
            FibEntry::Adjacency(id) | FibEntry::AsDirect(id) => snapshot.adjacency(id),
            _ => None,
        };
        let (kind, reason) = match row.entry {
            FibEntry::Drop(why) => ("drop", Some(drop_reason(why))),
            FibEntry::Local => ("local", None),
            FibEntry::Adjacency(_) | FibEntry::AsDirect(_) => ("forward", None),
            FibEntry::Glean(_) => ("glean", None),
            FibEntry::Vip { .. } => ("vip", None),
        };
        let interface = match row.entry {
            FibEntry::Glean(id) => name(id),
            FibEntry::Local => {
                self.model.owner_of(row.network.address).map(|link| link.name.to_string())
            }
            _ => adjacency.and_then(|adjacency| name(adjacency.interface)),
        };
        let forwarding = match row.entry {
            FibEntry::Vip { .. } => {
                let vips = self.model.lb.on_prefix(row.network);
                vips.map(|vip| self.vip_status(vip).line()).collect()
            }
            entry => vec![fib_entry_text(snapshot, entry, row.network.address.is_ipv6())],
        };
        FibStatus {
            prefix: row.network.to_string(),
            prefix_len: row.network.prefix_len,
            source: row.source.name(),
            kind,
            interface,
            next_hop: adjacency.map(|adjacency| adjacency.next_hop.to_string()),
            reason,
            forwarding,
        }
    }

    /// `show ip neighbors`, `show ip6 neighbors`: of the families and interfaces that `wanted` wants.
    pub fn neighbor_list(&self, wanted: impl Fn(NeighborKey) -> bool) -> Neighbors {
        let name = |id| self.model.name_of(id).to_owned();
        let configured = self.model.static_neighbors.iter().map(|(key, mac)| {
            let status = NeighborStatus {
                age_s: 0.0,
                address: key.1,
                is_static: true,
                state: "static",
                mac: Some(mac.to_string()),
                interface: name(key.0),
            };
            (*key, status)
        });
        let learned = self.neighbors.iter().map(|(key, entry)| {
            let status = NeighborStatus {
                age_s: self.now_ms.saturating_sub(entry.confirmed_ms) as f64 / 1_000.0,
                address: key.1,
                is_static: false,
                state: entry.state.name(),
                mac: entry.mac.map(|mac| mac.to_string()),
                interface: name(key.0),
            };
            (*key, status)
        });
        let mut all: Vec<_> = configured.chain(learned).filter(|(key, _)| wanted(*key)).collect();
        all.sort_by_key(|(key, _)| *key);
        Neighbors { neighbors: all.into_iter().map(|(_, status)| status).collect() }
    }

    /// `show ipip tunnel`.
    pub fn tunnels(&self) -> Tunnels {
        let snapshot = self.snapshot();
        let status = |link: &InterfaceModel| {
            let Kind::Tunnel { source, destination, instance } = link.kind else { return None };
            // One adjacency for each family, if anything goes through it.
            let mut adjacencies = snapshot.adjacencies.iter().filter(|a| a.interface == link.id);
            let adjacency = adjacencies.next();
            let underlay = adjacency.and_then(|adjacency| adjacency.tunnel?.underlay);
            let underlay = underlay.and_then(|id| snapshot.adjacency(id));
            Some(TunnelStatus {
                name: link.name.to_string(),
                index: link.id.0,
                instance,
                source,
                destination,
                up: link.up,
                mtu_bytes: adjacency.map_or(link.mtu, |adjacency| adjacency.mtu),
                interface: underlay.map(|a| self.model.name_of(a.interface).to_owned()),
                next_hop: underlay.map(|a| a.next_hop.to_string()),
            })
        };
        Tunnels { tunnels: self.model.interfaces.iter().filter_map(status).collect() }
    }
}
