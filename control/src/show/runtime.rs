//! `show runtime`, `GET /v1/runtime`.

use std::fmt::Write;

use serde::Serialize;

use super::layout::center;

/// The work of all threads since the last `clear runtime`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Runtime {
    /// The workers.
    pub threads: Vec<ThreadRuntime>,
}

/// The work of one thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadRuntime {
    /// Number; workers from 1.
    pub thread: usize,
    /// Name.
    pub name: String,
    /// EAL lcore.
    pub lcore: u32,
    /// Time since the last `clear runtime`.
    pub time_s: f64,
    /// Packets a node processes at once, over the last [`rate_interval_s`](Self::rate_interval_s).
    pub vector_rate: f64,
    /// Turns, over the same time.
    pub loops_per_second: f64,
    /// Time the two rates above are over.
    pub rate_interval_s: f64,
    /// Packets received.
    pub rx_packets_per_second: f64,
    /// Packets sent.
    pub tx_packets_per_second: f64,
    /// Packets dropped.
    pub drop_packets_per_second: f64,
    /// Packets given to control.
    pub punt_packets_per_second: f64,
    /// By name.
    pub nodes: Vec<NodeRuntime>,
}

/// The work of one node on one thread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NodeRuntime {
    /// Node.
    pub name: &'static str,
    /// `polling` or `active`.
    pub state: &'static str,
    /// Times it ran.
    pub calls: u64,
    /// Packets it saw.
    pub vectors: u64,
    /// Always 0: nodes do not suspend.
    pub suspends: u64,
    /// TSC clocks per packet.
    pub clocks_per_packet: f64,
    /// Packets per call.
    pub vectors_per_call: f64,
}

impl Runtime {
    /// The text of `show runtime [verbose]`; nodes that never saw a packet are left out unless
    /// `verbose`.
    pub fn text(&self, verbose: bool) -> String {
        let threads = self.threads.iter().map(|thread| thread.text(verbose));
        threads.collect::<Vec<_>>().join("---------------\n")
    }
}

impl ThreadRuntime {
    fn text(&self, verbose: bool) -> String {
        let mut text = format!("Thread {} {} (lcore {})\n", self.thread, self.name, self.lcore);
        // A String takes everything.
        let _ = writeln!(
            text,
            "Time {:.1}, {:.6} sec internal node vector rate {:.2} loops/sec {:.2}",
            self.time_s, self.rate_interval_s, self.vector_rate, self.loops_per_second
        );
        let _ = writeln!(
            text,
            "  vector rates in {:.4e}, out {:.4e}, drop {:.4e}, punt {:.4e}",
            self.rx_packets_per_second,
            self.tx_packets_per_second,
            self.drop_packets_per_second,
            self.punt_packets_per_second
        );
        let head = [("Name", 30), ("State", 12), ("Calls", 16), ("Vectors", 16)];
        let head =
            head.iter().chain(&[("Suspends", 16), ("Packet-Clocks", 16), ("Vectors/Call", 16)]);
        text.extend(head.map(|(title, width)| center(title, *width)));
        text.push('\n');
        for node in self.nodes.iter().filter(|node| verbose || node.vectors > 0) {
            let state = center(node.state, 12);
            let NodeRuntime { name, calls, vectors, suspends, .. } = node;
            let NodeRuntime { clocks_per_packet, vectors_per_call, .. } = node;
            let _ = writeln!(
                text,
                "{name:<30}{state}{calls:>16}{vectors:>16}{suspends:>16}{clocks_per_packet:>16.2e}\
                 {vectors_per_call:>16.2}"
            );
        }
        text
    }
}
