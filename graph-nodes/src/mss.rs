//! The maximum segment size of SYNs: what fits the way to an AS.

use balancer::{AsId, VipId};
use dataplane::family::Family;
use dataplane::forwarding::MssClamp;
use dataplane::snapshot::Snapshot;
use dataplane::wire::Header;
use dataplane::wire::tcp::TcpHeader;
use dataplane::wire::tcp_options::clamp_mss;

/// The largest segment that SYNs of flows of the VIP to the AS may ask for, in bytes of payload.
fn limit<F: Family>(snapshot: &Snapshot, vip: VipId, server: AsId) -> Option<u16> {
    match snapshot.vip_policies.get(vip.index())?.mss {
        MssClamp::Keep => None,
        MssClamp::At(limit) => Some(limit),
        MssClamp::Auto => {
            let path = snapshot.server_path(server)?;
            let link = snapshot.adjacency(path.adjacency?)?;
            let outer = path.method.overhead(path.address.is_ipv6());
            let headers = (F::Header::LEN + TcpHeader::LEN) as u16;
            Some(link.mtu.saturating_sub(outer).saturating_sub(headers))
        }
    }
}

/// Lowers the maximum segment size in the TCP segment as the VIP says. True when it was larger.
pub(crate) fn clamp<F: Family>(
    snapshot: &Snapshot,
    vip: VipId,
    server: AsId,
    segment: &mut [u8],
) -> bool {
    limit::<F>(snapshot, vip, server).is_some_and(|limit| clamp_mss(segment, limit))
}
