//! What the words of one VIP or AS command must not say together.

use std::net::IpAddr;

use crate::{
    Encap, Family, FlowTimeout, LbVipAdd, Mss, PortRange, Prefix, Problem, Protocol, Scheduler,
    ServiceType, Span, Spanned, TargetPort, VipKey,
};

/// Everything wrong with a VIP that can be seen from its own words.
pub fn check_vip(vip: &LbVipAdd) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(check_dscp(vip));
    let encap_span = vip.encap.map_or(vip.key.prefix.span, |e| e.span);
    problems.extend(check_nat(&vip.key, vip.encap(), encap_span));
    problems.extend(check_target(vip));
    problems.extend(check_node_port(vip));
    problems.extend(check_scheduler(vip));
    problems.extend(check_mss(vip));
    problems.extend(check_timeouts(vip));
    problems
}

fn check_dscp(vip: &LbVipAdd) -> Option<Problem> {
    let encap = vip.encap();
    let encap_span = vip.encap.map_or(vip.key.prefix.span, |e| e.span);
    match (encap, vip.dscp) {
        (Encap::L3dsr, None) => Some(
            Problem::new(encap_span, "encap l3dsr needs a dscp")
                .with_hint("add `dscp <0-63>`; the ASs recognise the VIP by it"),
        ),
        (Encap::L3dsr, Some(_)) | (_, None) => None,
        (_, Some(dscp)) => Some(stray_dscp(dscp, encap)),
    }
}

fn stray_dscp(dscp: Spanned<u8>, encap: Encap) -> Problem {
    Problem::new(dscp.span, format!("dscp goes with encap l3dsr only, not with {encap}"))
        .with_hint("leave dscp out, or use encap l3dsr")
}

/// NAT keeps the family and needs ports.
fn check_nat(key: &VipKey, encap: Encap, span: Span) -> Option<Problem> {
    let family = key.prefix.family();
    if !encap.is_nat() {
        return None;
    }
    if encap != Encap::nat(family) {
        let what = if family == Family::Ip4 { "NAT46" } else { "NAT64" };
        let reason = format!(
            "encap {encap} cannot serve the {family} prefix {}: currently does not support {what}",
            key.prefix
        );
        return Some(Problem::new(span, reason).with_hint(format!(
            "use encap {}, or ipip or gue, whose ASs may be of either family",
            Encap::nat(family)
        )));
    }
    key.port.is_none().then(|| {
        Problem::new(span, format!("encap {encap} needs a protocol and port(s)"))
            .with_hint("say which port(s) clients use, such as `protocol tcp port 80`")
    })
}

impl LbVipAdd {
    /// Does the target port differ from the client's for any port?
    pub(crate) fn translates(&self) -> bool {
        let own = self.key.port.map(|port| port.ports.value);
        match self.target() {
            TargetPort::Keep => false,
            TargetPort::One(port) => own != Some(PortRange::one(port)),
            TargetPort::From(first) => own.is_none_or(|own| own.first() != first),
        }
    }
}

fn check_target(vip: &LbVipAdd) -> Option<Problem> {
    let (target, encap) = (vip.target_port?, vip.encap());
    if !encap.is_nat() {
        if !vip.translates() {
            return None;
        }
        let nat = Encap::nat(vip.key.prefix.family());
        let reason =
            format!("no port translation in encap {encap}: the AS gets the packet as it was sent");
        return Some(
            Problem::new(target.span, reason)
                .with_hint(format!("use encap {nat}, or leave target_port out")),
        );
    }
    let ports = vip.key.port?.ports;
    (!target.is_one() && target.count() != ports.count()).then(|| {
        let reason = format!(
            "target_port {target} has {} ports, and port {ports} has {}",
            target.count(),
            ports.count()
        );
        let hint = match target.first().checked_add(ports.count() - 1) {
            Some(last) => format!("as many of them, such as {}-{last}, or one", target.first()),
            None => "as many of them, or one".to_owned(),
        };
        Problem::new(target.span, reason).with_hint(hint)
    })
}

fn check_node_port(vip: &LbVipAdd) -> Option<Problem> {
    let encap = vip.encap();
    let Some(service) = vip.service_type.filter(|t| t.value == ServiceType::NodePort) else {
        let port = vip.node_port?;
        return Some(
            Problem::new(port.span, "node_port goes with type nodeport only")
                .with_hint("add `type nodeport`, or leave node_port out"),
        );
    };
    if !encap.is_nat() {
        let nat = Encap::nat(vip.key.prefix.family());
        let reason = format!("type nodeport goes with a NAT encap only, not with {encap}");
        return Some(
            Problem::new(service.span, reason)
                .with_hint(format!("write `encap {nat}`, or leave `type nodeport` out")),
        );
    }
    let ports = vip.key.port?.ports;
    (!ports.is_one()).then(|| {
        Problem::new(ports.span, format!("type nodeport needs one port, not the range {ports}"))
            .with_hint("make one VIP for each port")
    })
}

