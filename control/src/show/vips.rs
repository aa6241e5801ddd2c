//! `show lb vips`, `GET /v1/lb/vips`; `show lb as`, `GET /v1/lb/as`.

use std::fmt::{self, Display, Formatter};
use std::net::Ipv4Addr;

use serde::Serialize;

/// All VIPs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vips {
    /// By index.
    pub vips: Vec<VipStatus>,
}

/// One VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VipStatus {
    /// Its index, as `lb_vip_add ok` printed it.
    pub index: u32,
    /// A name for people.
    pub name: Option<String>,
    /// Address and length.
    pub prefix: String,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// IP protocol number, as the text output has it.
    #[serde(skip)]
    pub protocol_number: u8,
    /// Port.
    pub port: u16,
    /// `nat4`.
    pub encap: &'static str,
    /// `clusterip`.
    #[serde(rename = "type")]
    pub service_type: &'static str,
    /// Port of the ASs.
    pub target_port: u16,
    /// Length of the new-flow table.
    pub new_len: u32,
    /// Digest of the new-flow table: equal on replicas that agree.
    pub new_flow_table_digest: String,
    /// Chooses the AS by the client's address only.
    pub src_ip_sticky: bool,
    /// VPP's four counters.
    pub counters: VipCounters,
    /// Its ASs.
    #[serde(rename = "as")]
    pub servers: Vec<ServerStatus>,
}

/// VPP's four counters of a VIP, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VipCounters {
    /// Of flows that had an entry.
    pub packets_from_existing_sessions: u64,
    /// That made a flow's entry.
    pub first_session_packets: u64,
    /// Forwarded without an entry.
    pub untracked_packets: u64,
    /// That no AS could take.
    pub no_server_configured: u64,
}

/// One AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ServerStatus {
    /// Its index.
    pub index: u32,
    /// Its address.
    pub address: Ipv4Addr,
    /// Share of new flows, 0..=100.
    pub weight: u8,
    /// Slots of the new-flow table that name it.
    pub buckets: u32,
    /// Flows that are alive, over all workers.
    pub flows: u64,
    /// Number of its adjacency; absent when there is no route to it.
    pub adjacency: Option<u32>,
    /// Deleted; keeps the flows it has.
    pub removed: bool,
}

impl Vips {
    /// The text of `show lb vips`.
    pub fn brief(&self) -> String {
        self.vips.iter().map(|vip| format!("{}\n", vip.line())).collect()
    }

    /// The text of `show lb vips verbose`.
    pub fn verbose(&self) -> String {
        self.vips.iter().map(|vip| format!("{vip}\n")).collect()
    }

    /// The text of `show lb as`.
    pub fn server_table(&self) -> String {
        let mut text = format!(
            "{:<44}{:<16}{:>7}{:>9}{:>10}  {}\n",
            "VIP", "AS", "Weight", "Buckets", "Flows", "State"
        );
        for vip in &self.vips {
            let name = format!("{} {} port {}", vip.prefix, vip.protocol, vip.port);
            for server in &vip.servers {
                let ServerStatus { address, weight, buckets, flows, .. } = server;
                text.push_str(&format!(
                    "{name:<44}{address:<16}{weight:>7}{buckets:>9}{flows:>10}  {}\n",
                    server.state()
                ));
            }
        }
        text
    }
}

impl VipStatus {
    /// One line, as `show lb vips` and a trace have it.
    pub fn line(&self) -> String {
        let Self { encap, prefix, new_len, port, protocol_number, .. } = self;
        format!(
            "ip4-{encap} {prefix} new_size:{new_len} #as:{}  protocol:{protocol_number} \
             port:{port}  type:{} port:{port} target_port:{}",
            self.servers.len(),
            self.service_type,
            self.target_port,
        )
    }
}

impl Display for VipStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sticky = if self.src_ip_sticky { " src_ip_sticky" } else { "" };
        writeln!(f, " ip4-{} [{}] {}{sticky}", self.encap, self.index, self.prefix)?;
        writeln!(f, "  new_size:{}", self.new_len)?;
        writeln!(f, "  protocol:{} port:{}", self.protocol_number, self.port)?;
        let Self { service_type, port, target_port, .. } = self;
        writeln!(f, "  type:{service_type} port:{port} target_port:{target_port}")?;
        let counters = &self.counters;
        writeln!(f, "  counters:")?;
        let from_existing = counters.packets_from_existing_sessions;
        writeln!(f, "    packet from existing sessions: {from_existing}")?;
        writeln!(f, "    first session packet: {}", counters.first_session_packets)?;
        writeln!(f, "    untracked packet: {}", counters.untracked_packets)?;
        writeln!(f, "    no server configured: {}", counters.no_server_configured)?;
        writeln!(f, "  #as:{}", self.servers.len())?;
        for server in &self.servers {
            writeln!(f, "    {server}")?;
        }
        Ok(())
    }
}

impl ServerStatus {
    fn state(&self) -> &'static str {
        match (self.removed, self.adjacency) {
            (true, _) => "removed",
            (false, None) => "used, no route",
            (false, Some(_)) => "used",
        }
    }
}

impl Display for ServerStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { address, weight, buckets, flows, .. } = self;
        write!(f, "{address} weight:{weight} buckets:{buckets} flows:{flows} ")?;
        match self.adjacency {
            Some(adjacency) => write!(f, "dpo:{adjacency} ")?,
            None => write!(f, "dpo:none ")?,
        }
        f.write_str(if self.removed { " removed" } else { "used" })
    }
}

/// All ASs of all VIPs, `GET /v1/lb/as`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Servers {
    /// By VIP.
    #[serde(rename = "as")]
    pub servers: Vec<ServerOfVip>,
}

/// An AS with the VIP it serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerOfVip {
    /// Index of the VIP.
    pub vip_index: u32,
    /// Address and length of the VIP.
    pub vip_prefix: String,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Port of the VIP.
    pub port: u16,
    /// The AS.
    #[serde(flatten)]
    pub server: ServerStatus,
}

impl From<&Vips> for Servers {
    fn from(vips: &Vips) -> Self {
        let of_vip = |vip: &VipStatus, server: &ServerStatus| ServerOfVip {
            vip_index: vip.index,
            vip_prefix: vip.prefix.clone(),
            protocol: vip.protocol,
            port: vip.port,
            server: *server,
        };
        let all = vips.vips.iter().flat_map(|vip| vip.servers.iter().map(move |s| of_vip(vip, s)));
        Self { servers: all.collect() }
    }
}

impl VipCounters {
    /// What was counted since `baseline`.
    pub fn since(&self, baseline: &Self) -> Self {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            packets_from_existing_sessions: since(
                self.packets_from_existing_sessions,
                baseline.packets_from_existing_sessions,
            ),
            first_session_packets: since(
                self.first_session_packets,
                baseline.first_session_packets,
            ),
            untracked_packets: since(self.untracked_packets, baseline.untracked_packets),
            no_server_configured: since(self.no_server_configured, baseline.no_server_configured),
        }
    }
}
