//! What makes a configuration of VIPs and ASs impossible.

use std::collections::HashSet;

use crate::application_server::{AsId, MAX_WEIGHT};
use crate::lb_tables::LbConfig;
use crate::new_flow_table::NewFlowTableError;
use crate::ports::{Ports, TargetPort};
use crate::prefix::Prefix;
use crate::vip::{VipId, VipKey, VipSpec};

/// A configuration that makes no sense. Commands check for all of this before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LbTablesError {
    /// Two VIPs with one id.
    #[error("VIP {0} is there twice")]
    DuplicateVip(VipId),
    /// Two VIPs with one prefix and the same ports.
    #[error("two VIPs are {0}")]
    DuplicateKey(VipKey),
    /// Two port ranges on one prefix overlap. A single port may lie within a range.
    #[error("the ports of the VIPs {0} and {1} overlap")]
    OverlappingPorts(VipKey, VipKey),
    /// The prefix has host bits, or the port range is empty.
    #[error("{0} is no VIP")]
    Key(VipKey),
    /// Translation of every protocol and port.
    #[error("the VIP {0} needs a protocol and ports for NAT")]
    NatNeedsPorts(VipKey),
    /// Other ports on the ASs, or a node port, without NAT.
    #[error("the VIP {0} cannot change ports without NAT")]
    PortsNeedNat(VipKey),
    /// The target ports go beyond 65 535.
    #[error("the target ports of the VIP {0} end above 65535")]
    TargetPorts(VipKey),
    /// A node port on a VIP of several ports.
    #[error("the VIP {0} has a node port, but not one port")]
    NodePortRange(VipKey),
    /// Two VIPs of one family and protocol with one node port.
    #[error("the VIP {0} has a node port that is another VIP's")]
    DuplicateNodePort(VipKey),
    /// Two ASs with one id, or a VIP with two ASs of one address.
    #[error("AS {0} is there twice")]
    DuplicateServer(AsId),
    /// An AS of a VIP that is not there.
    #[error("AS {0} serves a VIP that is not there")]
    NoSuchVip(AsId),
    /// An AS of the other family behind a VIP with NAT.
    #[error("AS {0} is of another family than its VIP with NAT")]
    Family(AsId),
    /// A weight above 100.
    #[error("the weight of AS {0} is above 100")]
    Weight(AsId),
    /// A new-flow table that cannot be built; the checks above find all of these before.
    #[error(transparent)]
    Table(#[from] NewFlowTableError),
}

/// Checks everything that does not need the ASs of each VIP together.
pub(crate) fn check(config: &LbConfig<'_>) -> Result<(), LbTablesError> {
    let mut ids = HashSet::with_capacity(config.vips.len());
    let mut node_ports = HashSet::new();
    for vip in config.vips {
        if !ids.insert(vip.id) {
            return Err(LbTablesError::DuplicateVip(vip.id));
        }
        check_vip(vip)?;
        let family = vip.key.prefix.is_v6();
        if let Some(port) = vip.node_port
            && !node_ports.insert((family, vip.key.ports.protocol(), port))
        {
            return Err(LbTablesError::DuplicateNodePort(vip.key));
        }
    }
    check_overlaps(config.vips)?;
    match config.servers.iter().find(|server| server.weight > MAX_WEIGHT) {
        Some(server) => Err(LbTablesError::Weight(server.id)),
        None => Ok(()),
    }
}

pub(crate) fn check_vip(vip: &VipSpec) -> Result<(), LbTablesError> {
    let VipKey { prefix, ports } = vip.key;
    if Prefix::new(prefix.network, prefix.len) != Some(prefix) {
        return Err(LbTablesError::Key(vip.key));
    }
    if !vip.nat && (vip.target != TargetPort::Keep || vip.node_port.is_some()) {
        return Err(LbTablesError::PortsNeedNat(vip.key));
    }
    match ports {
        Ports::All if vip.nat => Err(LbTablesError::NatNeedsPorts(vip.key)),
        Ports::All => Ok(()),
        Ports::Range { first, last, .. } if first > last => Err(LbTablesError::Key(vip.key)),
        Ports::Range { first, last, .. } => {
            if vip.target.range(first, last).is_none() {
                return Err(LbTablesError::TargetPorts(vip.key));
            }
            if vip.node_port.is_some() && first != last {
                return Err(LbTablesError::NodePortRange(vip.key));
            }
            Ok(())
        }
    }
}

fn check_overlaps(vips: &[VipSpec]) -> Result<(), LbTablesError> {
    let mut keys: Vec<VipKey> = vips.iter().map(|vip| vip.key).collect();
    keys.sort_unstable();
    if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(LbTablesError::DuplicateKey(pair[0]));
    }
    keys.retain(|key| key.ports != Ports::All && key.ports.single().is_none());
    let overlaps = |pair: &&[VipKey]| {
        let (a, b) = (pair[0], pair[1]);
        a.prefix == b.prefix
            && a.ports.protocol() == b.ports.protocol()
            && b.ports.range().map(|b| b.0) <= a.ports.range().map(|a| a.1)
    };
    // In the order of their first ports, ranges that overlap at all do so with a neighbour.
    match keys.windows(2).find(overlaps) {
        Some(pair) => Err(LbTablesError::OverlappingPorts(pair[0], pair[1])),
        None => Ok(()),
    }
}
