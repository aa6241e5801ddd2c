//! How long flows live: the words that `lb conf`, `lb vip`, `[lb]` and `[[vip]]` share.

use std::fmt;

use crate::choice::choices;
use crate::{Spanned, defaults};

choices! {
    /// Flows that have an idle time in common.
    FlowTimeout {
        /// All that have shown nothing: what UDP, other protocols and half-open TCP have unless
        /// they have one of their own.
        General = "timeout",
        /// UDP.
        Udp = "udp-timeout",
        /// Protocols other than TCP and UDP.
        Other = "other-timeout",
        /// TCP that has only seen SYNs: SYN_RECV, SYN_SENT.
        TcpSyn = "tcp-syn-timeout",
        /// TCP at work: ESTABLISHED.
        TcpEstablished = "tcp-established-timeout",
        /// TCP after FIN or RST: what each of the following states has unless it has one of its own.
        TcpClosing = "tcp-closing-timeout",
        /// FIN_WAIT.
        TcpFinWait = "tcp-fin-wait-timeout",
        /// CLOSE_WAIT, LAST_ACK.
        TcpCloseWait = "tcp-close-wait-timeout",
        /// TIME_WAIT.
        TcpTimeWait = "tcp-time-wait-timeout",
        /// CLOSE: after RST.
        TcpClose = "tcp-close-timeout",
    }
}

impl FlowTimeout {
    /// The one that this follows where it was not set.
    pub const fn general(self) -> Option<FlowTimeout> {
        match self {
            FlowTimeout::Udp | FlowTimeout::Other | FlowTimeout::TcpSyn => {
                Some(FlowTimeout::General)
            }
            FlowTimeout::TcpFinWait
            | FlowTimeout::TcpCloseWait
            | FlowTimeout::TcpTimeWait
            | FlowTimeout::TcpClose => Some(FlowTimeout::TcpClosing),
            FlowTimeout::General | FlowTimeout::TcpEstablished | FlowTimeout::TcpClosing => None,
        }
    }

    /// What it is where nothing was said, seconds.
    pub const fn default_s(self) -> u32 {
        match self {
            FlowTimeout::General | FlowTimeout::Udp | FlowTimeout::Other | FlowTimeout::TcpSyn => {
                defaults::TIMEOUT_S
            }
            FlowTimeout::TcpEstablished => defaults::TCP_ESTABLISHED_TIMEOUT_S,
            _ => defaults::TCP_CLOSING_TIMEOUT_S,
        }
    }

    /// The IP protocol whose flows it is about; `None` for several.
    pub const fn protocol(self) -> Option<u8> {
        match self {
            FlowTimeout::General | FlowTimeout::Other => None,
            FlowTimeout::Udp => Some(17),
            _ => Some(6),
        }
    }

    /// What is in force, seconds: what a VIP says itself goes before what is said for all, and what
    /// is said of a state before what is said in general.
    pub fn in_force(self, vip: &FlowTimeouts, all: &FlowTimeouts) -> u32 {
        let either =
            |said: &FlowTimeouts| said.seconds(self).or_else(|| said.seconds(self.general()?));
        either(vip).or_else(|| either(all)).unwrap_or(self.default_s())
    }
}

/// How long a flow lives without a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdleTime {
    /// As if nothing had been said.
    Default,
    /// So many seconds, 1..=32000.
    Seconds(u32),
}

impl fmt::Display for IdleTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdleTime::Default => f.write_str("default"),
            IdleTime::Seconds(seconds) => seconds.fmt(f),
        }
    }
}

/// The idle times that were said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTimeouts([Option<Spanned<IdleTime>>; FlowTimeout::ALL.len()]);

impl FlowTimeouts {
    /// Those that `read` finds.
    ///
    /// # Errors
    ///
    /// The first of `read`'s.
    pub fn read<E>(
        mut read: impl FnMut(FlowTimeout) -> Result<Option<Spanned<IdleTime>>, E>,
    ) -> Result<FlowTimeouts, E> {
        let mut timeouts = FlowTimeouts::default();
        for of in FlowTimeout::ALL {
            timeouts.set(*of, read(*of)?);
        }
        Ok(timeouts)
    }

