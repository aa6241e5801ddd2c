//! `debug …`: faults on purpose, which show that the box gets over them.

use std::fmt::{self, Display, Formatter};

use crate::Spanned;
use crate::choice::choices;

choices! {
    /// Where control panics when it is asked to.
    PanicPlace {
        /// In the very command that asks.
        Command = "command",
        /// When it next takes up events.
        Events = "events",
        /// When it next publishes a change.
        Publish = "publish",
        /// In the thread that builds new-flow tables, at the next table.
        Tables = "tables",
    }
}

/// A fault on purpose. The daemon carries it out only with `[unix] debug-commands = true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Debug {
    /// `debug control panic [command|events|publish|tables]`
    ControlPanic(PanicPlace),
    /// `debug control hang <seconds>`: control does nothing for so many seconds.
    ControlHang(Spanned<u16>),
    /// `debug worker panic <n>`: the worker with this number panics, which ends the process.
    WorkerPanic(Spanned<u16>),
}

/// As on the command line.
impl Display for Debug {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Debug::ControlPanic(PanicPlace::Command) => f.write_str("debug control panic"),
            Debug::ControlPanic(place) => write!(f, "debug control panic {place}"),
            Debug::ControlHang(seconds) => write!(f, "debug control hang {seconds}"),
            Debug::WorkerPanic(worker) => write!(f, "debug worker panic {worker}"),
        }
    }
}
