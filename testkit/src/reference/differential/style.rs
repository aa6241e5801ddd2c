//! [`Style`]: how packets reach the graph.

use crate::reference::bursts;

/// How packets reach the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// So many workers share a snapshot and read each other's flows; bursts of packets arrive at
    /// them by turns.
    pub workers: usize,
    /// Large packets are spread over several buffers, behind their headers.
    pub segmented: bool,
    /// Nothing takes the express way.
    pub plain: bool,
    /// Packets lie right before pages that nobody may touch.
    pub guarded: bool,
    /// Sticky tables are so large that the graph does not expect them in the caches.
    pub large_tables: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { workers: 1, segmented: false, plain: false, guarded: false, large_tables: false }
    }
}

/// Where segmented packets are cut: behind what an ICMP error quotes, as the graph quotes the first
/// buffer only.
pub(super) const CUTS: [usize; 2] = [1300, 1327];

/// True for large TCP and UDP packets. What the box answers itself it wants in one buffer.
pub(super) fn is_cut(frame: &[u8]) -> bool {
    let at = bursts::ip_at(frame);
    let protocol = match frame.get(at).map(|byte| byte >> 4) {
        Some(6) => frame.get(at + 6),
        _ => frame.get(at + 9),
    };
    frame.len() > CUTS[1] && matches!(protocol, Some(6 | 17))
}
