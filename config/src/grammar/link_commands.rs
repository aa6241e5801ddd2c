//! The forms of the commands that make and unmake interfaces.

use super::form::{Form, Kind, Opt, Slot};
use super::words::Words;
use crate::value;
use crate::{Command, Problem, SubInterface, VlanKind, defaults};

const INTERFACE: Slot = Slot { label: "<interface>", kind: Kind::Interface };
const ADDRESS: Slot = Slot { label: "<address>", kind: Kind::Address };
const NUMBER: Slot = Slot { label: "<n>", kind: Kind::Number };
const VLAN: Slot = Slot { label: "<vlan>", kind: Kind::Number };

/// `create …` and `delete …`.
pub(super) const FORMS: &[Form] = &[
    Form {
        path: &["create", "ipip", "tunnel"],
        usage: "src <address> dst <address> [instance <n>]",
        summary: "an interface ipip<n> whose packets travel inside others",
        leading: &[],
        required: 0,
        options: &[
            Opt::Value("src", ADDRESS),
            Opt::Value("dst", ADDRESS),
            Opt::Value("instance", NUMBER),
        ],
        rest: None,
        build: create_tunnel,
    },
    Form {
        path: &["delete", "ipip", "tunnel"],
        usage: "<interface>",
        summary: "remove a tunnel",
        leading: &[INTERFACE],
        required: 1,
        options: &[],
        rest: None,
        build: |words| {
            let interface = value::name(words.required(0)?, "interface name")?;
            Ok(Command::DeleteIpipTunnel { interface })
        },
    },
    Form {
        path: &["create", "sub-interfaces"],
        usage: "<interface> <id> [(dot1q|dot1ad) <vlan> [inner-dot1q <vlan>]] [exact-match]",
        summary: "an interface <interface>.<id> for the frames of a VLAN",
        leading: &[INTERFACE, Slot { label: "<id>", kind: Kind::Number }],
        required: 2,
        options: &[
            Opt::Value("dot1q", VLAN),
            Opt::Value("dot1ad", VLAN),
            Opt::Value("inner-dot1q", VLAN),
            // Every sub-interface matches exactly here; in VPP one with addresses has to.
            Opt::Flag("exact-match"),
        ],
        rest: None,
        build: create_sub_interface,
    },
    Form {
        path: &["delete", "sub-interface"],
        usage: "<interface>",
        summary: "remove a sub-interface",
        leading: &[INTERFACE],
        required: 1,
        options: &[],
        rest: None,
        build: |words| {
            let interface = value::name(words.required(0)?, "interface name")?;
            Ok(Command::DeleteSubInterface { interface })
        },
    },
];

fn create_tunnel(words: &Words<'_>) -> Result<Command, Problem> {
    let end = |word: &'static str| {
        let address = words.value(word, |t| value::host_address(t, word))?;
        address.ok_or_else(|| words.missing(&format!("{word} <address>")))
    };
    let (source, destination) = (end("src")?, end("dst")?);
    value::check_tunnel(source, destination)?;
    let range = &defaults::IPIP_INSTANCE_RANGE;
    let instance = words.value("instance", |t| value::number(t, "instance", range))?;
    Ok(Command::CreateIpipTunnel { source, destination, instance })
}

fn create_sub_interface(words: &Words<'_>) -> Result<Command, Problem> {
    let parent = value::name(words.required(0)?, "interface name")?;
    let range = &defaults::SUB_INTERFACE_ID_RANGE;
    let id = value::number(words.required(1)?, "the sub-interface id", range)?;
    let outer = |kind: VlanKind| {
        let vlan = words.value(kind.word(), value::vlan)?;
        Ok::<_, Problem>(vlan.map(|vlan| vlan.map(|vlan| (kind, vlan))))
    };
    let outer = match (outer(VlanKind::Dot1q)?, outer(VlanKind::Dot1ad)?) {
        (Some(_), Some(dot1ad)) => {
            return Err(Problem::new(dot1ad.span, "dot1q and dot1ad exclude each other")
                .with_hint("a second tag is `inner-dot1q <vlan>`"));
        }
        (dot1q, dot1ad) => dot1q.or(dot1ad),
    };
    let tags = value::vlan_tags(id, outer, words.value("inner-dot1q", value::vlan)?)?;
    let sub_interface = SubInterface { parent, id, tags };
    value::sub_interface_name(&sub_interface.name(), sub_interface.parent.span)?;
    Ok(Command::CreateSubInterface(sub_interface))
}
