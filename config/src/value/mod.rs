//! One word, or one TOML string, becomes a typed value or a [`Problem`].
//!
//! The CLI and the TOML file share these, so that both judge alike and in the same words.

mod address;
mod vlan;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

pub(crate) use address::{
    address, check_hop, check_tunnel, client_prefix, host_address, interface_address, ip_word, ip4,
    ip6, is_link_local, looks_like_an_address, mac, prefix, src_entropy,
};
pub(crate) use vlan::{sub_interface_name, vlan, vlan_tags};

use crate::choice::Choice;
use crate::suggest::closest;
use crate::{
    FlowsCursor, IdleTime, Mss, PortRange, Problem, Protocol, Span, Spanned, TunnelDscp, defaults,
    new_len,
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

/// A port number of `noun`.
pub(crate) fn port(token: Token<'_>, noun: &str) -> Parsed<u16> {
    number(token, noun, &defaults::PORT_RANGE)
}

/// One port or a range `a-b`.
pub(crate) fn ports(token: Token<'_>, noun: &str) -> Parsed<PortRange> {
    let Some((first, last)) = token.text.split_once('-').filter(|(first, _)| !first.is_empty())
    else {
        return Ok(port(token, noun)?.map(PortRange::one));
    };
    let end = |text| port(Token { text, span: token.span }, noun).map(|port| port.value);
    let (first, last) = (end(first)?, end(last)?);
    match PortRange::new(first, last) {
        Some(range) => Ok(token.value(range)),
        None => Err(token
            .problem(format!("the range {noun} {} runs backwards", token.text))
            .with_hint(format!("write {last}-{first}"))),
    }
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

/// One of a few words.
fn one_of<T: Copy>(
    token: Token<'_>,
    noun: &str,
    words: &[(&'static str, T)],
    others: &str,
) -> Parsed<T> {
    if let Some(&(_, value)) = words.iter().find(|(word, _)| *word == token.text) {
        return Ok(token.value(value));
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let list = format!("{noun} is one of {}{others}", known.join(", "));
    let problem = token.problem(format!("unknown {noun} `{}`", token.text));
    Err(match closest(token.text, known.iter().copied()) {
        Some(word) => problem.with_hint(format!("did you mean `{word}`? {list}")),
        None => problem.with_hint(list),
    })
}

/// One of the words of `T`, or another word for it.
pub(crate) fn choice<T: Choice>(token: Token<'_>, noun: &str) -> Parsed<T> {
    match T::ALIASES.iter().find(|(alias, _)| *alias == token.text) {
        Some(&(_, value)) => Ok(token.value(value)),
        None => one_of(token, noun, T::WORDS, ""),
    }
}

/// An IP protocol: `tcp`, `udp` or its number.
pub(crate) fn ip_protocol(token: Token<'_>) -> Parsed<u8> {
    if looks_like_a_number(token.text) {
        return number(token, "the protocol", &(0..=u8::MAX));
    }
    let known = [Protocol::Tcp, Protocol::Udp].map(|p| (p.word(), p.number()));
    one_of(token, "protocol", &known, " or a number of 0 to 255")
}

/// An IP protocol as [`ip_protocol`] reads it.
pub(crate) fn protocol_word(protocol: u8) -> String {
    let known = Protocol::ALL.iter().find(|p| p.number() == protocol);
    known.map_or_else(|| protocol.to_string(), |p| p.word().to_owned())
}

/// Does the text mean a number, however wrong?
fn looks_like_a_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

/// `copy` or a DSCP.
pub(crate) fn tunnel_dscp(token: Token<'_>) -> Parsed<TunnelDscp> {
    if looks_like_a_number(token.text) {
        let dscp = number(token, "tunnel-dscp", &defaults::DSCP_RANGE)?;
        return Ok(dscp.map(TunnelDscp::Set));
    }
    one_of(token, "tunnel-dscp", &[("copy", TunnelDscp::Copy)], " or a number of 0 to 63")
}

/// `<thread>:<entry>`, as a page of flows ends with.
pub(crate) fn flows_cursor(token: Token<'_>) -> Parsed<FlowsCursor> {
    let parts = token.text.split_once(':');
    let numbers =
        parts.and_then(|(thread, entry)| Some((thread.parse().ok()?, entry.parse().ok()?)));
    match numbers {
        Some((thread, entry)) if thread > 0 => Ok(token.value(FlowsCursor { thread, entry })),
        _ => Err(token
            .problem(format!("`{}` is no cursor", token.text))
            .with_hint("<thread>:<entry>, as the page before ended with")),
    }
}

/// Seconds, or `default`.
pub(crate) fn idle_time(token: Token<'_>, noun: &str) -> Parsed<IdleTime> {
    if token.text == "default" {
        return Ok(token.value(IdleTime::Default));
    }
    Ok(number(token, noun, &defaults::TIMEOUT_S_RANGE)?.map(IdleTime::Seconds))
}

/// `auto`, `off` or bytes.
pub(crate) fn mss(token: Token<'_>) -> Parsed<Mss> {
    if looks_like_a_number(token.text) {
        return Ok(number(token, "mss", &defaults::MSS_RANGE)?.map(Mss::Bytes));
    }
    one_of(token, "mss", &[("auto", Mss::Auto), ("off", Mss::Off)], " or a number of bytes")
}

/// `up` or `down`.
pub(crate) fn state(token: Token<'_>) -> Parsed<bool> {
    one_of(token, "state", &[("up", true), ("down", false)], "")
}

/// `busy` or `adaptive`.
pub(crate) fn poll(token: Token<'_>) -> Parsed<crate::Poll> {
    one_of(token, "poll", &[("busy", crate::Poll::Busy), ("adaptive", crate::Poll::Adaptive)], "")
}

/// `auto`, `required` or `off`.
pub(crate) fn hugepages(token: Token<'_>) -> Parsed<crate::Hugepages> {
    use crate::Hugepages::{Auto, Off, Required};
    one_of(token, "hugepages", &[("auto", Auto), ("required", Required), ("off", Off)], "")
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
