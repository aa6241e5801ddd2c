//! Good packets, whole frames, from which bad ones are made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::interface::MacAddress;
use testkit::packet_builder::{PacketBuilder, arp, neighbor_advertisement, neighbor_solicitation};

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

fn address(v6: bool, host: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host.into()).into()
    } else {
        Ipv4Addr::new(10, 0, 1, host).into()
    }
}

/// One of each sort.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [false, true].into_iter().flat_map(of_family).collect();
    let [here, there] = [(MAC, Ipv4Addr::new(10, 0, 1, 254)), (OTHER, Ipv4Addr::new(10, 0, 1, 1))];
    all.extend([arp(true, there, here), arp(false, there, here)]);
    let at = |host| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host);
    all.push(neighbor_solicitation((OTHER, at(1)), at(0xfe)));
    all.push(neighbor_solicitation((OTHER, Ipv6Addr::UNSPECIFIED), at(0xfe)));
    all.push(neighbor_advertisement((OTHER, at(1)), (MAC, at(0xfe)), true));
    all
}

fn of_family(v6: bool) -> Vec<Vec<u8>> {
    let [client, vip] = [address(v6, 1), address(v6, 7)];
    let mss = [2, 4, 5, 180, 1, 3, 3, 7];
    let tcp = PacketBuilder::tcp((client, 4000), (vip, 80), 2).tcp_options(&mss);
    let udp = PacketBuilder::udp((client, 4000), (vip, 53)).data([7; 12]);
    let inner = tcp.packet();
    let echo = if v6 { (128, 0) } else { (8, 0) };
    let mut packets = vec![
        PacketBuilder::too_big(client, vip, 1300, &inner),
        PacketBuilder::too_big(client, vip, 1300, &udp.packet()),
        PacketBuilder::icmp(client, vip, echo, [0, 1, 0, 1]).data([1; 16]),
        PacketBuilder::gre(client, vip, &inner),
        PacketBuilder::ipip(client, vip, &inner),
        PacketBuilder::gue((client, 4000), vip, &inner),
        PacketBuilder::other(client, vip, 132).data([3; 20]),
        PacketBuilder::tcp((client, 4000), (vip, 80), 0x11).vlan(0x8100, 5).data([9; 4]),
    ];
    packets.push(match v6 {
        true => udp.clone().padded_extension(0, 0).padded_extension(60, 1),
        false => udp.clone().ip_options(&[1, 1, 7, 3, 4, 0, 0, 0]),
    });
    packets.push(match v6 {
        true => udp.clone().fragment_header(0, true, 77),
        false => udp.clone().fragment(0x2000),
    });
    packets.extend([tcp, udp]);
    packets.into_iter().map(|packet| packet.macs(MAC, OTHER).build()).collect()
}
