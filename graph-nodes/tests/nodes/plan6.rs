//! The IPv6 side of the world: the same links and hosts as in `plan`.

use std::net::Ipv6Addr;

use testkit::harness::Harness;
use testkit::packet_builder::PacketBuilder;
use testkit::world::World;

use crate::plan::{self, CLIENT_LINK, CLIENT_MAC, HOST_MAC, SERVER_LINK, from_client};

const fn on_client_side(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, host)
}

const fn on_server_side(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, host)
}

pub(crate) const OUR_CLIENT_SIDE: Ipv6Addr = on_client_side(0x254);
pub(crate) const OUR_SERVER_SIDE: Ipv6Addr = on_server_side(0x254);
/// Our link-local address on the client link.
pub(crate) const OUR_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x254);
pub(crate) const CLIENT: Ipv6Addr = on_client_side(1);
pub(crate) const CLIENT_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const HOST: Ipv6Addr = on_server_side(9);
/// On the server link, not known.
pub(crate) const STRANGER: Ipv6Addr = on_server_side(0x77);
/// Behind the client, reached by a route.
pub(crate) const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x30, 0, 0, 0, 0, 5);
pub(crate) const NOWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888);

pub(crate) fn world() -> World {
    let mut world = plan::world();
    world.add_address(CLIENT_LINK, OUR_CLIENT_SIDE, 64);
    world.add_address(CLIENT_LINK, OUR_LINK_LOCAL, 64);
    world.add_address(SERVER_LINK, OUR_SERVER_SIDE, 64);
    world.add_neighbor(CLIENT_LINK, CLIENT, CLIENT_MAC);
    world.add_neighbor(SERVER_LINK, HOST, HOST_MAC);
    world.add_route(Ipv6Addr::new(0x2001, 0xdb8, 0x30, 0, 0, 0, 0, 0), 48, CLIENT);
    world
}

pub(crate) fn harness() -> Harness {
    Harness::new(world())
}

/// A UDP datagram from the client to the host.
pub(crate) fn transit() -> PacketBuilder {
    from_client(PacketBuilder::udp((CLIENT, 4000), (HOST, 53)).data(*b"transit"))
}

/// A UDP datagram between these two, from the client's station.
pub(crate) fn between(source: Ipv6Addr, destination: Ipv6Addr) -> PacketBuilder {
    from_client(PacketBuilder::udp((source, 1), (destination, 2)).data(*b"between"))
}
