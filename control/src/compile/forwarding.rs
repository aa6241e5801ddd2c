//! How packets travel to ASs, and what outer headers say.

use config::{Encap, Mss, SrcEntropy};
use dataplane::adjacency::AdjacencyId;
use dataplane::forwarding::{
    Entropy, Method, MssClamp, NoMatch, ServerPath, TooBig, TunnelDf, TunnelDscp, TunnelEcn,
    TunnelPolicy, VipPolicy,
};
use std::net::IpAddr;

use balancer::LbTables;

use super::adjacency::Adjacencies;
use super::fib::Base;
use crate::model::{LINK_LOCAL, LbModel, LbSettings, Model, Network, Server, Vip};

/// By AS index: the adjacency of each AS, on a FIB without the load balancer's own entries.
pub(super) fn resolve_servers(
    model: &Model,
    base: &Base,
    adjacencies: &mut Adjacencies,
) -> Vec<Option<AdjacencyId>> {
    let all = || model.lb.vips.values().flat_map(|vip| &vip.servers);
    let len = all().map(|server| server.index as usize + 1).max().unwrap_or(0);
    let mut resolved = vec![None; len];
    for server in all() {
        resolved[server.index as usize] = adjacencies.towards(model, base, server.address);
    }
    resolved
}

/// By AS index: the way to each AS over its adjacency.
pub(super) fn server_paths(
    model: &Model,
    adjacencies: &Adjacencies,
    resolved: &[Option<AdjacencyId>],
) -> Box<[Option<ServerPath>]> {
    let mut paths = vec![None; resolved.len()];
    for vip in model.lb.vips.values() {
        for server in &vip.servers {
            let index = server.index as usize;
            let (adjacency, method) = (resolved[index], method(vip, server));
            let encapsulates = matches!(method, Method::Gre | Method::Ipip | Method::Gue);
            let source = |adjacency| tunnel_source(model, adjacencies, adjacency, server.address);
            paths[index] = Some(ServerPath {
                adjacency,
                method,
                address: server.address,
                tunnel_source: adjacency.filter(|_| encapsulates).and_then(source),
            });
        }
    }
    paths.into_boxed_slice()
}

fn method(vip: &Vip, server: &Server) -> Method {
    match server.method(&vip.spec) {
        Encap::Gre4 | Encap::Gre6 => Method::Gre,
        Encap::Ipip => Method::Ipip,
        Encap::Gue => Method::Gue,
        Encap::L3dsr => Method::L3dsr { dscp: server.l3dsr(&vip.spec).unwrap_or(0) },
        Encap::Dr => Method::DirectRouting,
        Encap::Nat4 | Encap::Nat6 => Method::Nat,
    }
}

/// The source of outer headers to an AS: as configured, else the address of the outgoing interface
/// that is nearest to the AS.
fn tunnel_source(
    model: &Model,
    adjacencies: &Adjacencies,
    adjacency: AdjacencyId,
    address: IpAddr,
) -> Option<IpAddr> {
    let settings = &model.lb.settings;
    let configured = match address {
        IpAddr::V4(_) => settings.ip4_src_address.map(Into::into),
        IpAddr::V6(_) => settings.ip6_src_address.map(Into::into),
    };
    configured.or_else(|| {
        let link = model.interface(adjacencies.get(adjacency)?.interface)?;
        // A link-local source could not be answered to by routers on the way.
        link.source_for(address).filter(|own| !LINK_LOCAL.contains(*own))
    })
}

/// By VIP index.
pub(super) fn vip_policies(model: &LbModel) -> Box<[VipPolicy]> {
    let len = model.vips.end();
    let mut policies = vec![VipPolicy::default(); len];
    for vip in model.active() {
        policies[vip.index as usize].mss = match vip.spec.mss() {
            Mss::Off => MssClamp::Keep,
            Mss::Auto => MssClamp::Auto,
            Mss::Bytes(bytes) => MssClamp::At(bytes),
        };
    }
    policies.into_boxed_slice()
}

/// By number of the VIP prefix.
pub(super) fn no_match(model: &LbModel, tables: &LbTables) -> Box<[NoMatch]> {
    let policy = |prefix: balancer::Prefix| match model
        .no_match_of(Network { address: prefix.network, prefix_len: prefix.len })
    {
        config::NoMatch::Drop => NoMatch::Drop,
        config::NoMatch::Rst => NoMatch::Reset,
        config::NoMatch::Icmp => NoMatch::Icmp,
        config::NoMatch::Punt => NoMatch::Punt,
    };
    tables.groups.prefixes().map(policy).collect()
}

/// What `lb conf` says of outer headers.
pub(super) fn tunnel_policy(settings: &LbSettings) -> TunnelPolicy {
    let prefix = |entropy| match entropy {
        SrcEntropy::Off => None,
        SrcEntropy::Prefix(prefix) => Some(prefix.network()),
    };
    TunnelPolicy {
        ttl: settings.tunnel_ttl,
        dscp: match settings.tunnel_dscp {
            config::TunnelDscp::Copy => TunnelDscp::Copy,
            config::TunnelDscp::Set(dscp) => TunnelDscp::Fixed(dscp),
        },
        ecn: match settings.tunnel_ecn {
            config::TunnelEcn::Rfc6040 => TunnelEcn::Rfc6040,
            config::TunnelEcn::Zero => TunnelEcn::Zero,
        },
        df: match settings.tunnel_df {
            config::TunnelDf::Copy => TunnelDf::Copy,
            config::TunnelDf::Set => TunnelDf::Set,
            config::TunnelDf::Clear => TunnelDf::Clear,
        },
        too_big: match settings.too_big {
            config::TooBig::Drop => TooBig::Drop,
            config::TooBig::Fragment => TooBig::Fragment,
        },
        gue_port: settings.gue_port,
        source4: settings.ip4_src_address,
        source6: settings.ip6_src_address,
        entropy4: prefix(settings.ip4_src_entropy).and_then(|prefix| match prefix.address() {
            IpAddr::V4(network) => Some(Entropy { network, prefix_len: prefix.length() }),
            IpAddr::V6(_) => None,
        }),
        entropy6: prefix(settings.ip6_src_entropy).and_then(|prefix| match prefix.address() {
            IpAddr::V6(network) => Some(Entropy { network, prefix_len: prefix.length() }),
            IpAddr::V4(_) => None,
        }),
    }
}
