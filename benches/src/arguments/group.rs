//! [`Group`]: what `sluice-bench run` measures together.

use super::{Harness, RunArguments};
use crate::family::Family;
use crate::flow::Renewal;
use crate::frame_template::Direction;
use crate::mode::Mode;
use crate::service::Service;
use crate::traffic::{Protocol, Size, TrafficSpec};

/// Modes that are measured together, on the same packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which way packets go.
    pub direction: Direction,
    /// The packets.
    pub spec: TrafficSpec,
    /// VIPs and ASs.
    pub service: Service,
    /// The modes, `io` first.
    pub modes: Vec<Mode>,
}

impl RunArguments {
    /// Everything that is to be measured, in order.
    ///
    /// # Errors
    ///
    /// Arguments that do not go together.
    pub fn groups(&self) -> Result<Vec<Group>, String> {
        if self.harness == Harness::Pcap {
            self.check_pcap()?;
        } else if self.pcaps.is_some() {
            return Err("--pcaps is for --harness pcap".to_owned());
        }
        let named = match self.config {
            Some(_) => vec![Mode::Io, Mode::Configured],
            None => Mode::named(&self.mode, &self.encap),
        };
        if self.pcap.is_some() {
            return self.recorded_group(named);
        }
        let mut groups = Vec::new();
        for direction in [Direction::Forward, Direction::Return] {
            for family in self.families(&named)? {
                let wanted = |mode: &Mode| match self.family.is_empty() {
                    true => mode.usual_family() == family,
                    false => mode.takes(family),
                };
                let fits = |mode: &Mode| {
                    matches!(mode, Mode::Io | Mode::Macswap)
                        || mode.direction() == direction && wanted(mode)
                };
                let modes: Vec<_> = named.iter().copied().filter(fits).collect();
                // `io` alone is of interest only when nothing else was asked for.
                let alone = modes.iter().all(|mode| matches!(mode, Mode::Io | Mode::Macswap));
                if alone && (direction == Direction::Return || modes.len() < named.len()) {
                    continue;
                }
                self.add_groups(&mut groups, direction, family, &modes)?;
            }
        }
        Ok(groups)
    }

    /// All modes on the packets of a file. What these are is not known here.
    fn recorded_group(&self, modes: Vec<Mode>) -> Result<Vec<Group>, String> {
        if modes.iter().any(|mode| mode.direction() == Direction::Return) {
            return Err(
                "answers are for flows that the bench has made; --pcap has others".to_owned()
            );
        }
        let protocol = *self.protocol.first().ok_or("no --protocol")?;
        let family = self.family.first().copied().unwrap_or_default();
        let ports = self.vip_ports.first().copied();
        let (flows, size, renewal) = (1, Size::Fixed(64), Renewal::PerSecond(0));
        let spec = TrafficSpec { family, flows, size, protocol, renewal };
        let direction = Direction::Forward;
        Ok(vec![Group { direction, spec, service: self.service(ports), modes }])
    }

    /// The families of clients: those asked for, or those that the modes need.
    fn families(&self, modes: &[Mode]) -> Result<Vec<Family>, String> {
        let takes = |mode: &Mode| self.family.iter().any(|family| mode.takes(*family));
        if let Some(mode) = modes.iter().find(|mode| !self.family.is_empty() && !takes(mode)) {
            return Err(format!("{} is not for this family of clients", mode.name()));
        }
        let both = [Family::Ip4, Family::Ip6];
        let needed = |family: &Family| match self.family.as_slice() {
            [] => modes.iter().any(|mode| mode.usual_family() == *family),
            asked_for => asked_for.contains(family),
        };
        Ok(both.into_iter().filter(needed).collect())
    }

    fn add_groups(
        &self,
        groups: &mut Vec<Group>,
        direction: Direction,
        family: Family,
        modes: &[Mode],
    ) -> Result<(), String> {
        let ports: Vec<_> = match self.vip_ports.as_slice() {
            [] => vec![None],
            some => some.iter().copied().map(Some).collect(),
        };
        for spec in self.specs(family) {
            if direction == Direction::Return {
                answerable(&spec)?;
                if !self.churn.is_empty() {
                    return Err("answers have no churn: their ASs must stay".to_owned());
                }
            }
            groups.extend(ports.iter().map(|ports| Group {
                direction,
                spec,
                service: self.service(*ports),
                modes: modes.to_vec(),
            }));
        }
        Ok(())
    }

    /// A file is the same every time, has one queue, and comes in whole frames.
    fn check_pcap(&self) -> Result<(), String> {
        if self.new_flows.iter().any(|renewal| *renewal != Renewal::PerSecond(0)) {
            return Err("--harness pcap has no new flows".to_owned());
        }
        if self.workers != [1] || self.burst != 256 {
            return Err("--harness pcap has one worker and bursts of 256".to_owned());
        }
        if !self.churn.is_empty() || !self.latency.is_empty() {
            return Err("--churn and --latency need --harness memory".to_owned());
        }
        Ok(())
    }

    fn specs(&self, family: Family) -> Vec<TrafficSpec> {
        let mut specs = Vec::new();
        for protocol in &self.protocol {
            for size in &self.size {
                for renewal in &self.new_flows {
                    for flows in &self.flows {
                        let (flows, size) = (*flows, *size);
                        let (protocol, renewal) = (*protocol, *renewal);
                        specs.push(TrafficSpec { family, flows, size, protocol, renewal });
                    }
                }
            }
        }
        specs
    }
}

