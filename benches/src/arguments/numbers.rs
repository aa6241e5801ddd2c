//! Numbers as the command line has them, with their units.

use crate::flow::{FLOWS_MAX, Renewal};
use crate::service::VIPS_MAX;

/// `1000`, `1k`, `10M`: decimal thousands.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        _ => (text, 1),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("{text} is not a number like 100k or 1M"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text} is too much"))
}

pub(super) fn flows(text: &str) -> Result<u64, String> {
    match count(text)? {
        flows @ 1..=FLOWS_MAX => Ok(flows),
        _ => Err(format!("there can be 1 to {FLOWS_MAX} flows")),
    }
}

pub(super) fn renewal(text: &str) -> Result<Renewal, String> {
    match text {
        "all" => Ok(Renewal::EveryPacket),
        _ => match count(text)? {
            rate @ 0..=100_000_000 => Ok(Renewal::PerSecond(rate)),
            _ => Err("at most 100M new flows per second, or say all".to_owned()),
        },
    }
}

pub(super) fn buckets(text: &str) -> Result<u32, String> {
    let range = config::defaults::BUCKETS_RANGE;
    let number = u32::try_from(count(text)?).unwrap_or(u32::MAX);
    match range.contains(&number) && number.is_power_of_two() {
        true => Ok(number),
        false => Err(format!("a power of two of {} to {} is needed", range.start(), range.end())),
    }
}

pub(super) fn vips(text: &str) -> Result<u32, String> {
    match u32::try_from(count(text)?) {
        Ok(vips @ 1..=VIPS_MAX) => Ok(vips),
        _ => Err(format!("there can be 1 to {VIPS_MAX} VIPs")),
    }
}

/// `32K`, `1M`, `1G`: binary.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let wrong = || format!("{text} is not a size like 32K, 16M or 1G, of 4K to 64G");
    let number: usize = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if (4 << 10..=64 << 30).contains(&bytes) { Ok(bytes) } else { Err(wrong()) }
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err(format!("{text} is not a percentage")),
    }
}

pub(super) fn load(text: &str) -> Result<f64, String> {
    match percent(text)? {
        percent if percent > 0.0 && percent <= 1000.0 => Ok(percent),
        _ => Err("a load is above 0 and at most 1000 percent".to_owned()),
    }
}

fn number(text: &str, what: &str, valid: impl Fn(f64) -> bool) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && valid(*number));
    number.ok_or_else(|| format!("`{text}` is not {what}"))
}

/// `1.5`, or with a unit as counts have it: `500k` packets per second.
pub(super) fn mpps(text: &str) -> Result<f64, String> {
    if let Ok(packets @ 1..=1_000_000_000) = count(text)
        .map_err(drop)
        .and_then(|n| if text.ends_with(|c: char| c.is_ascii_digit()) { Err(()) } else { Ok(n) })
    {
        return Ok(packets as f64 / 1e6);
    }
    let what = "a rate in million packets per second such as 1.5, or in packets such as 500k, of 1 \
                packet to 1000M";
    number(text, what, |mpps| (1e-6..=1000.0).contains(&mpps))
}

/// Seconds, 0 included.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let what = "a number of seconds from 0 to 86400";
    number(text, what, |seconds| (0.0..=86_400.0).contains(&seconds))
}

pub(super) fn positive_seconds(text: &str) -> Result<f64, String> {
    let what = "a number of seconds from 0.01 to 86400";
    number(text, what, |seconds| (0.01..=86_400.0).contains(&seconds))
}

pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let what = "a share of packets from 0 (none) to 0.5, such as 0.005 for 0.5 %";
    number(text, what, |ratio| (0.0..=0.5).contains(&ratio))
}

/// A share, from percent.
pub(super) fn precision(text: &str) -> Result<f64, String> {
    let what = "a percentage from 0.01 to 50";
    let valid = |percent| (0.01..=50.0).contains(&percent);
    Ok(number(text.trim_end_matches('%'), what, valid)? / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_tables_are_binary() {
        assert_eq!(bytes("32K"), Ok(32 << 10));
        assert_eq!(bytes("1g"), Ok(1 << 30));
        assert!(bytes("1").is_err() && bytes("65G").is_err() && bytes("99999999999G").is_err());
        assert_eq!(count("10M"), Ok(10_000_000));
        assert!(count("").is_err() && count("k").is_err());
        assert!(count("99999999999999999M").is_err());
    }

    #[test]
    fn thresholds_are_percentages() {
        assert_eq!((percent("5"), percent("2.5%")), (Ok(2.5 * 2.0), Ok(2.5)));
        assert!(percent("-1").is_err() && percent("NaN").is_err() && percent("").is_err());
    }

    #[test]
    fn rates_have_units() {
        assert_eq!((mpps("1.5"), mpps("500k"), mpps("2M")), (Ok(1.5), Ok(0.5), Ok(2.0)));
        assert!(mpps("1001").is_err() && mpps("k").is_err() && mpps("NaN").is_err());
        assert_eq!((precision("1"), precision("0.5%")), (Ok(0.01), Ok(0.005)));
    }
}
