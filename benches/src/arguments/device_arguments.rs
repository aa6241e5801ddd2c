//! [`DeviceArguments`]: what a device under test does.

use clap::ValueEnum;

use super::TrafficArguments;
use super::numbers::buckets;
use crate::family::Family;
use crate::frame_template::Direction;
use crate::mode::{EncapWord, Mode, ModeWord};
use crate::service::{Service, VipPorts};
use crate::site::SERVERS_MAX;

/// What the device under test does.
#[derive(Clone, Debug, clap::Args)]
pub struct DeviceArguments {
    /// Forward mode
    #[arg(long, value_enum, default_value = "lb")]
    pub mode: ModeWord,
    /// How the mode lb sends packets to ASs
    #[arg(long, value_enum, default_value = "nat4")]
    pub encap: EncapWord,
    /// Family of clients and VIP; by default 6 for nat6 and ip6, 4 for all others
    #[arg(long, value_enum)]
    pub family: Option<Family>,
    /// Ports of the VIP; by default one for NAT and all for others. NAT always has one
    #[arg(long, value_enum)]
    pub vip_ports: Option<VipPorts>,
    /// Application servers
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=i64::from(SERVERS_MAX)))]
    pub servers: u16,
    /// Sticky buckets; by default the fewest that stay half empty
    #[arg(long, value_parser = buckets)]
    pub buckets: Option<u32>,
}

impl DeviceArguments {
    /// The mode.
    ///
    /// # Errors
    ///
    /// A mode that needs packets of others than clients.
    pub fn forward_mode(&self) -> Result<Mode, String> {
        let mode = one_mode(&[self.mode], &[self.encap])?;
        if mode.direction() == Direction::Return {
            return Err(format!(
                "{} needs the answers of ASs to flows that exist, and the generator sends packets of \
                 clients; measure it with `sluice-bench run`",
                mode.name()
            ));
        }
        Ok(mode)
    }

    /// Family of clients and VIP.
    ///
    /// # Errors
    ///
    /// A mode that does not take the one that is asked for.
    pub fn client_family(&self) -> Result<Family, String> {
        family_of(self.forward_mode()?, self.family.as_slice())
    }

    /// VIPs and ASs.
    pub fn service(&self) -> Service {
        Service { ports: self.vip_ports, ..Service::of(self.servers) }
    }

    /// The words that say the same, for flows of so many packets.
    pub fn words(&self, traffic: &TrafficArguments) -> Vec<String> {
        let buckets = self.buckets.unwrap_or_else(|| buckets_for(traffic.flows));
        let family = self.family.map(|family| ("--family", word(family)));
        let ports = self.vip_ports.map(|ports| ("--vip-ports", word(ports)));
        let words = [
            ("--mode", word(self.mode)),
            ("--encap", word(self.encap)),
            ("--servers", self.servers.to_string()),
            ("--buckets", buckets.to_string()),
            ("--protocol", traffic.protocol.name().to_owned()),
        ];
        let words = words.into_iter().chain(family).chain(ports);
        words.flat_map(|(key, value)| [key.to_owned(), value]).collect()
    }
}

/// The family of clients: the one that is asked for, or the mode's usual one.
///
/// # Errors
///
/// Several, or one that the mode does not take.
pub fn family_of(mode: Mode, asked_for: &[Family]) -> Result<Family, String> {
    match asked_for {
        [] => Ok(mode.usual_family()),
        [family] if mode.takes(*family) => Ok(*family),
        [family] => Err(format!("{} does not take --family {}", mode.name(), word(*family))),
        _ => Err("a port has one --family at a time".to_owned()),
    }
}

/// The word by which a value is given on the command line.
pub(crate) fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The one mode that words name.
///
/// # Errors
///
/// When they name several.
pub fn one_mode(modes: &[ModeWord], encaps: &[EncapWord]) -> Result<Mode, String> {
    let named = Mode::named(modes, encaps);
    match named[..] {
        [io] => Ok(io),
        // `io` is always named.
        [_, mode] if !modes.contains(&ModeWord::Io) => Ok(mode),
        _ => {
            let names: Vec<_> = named.iter().map(|mode| mode.name()).collect();
            Err(format!(
                "a port forwards in one mode at a time, and these are named: {}; give one --mode, and \
                 one --encap",
                names.join(", ")
            ))
        }
    }
}

/// The fewest sticky buckets, of four entries each, that so many flows fill to one half at most.
pub fn buckets_for(flows: u64) -> u32 {
    let (least, most) = (1024, *config::defaults::BUCKETS_RANGE.end());
    let wanted = (flows / 2).next_power_of_two().max(least);
    u32::try_from(wanted).map_or(most, |wanted| wanted.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Action;
    use crate::arguments::tests::parse;

    #[test]
    fn a_port_has_one_mode() {
        let (nat4, gre4) = (EncapWord::Nat4, EncapWord::Gre4);
        assert_eq!(one_mode(&[ModeWord::Lb], &[gre4]), Ok(Mode::LbGre4));
        assert_eq!(one_mode(&[ModeWord::Io], &[nat4, gre4]), Ok(Mode::Io));
        assert_eq!(one_mode(&[ModeWord::Macswap], &[nat4]), Ok(Mode::Macswap));
        let error = one_mode(&[ModeWord::Lb], &[nat4, gre4]).unwrap_err();
        assert!(
            error.contains("io, lb nat4, lb gre4; give one --mode, and one --encap"),
            "{error}"
        );
        assert!(one_mode(&[ModeWord::Io, ModeWord::Ip4], &[nat4]).is_err());
    }

    #[test]
    fn the_other_processes_get_the_same_words() {
        let line = "pair --encap l3dsr --flows 10M --size imix --new-flows all --protocol syn";
        let Action::Pair(pair) = parse(line).unwrap() else { unreachable!("pair was asked for") };
        let words = pair.device.words(&pair.traffic).join(" ");
        assert_eq!(words, "--mode lb --encap l3dsr --servers 16 --buckets 8388608 --protocol syn");
        let words = pair.traffic.words().join(" ");
        assert_eq!(words, "--flows 10000000 --size imix --protocol syn --new-flows all");
        let line = format!("generate --dev net_memif0 --to-mac 02:00:00:00:00:01 {words}");
        assert!(parse(&line).is_ok());
        assert_eq!((buckets_for(1), buckets_for(3_000)), (1024, 2048));
        let line = "pair --mode lb --encap gre4 --family 6 --vip-ports one";
        let Action::Pair(pair) = parse(line).unwrap() else { unreachable!("pair was asked for") };
        let words = pair.device.words(&pair.traffic).join(" ");
        assert!(words.ends_with("--family 6 --vip-ports one"), "{words}");
    }

    #[test]
    fn the_family_is_one_that_the_mode_takes() {
        let (ip4, ip6) = (Family::Ip4, Family::Ip6);
        assert_eq!(family_of(Mode::LbGre4, &[]), Ok(ip4));
        assert_eq!(family_of(Mode::LbNat6, &[]), Ok(ip6));
        assert_eq!(family_of(Mode::LbGre4, &[ip6]), Ok(ip6));
        let error = family_of(Mode::LbNat4, &[ip6]).unwrap_err();
        assert_eq!(error, "lb nat4 does not take --family 6");
        assert!(family_of(Mode::LbGre4, &[ip4, ip6]).is_err());
    }

    #[test]
    fn answers_have_no_generator() {
        let Action::Ndr(ndr) = parse("ndr --encap nat4-return").unwrap() else { unreachable!() };
        assert!(ndr.device.forward_mode().unwrap_err().contains("`sluice-bench run`"));
    }
}
