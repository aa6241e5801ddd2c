//! ASs that drain, and what happened to ASs.

use std::net::IpAddr;

use config::{Admin, Problem, Spanned};

use crate::control::Control;
use crate::control::journal::{Entry, Kind};
use crate::model::not_a_server;
use crate::show::drain::{DrainStatus, state_word};
use crate::show::events::{EventStatus, Events};

impl Control {
    /// `show events`.
    pub fn events(&self) -> Events {
        let event = |entry: &Entry| EventStatus {
            sequence: entry.sequence,
            time_s: entry.at_ms as f64 / 1_000.0,
            kind: entry.kind.word(),
            vip: entry.vip.to_string(),
            server: entry.server,
        };
        Events { events: self.journal.entries().map(event).collect() }
    }

    /// How far an AS is with giving up its flows. One that was removed and is forgotten has none.
    ///
    /// # Errors
    ///
    /// There is no such VIP or AS, and there was none that left.
    pub fn drain_status(
        &self,
        key: &config::VipKey,
        address: &Spanned<IpAddr>,
    ) -> Result<DrainStatus, Problem> {
        let ip = address.value;
        let gone = || DrainStatus {
            vip: key.to_string(),
            server: ip,
            state: "gone",
            flows: 0,
            takes_flows: false,
            drained: true,
        };
        let vip = match self.model.vip_index(key) {
            Ok(index) => self.model.lb.vips.get(index),
            Err(_) if self.has_left(key, ip) => return Ok(gone()),
            Err(problem) => return Err(problem),
        };
        let Some(vip) = vip else { return Ok(gone()) };
        let Some(server) = vip.server(ip) else {
            return match self.has_left(key, ip) {
                true => Ok(gone()),
                false => Err(not_a_server(vip, address)),
            };
        };
        let drained = self.drains.is_drained(server.index);
        let draining = server.admin != Admin::Up;
        Ok(DrainStatus {
            vip: vip.key.to_string(),
            server: ip,
            state: state_word(server.removed, draining, drained),
            flows: self.live_flows(server.index),
            takes_flows: server.takes_flows(),
            drained,
        })
    }

    /// Whether the last that is known of an AS that is not there is that it left.
    fn has_left(&self, key: &config::VipKey, address: IpAddr) -> bool {
        let name = key.to_string();
        let of_server = |entry: &&Entry| entry.server.is_none_or(|server| server == address);
        let mut latest = self.journal.entries().rev().filter(of_server);
        let last = latest.find(|entry| entry.vip.to_string() == name);
        last.is_some_and(|entry| matches!(entry.kind, Kind::Del | Kind::Drained | Kind::VipDel))
    }
}
