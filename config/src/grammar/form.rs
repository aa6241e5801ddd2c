//! What one command looks like.

use super::words::Words;
use crate::{Command, Problem};

/// What may stand in a place; completion offers live names for some of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name of an interface.
    Interface,
    /// The prefix of a VIP.
    VipPrefix,
    /// An IP address or prefix.
    Address,
    /// The name of an input node.
    Node,
    /// A number.
    Number,
    /// A file on the daemon's machine.
    File,
    /// Any word.
    Word,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A place for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What help and errors call it, such as `<prefix>`.
    pub label: &'static str,
    /// What may stand there.
    pub kind: Kind,
}

/// A keyword that may come anywhere after the command's path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Opt {
    /// The word alone.
    Flag(&'static str),
    /// The word alone, or with `on` or `off`.
    Switch(&'static str),
    /// The word and a value.
    Value(&'static str, Slot),
    /// The word and a value, as often as wanted.
    Many(&'static str, Slot),
}

impl Opt {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Opt::Flag(word) | Opt::Switch(word) | Opt::Value(word, _) | Opt::Many(word, _) => word,
        }
    }

    /// Is `text` this keyword? VPP joins words with `_` here and `-` there; both do everywhere.
    pub(crate) fn is(&self, text: &str) -> bool {
        let joined = |b: u8| if b == b'_' { b'-' } else { b };
        text.bytes().map(joined).eq(self.word().bytes().map(joined))
    }

    pub(crate) fn slot(&self) -> Option<&Slot> {
        match self {
            Opt::Flag(_) | Opt::Switch(_) => None,
            Opt::Value(_, slot) | Opt::Many(_, slot) => Some(slot),
        }
    }
}

/// Is this what can follow a switch?
pub(crate) fn is_on_or_off(text: &str) -> bool {
    matches!(text, "on" | "off")
}

/// One command: the words that select it, and what may follow them.
#[derive(Debug)]
pub(crate) struct Form {
    /// The words that select it; each may be abbreviated.
    pub(crate) path: &'static [&'static str],
    /// What may follow, for people.
    pub(crate) usage: &'static str,
    /// What it does, in a few words.
    pub(crate) summary: &'static str,
    /// Values in a fixed order; keywords may stand between them.
    pub(crate) leading: &'static [Slot],
    /// How many of `leading` must be there.
    pub(crate) required: usize,
    /// Keywords, in any order.
    pub(crate) options: &'static [Opt],
    /// What any further word is.
    pub(crate) rest: Option<Slot>,
    /// Makes the command.
    pub(crate) build: fn(&Words<'_>) -> Result<Command, Problem>,
}

impl Form {
    /// The whole command line for people: `lb flush vip <prefix> …`.
    pub(crate) fn synopsis(&self) -> String {
        let path = self.path.join(" ");
        if self.usage.is_empty() { path } else { format!("{path} {}", self.usage) }
    }
}
