//! [`Tally`]: counts of neighbouring packets that have one counter, added at once.

use balancer::VipId;
use dataplane::interface::InterfaceId;
use dataplane::worker::WorkerShared;

/// Packets that were counted here and not yet where they belong.
#[derive(Debug, Default)]
pub(super) struct Tally {
    vip: Option<VipId>,
    existing: u64,
    interface: Option<InterfaceId>,
    received: u64,
    pub(super) translated: u64,
    pub(super) forwarded: u64,
}

impl Tally {
    /// A packet of a known flow to a VIP.
    #[inline]
    pub(super) fn existing(&mut self, vip: VipId, shared: &WorkerShared) {
        if self.vip != Some(vip) {
            self.flush_vip(shared);
            self.vip = Some(vip);
        }
        self.existing += 1;
    }

    /// A packet that an interface received and that leaves from here.
    #[inline]
    pub(super) fn received(&mut self, interface: InterfaceId, v6: bool, shared: &WorkerShared) {
        if self.interface != Some(interface) {
            self.flush_interface(v6, shared);
            self.interface = Some(interface);
        }
        self.received += 1;
        self.forwarded += 1;
    }

    fn flush_vip(&mut self, shared: &WorkerShared) {
        if let Some(stats) = self.vip.and_then(|vip| shared.vips.get(vip.index())) {
            stats.existing.add(self.existing);
        }
        self.existing = 0;
    }

    fn flush_interface(&mut self, v6: bool, shared: &WorkerShared) {
        if let Some(stats) = self.interface.and_then(|id| shared.interfaces.get(id.index())) {
            let counter = if v6 { &stats.ip6 } else { &stats.ip4 };
            counter.add(self.received);
        }
        self.received = 0;
    }

    /// Gives the counts to their counters. `translated` and `forwarded` are the caller's.
    pub(super) fn flush(&mut self, v6: bool, shared: &WorkerShared) {
        self.flush_vip(shared);
        self.flush_interface(v6, shared);
        *self = Self::default();
    }
}
