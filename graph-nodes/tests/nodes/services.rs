//! A world with one VIP per family and one AS, reached by the method under test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use balancer::{AsId, Ports, Prefix, VipId};
use dataplane::forwarding::Method;
use dataplane::interface::MacAddress;
use testkit::harness::Harness;
use testkit::packet_builder::PacketBuilder;
use testkit::world::World;

use crate::plan::{CLIENT, CLIENT_LINK, CLIENT_MAC, SERVER_LINK, VIP, world};

pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
pub(crate) const OUR_CLIENT_SIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xfe);
pub(crate) const OUR_SERVER_SIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0xfe);
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 1);
pub(crate) const SERVER4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub(crate) const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
pub(crate) const SERVER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 3, 1]);
/// Sources of outer headers, as VPP's tests have them.
pub(crate) const SOURCE4: Ipv4Addr = Ipv4Addr::new(39, 40, 41, 42);
pub(crate) const SOURCE6: Ipv6Addr = Ipv6Addr::new(0x2004, 0, 0, 0, 0, 0, 0, 1);

/// The client of a family.
pub(crate) fn client(v6: bool) -> IpAddr {
    if v6 { CLIENT6.into() } else { CLIENT.into() }
}

/// The VIP of a family.
pub(crate) fn vip(v6: bool) -> IpAddr {
    if v6 { VIP6.into() } else { VIP.into() }
}

/// The AS of a family.
pub(crate) fn server(v6: bool) -> IpAddr {
    if v6 { SERVER6.into() } else { SERVER4.into() }
}

/// The source of outer headers of a family.
pub(crate) fn source(v6: bool) -> IpAddr {
    if v6 { SOURCE6.into() } else { SOURCE4.into() }
}

/// Links of both families, and neighbours on them.
pub(crate) fn dual_world() -> World {
    let mut world = world();
    world.add_address(CLIENT_LINK, OUR_CLIENT_SIDE6, 64);
    world.add_address(SERVER_LINK, OUR_SERVER_SIDE6, 64);
    world.add_neighbor(CLIENT_LINK, CLIENT6, CLIENT_MAC);
    world.add_neighbor(SERVER_LINK, SERVER4, SERVER_MAC);
    world.add_neighbor(SERVER_LINK, SERVER6, SERVER_MAC);
    world.tunnel_policy.source4 = Some(SOURCE4);
    world.tunnel_policy.source6 = Some(SOURCE6);
    world
}

/// A VIP of family `v6` for these ports, with one AS of family `outer6`.
pub(crate) fn service(ports: Ports, v6: bool, outer6: bool, method: Method) -> World {
    let mut world = dual_world();
    let id = world.balanced.add_vip_without_nat(Prefix::host(vip(v6)), ports);
    world.balanced.add_server_by(id, server(outer6), method);
    world
}

/// The same for all ports and protocols.
pub(crate) fn all_ports(v6: bool, outer6: bool, method: Method) -> Harness {
    Harness::new(service(Ports::All, v6, outer6, method))
}

/// The only VIP.
pub(crate) fn only_vip() -> VipId {
    VipId::new(0).unwrap()
}

/// The only AS.
pub(crate) fn only_server() -> AsId {
    AsId::new(0).unwrap()
}

/// From the client's station to ours.
pub(crate) fn arriving(builder: PacketBuilder) -> Vec<u8> {
    builder.macs(World::mac(CLIENT_LINK), CLIENT_MAC).build()
}

/// From our station to the AS's.
pub(crate) fn leaving(builder: PacketBuilder) -> Vec<u8> {
    builder.macs(SERVER_MAC, World::mac(SERVER_LINK)).build()
}

/// From the AS's station to ours.
pub(crate) fn answering(builder: PacketBuilder) -> Vec<u8> {
    builder.macs(World::mac(SERVER_LINK), SERVER_MAC).build()
}

/// From our station to the client's.
pub(crate) fn delivered(builder: PacketBuilder) -> Vec<u8> {
    builder.macs(CLIENT_MAC, World::mac(CLIENT_LINK)).build()
}

/// A UDP datagram of the client to the VIP's port 20000.
pub(crate) fn datagram(v6: bool) -> PacketBuilder {
    PacketBuilder::udp((client(v6), 4000), (vip(v6), 20000)).data(*b"a question")
}

/// A segment of the client to port 80 of the VIP.
pub(crate) fn segment(v6: bool, flags: u8) -> PacketBuilder {
    PacketBuilder::tcp((client(v6), 4000), (vip(v6), 80), flags)
}
