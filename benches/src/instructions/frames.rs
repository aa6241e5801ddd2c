//! Frames of fixed work: what clients send, in both families, plain and awkward, and what ASs answer.

use dataplane::interface::MacAddress;
use dataplane::wire::checksum::sum;

use crate::family::Family;
use crate::flow::Renewal;
use crate::traffic::{Protocol, Size, Traffic, TrafficSpec};

/// Our Ethernet address.
pub(super) const MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x01]);
/// Start of the IP header.
const L3: usize = 14;
/// Start of the UDP or TCP header of packets without options.
const L4: usize = 34;
/// Four bytes of options that say nothing (RFC 791 §3.1): no operation, three times, and the end.
const OPTIONS: [u8; 4] = [1, 1, 1, 0];

/// Frames as a list.
pub(crate) type Frames = Vec<Vec<u8>>;

/// `count` frames of clients, flow after flow. `opening`: all are the first of their flows.
pub(crate) fn of_clients(
    family: Family,
    flows: std::ops::Range<u64>,
    protocol: Protocol,
    size: u16,
    opening: bool,
    count: usize,
) -> Frames {
    let renewal = Renewal::PerSecond(0);
    let (count_of_flows, size) = (flows.end - flows.start, Size::Fixed(size));
    let spec = TrafficSpec { family, flows: count_of_flows, size, protocol, renewal };
    let mut traffic = Traffic::forward(&spec, flows, MAC, 1);
    traffic.set_opening(opening);
    (0..count).map(|_| traffic.next_frame()).collect()
}

/// What an AS answers to a packet that was sent to it: ends exchanged, which no checksum notices.
pub(super) fn answer(frame: &[u8]) -> Vec<u8> {
    let mut answer = frame.to_vec();
    answer[..6].copy_from_slice(&MAC.0);
    let (addresses, len, ports) = if frame[L3] >> 4 == 4 { (26, 4, L4) } else { (22, 16, 54) };
    exchange(&mut answer[addresses..addresses + 2 * len]);
    exchange(&mut answer[ports..ports + 4]);
    answer
}

fn exchange(both: &mut [u8]) {
    let (one, other) = both.split_at_mut(both.len() / 2);
    one.swap_with_slice(other);
}

/// The same packet with IPv4 options, for which the header has to be looked at in full.
pub(super) fn with_options(frame: &[u8]) -> Vec<u8> {
    let mut longer = [&frame[..L4], &OPTIONS, &frame[L4..]].concat();
    longer[L3] = 0x46;
    let total = u16::from_be_bytes([frame[16], frame[17]]) + OPTIONS.len() as u16;
    longer[16..18].copy_from_slice(&total.to_be_bytes());
    longer[24..26].fill(0);
    let checksum = sum(&longer[L3..L4 + OPTIONS.len()]).checksum();
    longer[24..26].copy_from_slice(&checksum.0.to_be_bytes());
    longer
}

#[cfg(test)]
mod tests {
    use dataplane::wire::checksum::{is_transport_valid, is_valid};

    use super::*;
    use crate::site::VIP_PORT;

    fn frame(family: Family) -> Vec<u8> {
        of_clients(family, 7..8, Protocol::Udp, 64, false, 1).remove(0)
    }

    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes[..N].try_into().unwrap()
    }

    #[test]
    fn answers_go_back_and_are_valid() {
        let (frame4, frame6) = (frame(Family::Ip4), frame(Family::Ip6));
        let reply = answer(&frame4);
        assert_eq!((&reply[26..30], &reply[30..34]), (&frame4[30..34], &frame4[26..30]));
        assert_eq!((&reply[34..36], &reply[36..38]), (&frame4[36..38], &frame4[34..36]));
        assert!(is_valid(sum(&reply[14..34])));
        let ends =
            [&reply[26..], &reply[30..]].map(|end| std::net::Ipv4Addr::from(array::<4>(end)));
        assert!(is_transport_valid(ends[0], ends[1], 17, &reply[34..]));
        let reply = answer(&frame6);
        assert_eq!((&reply[22..38], &reply[38..54]), (&frame6[38..54], &frame6[22..38]));
        assert_eq!(reply[54..56], VIP_PORT.to_be_bytes());
        let ends =
            [&reply[22..], &reply[38..]].map(|end| std::net::Ipv6Addr::from(array::<16>(end)));
        assert!(is_transport_valid(ends[0], ends[1], 17, &reply[54..]));
    }

    #[test]
    fn options_are_valid() {
        let options = with_options(&frame(Family::Ip4));
        assert!(is_valid(sum(&options[14..38])) && options.len() == 64);
        assert_eq!(u16::from_be_bytes([options[16], options[17]]), 50);
    }
}
