//! What `show` shows.

use config::{FibQuery, FlowQuery, FlowsCursor, FlowsQuery, HardwareDetail, Prefix, Show};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use crate::values::{address, any_address, family, name, prefix_of, spanned, vip_key};

pub(crate) fn show() -> impl Strategy<Value = Show> {
    let names = || vec(name(), 0..3);
    let detail = prop_oneof![
        Just(HardwareDetail::Brief),
        Just(HardwareDetail::Normal),
        Just(HardwareDetail::Verbose)
    ];
    let entry = |family, longest_match| {
        let length = move |prefix: Prefix| match longest_match {
            true => Prefix::host(prefix.address()),
            false => prefix,
        };
        spanned(prefix_of(family).prop_map(length))
            .prop_map(move |prefix| FibQuery::Entry { prefix, longest_match })
    };
    let fib = family().prop_flat_map(move |family| {
        let entries = prop_oneof![entry(family, true), entry(family, false)];
        prop_oneof![Just(FibQuery::All), Just(FibQuery::Summary), entries]
            .prop_map(move |query| Show::Fib { family, query })
    });
    let protocol = prop_oneof![Just(6u8), Just(17), any::<u8>()];
    let flow = (family().prop_flat_map(|f| (address(f), address(f))), any::<[u16; 2]>(), protocol)
        .prop_map(|((source, destination), ports, protocol)| {
            let ports = if matches!(protocol, 6 | 17) { ports } else { [0; 2] };
            Show::LbFlow(FlowQuery {
                source: source.into(),
                source_port: ports[0].into(),
                destination: destination.into(),
                destination_port: ports[1].into(),
                protocol: protocol.into(),
            })
        });
    prop_oneof![
        Just(Show::Lb),
        any::<bool>().prop_map(|verbose| Show::LbVips { verbose }),
        of(vip_key()).prop_map(|vip| Show::LbAs { vip }),
        flow,
        flows(),
        Just(Show::LbNoMatch),
        Just(Show::IpipTunnel),
        names().prop_map(|names| Show::Interface { names }),
        names().prop_map(|names| Show::InterfaceAddress { names }),
        (detail, names()).prop_map(|(detail, names)| Show::HardwareInterfaces { detail, names }),
        fib,
        (family(), of(name()))
            .prop_map(|(family, interface)| Show::Neighbors { family, interface }),
        any::<bool>().prop_map(|verbose| Show::Version { verbose }),
        Just(Show::Threads),
        any::<bool>().prop_map(|verbose| Show::Runtime { verbose }),
        Just(Show::Errors),
        Just(Show::Buffers),
        of(1u32..=100_000).prop_map(|max| Show::Trace { max }),
        Just(Show::RunningConfig),
        Just(Show::Events),
    ]
}

fn flows() -> impl Strategy<Value = Show> {
    let client = of(spanned(family().prop_flat_map(prefix_of)));
    let cursor = (1u16.., any::<u32>()).prop_map(|(thread, entry)| FlowsCursor { thread, entry });
    let (limit, cursor) = (of(spanned(1u32..=10_000)), of(spanned(cursor)));
    (of(vip_key()), of(spanned(any_address())), client, limit, cursor).prop_map(
        |(vip, server, client, limit, cursor)| {
            Show::LbFlows(FlowsQuery { vip, server, client, limit, cursor })
        },
    )
}
