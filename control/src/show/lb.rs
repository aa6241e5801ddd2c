//! `show lb`, `GET /v1/lb`.

use std::fmt::{self, Display, Formatter};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use super::timeouts::TimeoutStatus;
use crate::state::StateStatus;

/// The load balancer as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LbStatus {
    /// Source of IPv4 tunnels; all ones until it is set.
    pub ip4_src_address: Ipv4Addr,
    /// Source of IPv6 tunnels; all ones until it is set.
    pub ip6_src_address: Ipv6Addr,
    /// VIPs that are configured.
    pub vips: usize,
    /// ASs of all VIPs, removed ones that still have flows included.
    #[serde(rename = "as")]
    pub servers: usize,
    /// How many of them are removed.
    pub as_removed: usize,
    /// How many drain.
    pub as_draining: usize,
    /// Flows of ASs that drain or are removed.
    pub draining_flows: u64,
    /// ASs whose last flow has ended after `drain` or `del`, since the start.
    pub as_drained_total: u64,
    /// Sticky buckets per worker; each takes four flows.
    pub buckets_per_worker: u32,
    /// Idle time of UDP and half-open TCP flows, where `timeouts` does not say otherwise.
    pub timeout_s: u32,
    /// Idle time of established TCP flows.
    pub tcp_established_timeout_s: u32,
    /// Idle time of TCP flows that have seen FIN or RST, where `timeouts` does not say otherwise.
    pub tcp_closing_timeout_s: u32,
    /// The idle time of each state, of VIPs that say nothing themselves.
    pub timeouts: TimeoutStatus,
    /// Outer headers.
    pub tunnel: TunnelStatus,
    /// What packets to a VIP's address get that no VIP takes, where no prefix says otherwise.
    pub no_match: &'static str,
    /// File with the key of the flow hash; absent when the built-in key serves.
    pub hash_key_file: Option<String>,
    /// Tells keys apart without telling the key.
    pub hash_key_fingerprint: String,
    /// Whether flows outlive the daemon.
    pub state: StateStatus,
    /// The sticky table of each worker.
    pub workers: Vec<StickyUsage>,
}

/// What outer headers have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunnelStatus {
    /// TTL or hop limit.
    pub ttl: u8,
    /// `copy` or a number.
    pub dscp: String,
    /// `rfc6040` or `zero`.
    pub ecn: &'static str,
    /// `copy`, `set` or `clear`.
    pub df: &'static str,
    /// `drop` or `fragment`.
    pub too_big: &'static str,
    /// UDP destination port of GUE.
    pub gue_port: u16,
    /// `off` or a prefix.
    pub ip4_src_entropy: String,
    /// `off` or a prefix.
    pub ip6_src_entropy: String,
}

/// One worker's sticky table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StickyUsage {
    /// Thread number, from 1 as VPP counts workers.
    pub thread: usize,
    /// Entries in use.
    pub flows: u64,
    /// How many of them are still to move to a table of another size (`lb conf buckets`).
    pub flows_moving: u64,
    /// Flows that found no place when they should move, ever: they follow the new-flow table.
    pub flows_lost: u64,
    /// Flows that fit.
    pub flows_max: u64,
    /// Bytes of the table, what lies beside it for flows that need more not included.
    pub bytes: u64,
    /// `ordinary`, `huge` (reserved by the administrator) or `transparent`.
    pub pages: &'static str,
    /// How many of the bytes are in pages of 2 MiB.
    pub huge_bytes: u64,
}

impl Display for LbStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "lb_main ip4-src-address: {} ", self.ip4_src_address)?;
        writeln!(f, " ip6-src-address: {} ", self.ip6_src_address)?;
        writeln!(f, " #vips: {}", self.vips)?;
        writeln!(f, " #ass: {}", self.servers)?;
        // VPP has no such line, and it is not there as long as nobody drains anything.
        let Self { as_draining, as_removed, draining_flows, as_drained_total, .. } = self;
        if as_draining + as_removed > 0 || *as_drained_total > 0 {
            writeln!(
                f,
                " #draining: {as_draining} removed: {as_removed} flows: {draining_flows} drained so \
                 far: {as_drained_total}"
            )?;
        }
        writeln!(f, " timeouts in seconds: {}", self.timeouts)?;
        for worker in &self.workers {
            writeln!(f, "core {}", worker.thread)?;
            writeln!(f, "  timeout: {}s", self.timeout_s)?;
            writeln!(f, "  usage: {} / {}", worker.flows, worker.flows_max)?;
            let StickyUsage { bytes, pages, huge_bytes, .. } = worker;
            let [all, huge] = [bytes, huge_bytes].map(|bytes| bytes >> 10);
            writeln!(f, "  memory: {all} KiB in {pages} pages, {huge} KiB of them huge")?;
            let StickyUsage { flows_moving, flows_lost, .. } = worker;
            if (*flows_moving, *flows_lost) != (0, 0) {
                writeln!(f, "  resize: {flows_moving} flows to move, {flows_lost} found no place")?;
            }
        }
        writeln!(f, " state: {}", self.state)
    }
}
