//! `show events`, `GET /v1/events`.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::Serialize;

/// The last events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Events {
    /// The newest last.
    pub events: Vec<EventStatus>,
}

/// Something that happened to an AS.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventStatus {
    /// Counts up from 1; what is missing before the first one was too old to be kept.
    pub sequence: u64,
    /// When, seconds since the daemon's start.
    pub time_s: f64,
    /// `drain`, `drain-then-del`, `undrain`, `drained`, `del`, `re-added`, `flush` or `vip-del`.
    pub kind: &'static str,
    /// The VIP, as commands name it.
    pub vip: String,
    /// The AS; absent when it is about the whole VIP.
    #[serde(rename = "as")]
    pub server: Option<IpAddr>,
}

impl Display for Events {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>8}{:>14}  {:<15} {:<26}VIP", "Event", "Time", "Kind", "AS")?;
        for EventStatus { sequence, time_s, kind, vip, server } in &self.events {
            let server = server.map_or_else(|| "-".to_owned(), |server| server.to_string());
            writeln!(f, "{sequence:>8}{time_s:>13.3}s  {kind:<15} {server:<25} {vip}")?;
        }
        Ok(())
    }
}
