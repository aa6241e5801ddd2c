//! `show lb flows`, `GET /v1/lb/flows`.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::Serialize;

/// A page of the flows that workers know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flows {
    /// In the order of the tables, which says nothing.
    pub flows: Vec<FlowLine>,
    /// Entries that a filter by client leaves out, as they keep a hash of the client's address.
    pub without_client: u64,
    /// Buckets that were looked at for this page.
    pub buckets_read: u64,
    /// Where the next page begins; absent after the last one.
    pub cursor: Option<String>,
    /// The command that shows the next page.
    #[serde(skip)]
    pub next: Option<String>,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowLine {
    /// The worker's thread, from 1.
    pub thread: usize,
    /// `tcp`, `udp` or a number; absent where the entry does not keep it.
    pub protocol: Option<String>,
    /// The client; absent where the entry keeps a hash of it.
    pub client: Option<IpAddr>,
    /// The client's port.
    pub client_port: Option<u16>,
    /// Index of the VIP; absent for a flow to an AS's service itself.
    pub vip_index: Option<u32>,
    /// The VIP, as tables name it.
    pub vip: Option<String>,
    /// The AS.
    #[serde(rename = "as")]
    pub server: IpAddr,
    /// State of the flow.
    pub state: String,
    /// Seconds until the entry expires, unless a packet comes.
    pub expires_s: u32,
}

impl FlowLine {
    /// Address and port of the client.
    fn end(&self) -> String {
        match (self.client, self.client_port) {
            (Some(IpAddr::V6(client)), Some(port)) => format!("[{client}]:{port}"),
            (Some(client), Some(port)) => format!("{client}:{port}"),
            _ => "-".to_owned(),
        }
    }
}

impl Display for Flows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>6} {:<9}{:<26}{:<44}{:<26}{:<13}{:>8}",
            "Thread", "Protocol", "Client", "VIP", "AS", "State", "Expires"
        )?;
        for flow in &self.flows {
            let FlowLine { thread, protocol, vip, server, state, expires_s, .. } = flow;
            let protocol = protocol.as_deref().unwrap_or("-");
            let vip = vip.as_deref().unwrap_or("-");
            writeln!(
                f,
                "{thread:>6} {protocol:<8} {:<25} {vip:<43} {:<25} {state:<12}{expires_s:>8}s",
                flow.end(),
                server.to_string(),
            )?;
        }
        if self.flows.iter().any(|flow| flow.client.is_none()) {
            writeln!(f, "-: entries of such VIPs keep a hash of the client's address and port")?;
        }
        if self.without_client > 0 {
            writeln!(f, "{} flows left out: their entries keep no client", self.without_client)?;
        }
        match &self.next {
            Some(next) => writeln!(f, "{} buckets looked at; more: {next}", self.buckets_read),
            None => Ok(()),
        }
    }
}
