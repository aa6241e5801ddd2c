//! Addresses, prefixes and what they must be to each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Parsed, Token};
use crate::{Family, MacAddress, Prefix, PrefixError, Problem, Spanned, SrcEntropy, defaults};

/// Any IP address.
pub(crate) fn address(token: Token<'_>, noun: &str) -> Parsed<IpAddr> {
    token.parse().ok_or_else(|| {
        token.problem(format!("invalid {noun}: `{}` is not an IP address", token.text))
    })
}

/// An IPv4 address.
pub(crate) fn ip4(token: Token<'_>, noun: &str) -> Parsed<Ipv4Addr> {
    token.parse().ok_or_else(|| {
        token.problem(format!("invalid {noun}: `{}` is not an IPv4 address", token.text))
    })
}

/// An IPv6 address.
pub(crate) fn ip6(token: Token<'_>, noun: &str) -> Parsed<Ipv6Addr> {
    token.parse().ok_or_else(|| {
        token.problem(format!("invalid {noun}: `{}` is not an IPv6 address", token.text))
    })
}

/// An address a host can have: not unspecified, loopback, multicast or broadcast.
pub(crate) fn host_address(token: Token<'_>, noun: &str) -> Parsed<IpAddr> {
    let parsed = address(token, noun)?;
    match not_a_host(parsed.value) {
        Some(what) => Err(token.problem(format!("invalid {noun}: {parsed} is {what}"))),
        None => Ok(parsed),
    }
}

/// A prefix of clients, or one of them.
pub(crate) fn client_prefix(token: Token<'_>) -> Parsed<Prefix> {
    match token.parse::<IpAddr>() {
        Some(address) => Ok(address.map(Prefix::host)),
        None => Ok(prefix(token, "client")?.map(|prefix| prefix.network())),
    }
}

/// What keeps an address from being a host's, if anything does.
fn not_a_host(address: IpAddr) -> Option<&'static str> {
    let mapped = matches!(address, IpAddr::V6(a) if a.to_ipv4_mapped().is_some());
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("the broadcast address")
    } else if mapped {
        Some("an IPv4 address in IPv6 clothes: write it as IPv4")
    } else {
        None
    }
}

/// Is this an address or meant as one, and not the name of an interface?
pub(crate) fn looks_like_an_address(text: &str) -> bool {
    text.contains(':') || !text.contains(|c: char| !c.is_ascii_digit() && c != '.')
}

/// A next hop is of the prefix's family; a link-local one says nothing without its link.
pub(crate) fn check_hop(
    prefix: Prefix,
    via: Spanned<IpAddr>,
    has_interface: bool,
) -> Result<(), Problem> {
    if Family::of(via.value) != prefix.family() {
        let family = prefix.family();
        let reason = format!("the next hop {via} is not of the prefix's family, {family}");
        return Err(Problem::new(via.span, reason));
    }
    if is_link_local(via.value) && !has_interface {
        return Err(Problem::new(via.span, format!("the next hop {via} is link-local"))
            .with_hint("say on which interface it is"));
    }
    Ok(())
}

/// Is it an address that each link has for itself (fe80::/10)?
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(a) if a.is_unicast_link_local())
}

/// A prefix, its host bits as written.
pub(crate) fn prefix(token: Token<'_>, noun: &str) -> Parsed<Prefix> {
    token.text.parse().map(|prefix| token.value(prefix)).map_err(|error| {
        let problem = token.problem(format!("invalid {noun}: {error}"));
        match (error, token.text.parse::<IpAddr>()) {
            (PrefixError::NoLength, Ok(address)) => {
                problem.with_hint(format!("write {} for this one address", Prefix::host(address)))
            }
            _ => problem,
        }
    })
}

/// An address with the length of its subnet, as an interface has it.
pub(crate) fn interface_address(token: Token<'_>) -> Parsed<Prefix> {
    let parsed = prefix(token, "interface address")?;
    let (address, bits) = (parsed.address(), parsed.family().bits());
    let refuse = |what: &str| Err(token.problem(format!("invalid interface address: {what}")));
    if let Some(what) = not_a_host(address) {
        return refuse(&format!("{address} is {what}"));
    }
    if parsed.length() == 0 {
        return refuse("a subnet of length 0 is the whole address space");
    }
    if parsed.length() + 1 < bits && parsed.family() == Family::Ip4 {
        if address == parsed.network().address() {
            return refuse(&format!("{address} is the address of the subnet itself"));
        }
        if address == parsed.last() {
            return refuse(&format!("{address} is the broadcast address of {}", parsed.network()));
        }
    }
    Ok(parsed)
}

/// The Ethernet address of one station.
pub(crate) fn mac(token: Token<'_>) -> Parsed<MacAddress> {
    let parsed: Spanned<MacAddress> =
        token.text.parse().map(|mac| token.value(mac)).map_err(|error| {
            token.problem(format!("invalid MAC address `{}`: {error}", token.text))
        })?;
    if parsed.is_unicast() {
        return Ok(parsed);
    }
    Err(token.problem(format!("{parsed} is not the address of one station")))
}

/// The word that commands have for a family: `ip` or `ip6`.
pub(crate) fn ip_word(family: Family) -> &'static str {
    match family {
        Family::Ip4 => "ip",
        Family::Ip6 => "ip6",
    }
}

/// `off`, or a prefix of `family` whose host bits can hold something.
pub(crate) fn src_entropy(token: Token<'_>, noun: &str, family: Family) -> Parsed<SrcEntropy> {
    if token.text == "off" {
        return Ok(token.value(SrcEntropy::Off));
    }
    let prefix = prefix(token, noun)?.map(|p| p.network());
    let refuse = |what: String| Err(token.problem(format!("invalid {noun}: {what}")));
    if prefix.family() != family {
        return refuse(format!("{prefix} is not an {family} prefix"));
    }
    let lengths = match family {
        Family::Ip4 => defaults::IP4_SRC_ENTROPY_RANGE,
        Family::Ip6 => defaults::IP6_SRC_ENTROPY_RANGE,
    };
    if !lengths.contains(&prefix.length()) {
        let (low, high) = (lengths.start(), lengths.end());
        return refuse(format!("its length must be between {low} and {high}"));
    }
    match not_a_host(prefix.address()) {
        Some(what) => refuse(format!("{} is {what}", prefix.address())),
        None => Ok(prefix.map(SrcEntropy::Prefix)),
    }
}

/// The two ends of a tunnel.
pub(crate) fn check_tunnel(
    source: Spanned<IpAddr>,
    destination: Spanned<IpAddr>,
) -> Result<(), Problem> {
    let (ours, theirs) = (Family::of(source.value), Family::of(destination.value));
    if ours != theirs {
        let reason = format!("both ends of a tunnel have one family: src {source} is {ours}");
        return Err(Problem::new(destination.span, reason)
            .with_hint("what is carried inside may be of either family"));
    }
    if source == destination {
        return Err(Problem::new(destination.span, "src and dst of a tunnel are the same"));
    }
    Ok(())
}
