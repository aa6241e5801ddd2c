//! The world most tests play in: a client network and a server network.

use std::net::Ipv4Addr;

use balancer::Protocol;
use dataplane::interface::{InterfaceId, MacAddress};
use testkit::harness::Harness;
use testkit::packet_builder::PacketBuilder;
use testkit::world::World;

pub(crate) const CLIENT_LINK: InterfaceId = InterfaceId(1);
pub(crate) const SERVER_LINK: InterfaceId = InterfaceId(2);
pub(crate) const OUR_CLIENT_SIDE: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 254);
pub(crate) const OUR_SERVER_SIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 254);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 1);
pub(crate) const CLIENT_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 1]);
/// A host on the server link that is no AS.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 9);
pub(crate) const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 2, 9]);
/// Behind the client, reached by a route.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(172, 16, 5, 5);

/// Two links, one host on each, and a route to 172.16.0.0/16 through the client.
pub(crate) fn world() -> World {
    let mut world = World::new();
    assert_eq!(world.add_interface(&[(OUR_CLIENT_SIDE, 24)]), CLIENT_LINK);
    assert_eq!(world.add_interface(&[(OUR_SERVER_SIDE, 24)]), SERVER_LINK);
    world.add_neighbor(CLIENT_LINK, CLIENT, CLIENT_MAC);
    world.add_neighbor(SERVER_LINK, HOST, HOST_MAC);
    world.add_route(Ipv4Addr::new(172, 16, 0, 0), 16, CLIENT);
    world
}

pub(crate) fn harness() -> Harness {
    Harness::new(world())
}

/// Addresses a packet to our interface on the client link, from the client.
pub(crate) fn from_client(builder: PacketBuilder) -> PacketBuilder {
    builder.macs(World::mac(CLIENT_LINK), CLIENT_MAC)
}

/// Addresses a packet to our interface on the server link, from the host there.
pub(crate) fn from_host(builder: PacketBuilder) -> PacketBuilder {
    builder.macs(World::mac(SERVER_LINK), HOST_MAC)
}

/// A UDP datagram from the client to the host.
pub(crate) fn transit() -> PacketBuilder {
    from_client(PacketBuilder::udp((CLIENT, 4000), (HOST, 53)).data(*b"transit"))
}

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 2, 2);
pub(crate) const SERVERS: [Ipv4Addr; 2] =
    [Ipv4Addr::new(192, 168, 1, 1), Ipv4Addr::new(192, 168, 1, 3)];

/// The Ethernet address of an AS.
pub(crate) fn server_mac(server: Ipv4Addr) -> MacAddress {
    MacAddress([2, 0, 0, 0, 3, server.octets()[3]])
}

/// The walk-through of VPP's documentation: 10.10.2.2:8080 (TCP) and 10.10.2.2:20000 (UDP) to port
/// 80 and 3307 of two ASs, with `nat4 in` on their link.
pub(crate) fn balanced_world() -> World {
    let mut world = world();
    world.interface(SERVER_LINK).nat4_in = true;
    let tcp = world.balanced.add_vip(VIP, Protocol::Tcp, 8080, 80);
    let udp = world.balanced.add_vip(VIP, Protocol::Udp, 20000, 3307);
    for server in SERVERS {
        world.add_neighbor(SERVER_LINK, server, server_mac(server));
        world.balanced.add_server(tcp, server);
        world.balanced.add_server(udp, server);
    }
    world
}

pub(crate) fn balanced_harness() -> Harness {
    Harness::new(balanced_world())
}

/// Addresses a packet to our interface on the server link, from this AS.
pub(crate) fn from_server(server: Ipv4Addr, builder: PacketBuilder) -> PacketBuilder {
    builder.macs(World::mac(SERVER_LINK), server_mac(server))
}

/// The packet as an AS gets it.
pub(crate) fn to_server(server: Ipv4Addr, builder: PacketBuilder) -> PacketBuilder {
    builder.macs(server_mac(server), World::mac(SERVER_LINK))
}

/// The packet as the client gets it.
pub(crate) fn to_client(builder: PacketBuilder) -> PacketBuilder {
    builder.macs(CLIENT_MAC, World::mac(CLIENT_LINK))
}

/// Destination address of a frame that was sent.
pub(crate) fn destination(frame: &[u8]) -> Ipv4Addr {
    testkit::packet_builder::validated(frame).dst_addr()
}

/// The four counters of a VIP: existing, first, untracked, no server.
pub(crate) fn vip_counts(harness: &Harness, vip: usize) -> [u64; 4] {
    let stats = &harness.shared().vips[vip];
    [stats.existing.get(), stats.first.get(), stats.untracked.get(), stats.no_server.get()]
}
