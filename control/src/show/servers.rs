//! ASs, in `show lb vips verbose`, `show lb as` and `GET /v1/lb/as`.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::sync::Arc;

use config::Admin;
use serde::Serialize;

use super::drain::state_word;

/// One AS.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerStatus {
    /// Its index.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// Share of new flows, 0..=100.
    pub weight: u8,
    /// How packets reach it.
    pub encap: &'static str,
    /// DSCP with l3dsr.
    pub dscp: Option<u8>,
    /// Slots of the new-flow table that name it.
    pub buckets: u32,
    /// Slots it would have if they could be divided.
    pub buckets_ideal: f64,
    /// Flows that are alive, over all workers.
    pub flows: u64,
    /// Its traffic.
    pub counters: ServerCounters,
    /// Number of its adjacency; absent when there is no route to it.
    pub adjacency: Option<u32>,
    /// Interface that its packets leave by.
    pub interface: Option<String>,
    /// Neighbour that they go to.
    pub next_hop: Option<IpAddr>,
    /// `resolved`, `unresolved` while the neighbour does not answer, `no route`, or `no tunnel
    /// source` when there is no address to send from.
    pub path: &'static str,
    /// Source of outer headers; absent when there are none.
    pub tunnel_source: Option<IpAddr>,
    /// Deleted; keeps the flows it has.
    pub removed: bool,
    /// `up`, `drain` or `drain-then-del`.
    pub admin: &'static str,
    /// It takes no new flows, by `del`, `drain` or its weight, and has none left.
    pub drained: bool,
}

/// An AS's traffic, in IP packets and bytes as clients and ASs send them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServerCounters {
    /// To the AS.
    pub packets: u64,
    /// To the AS.
    pub bytes: u64,
    /// From the AS, with NAT.
    pub reply_packets: u64,
    /// From the AS, with NAT.
    pub reply_bytes: u64,
}

impl ServerCounters {
    /// What was counted since `baseline`.
    pub fn since(&self, baseline: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(baseline.packets),
            bytes: self.bytes.saturating_sub(baseline.bytes),
            reply_packets: self.reply_packets.saturating_sub(baseline.reply_packets),
            reply_bytes: self.reply_bytes.saturating_sub(baseline.reply_bytes),
        }
    }
}

impl ServerStatus {
    /// `used`, `draining`, `drained` or `removed`.
    fn word(&self) -> &'static str {
        state_word(self.removed, self.admin != Admin::Up.word(), self.drained)
    }

    /// Configured or not, and what keeps packets from it.
    pub fn state(&self) -> impl Display {
        let (word, path) = (self.word(), self.path);
        std::fmt::from_fn(move |f| match path {
            "resolved" => f.write_str(word),
            path => write!(f, "{word}, {path}"),
        })
    }
}

impl Display for ServerStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { address, weight, buckets, flows, encap, counters, .. } = self;
        write!(f, "{address} weight:{weight} buckets:{buckets} flows:{flows} ")?;
        match self.adjacency {
            Some(adjacency) => write!(f, "dpo:{adjacency} ")?,
            None => write!(f, "dpo:none ")?,
        }
        // VPP writes a blank more here.
        f.write_str(if self.removed { " removed" } else { self.word() })?;
        let ServerCounters { packets, bytes, reply_packets, reply_bytes } = counters;
        write!(f, " encap:{encap}")?;
        if let Some(dscp) = self.dscp {
            write!(f, " dscp:{dscp}")?;
        }
        write!(f, " packets:{packets} bytes:{bytes}")?;
        if encap.starts_with("nat") {
            write!(f, " reply-packets:{reply_packets} reply-bytes:{reply_bytes}")?;
        }
        write!(f, " ideal:{:.1}", self.buckets_ideal)?;
        match self.path {
            "resolved" => Ok(()),
            path => write!(f, " ({path})"),
        }
    }
}

/// ASs of VIPs, `GET /v1/lb/as`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Servers {
    /// By VIP.
    #[serde(rename = "as")]
    pub servers: Vec<ServerOfVip>,
}

/// An AS with the VIP it serves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerOfVip {
    /// The VIP, as tables name it.
    #[serde(skip)]
    pub vip: Arc<str>,
    /// Index of the VIP.
    pub vip_index: u32,
    /// Addresses and length of the VIP.
    pub vip_prefix: String,
    /// `tcp` or `udp`; absent for all protocols and ports.
    pub protocol: Option<&'static str>,
    /// Port of the VIP, or the first of a range.
    pub port: Option<u16>,
    /// Port of the VIP, or the last of a range.
    pub port_last: Option<u16>,
    /// The AS.
    #[serde(flatten)]
    pub server: ServerStatus,
}

impl Display for Servers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let head = ["Encap", "Weight", "Buckets", "Flows", "Packets", "Bytes"];
        let [encap, weight, buckets, flows, packets, bytes] = head;
        writeln!(
            f,
            "{:<44}{:<26}{encap:<7}{weight:>7}{buckets:>9}{flows:>10}{packets:>14}{bytes:>16}  State",
            "VIP", "AS"
        )?;
        for ServerOfVip { vip, server, .. } in &self.servers {
            let ServerStatus { address, weight, encap, buckets, flows, counters, .. } = server;
            let ServerCounters { packets, bytes, .. } = counters;
            writeln!(
                f,
                "{vip:<43} {address:<25} {encap:<7}{weight:>7}{buckets:>9}{flows:>10}{packets:>14}\
                 {bytes:>16}  {}",
                server.state()
            )?;
        }
        Ok(())
    }
}
