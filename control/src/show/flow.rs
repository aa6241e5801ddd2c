//! `show lb flow`, `GET /v1/lb/flow?…`: where a flow's packets go, and why.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::servers::ServerStatus;

/// Where packets of a flow would go at present.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowStatus {
    /// The flow, as it was asked for.
    pub flow: String,
    /// Index of the VIP that takes it; absent when none does.
    pub vip_index: Option<u32>,
    /// The VIP.
    pub vip: Option<String>,
    /// `sticky` (a worker knows the flow), `table` (a new flow, by the new-flow table), `rr` (a new
    /// flow, by turn), `no server`, `no match` (a VIP's address, but no VIP's port) or `no VIP`.
    pub why: &'static str,
    /// The thread of the worker whose sticky table has the flow, as `show threads` numbers it.
    pub thread: Option<usize>,
    /// The slot of the new-flow table.
    pub slot: Option<u32>,
    /// What packets get that no VIP takes; absent at an address of our own.
    pub no_match: Option<&'static str>,
    /// Destination port at the AS.
    pub target_port: Option<u16>,
    /// The AS.
    #[serde(rename = "as")]
    pub server: Option<ServerStatus>,
}

impl Display for FlowStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.flow)?;
        if let (Some(index), Some(vip)) = (self.vip_index, &self.vip) {
            writeln!(f, "  vip [{index}]: {vip}")?;
        }
        let why = match self.why {
            "sticky" => {
                format!("sticky: thread {} knows the flow", self.thread.unwrap_or_default())
            }
            "table" => {
                format!("a new flow: slot {} of the new-flow table", self.slot.unwrap_or_default())
            }
            "rr" => "a new flow: the next in turn".to_owned(),
            "no server" => "dropped: no AS takes new flows".to_owned(),
            "no match" => format!(
                "no VIP of the address takes this protocol and port: {}",
                match self.no_match {
                    Some(policy) => format!("no-match {policy}"),
                    None => "the address is our own".to_owned(),
                }
            ),
            _ => "no VIP has this address".to_owned(),
        };
        writeln!(f, "  why: {why}")?;
        let Some(server) = &self.server else { return Ok(()) };
        let ServerStatus { index, address, encap, .. } = server;
        write!(f, "  as [{index}]: {address}")?;
        if let Some(port) = self.target_port {
            write!(f, " port {port}")?;
        }
        writeln!(f, " encap {encap} weight:{} {}", server.weight, server.state())?;
        match (&server.next_hop, &server.interface) {
            (Some(next_hop), Some(interface)) => {
                writeln!(f, "  path: via {next_hop} {interface}, {}", server.path)
            }
            _ => writeln!(f, "  path: {}", server.path),
        }
    }
}
