//! What the words of one VIP or AS command must not say together.

use std::net::IpAddr;

use crate::{Encap, Family, LbVipAdd, Prefix, Problem, ServiceType, Spanned};

/// Everything wrong with a VIP that can be seen from its own words.
pub(crate) fn check_vip(vip: &LbVipAdd) -> Vec<Problem> {
    let mut problems = Vec::new();
    let prefix = &vip.key.prefix;
    let encap = vip.encap();
    let encap_span = vip.encap.map_or(prefix.span, |e| e.span);
    match (encap, vip.dscp) {
        (Encap::L3dsr, None) => problems.push(
            Problem::new(encap_span, "encap l3dsr needs a dscp")
                .with_hint("add `dscp <0-63>`; the ASs recognise the VIP by it"),
        ),
        (Encap::L3dsr, Some(_)) | (_, None) => {}
        (_, Some(dscp)) => problems.push(
            Problem::new(dscp.span, format!("dscp goes with encap l3dsr only, not with {encap}"))
                .with_hint("leave dscp out, or use encap l3dsr"),
        ),
    }
    match (encap, prefix.family()) {
        (Encap::Nat4, Family::Ip6) => problems.push(
            Problem::new(encap_span, format!("encap nat4 cannot serve the IPv6 prefix {prefix}"))
                .with_hint("NAT64 is not supported: use encap nat6"),
        ),
        (Encap::Nat6, Family::Ip4) => problems.push(
            Problem::new(encap_span, format!("encap nat6 cannot serve the IPv4 prefix {prefix}"))
                .with_hint("NAT46 is not supported: use encap nat4"),
        ),
        (Encap::L3dsr, Family::Ip6) => problems.push(Problem::new(
            encap_span,
            format!("encap l3dsr cannot serve the IPv6 prefix {prefix}"),
        )),
        _ => {}
    }
    if encap.is_nat() {
        if vip.key.port.is_none() {
            problems.push(
                Problem::new(encap_span, format!("encap {encap} needs a protocol and a port"))
                    .with_hint("say which port clients use, such as `protocol tcp port 80`"),
            );
        }
    } else {
        let nat = if prefix.family() == Family::Ip4 { Encap::Nat4 } else { Encap::Nat6 };
        let hint = format!("write `encap {nat}`, or leave it out");
        if let Some(port) = vip.target_port {
            let reason = format!("a target port goes with a NAT encap only, not with {encap}");
            problems.push(Problem::new(port.span, reason).with_hint(hint.clone()));
        }
        if let Some(service) = vip.service_type.filter(|t| t.value == ServiceType::NodePort) {
            let reason = format!("type nodeport goes with a NAT encap only, not with {encap}");
            problems.push(Problem::new(service.span, reason).with_hint(hint));
        }
    }
    problems
}

/// An AS inside its VIP's own prefix would get its packets balanced again, without end.
pub(crate) fn check_as(vip: &Prefix, address: Spanned<IpAddr>) -> Option<Problem> {
    vip.contains(address.value).then(|| {
        Problem::new(
            address.span,
            format!(
                "the AS {address} lies inside the VIP prefix {vip}: its packets would come back"
            ),
        )
        .with_hint("an AS needs an address of its own")
    })
}
