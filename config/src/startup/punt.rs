//! Reads `[punt]`, the way of packets to the kernel.

use super::table::{Problems, Table};
use super::{Dev, Device, Statement};
use crate::value::{Parsed, Token};
use crate::{Problem, Span, Spanned, defaults};

/// The `[punt]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Punt {
    /// The kernel's end of the tap: the name of a network interface that DPDK makes.
    pub tap: Spanned<String>,
}

/// What is said about a policy `punt` at `span` where there is no tap to punt to.
pub fn punt_needs_tap(span: Span) -> Problem {
    Problem::new(span, "punt needs a tap to hand packets to the kernel")
        .with_hint("add `[punt]` with `tap = \"sluice0\"` to the configuration file")
}

/// Reads `[punt]`.
pub(super) fn punt(root: &Table<'_>, devs: &[Dev], problems: &Problems) -> Option<Punt> {
    let table = root.table("punt", "[punt]", &["tap"])?;
    let tap = table.required("tap", kernel_interface)?;
    let same = |dev: &&Dev| match &dev.device {
        Device::Vdev(vdev) => vdev.split(',').any(|a| a.strip_prefix("iface=") == Some(&tap.value)),
        Device::Pci(_) => false,
    };
    if let Some(dev) = devs.iter().find(same) {
        let reason = format!("the device {} has the kernel interface {tap} already", dev.name);
        problems.note(
            Problem::new(tap.span, reason)
                .with_related(dev.name.span, "this one")
                .with_hint("the tap is made at start: give it a name of its own"),
        );
    }
    Some(Punt { tap })
}

/// The name of a kernel interface, as the kernel judges it.
fn kernel_interface(token: Token<'_>) -> Parsed<String> {
    let (text, max) = (token.text, defaults::MAX_KERNEL_INTERFACE);
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | ',');
    if !text.is_empty() && text.len() <= max && !text.contains(strange) && !text.starts_with('.') {
        return Ok(Spanned::new(text.to_owned(), token.span));
    }
    Err(Problem::new(token.span, format!("`{text}` cannot be the name of a kernel interface"))
        .with_hint(format!("1 to {max} bytes without spaces, `/`, `:` and `,`")))
}

/// Notes statements that punt when there is nothing to punt to.
pub(super) fn check(
    root: &Table<'_>,
    punt: Option<&Punt>,
    statements: &[Statement],
    problems: &Problems,
) {
    if punt.is_none() && root.value("punt").is_none() {
        let punts = statements.iter().filter_map(|statement| statement.command.punts());
        punts.for_each(|span| problems.note(punt_needs_tap(span)));
    }
}