fn check_scheduler(vip: &LbVipAdd) -> Option<Problem> {
    let scheduler =
        vip.scheduler.filter(|s| s.value == Scheduler::RoundRobin && vip.src_ip_sticky)?;
    Some(
        Problem::new(
            scheduler.span,
            "scheduler rr and src_ip_sticky exclude each other: one goes by turn, the other by the \
             client's address",
        )
        .with_hint("leave one of them out"),
    )
}

fn check_mss(vip: &LbVipAdd) -> Option<Problem> {
    let mss = vip.mss.filter(|mss| mss.value != Mss::Off)?;
    let port = vip.key.port.filter(|port| port.protocol.value != Protocol::Tcp)?;
    Some(
        Problem::new(mss.span, format!("mss is about TCP, and the VIP is for {}", port.protocol))
            .with_hint("leave mss out"),
    )
}

/// A timeout of flows that the VIP never has.
fn check_timeouts(vip: &LbVipAdd) -> Option<Problem> {
    let port = vip.key.port?;
    let (own, protocol) = (port.protocol.value.number(), port.protocol);
    let set = |of| vip.timeouts.seconds(of).is_some();
    let (of, idle) = vip.timeouts.iter().filter(|(of, _)| set(*of)).find(|(of, _)| match of {
        FlowTimeout::Other => true,
        of => of.protocol().is_some_and(|protocol| protocol != own),
    })?;
    let about = match of.protocol() {
        Some(17) => "UDP",
        Some(_) => "TCP",
        None => "protocols without ports",
    };
    let reason = format!("{of} is about {about}, and the VIP is for {protocol}");
    Some(Problem::new(idle.span, reason).with_hint(format!("leave {of} out")))
}

/// Everything wrong with the words about one AS of the VIP `vip`. `encap` is the AS's own, or the
/// VIP's when that is known; `dscp` is the AS's own.
pub fn check_as(
    vip: &VipKey,
    address: Spanned<IpAddr>,
    encap: Option<Spanned<Encap>>,
    dscp: Option<Spanned<u8>>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(own_vip(&vip.prefix, address));
    let Some(encap) = encap else { return problems };
    problems.extend(check_nat(vip, encap.value, encap.span));
    problems.extend(
        dscp.filter(|_| encap.value != Encap::L3dsr).map(|dscp| stray_dscp(dscp, encap.value)),
    );
    if problems.is_empty() {
        problems.extend(check_family(vip.prefix.family(), address, encap.value));
    }
    problems
}

fn check_family(vip: Family, address: Spanned<IpAddr>, encap: Encap) -> Option<Problem> {
    let needed = encap.as_family(vip).filter(|needed| *needed != Family::of(address.value))?;
    let reason = format!("encap {encap} needs {needed} ASs, not {address}");
    Some(Problem::new(address.span, reason).with_hint(match encap {
        Encap::Nat4 => "currently does not support NAT46",
        Encap::Nat6 => "currently does not support NAT64",
        Encap::Gre4 => "use encap gre6, or ipip or gue",
        Encap::Gre6 => "use encap gre4, or ipip or gue",
        _ => "ipip and gue reach ASs of either family",
    }))
}

/// An AS may lie inside its VIP's prefix, but it cannot be the VIP itself.
fn own_vip(vip: &Prefix, address: Spanned<IpAddr>) -> Option<Problem> {
    (*vip == Prefix::host(address.value)).then(|| {
        let reason = format!("the AS {address} is the VIP itself: its packets would come back");
        Problem::new(address.span, reason).with_hint("an AS needs an address of its own")
    })
}

/// The same when the VIP is known: `encap` and `dscp` are what the AS has of its own.
pub fn check_as_of_vip(
    vip: &LbVipAdd,
    address: Spanned<IpAddr>,
    encap: Option<Spanned<Encap>>,
    dscp: Option<Spanned<u8>>,
) -> Vec<Problem> {
    let mut problems = check_as(&vip.key, address, encap, dscp);
    if !problems.is_empty() {
        return problems;
    }
    let method = encap.unwrap_or(Spanned::new(vip.encap(), address.span));
    if encap.is_none() {
        problems.extend(check_family(vip.key.prefix.family(), address, method.value));
        let stray = dscp.filter(|_| method.value != Encap::L3dsr);
        problems.extend(stray.map(|dscp| stray_dscp(dscp, method.value)));
    }
    if method.is_nat() != vip.encap().is_nat() {
        let reason = format!(
            "encap {method} does not go with the VIP's encap {}: replies of NAT ASs come back \
             through here, those of others do not",
            vip.encap()
        );
        problems.push(
            Problem::new(method.span, reason).with_hint("NAT is for all ASs of a VIP or for none"),
        );
    }
    // A VIP that lacks its own dscp has been told so.
    if encap.is_some_and(|encap| encap.value == Encap::L3dsr) && dscp.or(vip.dscp).is_none() {
        problems.push(
            Problem::new(method.span, "encap l3dsr needs a dscp, and the VIP has none")
                .with_hint("add `dscp <0-63>`; the AS recognises the VIP by it"),
        );
    }
    problems
}
