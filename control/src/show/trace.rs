//! `show trace`, `GET /v1/trace`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use dataplane::adjacency::Tunnel;
use dataplane::fib::{FibDrop, FibEntry};
use dataplane::graph::GraphInfo;
use dataplane::snapshot::Snapshot;
use dataplane::trace::{TraceDetail, TraceRecord};
use serde::Serialize;

use super::packet;

/// The traced packets of all threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// The workers.
    pub threads: Vec<ThreadTrace>,
}

/// The traced packets of one thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadTrace {
    /// Number; workers from 1.
    pub thread: usize,
    /// Name.
    pub name: String,
    /// Oldest first.
    pub packets: Vec<PacketTrace>,
}

/// The way of one packet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PacketTrace {
    /// Number within the thread, from 1.
    pub packet: usize,
    /// The nodes it came by.
    pub nodes: Vec<NodeTrace>,
}

/// What one node saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeTrace {
    /// Time since the start of the daemon.
    pub time_us: u64,
    /// Node.
    pub node: &'static str,
    /// What it has to say, line by line.
    pub text: Vec<String>,
}

/// What is needed to put records into words.
pub struct Context<'a> {
    /// Node and counter names.
    pub graph: &'a GraphInfo,
    /// Interfaces and adjacencies.
    pub snapshot: &'a Snapshot,
    /// A VIP in words, by index.
    pub vip: &'a dyn Fn(u32) -> String,
    /// An AS in words, by index.
    pub server: &'a dyn Fn(u32) -> String,
    /// TSC at start, in clocks.
    pub tsc_start: u64,
    /// TSC clocks per second.
    pub tsc_hz: u64,
}

impl Context<'_> {
    /// The first `max` packets among a thread's records.
    pub fn thread(&self, thread: usize, records: &[TraceRecord], max: usize) -> ThreadTrace {
        let mut by_handle: BTreeMap<u32, Vec<&TraceRecord>> = BTreeMap::new();
        for record in records {
            by_handle.entry(record.handle).or_default().push(record);
        }
        let packets =
            by_handle.into_values().take(max).enumerate().map(|(at, records)| PacketTrace {
                packet: at + 1,
                nodes: records.into_iter().map(|record| self.node(record)).collect(),
            });
        let name = format!("sluice_wk_{}", thread - 1);
        ThreadTrace { thread, name, packets: packets.collect() }
    }

    fn node(&self, record: &TraceRecord) -> NodeTrace {
        let clocks = u128::from(record.tsc.saturating_sub(self.tsc_start));
        let time_us = clocks * 1_000_000 / u128::from(self.tsc_hz.max(1));
        let node = self.graph.nodes.get(usize::from(record.node)).copied().unwrap_or("unknown");
        let mut text = self.detail(record);
        text.extend(headers(record));
        NodeTrace { time_us: time_us as u64, node, text }
    }

    fn interface(&self, id: dataplane::interface::InterfaceId) -> &str {
        self.snapshot.interface(id).map_or("unknown interface", |interface| &interface.name)
    }

    fn detail(&self, record: &TraceRecord) -> Vec<String> {
        let v6 = record.bytes.get(usize::from(record.l3_offset)).is_some_and(|b| b >> 4 == 6);
        match record.detail {
            TraceDetail::None => Vec::new(),
            TraceDetail::Interface(id) => {
                vec![format!("{}, sw_if_index {}", self.interface(id), id.0)]
            }
            TraceDetail::Fib(entry) => {
                vec![format!("fib 0: {}", fib_entry_text(self.snapshot, entry, v6))]
            }
            TraceDetail::Lb { vip, server } => {
                let mut lines = Vec::new();
                lines.extend(vip.map(|vip| format!("lb vip[{vip}]: {}", (self.vip)(vip))));
                lines.extend(
                    server.map(|server| format!("lb as[{server}]: {}", (self.server)(server))),
                );
                lines
            }
            TraceDetail::Nat { address, port } => vec![format!("lb nat: source {address}:{port}")],
            TraceDetail::Rewrite(id) => vec![adjacency_text(self.snapshot, id)],
            TraceDetail::Drop(reason) => match self.graph.counters.get(usize::from(reason)) {
                Some(counter) => {
                    let node = self.graph.nodes.get(usize::from(counter.node));
                    vec![format!("{}: {}", node.unwrap_or(&"unknown"), counter.text)]
                }
                None => Vec::new(),
            },
        }
    }
}

