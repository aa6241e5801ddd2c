//! The values of commands: addresses, prefixes, names, VIPs.

use std::net::IpAddr;

use config::{
    Family, FlowTimeout, FlowTimeouts, IdleTime, Mss, PortRange, Prefix, Protocol, Spanned, VipKey,
    VipPort,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) fn spanned<T: std::fmt::Debug>(
    s: impl Strategy<Value = T>,
) -> impl Strategy<Value = Spanned<T>> {
    s.prop_map(Spanned::from)
}

/// A unicast address no AS rule objects to.
pub(crate) fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Ip4 => {
            (1u8..=126, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| [a, b, c, d].into()).boxed()
        }
        Family::Ip6 => any::<[u16; 7]>()
            .prop_map(|t| [0x2001, t[0], t[1], t[2], t[3], t[4], t[5], t[6]].into())
            .boxed(),
    }
}

pub(crate) fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ip4), Just(Family::Ip6)]
}

pub(crate) fn any_address() -> impl Strategy<Value = IpAddr> {
    family().prop_flat_map(address)
}

pub(crate) fn prefix_of(family: Family) -> impl Strategy<Value = Prefix> {
    (address(family), 0..=family.bits()).prop_map(|(a, l)| Prefix::new(a, l).unwrap().network())
}

pub(crate) fn name() -> impl Strategy<Value = Spanned<String>> {
    // The `x` keeps clear of words the commands have.
    spanned("x[a-zA-Z0-9/._-]{0,20}")
}

/// One of the words a setting can have.
pub(crate) fn any_of<T: Copy + std::fmt::Debug + 'static>(
    all: &'static [T],
) -> BoxedStrategy<Spanned<T>> {
    select(all).prop_map(Spanned::from).boxed()
}

pub(crate) fn ports() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        (1u16..).prop_map(PortRange::one),
        (1u16.., 1u16..).prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap()),
    ]
}

pub(crate) fn vip_port() -> impl Strategy<Value = VipPort> {
    (any_of(Protocol::ALL), spanned(ports()))
        .prop_map(|(protocol, ports)| VipPort { protocol, ports })
}

pub(crate) fn vip_key() -> impl Strategy<Value = VipKey> {
    (spanned(family().prop_flat_map(prefix_of)), of(vip_port()))
        .prop_map(|(prefix, port)| VipKey { prefix, port })
}

pub(crate) fn mss() -> impl Strategy<Value = Spanned<Mss>> {
    let bytes = (88u16..=9_176).prop_map(Mss::Bytes);
    spanned(prop_oneof![Just(Mss::Off), Just(Mss::Auto), bytes])
}

pub(crate) fn timeouts() -> impl Strategy<Value = FlowTimeouts> {
    let idle = prop_oneof![
        4 => (1u32..=32_000).prop_map(IdleTime::Seconds),
        1 => Just(IdleTime::Default),
    ];
    vec(of(spanned(idle)), FlowTimeout::ALL.len()).prop_map(|idle| {
        let mut timeouts = FlowTimeouts::default();
        for (of, idle) in FlowTimeout::ALL.iter().zip(idle) {
            timeouts.set(*of, idle);
        }
        timeouts
    })
}

pub(crate) fn new_len() -> impl Strategy<Value = Spanned<u32>> {
    spanned((0u32..25).prop_map(|n| 1 << n))
}
