//! [`Tally`]: counts of neighbouring packets that have one counter, added at once.

use balancer::VipId;
use dataplane::interface::InterfaceId;
use dataplane::worker::WorkerShared;

/// Packets that leave, counted here and not yet where they belong.
#[derive(Debug, Default)]
pub(super) struct Tally {
    vip: Option<VipId>,
    existing: u64,
    interface: InterfaceId,
    received: u64,
    /// All of them.
    pub(super) forwarded: u32,
    /// Those of ASs that got another name.
    pub(super) translated: u32,
}

impl Tally {
    /// A packet of a known flow to a VIP.
    #[inline(always)]
    pub(super) fn existing(&mut self, vip: VipId, shared: &WorkerShared) {
        if self.vip != Some(vip) {
            self.turn_to_vip(vip, shared);
        }
        self.existing += 1;
    }

    /// A packet that an interface received and that leaves from here.
    #[inline(always)]
    pub(super) fn forwarded(&mut self, interface: InterfaceId, v6: bool, shared: &WorkerShared) {
        if self.interface != interface {
            self.turn_to_interface(interface, v6, shared);
        }
        self.received += 1;
        self.forwarded += 1;
    }

    #[inline(never)]
    fn turn_to_vip(&mut self, vip: VipId, shared: &WorkerShared) {
        if let Some(stats) = self.vip.and_then(|vip| shared.vips.get(vip.index())) {
            stats.existing.add(self.existing);
        }
        (self.vip, self.existing) = (Some(vip), 0);
    }

    #[inline(never)]
    fn turn_to_interface(&mut self, interface: InterfaceId, v6: bool, shared: &WorkerShared) {
        if self.received > 0
            && let Some(stats) = shared.interfaces.get(self.interface.index())
        {
            let counter = if v6 { &stats.ip6 } else { &stats.ip4 };
            counter.add(self.received);
        }
        (self.interface, self.received) = (interface, 0);
    }

    /// Gives the counts to their counters.
    pub(super) fn finish(&mut self, v6: bool, shared: &WorkerShared) {
        if let Some(vip) = self.vip {
            self.turn_to_vip(vip, shared);
        }
        self.turn_to_interface(InterfaceId::LOCAL0, v6, shared);
    }
}
