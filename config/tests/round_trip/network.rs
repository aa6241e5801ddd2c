//! Commands of interfaces, routes and neighbours.

use config::{Command, Family, MacAddress, Prefix, Spanned, SubInterface, VlanKind, VlanTags};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::values::{address, any_address, family, name, prefix_of, spanned};

pub(crate) fn link_command() -> impl Strategy<Value = Command> {
    let tunnel = family()
        .prop_flat_map(|family| (address(family), address(family), of(spanned(0u32..=16_383))))
        .prop_filter("has two ends", |(source, destination, _)| source != destination)
        .prop_map(|(source, destination, instance)| Command::CreateIpipTunnel {
            source: source.into(),
            destination: destination.into(),
            instance,
        });
    let tags = (select(VlanKind::ALL), 1u16..=4094, of(1u16..=4094))
        .prop_map(|(kind, outer, inner)| VlanTags { kind, outer, inner });
    let sub = (name(), spanned(1u32..), spanned(tags)).prop_map(|(parent, id, tags)| {
        Command::CreateSubInterface(SubInterface { parent, id, tags })
    });
    prop_oneof![
        tunnel,
        sub,
        name().prop_map(|interface| Command::DeleteIpipTunnel { interface }),
        name().prop_map(|interface| Command::DeleteSubInterface { interface }),
    ]
}

pub(crate) fn network_command() -> impl Strategy<Value = Command> {
    let interfaces = vec(name(), 1..4);
    let nat = (family(), interfaces, any::<bool>()).prop_map(|(family, interfaces, del)| {
        Command::LbSetInterfaceNat { family, interfaces, del }
    });
    let state = (name(), any::<bool>())
        .prop_map(|(interface, up)| Command::SetInterfaceState { interface, up });
    let mtu = (name(), spanned(68u16..=9216))
        .prop_map(|(interface, mtu)| Command::SetInterfaceMtu { interface, mtu });
    let own = (address(Family::Ip4), 1u8..=32)
        .prop_map(|(a, l)| Prefix::new(a, l).unwrap())
        .prop_filter("is a host", |p| {
            p.length() > 30 || (p.address() != p.network().address() && p.address() != p.last())
        });
    let own = (name(), spanned(own), any::<bool>()).prop_map(|(interface, address, del)| {
        Command::SetInterfaceIpAddress { interface, address, del }
    });
    let route = family().prop_flat_map(|family| {
        let via = of((spanned(address(family)), of(name())));
        let hops = (spanned(address(family)), via, of(name()));
        (spanned(prefix_of(family)), hops, any::<bool>()).prop_map(
            |(prefix, (hop, via, through), del)| {
                let (via, interface) = match via {
                    Some((via, interface)) => (Some(via), interface),
                    None if del => (None, None),
                    None if through.is_some() => (None, through),
                    None => (Some(hop), None),
                };
                Command::IpRoute { prefix, via, interface, del }
            },
        )
    });
    let mac = any::<[u8; 6]>().prop_map(|mut mac| {
        mac[0] = mac[0] & 0xfe | 2;
        Spanned::from(MacAddress(mac))
    });
    let neighbor = (name(), spanned(any_address()), of(mac), any::<bool>()).prop_map(
        |(interface, address, mac, is_static)| {
            let del = mac.is_none();
            Command::SetIpNeighbor { interface, address, mac, is_static, del }
        },
    );
    prop_oneof![nat, state, mtu, own, route, neighbor]
}
