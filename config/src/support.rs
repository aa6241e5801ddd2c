//! What is understood but cannot be done yet.

use crate::{
    Command, Encap, Family, LbAs, LbConf, LbVipAdd, Problem, Scheduler, ServiceType, Show, Span,
    Startup,
};

/// Why `command` cannot be carried out by this version, if so. It names what can be had instead.
///
/// Kept apart from parsing, so that the whole grammar is understood and the message is about support
/// and not about syntax.
pub fn unsupported(command: &Command) -> Option<Problem> {
    match command {
        Command::LbConf(conf) => unsupported_conf(conf),
        Command::LbVipAdd(vip) => unsupported_vip(vip),
        Command::LbVipUpdate(update) => {
            let reason = "changing a VIP in place is not supported yet";
            Some(
                Problem::new(update.key.prefix.span, reason)
                    .with_hint(format!("use lb vip {} del, and add it again", update.key)),
            )
        }
        Command::LbAs(servers) => unsupported_as(servers),
        Command::LbNoMatch(no_match) => {
            Some(not_yet(no_match.prefix.span, "a policy for unknown ports"))
        }
        Command::CreateIpipTunnel { source, .. } => {
            Some(not_yet(source.span, "a tunnel interface"))
        }
        Command::CreateSubInterface(sub) => Some(not_yet(sub.id.span, "a sub-interface")),
        Command::DeleteIpipTunnel { interface } | Command::DeleteSubInterface { interface } => {
            let reason = format!("{interface} is neither a tunnel nor a sub-interface");
            Some(Problem::new(interface.span, reason))
        }
        Command::Show { show, .. } => unsupported_show(show),
        _ => None,
    }
}

/// The same of the sections of the file that no command stands for.
pub fn unsupported_section(startup: &Startup) -> Option<Problem> {
    startup.punt.as_ref().map(|punt| not_yet(punt.tap.span, "[punt]"))
}

fn not_yet(span: Span, what: &str) -> Problem {
    Problem::new(span, format!("{what} is not supported yet"))
}

fn unsupported_conf(conf: &LbConf) -> Option<Problem> {
    let settings = [
        ("tunnel-ttl", conf.tunnel_ttl.map(|v| v.span)),
        ("tunnel-dscp", conf.tunnel_dscp.map(|v| v.span)),
        ("tunnel-ecn", conf.tunnel_ecn.map(|v| v.span)),
        ("tunnel-df", conf.tunnel_df.map(|v| v.span)),
        ("too-big", conf.too_big.map(|v| v.span)),
        ("gue-port", conf.gue_port.map(|v| v.span)),
        ("ip4-src-entropy", conf.ip4_src_entropy.map(|v| v.span)),
        ("ip6-src-entropy", conf.ip6_src_entropy.map(|v| v.span)),
        ("no-match", conf.no_match.map(|v| v.span)),
    ];
    settings.into_iter().find_map(|(name, span)| Some(not_yet(span?, name)))
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
    if let Some(scheduler) = vip.scheduler.filter(|s| s.value != Scheduler::Maglev) {
        return Some(not_yet(scheduler.span, "scheduler rr").with_hint("use maglev"));
    }
    if let Some(mss) = vip.mss {
        return Some(not_yet(mss.span, "mss"));
    }
    if let Some(ports) = vip.target_port.filter(|ports| !ports.is_one()) {
        return Some(not_yet(ports.span, "a range of target ports"));
    }
    if !prefix.is_host() {
        let reason = format!("a VIP of length {} is not supported yet: use /32", prefix.length());
        return Some(Problem::new(prefix.span, reason).with_hint("one VIP for each address"));
    }
    match vip.key.port {
        Some(port) if port.ports.is_one() => None,
        Some(port) => Some(not_yet(port.ports.span, "a range of ports")),
        None => Some(Problem::new(
            prefix.span,
            "all-port VIPs are not supported yet: give protocol and port",
        )),
    }
}

fn unsupported_as(servers: &LbAs) -> Option<Problem> {
    if let Some(encap) = servers.encap.filter(|encap| encap.value != Encap::Nat4) {
        let reason = format!("encap {encap} is not supported yet: use nat4");
        return Some(Problem::new(encap.span, reason));
    }
    servers.dscp.map(|dscp| not_yet(dscp.span, "dscp"))
}

fn unsupported_show(show: &Show) -> Option<Problem> {
    match show {
        Show::LbFlow(flow) => Some(not_yet(flow.source.span, "show lb flow")),
        Show::LbNoMatch => Some(not_yet(Span::default(), "show lb no-match")),
        Show::IpipTunnel => Some(not_yet(Span::default(), "show ipip tunnel")),
        Show::LbAs { vip: Some(key) } => {
            Some(not_yet(key.prefix.span, "show lb as of one VIP").with_hint("write `show lb as`"))
        }
        _ => None,
    }
}
