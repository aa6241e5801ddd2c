//! One word, or one TOML string, becomes a typed value or a [`Problem`].
//!
//! The CLI and the TOML file share these, so that both judge alike and in the same words.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::suggest::closest;
use crate::{
    Encap, MacAddress, Prefix, PrefixError, Problem, Protocol, ServiceType, Span, Spanned,
    defaults, new_len,
};

/// A text and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

pub(crate) type Parsed<T> = Result<Spanned<T>, Problem>;

impl<'a> Token<'a> {
    fn value<T>(self, value: T) -> Spanned<T> {
        Spanned::new(value, self.span)
    }

    fn problem(self, reason: impl Into<String>) -> Problem {
        Problem::new(self.span, reason)
    }

    fn parse<T: FromStr>(self) -> Option<Spanned<T>> {
        self.text.parse().ok().map(|value| self.value(value))
    }
}

/// A number of a range; `noun` begins the message.
pub(crate) fn number<T>(token: Token<'_>, noun: &str, range: &RangeInclusive<T>) -> Parsed<T>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    let digits = token.text.strip_prefix('-').unwrap_or(token.text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(token
            .problem(format!("{noun} must be a number, not `{}`", token.text))
            .with_hint(format!("between {} and {}", range.start(), range.end())));
    }
    // More digits than an i128 holds are out of every range.
    in_range(token.text.parse().unwrap_or(i128::MAX), token.span, token.text, noun, range)
}

/// The same for a number that has been read already; `shown` is how it was written.
pub(crate) fn in_range<T>(
    number: i128,
    span: Span,
    shown: &str,
    noun: &str,
    range: &RangeInclusive<T>,
) -> Parsed<T>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    match T::try_from(number) {
        Ok(value) if range.contains(&value) => Ok(Spanned::new(value, span)),
        _ => Err(Problem::new(
            span,
            format!("{noun} must be between {} and {}, not {shown}", range.start(), range.end()),
        )),
    }
}

/// A port number of `noun`; 0 gets its own advice.
pub(crate) fn port(token: Token<'_>, noun: &str) -> Parsed<u16> {
    number(token, noun, &defaults::PORT_RANGE)
}

/// A sticky bucket count must be a power of two.
pub(crate) fn buckets(count: Spanned<u32>) -> Parsed<u32> {
    if count.is_power_of_two() {
        return Ok(count);
    }
    let above = count.next_power_of_two();
    Err(Problem::new(count.span, format!("buckets must be a power of two, not {count}"))
        .with_hint(format!("the nearest are {} and {above}", above / 2)))
}

/// A new-flow table length must be a power of two or a prime.
pub(crate) fn new_flow_length(len: Spanned<u32>) -> Parsed<u32> {
    if new_len::is_valid(len.value) {
        return Ok(len);
    }
    let reason = format!("new_len must be a power of two or a prime, not {len}");
    let problem = Problem::new(len.span, reason);
    Err(match new_len::nearest(len.value) {
        (Some(below), Some(above)) => {
            let power = len.next_power_of_two();
            problem.with_hint(if power == above {
                format!("the nearest are {below} and {above}")
            } else {
                format!("the nearest are {below} and {above}, the next power of two is {power}")
            })
        }
        _ => problem,
    })
}

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

/// What keeps an address from being a host's, if anything does.
pub(crate) fn not_a_host(address: IpAddr) -> Option<&'static str> {
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
    if parsed.length() + 1 < bits && parsed.family() == crate::Family::Ip4 {
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

/// One of a few words.
fn choice<T: Copy>(token: Token<'_>, noun: &str, words: &[(&'static str, T)]) -> Parsed<T> {
    if let Some(&(_, value)) = words.iter().find(|(word, _)| *word == token.text) {
        return Ok(token.value(value));
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let problem = token.problem(format!("unknown {noun} `{}`", token.text));
    Err(match closest(token.text, known.iter().copied()) {
        Some(word) => problem
            .with_hint(format!("did you mean `{word}`? {noun} is one of {}", known.join(", "))),
        None => problem.with_hint(format!("{noun} is one of {}", known.join(", "))),
    })
}

/// `tcp` or `udp`.
pub(crate) fn protocol(token: Token<'_>) -> Parsed<Protocol> {
    choice(token, "protocol", &[Protocol::Tcp, Protocol::Udp].map(|p| (p.word(), p)))
}

/// An encap.
pub(crate) fn encap(token: Token<'_>) -> Parsed<Encap> {
    choice(token, "encap", &Encap::ALL.map(|e| (e.word(), e)))
}

/// `clusterip` or `nodeport`.
pub(crate) fn service_type(token: Token<'_>) -> Parsed<ServiceType> {
    let types = [ServiceType::ClusterIp, ServiceType::NodePort];
    choice(token, "type", &types.map(|t| (t.word(), t)))
}

/// `up` or `down`.
pub(crate) fn state(token: Token<'_>) -> Parsed<bool> {
    choice(token, "state", &[("up", true), ("down", false)])
}

/// `busy` or `adaptive`.
pub(crate) fn poll(token: Token<'_>) -> Parsed<crate::Poll> {
    choice(token, "poll", &[("busy", crate::Poll::Busy), ("adaptive", crate::Poll::Adaptive)])
}

/// `auto`, `required` or `off`.
pub(crate) fn hugepages(token: Token<'_>) -> Parsed<crate::Hugepages> {
    use crate::Hugepages::{Auto, Off, Required};
    choice(token, "hugepages", &[("auto", Auto), ("required", Required), ("off", Off)])
}

/// A name that every command can carry as one word.
pub(crate) fn name(token: Token<'_>, noun: &str) -> Parsed<String> {
    let text = token.text;
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > defaults::MAX_NAME {
        format!("is longer than {} bytes", defaults::MAX_NAME)
    } else if text.starts_with('#') {
        "begins with `#`, which begins a comment".to_owned()
    } else if let Some(c) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        format!("contains {c:?}, and must be one word")
    } else if text.contains('?') {
        "contains `?`, which asks for help".to_owned()
    } else {
        return Ok(token.value(text.to_owned()));
    };
    Err(token.problem(format!("the {noun} {problem}")))
}

/// A file's path that every command can carry as one word.
pub(crate) fn file(token: Token<'_>, noun: &str) -> Parsed<std::path::PathBuf> {
    let text = token.text;
    let one_word = !text.is_empty()
        && !text.starts_with('#')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '?');
    if one_word {
        return Ok(token.value(text.into()));
    }
    Err(token.problem(format!("the path of the {noun} must be one word without `?`")))
}

/// Seconds with up to three decimals, as milliseconds.
pub(crate) fn millis(token: Token<'_>, noun: &str, range: &RangeInclusive<u32>) -> Parsed<u32> {
    let (whole, fraction) = token.text.split_once('.').unwrap_or((token.text, "0"));
    let digits =
        |s: &str, max| (1..=max).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    let ms = (digits(whole, 6) && digits(fraction, 3))
        .then(|| format!("{whole}{fraction:0<3}").parse().ok())
        .flatten();
    match ms {
        Some(ms) if range.contains(&ms) => Ok(token.value(ms)),
        _ => Err(token
            .problem(format!("{noun} must be a time in seconds, not `{}`", token.text))
            .with_hint(format!(
                "between {} and {}",
                seconds(*range.start()),
                seconds(*range.end())
            ))),
    }
}

/// Milliseconds as [`millis`] reads them.
pub(crate) fn seconds(ms: u32) -> String {
    match (ms / 1000, ms % 1000) {
        (s, 0) => s.to_string(),
        (s, ms) => format!("{s}.{ms:03}"),
    }
}
