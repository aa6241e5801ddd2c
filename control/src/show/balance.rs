//! `show lb balance`, `GET /v1/balance`.

use std::fmt::{self, Display, Formatter};

use graph_nodes::ledger::{self, Balance, Term};
use serde::Serialize;

use super::hardware::PortCounters;

/// Where packets came from and what became of them, since the start: received and originated are what
/// was sent, dropped, punted, consumed or is held. Nothing is missing while nothing moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BalanceStatus {
    /// The terms.
    pub terms: Vec<TermStatus>,
    /// Received and originated less all others.
    pub missing: i64,
    /// Packet buffers that are in no pool: in rings of ports, in flight, held.
    pub buffers_used: u64,
    /// What ports lost before anybody received it: no part of the balance.
    pub lost_before: LostBefore,
}

/// One term of the balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TermStatus {
    /// Its name.
    pub term: &'static str,
    /// True for the two that the others account for.
    pub source: bool,
    /// Sum of the parts.
    pub packets: i64,
    /// Those that are not 0.
    pub parts: Vec<PartStatus>,
}

/// One part of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartStatus {
    /// What is counted.
    pub what: &'static str,
    /// Packets.
    pub packets: i64,
}

/// What never got in, over all ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LostBefore {
    /// No descriptor was free.
    pub rx_missed: u64,
    /// No buffer was free.
    pub rx_no_buffer: u64,
    /// Received in error.
    pub rx_errors: u64,
    /// Looks of idle workers that found no free buffer, where drivers do not tell.
    pub starved_looks: u64,
}

impl LostBefore {
    /// Adds what a port lost.
    pub fn add(&mut self, port: &PortCounters) {
        self.rx_missed += port.rx_missed;
        self.rx_no_buffer += port.rx_no_buffer;
        self.rx_errors += port.rx_errors;
    }
}

impl BalanceStatus {
    /// Puts a balance into words.
    pub fn new(balance: &Balance, buffers_used: u64, lost_before: LostBefore) -> Self {
        let part = |part: &ledger::Part| PartStatus { what: part.what, packets: part.packets };
        let term = |(term, source, sum): (&'static str, bool, &Term)| TermStatus {
            term,
            source,
            packets: sum.total(),
            parts: sum.parts().iter().filter(|part| part.packets != 0).map(part).collect(),
        };
        let terms = [
            ("received", true, &balance.received),
            ("originated", true, &balance.originated),
            ("sent", false, &balance.sent),
            ("dropped", false, &balance.dropped),
            ("punted", false, &balance.punted),
            ("consumed", false, &balance.consumed),
            ("held", false, &balance.held),
        ];
        Self {
            terms: terms.into_iter().map(term).collect(),
            missing: balance.missing(),
            buffers_used,
            lost_before,
        }
    }
}

impl Display for BalanceStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for TermStatus { term, source, packets, parts } in &self.terms {
            let sign = match (before, source) {
                (None, _) => ' ',
                (Some(true), false) => '=',
                _ => '+',
            };
            before = Some(*source);
            writeln!(f, "{sign} {term:<42}{packets:>20}")?;
            for PartStatus { what, packets } in parts {
                writeln!(f, "    {what:<40}{packets:>20}")?;
            }
        }
        writeln!(f, "  {:<42}{:>20}", "missing", self.missing)?;
        writeln!(f, "buffers used {}", self.buffers_used)?;
        let LostBefore { rx_missed, rx_no_buffer, rx_errors, starved_looks } = self.lost_before;
        writeln!(
            f,
            "lost by ports before: rx-miss {rx_missed}, rx-no-buf {rx_no_buffer}, rx-error {rx_errors}"
        )?;
        match starved_looks {
            0 => Ok(()),
            looks => writeln!(f, "idle workers found no free buffer {looks} times"),
        }
    }
}
