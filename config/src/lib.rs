//! Typed configuration: a CLI line and a statement of the TOML file become the same [`Command`].
//!
//! Everything here is pure: text in, values or errors out. It knows the words, their order and
//! their ranges; whether a VIP or an interface exists is the running model's business.

#![forbid(unsafe_code)]

mod capability;
mod choice;
mod command;
mod debug;
pub mod defaults;
mod encap;
mod flow_timeouts;
pub mod grammar;
mod lb;
mod mac;
mod new_len;
mod ports;
mod prefix;
mod problem;
mod render;
mod report;
mod show;
mod span;
mod startup;
mod sub_interface;
mod suggest;
mod toml_file;
mod tunnel_settings;
mod value;
mod vip_rules;
mod vip_update;

pub use capability::Capability;
pub use command::{Command, Ping, WaitDrained};
pub use debug::{Debug, PanicPlace};
pub use encap::Encap;
pub use flow_timeouts::{FlowTimeout, FlowTimeouts, IdleTime};
pub use grammar::{parse, parse_line};
pub use lb::{
    Admin, LbAs, LbConf, LbNoMatch, LbVipAdd, Mss, NoMatch, Protocol, Scheduler, ServiceType,
    VipKey, VipPort,
};
pub use mac::{MacAddress, NotAMacAddress};
pub use ports::{PortRange, TargetPort};
pub use prefix::{Family, Prefix, PrefixError};
pub use problem::{CommandError, Problem};
pub use report::{report, report_line};
pub use show::{FibQuery, FlowQuery, FlowsCursor, FlowsQuery, HardwareDetail, Show};
pub use span::{Span, Spanned};
pub use startup::{
    Api, Cpu, Dev, Device, Dpdk, Fixed, Hugepages, Poll, Privileges, Punt, Restart, Seccomp,
    Startup, State, Statement, Unix, Workers, core_list, parse_core_list, punt_needs_tap,
};
pub use sub_interface::{SubInterface, VlanKind, VlanTags};
pub use toml_file::TomlFile;
pub use tunnel_settings::{SrcEntropy, TooBig, TunnelDf, TunnelDscp, TunnelEcn};
pub use vip_rules::{check_as, check_as_of_vip, check_vip};
pub use vip_update::LbVipUpdate;
