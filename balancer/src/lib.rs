//! The load balancer's mind: which application server (AS) a packet goes to, and which VIP a
//! reply comes from.
//!
//! Pure and deterministic: no I/O, no clock, no randomness of its own. Time is given as seconds,
//! keys are given as bytes.
//!
//! - Control describes VIPs and ASs ([`VipSpec`], [`ApplicationServer`]) and builds [`LbTables`],
//!   which never change; [`NewFlowCache`] lets equal [`NewFlowTable`]s be shared.
//! - Every worker owns its flows ([`StickyOwner`]); everybody may read them ([`StickyTable`]).
//! - A [`Balancer`] brings both together for a burst and decides.
//!
//! ```
//! use balancer::*;
//! use std::net::Ipv4Addr;
//!
//! let vip = VipId::new(0).unwrap();
//! let prefix = Prefix::host(Ipv4Addr::new(10, 10, 2, 2).into());
//! let spec = VipSpec {
//!     id: vip,
//!     key: VipKey { prefix, ports: Ports::one(Protocol::Tcp, 8080) },
//!     target: TargetPort::One(80),
//!     node_port: None,
//!     src_ip_sticky: false,
//!     scheduler: Scheduler::Maglev,
//!     length: TableLength::DEFAULT,
//!     nat: true,
//!     timeouts: None,
//! };
//! let server = ApplicationServer {
//!     id: AsId::new(0).unwrap(),
//!     vip,
//!     address: Ipv4Addr::new(192, 168, 1, 1).into(),
//!     weight: 100,
//!     state: ServerState::Active,
//!     epoch: 0,
//! };
//! let hasher = FlowHasher::new(&HashKey::default());
//! let empty = LbTables::empty(hasher.clone(), Timeouts::default());
//! let config = LbConfig {
//!     vips: &[spec],
//!     servers: &[server],
//!     hasher,
//!     timeouts: Timeouts::default(),
//! };
//! let tables = LbTables::build(&config, &empty, &mut NewFlowCache::new())?;
//!
//! let mut owner = StickyOwner::new(1024, InstanceKey::from_bytes([7; 32]), MAX_SERVERS)?;
//! let mut balancer = Balancer { tables: &tables, owner: &mut owner, peers: &[], now_s: 0 };
//! let syn = FlowTuple {
//!     src: Ipv4Addr::new(10, 10, 10, 1),
//!     dst: Ipv4Addr::new(10, 10, 2, 2),
//!     src_port: 40_000,
//!     dst_port: 8080,
//!     protocol: Protocol::Tcp.number(),
//! };
//! let group = tables.group_of(prefix).unwrap();
//! assert_eq!(tables.find_vip(group, syn.protocol, syn.dst_port), Some(vip));
//! let decision = balancer.select(tables.vip(vip).unwrap(), &syn, TcpFlags::SYN);
//! assert_eq!(decision, Decision::New(server.id));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod address;
mod admission;
mod aes_hash;
mod application_server;
mod balancer;
mod bucket;
mod direct;
mod exact_table;
mod explanation;
mod flow_entry;
mod flow_key;
mod flow_tuple;
mod flow_value;
mod fragment_table;
mod hash;
#[cfg(not(loom))]
#[allow(unsafe_code)]
mod huge_memory;
mod instance_key;
mod lb_check;
mod lb_tables;
mod live_flows;
mod maglev;
#[cfg(not(loom))]
#[allow(unsafe_code)]
mod mapped_file;
mod nat_reverse;
mod new_flow_cache;
mod new_flow_table;
mod place;
mod placement;
mod ports;
mod prefetch;
mod prefix;
mod protocol;
mod reply;
mod rooms;
mod rotation;
mod selection;
mod server_view;
mod side_cells;
mod staged;
mod sticky;
mod sticky_owner;
mod sticky_replacement;
mod sticky_soundness;
#[cfg(not(loom))]
mod sticky_stock;
mod strays;
mod table_length;
mod tcp_flags;
mod tcp_state;
mod timeouts;
mod vip;
mod vip_counter;
mod vip_groups;
mod visit;

pub use address::Address;
pub use admission::{Reception, Vacancy};
pub use application_server::{ApplicationServer, AsId, MAX_SERVERS, MAX_WEIGHT, ServerState};
pub use balancer::Balancer;
pub use bucket::Room;
pub use direct::DirectDecision;
pub use explanation::{Explanation, Why};
pub use flow_entry::FlowEntry;
pub use flow_key::FlowKey;
pub use flow_tuple::FlowTuple;
pub use flow_value::FlowValue;
pub use fragment_table::{FRAGMENT_LIFETIME_S, FragmentKey, FragmentTable, FragmentWay};
pub use hash::{FLOW_HASH_VERSION, FlowHasher, HashKey, HashKeyError};
#[cfg(not(loom))]
pub use huge_memory::Backing;
pub use instance_key::{BucketPair, InstanceKey};
pub use lb_check::LbTablesError;
pub use lb_tables::{LbConfig, LbTables, VipChange};
pub use live_flows::{LiveFlows, WithFlows};
pub use nat_reverse::{Candidate, Endpoint, ReverseMap};
pub use new_flow_cache::NewFlowCache;
pub use new_flow_table::{Member, NewFlowTable, NewFlowTableError, Spread};
pub use place::{FirstBuckets, Place, Seen, Usual};
pub use ports::{Ports, TargetPort};
pub use prefix::Prefix;
pub use protocol::{ParseProtocolError, Protocol};
pub use reply::{NO_FLOW, ReplyVerdict};
pub use rooms::Rooms;
pub use rotation::Rotation;
pub use selection::{CLASH_SERVERS_MAX, CLASH_SLOTS_MAX, Decision, TABLE_FULL, TUPLE_IN_USE};
pub use staged::{Course, Finder, Known, Located, Passing, Updates};
pub use sticky::{BucketCountError, StickyTable};
pub use sticky_owner::{Full, NewEntry, Slot, StickyOwner};
pub use sticky_replacement::Followed;
#[cfg(not(loom))]
pub use sticky_stock::{FileWords, Stock, TableFiles};
pub use table_length::{TableLength, TableLengthError};
pub use tcp_flags::{Segment, TcpFlags};
pub use tcp_state::{Direction, FlowState};
pub use timeouts::{MAX_TIMEOUT_S, ProfileId, TimeoutError, TimeoutProfiles, Timeouts};
pub use vip::{KeyKind, MAX_VIPS, RESERVED_INDICES, Scheduler, Vip, VipId, VipKey, VipSpec};
pub use vip_counter::VipCounter;
pub use vip_groups::{VipGroupId, VipGroups};
pub use visit::Visit;
