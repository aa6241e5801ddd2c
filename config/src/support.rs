//! What is understood but cannot be done yet.

use crate::{Command, Encap, Family, LbVipAdd, Prefix, Problem, ServiceType, Spanned};

/// Why `command` cannot be carried out by this version, if so. It names what can be had instead.
///
/// Kept apart from parsing, so that VPP's whole grammar is understood and the message is about
/// support and not about syntax.
pub fn unsupported(command: &Command) -> Option<Problem> {
    match command {
        Command::LbVipAdd(vip) => unsupported_vip(vip),
        Command::LbSetInterfaceNat { family: Family::Ip6, interfaces, .. } => {
            let span = interfaces.first().map_or_else(Default::default, |name| name.span);
            Some(
                Problem::new(span, "IPv6 NAT is not supported yet")
                    .with_hint("available now: lb set interface nat4 in <interface>"),
            )
        }
        Command::SetInterfaceIpAddress { address, .. } => only_ip4(*address),
        Command::IpRoute { prefix, .. } => only_ip4(*prefix),
        Command::SetIpNeighbor { address, .. } => only_ip4(address.map(Prefix::host)),
        Command::Ping(ping) => only_ip4(ping.address.map(Prefix::host)),
        _ => None,
    }
}

fn only_ip4(prefix: Spanned<Prefix>) -> Option<Problem> {
    (prefix.family() == Family::Ip6).then(|| {
        Problem::new(prefix.span, "IPv6 is not supported yet").with_hint("use an IPv4 address")
    })
}

fn unsupported_vip(vip: &LbVipAdd) -> Option<Problem> {
    let prefix = vip.key.prefix;
    if prefix.family() == Family::Ip6 {
        return Some(
            Problem::new(prefix.span, "IPv6 VIPs are not supported yet")
                .with_hint("use an IPv4 prefix with encap nat4"),
        );
    }
    match vip.encap {
        Some(encap) if encap.value != Encap::Nat4 => {
            let reason = format!("encap {encap} is not supported yet: use nat4");
            return Some(Problem::new(encap.span, reason));
        }
        Some(_) => {}
        None => {
            let reason = "encap gre4, the default as in VPP, is not supported yet: use nat4";
            return Some(Problem::new(prefix.span, reason).with_hint("write `encap nat4`"));
        }
    }
    if let Some(service) = vip.service_type.filter(|t| t.value == ServiceType::NodePort) {
        let reason = "type nodeport is not supported yet: use clusterip";
        return Some(Problem::new(service.span, reason));
    }
    if !prefix.is_host() {
        let reason = format!("a VIP of length {} is not supported yet: use /32", prefix.length());
        return Some(Problem::new(prefix.span, reason).with_hint("one VIP for each address"));
    }
    vip.key.port.is_none().then(|| {
        Problem::new(prefix.span, "all-port VIPs are not supported yet: give protocol and port")
    })
}
