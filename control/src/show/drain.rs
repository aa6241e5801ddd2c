//! `GET /v1/lb/drain`, which `sluicectl wait drained` asks.

use std::net::IpAddr;

use serde::Serialize;

/// How far an AS is with giving up its flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrainStatus {
    /// The VIP, as commands name it.
    pub vip: String,
    /// The AS.
    #[serde(rename = "as")]
    pub server: IpAddr,
    /// `used`, `draining`, `drained`, `removed`; `gone` when it was one and is forgotten.
    pub state: &'static str,
    /// Flows that are alive, over all workers.
    pub flows: u64,
    /// New flows come to it: it does not drain, is not removed, and its weight is not 0.
    pub takes_flows: bool,
    /// It takes none and has none left.
    pub drained: bool,
}

/// The word for an AS.
pub fn state_word(removed: bool, draining: bool, drained: bool) -> &'static str {
    match (removed, draining, drained) {
        (true, ..) => "removed",
        (false, true, true) => "drained",
        (false, true, false) => "draining",
        (false, false, _) => "used",
    }
}