/// A FIB verdict in words, after VPP's names of its data-plane objects. `v6` says which FIB's.
pub fn fib_entry_text(snapshot: &Snapshot, entry: FibEntry, v6: bool) -> String {
    let version = if v6 { 6 } else { 4 };
    match entry {
        FibEntry::Drop(reason) => format!("dpo-drop ip{version} ({})", drop_reason(reason)),
        FibEntry::Local => "dpo-receive".to_owned(),
        FibEntry::Adjacency(id) => adjacency_text(snapshot, id),
        FibEntry::Glean(id) => match snapshot.interface(id) {
            Some(interface) => {
                format!("ipv{version}-glean: {}: mtu:{}", interface.name, interface.mtu)
            }
            None => format!("ipv{version}-glean"),
        },
        FibEntry::Vip { local: false, .. } => format!("lb{version}-vip"),
        FibEntry::Vip { local: true, .. } => format!("lb{version}-vip, else dpo-receive"),
        FibEntry::AsDirect(id) => format!("lb{version}-direct {}", adjacency_text(snapshot, id)),
    }
}

/// Why the FIB drops, in words.
pub fn drop_reason(reason: FibDrop) -> &'static str {
    match reason {
        FibDrop::NoRoute => "no route",
        FibDrop::Configured => "interface down or prefix not forwarded",
        FibDrop::Broadcast => "broadcast or group address",
    }
}

fn adjacency_text(snapshot: &Snapshot, id: dataplane::adjacency::AdjacencyId) -> String {
    let Some(adjacency) = snapshot.adjacency(id) else { return "unknown adjacency".to_owned() };
    let name = snapshot.interface(adjacency.interface).map_or("unknown", |i| &*i.name);
    let (next_hop, mtu) = (adjacency.next_hop, adjacency.mtu);
    let version = if next_hop.is_ipv6() { 6 } else { 4 };
    if let Some(Tunnel { source, destination, underlay }) = &adjacency.tunnel {
        // An underlay is never a tunnel, so that this ends.
        let way = underlay.map(|id| adjacency_text(snapshot, id));
        let way = way.unwrap_or_else(|| "no route".to_owned());
        return format!("ipip via {name}: mtu:{mtu} {source} -> {destination}, then {way}");
    }
    match &adjacency.rewrite {
        Some(rewrite) => {
            let bytes: String =
                rewrite.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("ipv{version} via {next_hop} {name}: mtu:{mtu} {bytes}")
        }
        None => format!("arp-ipv{version}: via {next_hop} {name}"),
    }
}

/// The headers of a recorded packet; the Ethernet header where a node has to do with it.
fn headers(record: &TraceRecord) -> Vec<String> {
    let bytes = &record.bytes[..usize::from(record.bytes_len).min(record.bytes.len())];
    let link = matches!(record.detail, TraceDetail::Interface(_) | TraceDetail::Rewrite(_));
    let mut lines = Vec::new();
    if link || record.l3_offset == 0 {
        lines.extend(packet::ethernet(bytes));
    }
    let l3 = match record.l3_offset {
        0 => 14,
        offset => usize::from(offset),
    };
    // The EtherType is right before what it names, behind any tags.
    let kind =
        bytes.get(l3.saturating_sub(2)..l3).map(|kind| u16::from_be_bytes([kind[0], kind[1]]));
    match (kind, bytes.get(l3..)) {
        (Some(0x0806), Some(arp)) => lines.extend(packet::arp(arp)),
        // A packet from control has no Ethernet header yet.
        (Some(0x0800 | 0x86dd | 0), Some(ip)) => lines.extend(packet::ip(ip)),
        _ if record.l3_offset != 0 => {
            lines.extend(bytes.get(l3..).map(packet::ip).unwrap_or_default());
        }
        _ => {}
    }
    lines
}

impl Display for Trace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for thread in &self.threads {
            let ThreadTrace { thread, name, packets } = thread;
            writeln!(f, "------------------- Start of thread {thread} {name} -------------------")?;
            if packets.is_empty() {
                writeln!(f, "No packets in trace buffer")?;
            }
            for PacketTrace { packet, nodes } in packets {
                writeln!(f, "Packet {packet}\n")?;
                for NodeTrace { time_us, node, text } in nodes {
                    let (seconds, micros) = (time_us / 1_000_000, time_us % 1_000_000);
                    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                    writeln!(f, "{hours:02}:{minutes:02}:{:02}:{micros:06}: {node}", seconds % 60)?;
                    for line in text {
                        writeln!(f, "  {line}")?;
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
