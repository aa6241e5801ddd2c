//! Typed configuration: a CLI line and a statement of the TOML file become the same [`Command`].
//!
//! Everything here is pure: text in, values or errors out. It knows the words, their order and
//! their ranges; whether a VIP or an interface exists is the running model's business.

#![forbid(unsafe_code)]

mod command;
pub mod defaults;
pub mod grammar;
mod lb;
mod mac;
mod new_len;
mod prefix;
mod problem;
mod render;
mod report;
mod show;
mod span;
mod startup;
mod suggest;
mod support;
mod value;
mod vip_rules;

pub use command::{Command, Ping};
pub use grammar::{parse, parse_line};
pub use lb::{Encap, LbAs, LbConf, LbVipAdd, Protocol, ServiceType, VipKey, VipPort};
pub use mac::{MacAddress, NotAMacAddress};
pub use prefix::{Family, Prefix, PrefixError};
pub use problem::{CommandError, Problem};
pub use report::{report, report_line};
pub use show::{FibQuery, HardwareDetail, Show};
pub use span::{Span, Spanned};
pub use startup::{
    Cpu, Dev, Device, Dpdk, Hugepages, Poll, Startup, Statement, Unix, Workers, core_list,
    parse_core_list,
};
pub use support::unsupported;
