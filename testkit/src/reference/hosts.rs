//! Who is around the box in a scenario, and what they know of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config::{Config, Kind, covers};
use super::frame::tag;
use super::ip::word;
use super::scenario::{Pick, Universe};
use super::service::Vip;

/// One of the things in `list`, by number.
pub(super) fn pick<T: Clone>(list: &[T], pick: Pick) -> Option<T> {
    (!list.is_empty()).then(|| list[pick % list.len()].clone())
}

/// Every address of a family that means something.
pub(super) fn targets(universe: &Universe, config: &Config, v6: bool) -> Vec<IpAddr> {
    let own = config.interfaces.iter().flat_map(|i| i.addresses.iter().map(|(a, _)| *a));
    let vips = config.vips.iter().map(|vip| within(vip, 1));
    let others = universe.targets.iter().chain(&universe.servers).copied();
    let hosts = universe.neighbors.iter().map(|(_, address)| *address);
    own.chain(vips).chain(others).chain(hosts).filter(|to| to.is_ipv6() == v6).collect()
}

/// An address that a VIP listens on.
pub(super) fn within(vip: &Vip, pick: Pick) -> IpAddr {
    if vip.key.is_host() {
        return vip.key.network;
    }
    let host = [1, 2, 12, 77][pick % 4];
    match vip.key.network {
        IpAddr::V4(network) => Ipv4Addr::from(u32::from(network) | host).into(),
        IpAddr::V6(network) => Ipv6Addr::from(u128::from(network) | u128::from(host)).into(),
    }
}

/// What the box answers for on an interface.
pub(super) fn ours(config: &Config, interface: u16, v6: bool) -> Vec<IpAddr> {
    let own = config.interface(interface).addresses.iter().map(|(address, _)| *address);
    let vips = config.vips.iter().map(|vip| within(vip, 1));
    own.chain(vips).filter(|address| address.is_ipv6() == v6).collect()
}

/// Hosts that can speak of themselves, or only those that may do so on this interface.
pub(super) fn speakers(
    universe: &Universe,
    config: &Config,
    interface: u16,
    local: bool,
    v6: bool,
) -> Vec<IpAddr> {
    let neighbors = universe.neighbors.iter();
    let here = neighbors.filter(|(at, _)| !local || *at == interface).map(|(_, a)| *a);
    let nobody: IpAddr =
        if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut hosts: Vec<_> = here.chain([nobody]).collect();
    if v6 {
        hosts.push(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into());
    }
    if !local {
        let groups = [Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 5)];
        hosts.extend(groups.map(IpAddr::V4));
        hosts.extend(config.indices().flat_map(|index| ours(config, index, v6)));
        hosts.extend(universe.clients.iter().map(|(_, address)| *address));
    }
    hosts.retain(|host| host.is_ipv6() == v6);
    hosts
}

/// The interface whose network `address` is in, the first one if it is elsewhere.
pub(super) fn interface_of(config: &Config, address: IpAddr) -> u16 {
    let inside = |index: &u16| {
        let link = config.interface(*index);
        let mut addresses = link.addresses.iter();
        !matches!(link.kind, Kind::Tunnel { .. })
            && addresses.any(|(own, len)| covers(*own, *len, address))
    };
    config.indices().find(inside).unwrap_or(1)
}

/// The tags of an interface's frames.
fn tags(config: &Config, interface: u16) -> Vec<(u16, u16)> {
    let Kind::Vlan { outer, inner, service_tag, .. } = config.interface(interface).kind else {
        return Vec::new();
    };
    let first = (if service_tag { 0x88a8 } else { 0x8100 }, outer);
    [first].into_iter().chain(inner.map(|inner| (0x8100, inner))).collect()
}

/// The port that an interface's frames arrive on, and the frame as it arrives.
pub(super) fn on_the_wire(config: &Config, interface: u16, mut frame: Vec<u8>) -> (u16, Vec<u8>) {
    tag(&mut frame, &tags(config, interface));
    match config.interface(interface).kind {
        Kind::Vlan { parent, .. } => (parent, frame),
        Kind::Port | Kind::Tunnel { .. } => (interface, frame),
    }
}

/// The interface that a frame of the box left by, and the frame without tags.
pub(super) fn off_the_wire(config: &Config, port: u16, frame: &[u8]) -> (u16, Vec<u8>) {
    let of_port = |index: &u16| match config.interface(*index).kind {
        Kind::Vlan { parent, .. } => parent == port,
        _ => false,
    };
    let has = |index: &u16| {
        let tags = tags(config, *index);
        let at = 12 + tags.len() * 4;
        frame.len() > at + 2
            && ![0x8100, 0x88a8].contains(&word(frame, at))
            && tags.iter().enumerate().all(|(at, (tpid, vlan))| {
                word(frame, 12 + at * 4) == *tpid && word(frame, 14 + at * 4) == *vlan
            })
    };
    let Some(index) = config.indices().filter(of_port).find(has) else {
        return (port, frame.to_vec());
    };
    let mut untagged = frame.to_vec();
    untagged.drain(12..12 + tags(config, index).len() * 4);
    (index, untagged)
}
