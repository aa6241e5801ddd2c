//! The states of a flow and the transitions that a packet makes: those of IPVS (Linux,
//! `net/netfilter/ipvs/ip_vs_proto_tcp.c`, `tcp_states`).

use crate::protocol::Protocol;
use crate::tcp_flags::{Segment, TcpFlags};

/// Which way a packet goes, and what else is seen of its connection.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client, where the AS's replies pass as well (NAT): INPUT.
    ToServer,
    /// From the client, where nothing of the AS's is ever seen (tunnels, L3DSR, direct return):
    /// INPUT_ONLY.
    OneWay,
    /// From the AS: OUTPUT.
    ToClient,
}

/// The state of a flow. The states of TCP have the names and numbers of IPVS; 0 is left for free
/// entries.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowState {
    /// TCP: at work (ES).
    Established = 1,
    /// TCP: the AS has sent a SYN (SS).
    SynSent = 2,
    /// TCP: the client has sent a SYN (SR).
    SynReceived = 3,
    /// TCP: one side will send no more (FW): the AS with NAT, the client where only it is seen.
    FinWait = 4,
    /// TCP: over (TW); the AS may keep it in mind for a while.
    TimeWait = 5,
    /// TCP: broken off by RST, or never opened (CL).
    Close = 6,
    /// TCP: the client will send no more (CW).
    CloseWait = 7,
    /// TCP: after FIN of both sides (LA). No segment leads here, as in IPVS.
    LastAck = 8,
    /// TCP: nothing yet (LI). No segment leads here, as in IPVS.
    Listen = 9,
    /// TCP: a SYN was answered (SA). IPVS comes here with `secure_tcp` only.
    SynAck = 10,
    /// A flow of UDP.
    Udp = 11,
    /// A flow of a protocol that is neither TCP nor UDP.
    Other = 12,
}

/// By segment (RST, SYN, FIN, ACK) and state, of which the first column is that of no entry: the
/// state that follows.
type Transitions = [[FlowState; 11]; 4];

const ES: FlowState = FlowState::Established;
const SS: FlowState = FlowState::SynSent;
const SR: FlowState = FlowState::SynReceived;
const FW: FlowState = FlowState::FinWait;
const TW: FlowState = FlowState::TimeWait;
const CL: FlowState = FlowState::Close;
const CW: FlowState = FlowState::CloseWait;
const LA: FlowState = FlowState::LastAck;
const LI: FlowState = FlowState::Listen;

