//! How long flows live: by state, everywhere or for one VIP.

use std::collections::HashMap;
use std::sync::Arc;

use crate::tcp_state::FlowState;

/// The longest timeout: expiry is compared modulo 2^16 seconds (9 h 6 min).
pub const MAX_TIMEOUT_S: u16 = 32_767;

/// How long a flow lives after its last packet, in seconds. Each state has exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// UDP (`udp-timeout`).
    pub udp_s: u16,
    /// Protocols other than TCP and UDP (`other-timeout`).
    pub other_s: u16,
    /// Half-open TCP: SR, SS, SA, LI (`tcp-syn-timeout`).
    pub syn_s: u16,
    /// TCP at work: ES (`tcp-established-timeout`).
    pub established_s: u16,
    /// FW (`tcp-fin-wait-timeout`).
    pub fin_wait_s: u16,
    /// CW, LA (`tcp-close-wait-timeout`).
    pub close_wait_s: u16,
    /// TW (`tcp-time-wait-timeout`).
    pub time_wait_s: u16,
    /// CL (`tcp-close-timeout`).
    pub close_s: u16,
}

/// A timeout above [`MAX_TIMEOUT_S`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a timeout is at most {MAX_TIMEOUT_S} seconds, not {0}")]
pub struct TimeoutError(
    /// The timeout, seconds.
    pub u64,
);

impl Timeouts {
    /// Checks one timeout, in seconds. 0 is valid: every packet then is a flow of its own.
    ///
    /// # Errors
    ///
    /// When it is above [`MAX_TIMEOUT_S`].
    pub fn check(timeout_s: u64) -> Result<u16, TimeoutError> {
        u16::try_from(timeout_s)
            .ok()
            .filter(|&timeout_s| timeout_s <= MAX_TIMEOUT_S)
            .ok_or(TimeoutError(timeout_s))
    }

    /// The timeout of a state, seconds; never above [`MAX_TIMEOUT_S`].
    #[inline]
    #[must_use]
    pub const fn of(&self, state: FlowState) -> u16 {
        let timeout_s = match state {
            FlowState::Udp => self.udp_s,
            FlowState::Other => self.other_s,
            FlowState::SynSent | FlowState::SynReceived | FlowState::SynAck | FlowState::Listen => {
                self.syn_s
            }
            FlowState::Established => self.established_s,
            FlowState::FinWait => self.fin_wait_s,
            FlowState::CloseWait | FlowState::LastAck => self.close_wait_s,
            FlowState::TimeWait => self.time_wait_s,
            FlowState::Close => self.close_s,
        };
        if timeout_s > MAX_TIMEOUT_S { MAX_TIMEOUT_S } else { timeout_s }
    }

    /// The expiry tick of a flow in `state` whose last packet is of `now_s`.
    #[inline]
    #[must_use]
    pub const fn expiry_tick(&self, state: FlowState, now_s: u32) -> u16 {
        (now_s as u16).wrapping_add(self.of(state))
    }

    /// The longest of them, seconds.
    #[must_use]
    pub fn longest(&self) -> u16 {
        FlowState::ALL.map(|state| self.of(state)).into_iter().max().unwrap_or(0)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            udp_s: 40,
            other_s: 40,
            syn_s: 40,
            established_s: 900,
            fin_wait_s: 120,
            close_wait_s: 120,
            time_wait_s: 120,
            close_s: 120,
        }
    }
}

/// Which of the [`TimeoutProfiles`] a VIP has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProfileId(u16);

impl ProfileId {
    /// That of VIPs without timeouts of their own, and of direct flows.
    pub const GLOBAL: Self = Self(0);

    /// Its position among all.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The timeouts in use: the global ones first, then those of VIPs that have others. Equal ones are
/// there once, as most VIPs agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeoutProfiles {
    global: Timeouts,
    others: Arc<[Timeouts]>,
}

impl TimeoutProfiles {
    /// Only the global ones.
    #[must_use]
    pub fn new(global: Timeouts) -> Self {
        Self { global, others: Arc::default() }
    }

    /// The global ones and those that VIPs have of their own. `name` tells each VIP its profile, in
    /// the order of `own`.
    pub(crate) fn collect<'v>(
        global: Timeouts,
        own: impl Iterator<Item = (Option<Timeouts>, &'v mut ProfileId)>,
    ) -> Self {
        let mut others = Vec::new();
        let mut known = HashMap::from([(global, ProfileId::GLOBAL)]);
        for (timeouts, profile) in own {
            *profile = match timeouts {
                None => ProfileId::GLOBAL,
                // No more VIPs than fit 16 bits: `MAX_VIPS`.
                Some(timeouts) => *known.entry(timeouts).or_insert_with(|| {
                    others.push(timeouts);
                    ProfileId(others.len() as u16)
                }),
            };
        }
        Self { global, others: others.into() }
    }

    /// The global ones.
    #[inline]
    #[must_use]
    pub const fn global(&self) -> &Timeouts {
        &self.global
    }

    /// The timeouts of a VIP.
    #[inline]
    #[must_use]
    pub fn of(&self, profile: ProfileId) -> &Timeouts {
        match profile.index().checked_sub(1) {
            Some(other) => self.others.get(other).unwrap_or(&self.global),
            None => &self.global,
        }
    }

    /// All of them, by the index of their profile.
    pub fn iter(&self) -> impl Iterator<Item = &Timeouts> {
        std::iter::once(&self.global).chain(self.others.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_one_timeout() {
        let timeouts = Timeouts {
            udp_s: 1,
            other_s: 2,
            syn_s: 3,
            established_s: 4,
            fin_wait_s: 5,
            close_wait_s: 6,
            time_wait_s: 7,
            close_s: 8,
        };
        //             ES SS SR FW TW CL CW LA LI SA UDP OTHER
        let expected = [4, 3, 3, 5, 7, 8, 6, 6, 3, 3, 1, 2];
        assert_eq!(FlowState::ALL.map(|state| timeouts.of(state)), expected);
        assert_eq!(timeouts.longest(), 8);
        let usual = Timeouts::default();
        assert_eq!(usual.expiry_tick(FlowState::Udp, 65_530), 34);
        assert_eq!(Timeouts::check(32_767), Ok(32_767));
        assert_eq!(Timeouts::check(32_768), Err(TimeoutError(32_768)));
        let long = Timeouts { established_s: 65_535, ..usual };
        assert_eq!(long.of(FlowState::Established), MAX_TIMEOUT_S);
    }

    #[test]
    fn equal_timeouts_share_a_profile() {
        let global = Timeouts::default();
        let short = Timeouts { udp_s: 5, ..global };
        let long = Timeouts { established_s: 3600, ..global };
        let own = [None, Some(short), Some(long), Some(global), Some(short)];
        let mut ids = [ProfileId::GLOBAL; 5];
        let profiles = TimeoutProfiles::collect(global, own.into_iter().zip(&mut ids));
        assert_eq!(ids.map(ProfileId::index), [0, 1, 2, 0, 1]);
        assert_eq!(profiles.iter().copied().collect::<Vec<_>>(), [global, short, long]);
        assert_eq!(ids.map(|id| *profiles.of(id)), own.map(|own| own.unwrap_or(global)));
    }
}
