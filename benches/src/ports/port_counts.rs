//! [`PortCounts`]: what ports lost, by their drivers' own words.

use dataplane::dpdk::port::Port;
use dataplane::dpdk::port_stats::{self, PortStats};
use serde::{Deserialize, Serialize};

/// Packets that drivers did not pass on, all ports together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCounts {
    /// Came when no descriptor was free (`imissed`). Not every driver counts them.
    pub missed: u64,
    /// Came when no mbuf was free (`rx_nombuf`).
    pub no_buffer: u64,
    /// Came broken (`ierrors`).
    pub rx_errors: u64,
    /// Could not be sent, although the driver had taken them (`oerrors`).
    pub tx_errors: u64,
}

impl PortCounts {
    /// Of these ports, until now.
    pub fn read(ports: &[Port]) -> Self {
        ports.iter().map(|port| port_stats::read(port.id())).fold(Self::default(), Self::plus)
    }

    fn plus(self, stats: PortStats) -> Self {
        Self {
            missed: self.missed + stats.rx_missed,
            no_buffer: self.no_buffer + stats.rx_no_buffer,
            rx_errors: self.rx_errors + stats.rx_errors,
            tx_errors: self.tx_errors + stats.tx_errors,
        }
    }

    /// What has been counted since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            missed: self.missed.saturating_sub(before.missed),
            no_buffer: self.no_buffer.saturating_sub(before.no_buffer),
            rx_errors: self.rx_errors.saturating_sub(before.rx_errors),
            tx_errors: self.tx_errors.saturating_sub(before.tx_errors),
        }
    }

    /// Everything that was lost at ports.
    pub fn total(self) -> u64 {
        self.missed + self.no_buffer + self.rx_errors + self.tx_errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_add_up() {
        let stats = PortStats {
            rx_missed: 1,
            rx_no_buffer: 2,
            rx_errors: 3,
            tx_errors: 4,
            ..PortStats::default()
        };
        let two = PortCounts::default().plus(stats).plus(stats);
        assert_eq!((two.missed, two.no_buffer, two.rx_errors, two.tx_errors), (2, 4, 6, 8));
        let one = PortCounts::default().plus(stats);
        assert_eq!((two.since(one), one.total()), (one, 10));
    }
}
