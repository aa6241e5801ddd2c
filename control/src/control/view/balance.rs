//! The balance of packets.

use graph_nodes::ledger::{Balance, Ledger};

use crate::control::Control;
use crate::model::Kind;
use crate::show::balance::{BalanceStatus, LostBefore};

impl Control {
    /// Where packets came from and where they ended, over all workers; exact while nothing moves.
    pub fn balance(&self) -> Balance {
        let (ledger, mut balance) = (Ledger::new(&self.graph), Balance::default());
        for worker in &self.workers {
            ledger.add(&mut balance, &worker.shared, self.snapshot());
        }
        for link in self.model.interfaces.iter() {
            let (Kind::Device(port) | Kind::Punt(port)) = link.kind else { continue };
            let refused = self.workers.iter().filter_map(|worker| {
                Some(worker.shared.interfaces.get(link.id.index())?.tx_errors.get())
            });
            // Drivers that tell at once what they do not take may count it as well.
            let failed = self.hardware.counters(port).tx_errors.saturating_sub(refused.sum());
            match link.kind {
                Kind::Punt(_) => balance.not_punted(failed),
                _ => balance.not_sent(failed),
            }
        }
        balance
    }

    /// `show lb balance`.
    pub fn balance_status(&self) -> BalanceStatus {
        let starved = self.workers.iter().map(|worker| worker.shared.rare.starved.get());
        let mut lost = LostBefore { starved_looks: starved.sum(), ..LostBefore::default() };
        for link in self.model.interfaces.iter() {
            if let Kind::Device(port) | Kind::Punt(port) = link.kind {
                lost.add(&self.hardware.counters(port));
            }
        }
        let pools = self.hardware.pools();
        let used = pools.iter().map(|pool| u64::from(pool.used)).sum();
        BalanceStatus::new(&self.balance(), used, lost)
    }
}