#[rustfmt::skip]
static INPUT: Transitions = [
    //  -   ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [   CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
    [   SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [   CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
    [   ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
];

#[rustfmt::skip]
static OUTPUT: Transitions = [
    //  -   ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [   CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
    [   SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
    [   TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    [   ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
];

#[rustfmt::skip]
static INPUT_ONLY: Transitions = [
    //  -   ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [   CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    [   SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [   CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    [   ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
];

impl FlowState {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Established,
        Self::SynSent,
        Self::SynReceived,
        Self::FinWait,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::SynAck,
        Self::Udp,
        Self::Other,
    ];

    #[inline]
    pub(crate) const fn from_bits(bits: u8) -> Self {
        if bits == 0 || bits as usize > Self::ALL.len() {
            return Self::Close;
        }
        Self::ALL[bits as usize - 1]
    }

    /// The state after a flow's first packet, which comes from the client. `protocol` is the IP
    /// protocol number.
    ///
    /// A flow that does not begin with SYN is picked up in mid-stream, as with IPVS's `sloppy_tcp`.
    #[inline]
    #[must_use]
    pub const fn first(protocol: u8, flags: TcpFlags) -> Self {
        Self::first_by(protocol, flags.segment())
    }

    /// The same for a packet whose segment is known.
    pub(crate) const fn first_by(protocol: u8, segment: Segment) -> Self {
        const TCP: u8 = Protocol::Tcp.number();
        const UDP: u8 = Protocol::Udp.number();
        match protocol {
            // What a client sends first is the same in both of its tables.
            TCP => match segment {
                Segment::Bare => Self::Close,
                segment => INPUT[segment as usize][0],
            },
            UDP => Self::Udp,
            _ => Self::Other,
        }
    }

    /// The state after a further packet.
    ///
    /// A SYN of the client on a [closing](Self::is_closing) flow starts another connection and is
    /// not handled here. A segment without any flag changes nothing (IPVS: CL), so that nobody can
    /// end a flow with what its hosts drop (RFC 9293 §3.10.7).
    #[inline]
    #[must_use]
    pub const fn next(self, direction: Direction, flags: TcpFlags) -> Self {
        self.after(direction, flags.segment())
    }

    pub(crate) const fn after(self, direction: Direction, segment: Segment) -> Self {
        let transitions = match direction {
            Direction::ToServer => &INPUT,
            Direction::OneWay => &INPUT_ONLY,
            Direction::ToClient => &OUTPUT,
        };
        match segment {
            _ if !self.is_tcp() => self,
            Segment::Bare => self,
            segment => transitions[segment as usize][self as usize],
        }
    }

    /// Whether it is one of TCP's.
    #[inline]
    #[must_use]
    pub const fn is_tcp(self) -> bool {
        (self as u8) < Self::Udp as u8
    }

    /// Whether the client has not proved yet that it exists: anybody can send a SYN from any
    /// address.
    #[inline]
    #[must_use]
    pub const fn is_half_open(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived | Self::SynAck | Self::Listen)
    }

    /// Whether FIN or RST was seen: another connection may begin.
    #[inline]
    #[must_use]
    pub const fn is_closing(self) -> bool {
        matches!(
            self,
            Self::FinWait | Self::TimeWait | Self::Close | Self::CloseWait | Self::LastAck
        )
    }

    /// Whether it is a TCP connection at work.
    #[inline]
    #[must_use]
    pub const fn is_established(self) -> bool {
        matches!(self, Self::Established)
    }

    /// Whether a flow that begins in this state may take the entry of a live one in another, when
    /// there is no room: that of a closing one, and with more to show than a SYN also that of a
    /// half-open one. What is at work, and UDP, always stays.
    #[inline]
    #[must_use]
    pub const fn may_displace(self, other: Self) -> bool {
        other.is_closing() || other.is_half_open() && !self.is_closing() && !self.is_half_open()
    }

    /// The name of the state: those of TCP as `ipvsadm -Lc` prints them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynReceived => "SYN_RECV",
            Self::FinWait => "FIN_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::SynAck => "SYNACK",
            Self::Udp => "UDP",
            Self::Other => "OTHER",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables as they stand in Linux, but for the order of lines.
    const IPVS: &str = "
        columns     sNO sES sSS sSR sFW sTW sCL sCW sLA sLI sSA
        INPUT syn   sSR sES sES sSR sSR sSR sSR sSR sSR sSR sSR
        INPUT fin   sCL sCW sSS sTW sTW sTW sCL sCW sLA sLI sTW
        INPUT ack   sES sES sSS sES sFW sTW sCL sCW sCL sLI sES
        INPUT rst   sCL sCL sCL sSR sCL sCL sCL sCL sLA sLI sSR
        OUTPUT syn  sSS sES sSS sSR sSS sSS sSS sSS sSS sLI sSR
        OUTPUT fin  sTW sFW sSS sTW sFW sTW sCL sTW sLA sLI sTW
        OUTPUT ack  sES sES sSS sES sFW sTW sCL sCW sLA sES sES
        OUTPUT rst  sCL sCL sSS sCL sCL sTW sCL sCL sCL sCL sCL
        INPUT_ONLY syn  sSR sES sES sSR sSR sSR sSR sSR sSR sSR sSR
        INPUT_ONLY fin  sCL sFW sSS sTW sFW sTW sCL sCW sLA sLI sTW
        INPUT_ONLY ack  sES sES sSS sES sFW sTW sCL sCW sCL sLI sES
        INPUT_ONLY rst  sCL sCL sCL sSR sCL sCL sCL sCL sLA sLI sCL";

    fn state(word: &str) -> Option<FlowState> {
        let order = ["sES", "sSS", "sSR", "sFW", "sTW", "sCL", "sCW", "sLA", "sLI", "sSA"];
        order.iter().position(|known| *known == word).map(|at| FlowState::ALL[at])
    }

    fn flags(word: &str) -> Vec<TcpFlags> {
        let octets = (0..=u8::MAX).filter(|octet| match word {
            "rst" => octet & 0x04 != 0,
            "syn" => octet & 0x06 == 0x02,
            "fin" => octet & 0x07 == 0x01,
            "ack" => octet & 0x17 == 0x10,
            _ => panic!("{word}"),
        });
        octets.map(TcpFlags::from_octet).collect()
    }

    /// Compares every cell of a table, for all flags that lead to its line.
    fn is_ipvs(table: &str, direction: Direction) {
        let mut cells = 0;
        let mut lines = IPVS.lines().filter(|line| !line.trim().is_empty());
        let columns: Vec<_> = lines.next().unwrap().split_whitespace().skip(1).collect();
        assert_eq!((columns.len(), columns[0]), (11, "sNO"));
        for line in lines.map(|line| line.split_whitespace().collect::<Vec<_>>()) {
            if line[0] != table {
                continue;
            }
            for (column, cell) in columns.iter().zip(&line[2..]) {
                let expected = state(cell).unwrap();
                for flags in flags(line[1]) {
                    let next = match state(column) {
                        Some(state) => state.next(direction, flags),
                        // Nothing begins with a packet of the AS.
                        None if direction == Direction::ToClient => continue,
                        None => FlowState::first(6, flags),
                    };
                    assert_eq!(next, expected, "{table} {column} {flags:?}");
                }
                cells += 1;
            }
        }
        assert_eq!(cells, 44);
    }

    #[test]
    fn d_09_what_one_direction_shows_is_ipvs_s_input_only() {
        is_ipvs("INPUT_ONLY", Direction::OneWay);
    }

    #[test]
    fn d_10_what_both_directions_show_is_ipvs_s_input_and_output() {
        is_ipvs("INPUT", Direction::ToServer);
        is_ipvs("OUTPUT", Direction::ToClient);
    }

    #[test]
    fn segments_without_flags_change_nothing() {
        for state in FlowState::ALL {
            for direction in [Direction::ToServer, Direction::OneWay, Direction::ToClient] {
                for flags in [0, 0x08, 0x20, 0xc0].map(TcpFlags::from_octet) {
                    assert_eq!(state.next(direction, flags), state);
                }
            }
        }
        assert_eq!(FlowState::first(6, TcpFlags::NONE), FlowState::Close);
    }

    #[test]
    fn what_is_not_tcp_has_one_state() {
        for octet in 0..=u8::MAX {
            let flags = TcpFlags::from_octet(octet);
            assert_eq!(FlowState::first(17, flags), FlowState::Udp);
            for protocol in [0, 1, 47, 50, 132] {
                assert_eq!(FlowState::first(protocol, flags), FlowState::Other);
            }
            for state in [FlowState::Udp, FlowState::Other] {
                for direction in [Direction::ToServer, Direction::OneWay, Direction::ToClient] {
                    assert_eq!(state.next(direction, flags), state);
                }
            }
        }
    }

    #[test]
    fn states_survive_their_bits_and_are_of_one_kind() {
        for (at, state) in FlowState::ALL.into_iter().enumerate() {
            assert_eq!((state as usize, FlowState::from_bits(state as u8)), (at + 1, state));
            let kinds = [state.is_half_open(), state.is_closing(), state.is_established()];
            let count = kinds.iter().filter(|kind| **kind).count();
            assert_eq!(count, usize::from(state.is_tcp()), "{state:?}");
        }
        assert_eq!([0, 13, 15].map(FlowState::from_bits), [FlowState::Close; 3]);
    }

    #[test]
    fn what_is_at_work_is_never_displaced() {
        use FlowState::{Close, Established, Other, SynReceived, TimeWait, Udp};
        for newcomer in FlowState::ALL {
            assert!(newcomer.may_displace(TimeWait) && newcomer.may_displace(Close));
            for stays in [Established, Udp, Other] {
                assert!(!newcomer.may_displace(stays), "{newcomer:?} {stays:?}");
            }
            let proved = matches!(newcomer, Established | Udp | Other);
            assert_eq!(newcomer.may_displace(SynReceived), proved, "{newcomer:?}");
        }
    }
}
