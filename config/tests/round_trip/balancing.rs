//! Commands of the load balancer: VIPs, ASs, and what holds for all of them.

use config::{
    Admin, Encap, Family, FlowTimeout, LbAs, LbConf, LbVipAdd, LbVipUpdate, NoMatch, Prefix,
    Protocol, Scheduler, ServiceType, Spanned, SrcEntropy, TooBig, TunnelDf, TunnelDscp, TunnelEcn,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use crate::values::{
    address, any_of, mss, name, new_len, ports, spanned, timeouts, vip_key, vip_port,
};

/// Any words of `lb vip`, whether or not they go together.
pub(crate) fn update() -> impl Strategy<Value = LbVipUpdate> {
    let shape = (vip_key(), of(any_of(Encap::ALL)), of(spanned(0u8..64)));
    let services = (of(any_of(ServiceType::ALL)), of(spanned(1u16..)), of(spanned(ports())));
    let flows = (of(new_len()), of(spanned(any::<bool>())), of(any_of(Scheduler::ALL)));
    (shape, services, flows, (of(mss()), timeouts()), of(name())).prop_map(
        |(
            (key, encap, dscp),
            services,
            (new_len, src_ip_sticky, scheduler),
            (mss, timeouts),
            name,
        )| {
            let (service_type, node_port, target_port) = services;
            LbVipUpdate {
                key,
                encap,
                dscp,
                service_type,
                node_port,
                target_port,
                new_len,
                src_ip_sticky,
                scheduler,
                mss,
                timeouts,
                name,
            }
        },
    )
}

/// A VIP that can be: words that do not go with the others are left out.
pub(crate) fn vip() -> impl Strategy<Value = LbVipAdd> {
    (update(), vip_port(), any::<bool>()).prop_map(|(words, port, same_length)| {
        let family = words.key.prefix.family();
        let encap = words.encap.map(|encap| match encap.value {
            nat if nat.is_nat() => Encap::nat(family).into(),
            _ => encap,
        });
        let is_nat = encap.is_some_and(|encap| encap.is_nat());
        let l3dsr = encap.is_some_and(|encap| encap.value == Encap::L3dsr);
        let mut vip = LbVipAdd {
            encap,
            dscp: l3dsr.then(|| words.dscp.unwrap_or_default()),
            service_type: words.service_type,
            node_port: words.node_port,
            target_port: words.target_port.filter(|_| is_nat),
            new_len: words.new_len,
            src_ip_sticky: words.src_ip_sticky.is_some_and(|sticky| sticky.value),
            scheduler: words.scheduler,
            mss: words.mss,
            timeouts: words.timeouts.alone(),
            name: words.name,
            ..LbVipAdd::new(words.key)
        };
        if is_nat {
            vip.key.port = vip.key.port.or(Some(port));
        }
        if same_length && !is_nat {
            vip.target_port = vip.key.port.map(|port| port.ports);
        }
        if vip.target_port.is_some_and(|target| !target.is_one()) && is_nat {
            vip.target_port = vip.key.port.map(|port| port.ports);
        }
        if !is_nat || vip.key.port.is_some_and(|port| !port.ports.is_one()) {
            vip.service_type = vip.service_type.map(|_| ServiceType::ClusterIp.into());
        }
        if vip.service_type() == ServiceType::ClusterIp {
            vip.node_port = None;
        }
        if vip.src_ip_sticky {
            vip.scheduler = vip.scheduler.map(|_| Scheduler::Maglev.into());
        }
        if let Some(port) = vip.key.port {
            for of in FlowTimeout::ALL {
                let own = of.protocol().is_none_or(|p| p == port.protocol.value.number());
                if !own || *of == FlowTimeout::Other {
                    vip.timeouts.set(*of, None);
                }
            }
        }
        if vip.key.port.is_some_and(|port| port.protocol.value == Protocol::Udp) {
            vip.mss = None;
        }
        vip
    })
}

pub(crate) fn servers() -> impl Strategy<Value = LbAs> {
    let key = (vip_key(), vip_port(), of(any_of(Encap::ALL)), of(spanned(0u8..64)));
    (key, any::<bool>(), of(0u8..=100), any::<bool>(), any::<bool>())
        .prop_flat_map(|((mut vip, port, encap, dscp), other, weight, del, flush)| {
            let family = vip.prefix.family();
            let encap = encap.filter(|_| !del).map(|encap| match encap.value {
                nat if nat.is_nat() => Encap::nat(family).into(),
                _ => encap,
            });
            if encap.is_some_and(|encap| encap.is_nat()) {
                vip.port = vip.port.or(Some(port));
            }
            let l3dsr = encap.is_none_or(|encap| encap.value == Encap::L3dsr);
            let either = if other { Family::Ip4 } else { Family::Ip6 };
            let family = encap.and_then(|e| e.as_family(family)).unwrap_or(either);
            let dscp = dscp.filter(|_| !del && l3dsr);
            let weight = weight.filter(|_| !del).map(Spanned::from);
            vec(address(family), 1..5).prop_map(move |mut addresses| {
                addresses.sort_unstable();
                addresses.dedup();
                addresses.retain(|a| vip.prefix.value != Prefix::host(*a));
                let addresses = addresses.into_iter().map(Spanned::from).collect();
                let admin = None;
                LbAs { vip, addresses, weight, encap, dscp, admin, del, flush }
            })
        })
        .prop_flat_map(|servers| (Just(servers), of(any_of(Admin::ALL))))
        .prop_map(|(mut servers, admin)| {
            let alone = !servers.del
                && servers.weight.is_none()
                && servers.encap.is_none()
                && servers.dscp.is_none();
            servers.admin =
                admin.filter(|admin| alone && !(servers.flush && admin.value == Admin::Up));
            servers
        })
        .prop_filter("an AS is left", |servers| !servers.addresses.is_empty())
}

fn entropy(family: Family) -> impl Strategy<Value = Spanned<SrcEntropy>> {
    let lengths = if family == Family::Ip4 { 8..=31u8 } else { 16..=127 };
    let prefix = (address(family), lengths)
        .prop_map(|(a, l)| SrcEntropy::Prefix(Prefix::new(a, l).unwrap().network()));
    spanned(prop_oneof![Just(SrcEntropy::Off), prefix])
}

pub(crate) fn conf() -> impl Strategy<Value = LbConf> {
    let v4 = of(any::<u32>().prop_map(|a| std::net::Ipv4Addr::from_bits(a).into()));
    let v6 = of(any::<u128>().prop_map(|a| std::net::Ipv6Addr::from_bits(a).into()));
    let buckets = of((0u32..=24).prop_map(|n| (1 << n).into()));
    let file = of("/[a-z0-9/._-]{0,20}".prop_map(|f| std::path::PathBuf::from(f).into()));
    let dscp = prop_oneof![Just(TunnelDscp::Copy), (0u8..64).prop_map(TunnelDscp::Set)];
    let header = (of(spanned(1u8..)), of(spanned(dscp)), of(any_of(TunnelEcn::ALL)));
    let sizes = (of(any_of(TunnelDf::ALL)), of(any_of(TooBig::ALL)), of(spanned(1u16..)));
    let entropies = (of(entropy(Family::Ip4)), of(entropy(Family::Ip6)));
    let general = (v4, v6, buckets, timeouts(), file);
    (general, header, sizes, entropies, of(any_of(NoMatch::ALL)))
        .prop_map(|(general, header, sizes, entropies, no_match)| LbConf {
            ip4_src_address: general.0,
            ip6_src_address: general.1,
            buckets: general.2,
            timeouts: general.3,
            hash_key_file: general.4,
            tunnel_ttl: header.0,
            tunnel_dscp: header.1,
            tunnel_ecn: header.2,
            tunnel_df: sizes.0,
            too_big: sizes.1,
            gue_port: sizes.2,
            ip4_src_entropy: entropies.0,
            ip6_src_entropy: entropies.1,
            no_match,
        })
        .prop_filter("says something", |conf| *conf != LbConf::default())
}
