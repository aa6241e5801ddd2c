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
use crate::model::{LINK_LOCAL, LbModel, LbSettings, Model, Network, Server, Vip};

/// The way to an AS over its adjacency.
pub(super) fn server_path(
    model: &Model,
    adjacencies: &Adjacencies,
    vip: &Vip,
    server: &Server,
    adjacency: Option<AdjacencyId>,
) -> ServerPath {
    let method = method(vip, server);
    let encapsulates = matches!(method, Method::Gre | Method::Ipip | Method::Gue);
    let source = |adjacency| tunnel_source(model, adjacencies, adjacency, server.address);
    let tunnel_source = adjacency.filter(|_| encapsulates).and_then(source);
    ServerPath { adjacency, method, address: server.address, tunnel_source }
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

/// What is done with packets of a VIP.
pub(super) fn vip_policy(vip: &Vip) -> VipPolicy {
    let mss = match vip.spec.mss() {
        Mss::Off => MssClamp::Keep,
        Mss::Auto => MssClamp::Auto,
        Mss::Bytes(bytes) => MssClamp::At(bytes),
    };
    VipPolicy { mss }
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
