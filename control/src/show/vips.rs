//! `show lb vips`, `GET /v1/lb/vips`; and the ASs of VIPs.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use balancer::Protocol;
use serde::Serialize;

use super::timeouts::TimeoutStatus;

pub use super::servers::{ServerCounters, ServerOfVip, ServerStatus, Servers};

/// All VIPs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Vips {
    /// By index.
    pub vips: Vec<VipStatus>,
}

/// One VIP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VipStatus {
    /// Its index, as `lb_vip_add ok` printed it.
    pub index: u32,
    /// A name for people.
    pub name: Option<String>,
    /// Addresses and length.
    pub prefix: String,
    /// `tcp` or `udp`; absent for all protocols and ports.
    pub protocol: Option<&'static str>,
    /// The only port, or the first of a range.
    pub port: Option<u16>,
    /// The only port, or the last of a range.
    pub port_last: Option<u16>,
    /// How packets reach ASs without a way of their own.
    pub encap: &'static str,
    /// DSCP with l3dsr.
    pub dscp: Option<u8>,
    /// `clusterip` or `nodeport`.
    #[serde(rename = "type")]
    pub service_type: &'static str,
    /// Port of every interface address that leads here.
    pub node_port: Option<u16>,
    /// Port of the ASs with NAT, or the first of them.
    pub target_port: Option<u16>,
    /// Port of the ASs with NAT, or the last of them.
    pub target_port_last: Option<u16>,
    /// `maglev` or `rr`.
    pub scheduler: &'static str,
    /// `off`, `auto` or a number of bytes.
    pub mss: String,
    /// How long its flows live.
    pub timeouts: TimeoutStatus,
    /// What it says of that itself, in seconds by the words of `lb vip`.
    pub own_timeouts: BTreeMap<&'static str, u32>,
    /// What packets to its addresses get that no VIP takes.
    pub no_match: &'static str,
    /// Length of the new-flow table.
    pub new_len: u32,
    /// Digest of the new-flow table: equal on replicas that agree.
    pub new_flow_table_digest: String,
    /// Least slots of an AS in proportion to what it ought to have; absent in an empty table.
    pub share_of_ideal_min: Option<f64>,
    /// Most slots of an AS in proportion to what it ought to have.
    pub share_of_ideal_max: Option<f64>,
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

impl Vips {
    /// The text of `show lb vips`.
    pub fn brief(&self) -> String {
        self.vips.iter().map(|vip| format!("{}\n", vip.line())).collect()
    }

    /// The text of `show lb vips verbose`.
    pub fn verbose(&self) -> String {
        self.vips.iter().map(|vip| format!("{vip}\n")).collect()
    }
}

/// `80`, or `80-89`.
fn ports(first: u16, last: Option<u16>) -> String {
    match last {
        Some(last) if last != first => format!("{first}-{last}"),
        _ => first.to_string(),
    }
}

/// `10.10.2.2/32 tcp port 8080`, as tables name a VIP.
pub(crate) fn title(
    prefix: &str,
    protocol: Option<&str>,
    port: Option<u16>,
    port_last: Option<u16>,
) -> String {
    match (protocol, port) {
        (Some(protocol), Some(port)) => {
            format!("{prefix} {protocol} port {}", ports(port, port_last))
        }
        _ => prefix.to_owned(),
    }
}

impl VipStatus {
    /// VPP's name of the kind of VIP: its family and encap.
    fn kind(&self) -> String {
        let version = if self.prefix.contains(':') { 6 } else { 4 };
        format!("ip{version}-{}", self.encap)
    }

    /// The protocol's number and the ports, as VPP writes them.
    fn service(&self) -> Option<String> {
        let name = self.protocol?;
        let number =
            [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| p.name() == name)?.number();
        Some(format!("protocol:{number} port:{}", ports(self.port?, self.port_last)))
    }

    /// What VPP writes of NAT.
    fn translation(&self) -> Option<String> {
        let target = ports(self.target_port?, self.target_port_last);
        let port = self
            .node_port
            .map_or_else(|| ports(self.port.unwrap_or(0), self.port_last), |port| port.to_string());
        Some(format!("type:{} port:{port} target_port:{target}", self.service_type))
    }

    /// What VPP does not have, where it is not the default.
    fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        if self.scheduler != "maglev" {
            options.push(format!("scheduler:{}", self.scheduler));
        }
        if self.mss != "off" {
            options.push(format!("mss:{}", self.mss));
        }
        options
    }

    /// As tables name it.
    pub fn title(&self) -> String {
        title(&self.prefix, self.protocol, self.port, self.port_last)
    }

    /// One line, as `show lb vips` and a trace have it.
    pub fn line(&self) -> String {
        let Self { prefix, new_len, .. } = self;
        let mut line =
            format!("{} {prefix} new_size:{new_len} #as:{}", self.kind(), self.servers.len());
        if let Some(service) = self.service() {
            line.push_str(&format!("  {service} "));
        }
        if let Some(dscp) = self.dscp {
            line.push_str(&format!("  dscp:{dscp}"));
        }
        if let Some(translation) = self.translation() {
            line.push_str(&format!(" {translation}"));
        }
        for option in self.options() {
            line.push_str(&format!(" {option}"));
        }
        line
    }
}

impl Display for VipStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sticky = if self.src_ip_sticky { " src_ip_sticky" } else { "" };
        writeln!(f, " {} [{}] {}{sticky}", self.kind(), self.index, self.prefix)?;
        writeln!(f, "  new_size:{}", self.new_len)?;
        if let Some(service) = self.service() {
            writeln!(f, "  {service}")?;
        }
        if let Some(dscp) = self.dscp {
            writeln!(f, "  dscp:{dscp}")?;
        }
        if let Some(translation) = self.translation() {
            writeln!(f, "  {translation}")?;
        }
        let options = self.options();
        if !options.is_empty() {
            writeln!(f, "  {}", options.join(" "))?;
        }
        if !self.own_timeouts.is_empty() {
            writeln!(f, "  timeouts in seconds: {}", self.timeouts)?;
        }
        let counters = &self.counters;
        writeln!(f, "  counters:")?;
        let from_existing = counters.packets_from_existing_sessions;
        writeln!(f, "    packet from existing sessions: {from_existing}")?;
        writeln!(f, "    first session packet: {}", counters.first_session_packets)?;
        writeln!(f, "    untracked packet: {}", counters.untracked_packets)?;
        writeln!(f, "    no server configured: {}", counters.no_server_configured)?;
        write!(f, "  new-flow table digest:{}", self.new_flow_table_digest)?;
        if let (Some(min), Some(max)) = (self.share_of_ideal_min, self.share_of_ideal_max) {
            write!(f, " share of ideal min:{min:.4} max:{max:.4}")?;
        }
        writeln!(f, "\n  #as:{}", self.servers.len())?;
        for server in &self.servers {
            writeln!(f, "    {server}")?;
        }
        Ok(())
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
