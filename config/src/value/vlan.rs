//! VLANs and the names of sub-interfaces.

use super::{Parsed, Token, number};
use crate::{Problem, Span, Spanned, VlanKind, VlanTags, defaults};

/// A VLAN.
pub(crate) fn vlan(token: Token<'_>) -> Parsed<u16> {
    number(token, "the VLAN", &defaults::VLAN_RANGE)
}

/// The name that a sub-interface gets must be one that an interface can have.
pub(crate) fn sub_interface_name(name: &str, span: Span) -> Result<(), Problem> {
    if name.len() <= defaults::MAX_NAME {
        return Ok(());
    }
    let max = defaults::MAX_NAME;
    Err(Problem::new(span, format!("the name {name} would be longer than {max} bytes")))
}

/// The tags of the sub-interface `id`: those given, or the VLAN of its number.
pub(crate) fn vlan_tags(
    id: Spanned<u32>,
    outer: Option<Spanned<(VlanKind, u16)>>,
    inner: Option<Spanned<u16>>,
) -> Parsed<VlanTags> {
    if let Some(outer) = outer {
        let (kind, vlan) = outer.value;
        let tags = VlanTags { kind, outer: vlan, inner: inner.map(|v| v.value) };
        return Ok(Spanned::new(tags, outer.span));
    }
    if let Some(inner) = inner {
        return Err(Problem::new(inner.span, "an inner tag without an outer one")
            .with_hint("say the outer one with dot1q or dot1ad"));
    }
    match u16::try_from(id.value).ok().filter(|vlan| defaults::VLAN_RANGE.contains(vlan)) {
        Some(vlan) => Ok(id.map(|_| VlanTags { kind: VlanKind::Dot1q, outer: vlan, inner: None })),
        None => {
            let (low, high) = (defaults::VLAN_RANGE.start(), defaults::VLAN_RANGE.end());
            Err(Problem::new(id.span, format!("the sub-interface {id} needs its VLAN said"))
                .with_hint(format!("add `dot1q <{low}-{high}>`; a VLAN cannot be {id}")))
        }
    }
}