/// ASs answer flows that exist.
fn answerable(spec: &TrafficSpec) -> Result<(), String> {
    if spec.renewal != Renewal::PerSecond(0) {
        return Err("answers have no new flows: they begin with clients".to_owned());
    }
    if spec.protocol == Protocol::Syn {
        return Err("answers have no SYNs: they come from clients".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::tests::run;
    use crate::service::VipPorts;

    #[test]
    fn defaults_are_the_four_flow_counts() {
        let groups = run("").unwrap().groups().unwrap();
        let flows: Vec<_> = groups.iter().map(|group| group.spec.flows).collect();
        assert_eq!(flows, [1, 1_000, 100_000, 1_000_000]);
        assert!(groups.iter().all(|group| group.modes == [Mode::Io, Mode::LbNat4]));
    }

    #[test]
    fn lists_multiply() {
        let line = "--flows 1,10M --size 64,imix --protocol udp,syn --new-flows 0,10k,all";
        let groups = run(line).unwrap().groups().unwrap();
        assert_eq!(groups.len(), 2 * 2 * 2 * 3);
        let last = groups.last().unwrap().spec;
        assert_eq!((last.flows, last.size), (10_000_000, Size::Imix));
        assert_eq!((last.protocol, last.renewal), (Protocol::Syn, Renewal::EveryPacket));
    }

    #[test]
    fn answers_are_measured_apart() {
        let run = |line| self::run(line).unwrap().groups();
        let groups = run("--mode lb,ip4 --encap nat4,nat4-return --flows 1").unwrap();
        assert_eq!(groups[0].modes, [Mode::Io, Mode::LbNat4, Mode::Ip4]);
        assert_eq!(groups[1].modes, [Mode::Io, Mode::LbNat4Return]);
        assert_eq!(groups.len(), 2);
        assert_eq!(run("--mode io --flows 1").unwrap()[0].modes, [Mode::Io]);
        assert_eq!(run("--encap nat4-return --flows 1").unwrap().len(), 1);
        assert_eq!(groups[1].direction, Direction::Return);
        assert!(run("--encap nat4-return --new-flows 1k").is_err());
        assert!(run("--encap nat4-return --protocol syn").is_err());
    }

    #[test]
    fn each_family_has_the_modes_that_take_it() {
        let run = |line: &str| self::run(&format!("--flows 1 {line}")).unwrap().groups();
        let shape = |line| {
            let groups = run(line).unwrap();
            groups.into_iter().map(|group| (group.spec.family, group.modes)).collect::<Vec<_>>()
        };
        let (ip4, ip6) = (Family::Ip4, Family::Ip6);
        let gre4_nat6 = shape("--encap gre4,nat6");
        assert_eq!(gre4_nat6[0], (ip4, vec![Mode::Io, Mode::LbGre4]));
        assert_eq!(gre4_nat6[1], (ip6, vec![Mode::Io, Mode::LbNat6]));
        let both = shape("--encap gre4,nat6 --family 4,6");
        assert_eq!(both[1], (ip6, vec![Mode::Io, Mode::LbGre4, Mode::LbNat6]));
        assert_eq!(shape("--mode io --family 6"), [(ip6, vec![Mode::Io])]);
        assert_eq!(shape("--mode macswap"), [(ip4, vec![Mode::Io, Mode::Macswap])]);
        assert_eq!(shape("--encap nat6-return"), [(ip6, vec![Mode::Io, Mode::LbNat6Return])]);
        assert!(run("--encap nat4 --family 6").unwrap_err().contains("nat4"));
        assert!(self::run("--family 5").is_err());
    }

    #[test]
    fn recorded_packets_are_one_group() {
        let groups = |line: &str| run(line).unwrap().groups();
        let all = groups("--pcap f.pcap --mode lb,ip4 --encap gre4").unwrap();
        assert_eq!((all.len(), &all[0].modes), (1, &vec![Mode::Io, Mode::LbGre4, Mode::Ip4]));
        let own = groups("--pcap f.pcap --config c").unwrap();
        assert_eq!(own[0].modes, [Mode::Io, Mode::Configured]);
        assert_eq!(groups("--config c --flows 1,2").unwrap().len(), 2);
        assert!(groups("--pcap f.pcap --encap nat4-return").is_err());
    }

    #[test]
    fn a_vip_may_have_one_port() {
        let run = |line: &str| self::run(&format!("--flows 1 {line}")).unwrap().groups().unwrap();
        let ports =
            run("--encap gre4 --vip-ports one,all").iter().map(|g| g.service.ports).collect();
        assert_eq!(
            (vec![Some(VipPorts::One), Some(VipPorts::All)], run("")[0].service.ports),
            (ports, None)
        );
    }

    #[test]
    fn files_cannot_do_everything() {
        let run = |line: &str| self::run(&format!("--harness pcap {line}")).unwrap().groups();
        assert!(run("--encap nat4,nat4-return --pcaps /tmp").is_ok());
        for line in ["--new-flows 1k", "--workers 2", "--burst 32", "--churn 1", "--latency 50"] {
            assert!(run(line).is_err(), "{line}");
        }
        assert!(self::run("--pcaps /tmp").unwrap().groups().is_err());
    }
}