    /// What was said of these flows.
    pub fn get(&self, of: FlowTimeout) -> Option<Spanned<IdleTime>> {
        self.0[of as usize]
    }

    /// Says something else of these flows, or nothing.
    pub fn set(&mut self, of: FlowTimeout, idle: Option<Spanned<IdleTime>>) {
        self.0[of as usize] = idle;
    }

    /// The seconds that were said of these flows.
    pub fn seconds(&self, of: FlowTimeout) -> Option<u32> {
        match self.get(of)?.value {
            IdleTime::Default => None,
            IdleTime::Seconds(seconds) => Some(seconds),
        }
    }

    /// All that was said.
    pub fn iter(&self) -> impl Iterator<Item = (FlowTimeout, Spanned<IdleTime>)> {
        FlowTimeout::ALL.iter().filter_map(|of| Some((*of, self.get(*of)?)))
    }

    /// What is set after this was said where `before` was set. What comes from `before` has no place
    /// in a text, as that was another one.
    pub fn onto(&self, before: &FlowTimeouts) -> FlowTimeouts {
        let mut after = FlowTimeouts::default();
        for of in FlowTimeout::ALL {
            let old = before.get(*of).map(|idle| Spanned::from(idle.value));
            let said = self.get(*of).or(old);
            after.set(*of, said.filter(|idle| idle.value != IdleTime::Default));
        }
        after
    }

    /// What is set after this was said where nothing was, without places in a text.
    pub fn alone(&self) -> FlowTimeouts {
        FlowTimeouts::default().onto(&self.onto(&FlowTimeouts::default()))
    }

    /// What is set differently from the defaults, where nothing but the defaults is below it.
    pub fn unusual(&self) -> FlowTimeouts {
        let mut unusual = self.alone();
        for of in FlowTimeout::ALL.iter().filter(|of| of.general().is_none()) {
            if unusual.seconds(*of) == Some(of.default_s()) {
                unusual.set(*of, None);
            }
        }
        unusual
    }
}

/// As in a command, each with a space in front: ` timeout 60 udp-timeout 30`.
impl fmt::Display for FlowTimeouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(of, idle)| write!(f, " {of} {idle}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[(FlowTimeout, u32)]) -> FlowTimeouts {
        let mut timeouts = FlowTimeouts::default();
        for (of, seconds) in words {
            timeouts.set(*of, Some(IdleTime::Seconds(*seconds).into()));
        }
        timeouts
    }

    #[test]
    fn a_vip_goes_before_all_and_a_state_before_the_general() {
        use FlowTimeout::{
            General, TcpClose, TcpClosing, TcpEstablished, TcpSyn, TcpTimeWait, Udp,
        };
        let nothing = FlowTimeouts::default();
        let defaults = FlowTimeout::ALL.iter().map(|of| of.in_force(&nothing, &nothing));
        assert_eq!(defaults.collect::<Vec<_>>(), [40, 40, 40, 40, 900, 120, 120, 120, 120, 120]);
        let all = said(&[(General, 50), (Udp, 300), (TcpClosing, 60), (TcpClose, 10)]);
        let vip = said(&[(General, 5), (TcpTimeWait, 7), (TcpEstablished, 3600)]);
        for (of, without, with) in [
            (Udp, 300, 5),
            (TcpSyn, 50, 5),
            (TcpEstablished, 900, 3600),
            (TcpTimeWait, 60, 7),
            (TcpClose, 10, 10),
        ] {
            assert_eq!((of.in_force(&nothing, &all), of.in_force(&vip, &all)), (without, with));
        }
    }

    #[test]
    fn defaults_come_back() {
        use FlowTimeout::{General, TcpClose, Udp};
        let before = said(&[(General, 50), (Udp, 300)]);
        let mut change = said(&[(TcpClose, 10)]);
        change.set(General, Some(IdleTime::Default.into()));
        assert_eq!(change.onto(&before), said(&[(Udp, 300), (TcpClose, 10)]));
        // Only what nothing else can be below is left out for being the default.
        assert_eq!(said(&[(General, 40), (Udp, 40)]).unusual(), said(&[(Udp, 40)]));
    }
}
