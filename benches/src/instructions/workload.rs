//! [`Workload`]: one piece of fixed work.

use super::callgrind;
use super::frames::{Frames, answer, of_clients, with_options};
use super::rig::Rig;
use crate::kernels::{self, Kernel};
use crate::mode::Mode;
use crate::traffic::Protocol;

/// Packets that are counted: enough that a frame more or less is no matter.
const PACKETS: usize = 32 * 256;
/// The first flow that nobody has seen before.
const STRANGERS: u64 = 1 << 20;

/// Fixed work whose instructions are counted.
pub struct Workload {
    name: String,
    work: Work,
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workload({})", self.name)
    }
}

enum Work {
    Packets(PacketWork),
    Kernel(Kernel),
}

/// Packets through a load balancer.
#[derive(Clone, Copy, Debug)]
struct PacketWork {
    mode: Mode,
    protocol: Protocol,
    flows: u64,
    size: u16,
    kind: Kind,
}

/// Which packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Of flows that are known.
    Known,
    /// Each the first of its flow.
    New,
    /// What ASs answer.
    Answers,
    /// With IPv4 options, all or every second one.
    Options { all: bool },
}

/// Everything that is counted, in the order of the baseline.
pub fn all() -> Vec<Workload> {
    use Kind::{Answers, Known, New, Options};
    use Protocol::{Syn, Tcp, Udp};
    let packets = [
        ("ip4", Mode::Ip4, Udp, 1000, 64, Known),
        ("ip6", Mode::Ip6, Udp, 1000, 64, Known),
        ("nat4, udp, 1 flow", Mode::LbNat4, Udp, 1, 64, Known),
        ("nat4, udp, 1000 flows", Mode::LbNat4, Udp, 1000, 64, Known),
        ("nat4, tcp, 1000 flows", Mode::LbNat4, Tcp, 1000, 64, Known),
        ("nat4, new flows", Mode::LbNat4, Syn, 1000, 64, New),
        ("nat4-return, udp, 1 flow", Mode::LbNat4Return, Udp, 1, 64, Answers),
        ("nat4-return, udp, 1000 flows", Mode::LbNat4Return, Udp, 1000, 64, Answers),
        ("nat4-return, tcp, 1000 flows", Mode::LbNat4Return, Tcp, 1000, 64, Answers),
        ("nat6, udp, 1000 flows", Mode::LbNat6, Udp, 1000, 64, Known),
        ("nat6-return, udp, 1000 flows", Mode::LbNat6Return, Udp, 1000, 64, Answers),
        ("gre4, udp, 1 flow", Mode::LbGre4, Udp, 1, 64, Known),
        ("gre4, udp, 1000 flows", Mode::LbGre4, Udp, 1000, 64, Known),
        ("gre4, new flows", Mode::LbGre4, Syn, 1000, 64, New),
        ("gre6, udp, 1000 flows", Mode::LbGre6, Udp, 1000, 64, Known),
        ("l3dsr, udp, 1 flow", Mode::LbL3dsr, Udp, 1, 64, Known),
        ("l3dsr, udp, 1000 flows", Mode::LbL3dsr, Udp, 1000, 64, Known),
        ("l3dsr, udp, 1000 flows, 1400 bytes", Mode::LbL3dsr, Udp, 1000, 1400, Known),
        ("gre4, ip options", Mode::LbGre4, Udp, 1000, 64, Options { all: true }),
        ("nat4, every second with ip options", Mode::LbNat4, Udp, 1000, 64, Options { all: false }),
    ];
    let packets = packets.into_iter().map(|(name, mode, protocol, flows, size, kind)| Workload {
        name: name.to_owned(),
        work: Work::Packets(PacketWork { mode, protocol, flows, size, kind }),
    });
    let kernels = kernels::counted()
        .into_iter()
        .map(|kernel| Workload { name: kernel.full_name(), work: Work::Kernel(kernel) });
    packets.chain(kernels).collect()
}

impl Workload {
    /// What the baseline calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does the work; under Callgrind, its instructions are dumped under its name. Returns how
    /// many packets or operations it has.
    ///
    /// # Errors
    ///
    /// Packets that did not leave, or a configuration that is refused.
    pub fn count(&self) -> Result<u64, String> {
        match &self.work {
            Work::Packets(work) => work.count(&self.name),
            Work::Kernel(kernel) => {
                let mut run = kernel.prepare();
                // Once for what is done only once.
                run();
                callgrind::counted(&self.name, &mut run)?;
                Ok(kernel.operations())
            }
        }
    }
}

impl PacketWork {
    /// Frames of this kind.
    fn frames(&self, first_flow: u64, opening: bool, count: usize) -> Frames {
        let len = if first_flow == STRANGERS { count as u64 } else { self.flows };
        let flows = first_flow..first_flow + len;
        let plain =
            of_clients(self.mode.usual_family(), flows, self.protocol, self.size, opening, count);
        let dress = |(at, frame): (usize, Vec<u8>)| match self.kind {
            Kind::Options { all } if all || at % 2 == 1 => with_options(&frame),
            _ => frame,
        };
        plain.into_iter().enumerate().map(dress).collect()
    }

    fn count(&self, name: &str) -> Result<u64, String> {
        let mut rig = Rig::new(self.mode, self.protocol)?;
        rig.pass(self.frames(0, true, self.flows.max(256) as usize))?;
        let known = self.frames(0, false, PACKETS);
        let sent = rig.pass(known.clone())?;
        let counted = match self.kind {
            Kind::New => self.frames(STRANGERS, true, PACKETS),
            Kind::Answers => {
                let answers: Frames = sent.iter().map(|frame| answer(frame)).collect();
                rig.pass(answers.clone())?;
                answers
            }
            _ => known,
        };
        rig.count(counted, name)?;
        Ok(PACKETS as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Also what makes sure that all packets of all workloads leave.
    #[test]
    fn everything_can_be_done_and_has_a_name_of_its_own() {
        let all = all();
        let names: HashSet<_> = all.iter().map(Workload::name).collect();
        assert_eq!(names.len(), all.len());
        for workload in &all {
            let operations = workload.count().unwrap_or_else(|e| panic!("{workload:?}: {e}"));
            assert!(operations > 0);
        }
    }
}
