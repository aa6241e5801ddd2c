//! How long flows live, as `show lb` and `show lb vips verbose` say it.

use std::fmt::{self, Display, Formatter};

use config::{FlowTimeout, FlowTimeouts};
use serde::Serialize;

/// The idle times in force, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimeoutStatus {
    /// UDP.
    pub udp_s: u32,
    /// Protocols other than TCP and UDP.
    pub other_s: u32,
    /// Half-open TCP.
    pub tcp_syn_s: u32,
    /// TCP at work.
    pub tcp_established_s: u32,
    /// TCP in FIN_WAIT.
    pub tcp_fin_wait_s: u32,
    /// TCP in CLOSE_WAIT or LAST_ACK.
    pub tcp_close_wait_s: u32,
    /// TCP in TIME_WAIT.
    pub tcp_time_wait_s: u32,
    /// TCP in CLOSE.
    pub tcp_close_s: u32,
}

impl TimeoutStatus {
    /// Those of a VIP that says `vip` where `lb conf` says `all`.
    pub fn of(vip: &FlowTimeouts, all: &FlowTimeouts) -> Self {
        let in_force = |of: FlowTimeout| of.in_force(vip, all);
        Self {
            udp_s: in_force(FlowTimeout::Udp),
            other_s: in_force(FlowTimeout::Other),
            tcp_syn_s: in_force(FlowTimeout::TcpSyn),
            tcp_established_s: in_force(FlowTimeout::TcpEstablished),
            tcp_fin_wait_s: in_force(FlowTimeout::TcpFinWait),
            tcp_close_wait_s: in_force(FlowTimeout::TcpCloseWait),
            tcp_time_wait_s: in_force(FlowTimeout::TcpTimeWait),
            tcp_close_s: in_force(FlowTimeout::TcpClose),
        }
    }
}

impl Display for TimeoutStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "udp:{} other:{} tcp-syn:{} tcp-established:{} tcp-fin-wait:{} tcp-close-wait:{} \
             tcp-time-wait:{} tcp-close:{}",
            self.udp_s,
            self.other_s,
            self.tcp_syn_s,
            self.tcp_established_s,
            self.tcp_fin_wait_s,
            self.tcp_close_wait_s,
            self.tcp_time_wait_s,
            self.tcp_close_s
        )
    }
}
