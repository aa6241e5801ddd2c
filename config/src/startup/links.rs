//! Reads `[[sub-interface]]` and `[[tunnel]]`: interfaces that are not devices.

use super::table::{Problems, Table};
use super::{Dev, Statement};
use crate::value;
use crate::{Command, Problem, Span, Spanned, SubInterface, VlanKind, defaults};

/// An interface made by a command.
pub(super) struct Link {
    /// Its name; the span is what asks for it.
    pub(super) name: Spanned<String>,
    /// The command that makes it.
    pub(super) statement: Statement,
}

/// Reads every `[[sub-interface]]`.
pub(super) fn sub_interfaces(root: &Table<'_>, devs: &[Dev], problems: &Problems) -> Vec<Link> {
    let keys = ["interface", "id", "dot1q", "dot1ad", "inner-dot1q"];
    let tables = root.tables("sub-interface", "[[sub-interface]]", &keys);
    let mut links: Vec<Link> = Vec::new();
    for table in &tables {
        let Some(sub) = sub_interface(table, problems) else { continue };
        if !devs.iter().any(|dev| dev.name == sub.parent) {
            let names: Vec<&str> = devs.iter().map(|dev| dev.name.as_str()).collect();
            problems.note(
                Problem::new(
                    sub.parent.span,
                    format!("there is no device called `{}`", sub.parent),
                )
                .with_hint(format!("the devices are {}", names.join(", "))),
            );
        }
        let same = links.iter().find_map(|link| match &link.statement.command {
            Command::CreateSubInterface(other) if other.parent == sub.parent => {
                let what = if other.id == sub.id {
                    format!("the sub-interface {} is given twice", sub.name())
                } else if other.tags == sub.tags {
                    format!("{} has {} already", other.name(), sub.tags)
                } else {
                    return None;
                };
                Some(Problem::new(sub.id.span, what).with_related(link.name.span, "first here"))
            }
            _ => None,
        });
        same.into_iter().for_each(|problem| problems.note(problem));
        links.push(Link {
            name: Spanned::new(sub.name(), sub.id.span),
            statement: Statement { command: Command::CreateSubInterface(sub), span: table.span },
        });
    }
    links
}

fn sub_interface(table: &Table<'_>, problems: &Problems) -> Option<SubInterface> {
    let parent = table.required("interface", |t| value::name(t, "interface name"));
    if table.value("id").is_none() {
        table.missing("id");
    }
    let id = table.integer("id", &defaults::SUB_INTERFACE_ID_RANGE);
    let vlan = |key| table.integer(key, &defaults::VLAN_RANGE);
    let tag = |kind: VlanKind| vlan(kind.word()).map(|vlan| vlan.map(|vlan| (kind, vlan)));
    let (dot1q, dot1ad, inner) = (tag(VlanKind::Dot1q), tag(VlanKind::Dot1ad), vlan("inner-dot1q"));
    if let (Some(_), Some(dot1ad)) = (dot1q, dot1ad) {
        problems.note(
            Problem::new(dot1ad.span, "dot1q and dot1ad exclude each other")
                .with_hint("a second tag is `inner-dot1q`"),
        );
    }
    if table.failed("dot1q", &dot1q) || table.failed("dot1ad", &dot1ad) {
        return None;
    }
    let (parent, id) = (parent?, id?);
    let tags = problems.keep(value::vlan_tags(id, dot1q.or(dot1ad), inner))?;
    let sub = SubInterface { parent, id, tags };
    problems.keep(value::sub_interface_name(&sub.name(), sub.parent.span))?;
    Some(sub)
}

/// One `[[tunnel]]`.
struct Tunnel {
    source: Spanned<std::net::IpAddr>,
    destination: Spanned<std::net::IpAddr>,
    instance: Option<Spanned<u32>>,
    span: Span,
}

/// Reads every `[[tunnel]]`. Those without an instance get the lowest numbers that are left.
pub(super) fn tunnels(root: &Table<'_>, problems: &Problems) -> Vec<Link> {
    let tables = root.tables("tunnel", "[[tunnel]]", &["src", "dst", "instance"]);
    let tunnels: Vec<Tunnel> = tables.iter().filter_map(|t| tunnel(t, problems)).collect();
    check_tunnels(&tunnels, problems);
    let taken: Vec<u32> = tunnels.iter().filter_map(|t| t.instance.map(|n| n.value)).collect();
    let mut free = defaults::IPIP_INSTANCE_RANGE.filter(|n| !taken.contains(n));
    let mut links = Vec::new();
    for Tunnel { source, destination, instance, span } in tunnels {
        let Some(instance) = instance.or_else(|| free.next().map(|n| Spanned::new(n, span))) else {
            problems.note(Problem::new(span, "there are no more numbers for tunnels"));
            break;
        };
        let name = Spanned::new(format!("ipip{instance}"), instance.span);
        let command = Command::CreateIpipTunnel { source, destination, instance: Some(instance) };
        links.push(Link { name, statement: Statement { command, span } });
    }
    links
}

fn tunnel(table: &Table<'_>, problems: &Problems) -> Option<Tunnel> {
    let source = table.required("src", |t| value::host_address(t, "src"));
    let destination = table.required("dst", |t| value::host_address(t, "dst"));
    let instance = table.integer("instance", &defaults::IPIP_INSTANCE_RANGE);
    let (source, destination) = (source?, destination?);
    problems.keep(value::check_tunnel(source, destination))?;
    Some(Tunnel { source, destination, instance, span: table.span })
}

fn check_tunnels(tunnels: &[Tunnel], problems: &Problems) {
    for (i, tunnel) in tunnels.iter().enumerate() {
        let ends = |t: &Tunnel| (t.source, t.destination);
        if let Some(first) = tunnels[..i].iter().find(|first| ends(first) == ends(tunnel)) {
            let (source, destination) = ends(tunnel);
            let reason = format!("the tunnel {source} to {destination} is given twice");
            problems.note(
                Problem::new(source.span, reason).with_related(first.source.span, "first here"),
            );
        }
        let Some(instance) = tunnel.instance else { continue };
        let first = tunnels[..i].iter().filter_map(|t| t.instance).find(|n| *n == instance);
        if let Some(first) = first {
            let reason = format!("two tunnels have the instance {instance}");
            problems
                .note(Problem::new(instance.span, reason).with_related(first.span, "first here"));
        }
    }
}

/// Notes devices that have the name of another interface.
pub(super) fn check_names(links: &[&Link], devs: &[Dev], problems: &Problems) {
    for link in links {
        if let Some(dev) = devs.iter().find(|dev| dev.name == link.name) {
            let reason = format!("a device is called `{}`, too", link.name);
            problems.note(
                Problem::new(link.name.span, reason).with_related(dev.name.span, "the device"),
            );
        }
    }
}
