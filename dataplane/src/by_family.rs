//! [`ByFamily`]: the names and texts of a node whose one body serves both address families.

use std::marker::PhantomData;

use crate::family::Family;
use crate::node::{CounterSet, NextNode, Severity};

/// What `T` is in family `F`: `type Next = ByFamily<F, Next>`. Made from a `T` by `into`.
pub struct ByFamily<F, T> {
    value: T,
    family: PhantomData<fn() -> F>,
}

impl<F, T: Copy> Clone for ByFamily<F, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, T: Copy> Copy for ByFamily<F, T> {}

impl<F, T> From<T> for ByFamily<F, T> {
    #[inline]
    fn from(value: T) -> Self {
        Self { value, family: PhantomData }
    }
}

/// A counter and its text in each family, empty where the family does not have it.
pub type CounterRow = (&'static str, &'static str, Severity);

/// A next node's name in each family, empty where the family does not have it.
pub type NextRow = (&'static str, &'static str);

/// Counters of both families; made by [`family_node_counters!`](crate::family_node_counters).
pub trait FamilyCounters: Copy + 'static {
    /// What the node of each family counts: IPv4's, then IPv6's.
    const TEXTS: [&'static [(&'static str, Severity)]; 2];
    /// Index of this counter among those of the family.
    fn index(self, v6: bool) -> u16;
}

/// Next nodes of both families; made by [`family_next_nodes!`](crate::family_next_nodes).
pub trait FamilyNext: Copy + 'static {
    /// Next nodes of the node of each family: IPv4's, then IPv6's.
    const NAMES: [&'static [&'static str]; 2];
    /// Index of this next node among those of the family.
    fn index(self, v6: bool) -> u8;
}

impl<F: Family, T: FamilyCounters> CounterSet for ByFamily<F, T> {
    const TEXTS: &'static [(&'static str, Severity)] = T::TEXTS[F::V6 as usize];
    #[inline]
    fn index(self) -> u16 {
        self.value.index(F::V6)
    }
}

impl<F: Family, T: FamilyNext> NextNode for ByFamily<F, T> {
    const NAMES: &'static [&'static str] = T::NAMES[F::V6 as usize];
    #[inline]
    fn index(self) -> u8 {
        self.value.index(F::V6)
    }
}

const fn text_of(row: CounterRow, v6: bool) -> &'static str {
    if v6 { row.1 } else { row.0 }
}

/// By counter: its index in the family; of one that the family does not have, nothing useful.
pub const fn counter_indices<const N: usize>(rows: &[CounterRow; N], v6: bool) -> [u16; N] {
    let mut indices = [0; N];
    let (mut at, mut next) = (0, 0);
    while at < N {
        indices[at] = next;
        if !text_of(rows[at], v6).is_empty() {
            next += 1;
        }
        at += 1;
    }
    indices
}

/// How many counters the family has.
pub const fn counters_in(rows: &[CounterRow], v6: bool) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < rows.len() {
        if !text_of(rows[at], v6).is_empty() {
            count += 1;
        }
        at += 1;
    }
    count
}

/// The texts that the family has; `LEN` is [`counters_in`].
pub const fn counter_texts<const LEN: usize>(
    rows: &[CounterRow],
    v6: bool,
) -> [(&'static str, Severity); LEN] {
    let mut texts = [("", Severity::Info); LEN];
    let (mut at, mut next) = (0, 0);
    while at < rows.len() {
        let text = text_of(rows[at], v6);
        if !text.is_empty() {
            texts[next] = (text, rows[at].2);
            next += 1;
        }
        at += 1;
    }
    texts
}

/// The rows of next nodes as rows of counters, so that one set of functions serves both.
pub const fn next_rows<const N: usize>(rows: &[NextRow; N]) -> [CounterRow; N] {
    let mut all = [("", "", Severity::Info); N];
    let mut at = 0;
    while at < N {
        all[at] = (rows[at].0, rows[at].1, Severity::Info);
        at += 1;
    }
    all
}

/// The names alone.
pub const fn names<const LEN: usize>(
    texts: &[(&'static str, Severity); LEN],
) -> [&'static str; LEN] {
    let mut names = [""; LEN];
    let mut at = 0;
    while at < LEN {
        names[at] = texts[at].0;
        at += 1;
    }
    names
}

/// Declares the counters of a node with one body for both families. A counter has one text, or one
/// per family (IPv4's first); `""` says that the family does not have it, and then its node must
/// not count it. In a node of family `F`, `type Counter = ByFamily<F, Counter>`.
///
/// `family_node_counters! { /// doc pub enum Counter { /// doc Ttl => (("ip4 ttl <= 1", "ip6 ttl <= 1"), Error) } }`
#[macro_export]
macro_rules! family_node_counters {
    (@row ($text:literal, $severity:ident)) => {
        ($text, $text, $crate::node::Severity::$severity)
    };
    (@row (($ip4:literal, $ip6:literal), $severity:ident)) => {
        ($ip4, $ip6, $crate::node::Severity::$severity)
    };
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident => $row:tt),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        $vis enum $name { $($(#[$vmeta])* $variant),+ }
        const _: () = {
            use $crate::by_family::{CounterRow, counter_indices, counter_texts, counters_in};
            const N: usize = [$($crate::family_node_counters!(@row $row)),+].len();
            const ROWS: [CounterRow; N] = [$($crate::family_node_counters!(@row $row)),+];
            const INDICES: [[u16; N]; 2] =
                [counter_indices(&ROWS, false), counter_indices(&ROWS, true)];
            impl $crate::by_family::FamilyCounters for $name {
                const TEXTS: [&'static [(&'static str, $crate::node::Severity)]; 2] = [
                    &counter_texts::<{ counters_in(&ROWS, false) }>(&ROWS, false),
                    &counter_texts::<{ counters_in(&ROWS, true) }>(&ROWS, true),
                ];
                #[inline]
                fn index(self, v6: bool) -> u16 {
                    INDICES[usize::from(v6)][self as usize]
                }
            }
        };
    };
}

/// Declares the next nodes of a node with one body for both families: a next node has one name, or
/// one per family (IPv4's first); `""` says that the family does not have it, and then its node
/// must not send packets there. In a node of family `F`, `type Next = ByFamily<F, Next>`.
///
/// `family_next_nodes! { /// doc pub enum Next { /// doc Lookup => ("ip4-lookup", "ip6-lookup") } }`
#[macro_export]
macro_rules! family_next_nodes {
    (@row $text:literal) => { ($text, $text) };
    (@row ($ip4:literal, $ip6:literal)) => { ($ip4, $ip6) };
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident => $row:tt),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        $vis enum $name { $($(#[$vmeta])* $variant),+ }
        const _: () = {
            use $crate::by_family::{
                CounterRow, counter_indices, counter_texts, counters_in, names, next_rows,
            };
            const N: usize = [$($crate::family_next_nodes!(@row $row)),+].len();
            const ROWS: [CounterRow; N] =
                next_rows(&[$($crate::family_next_nodes!(@row $row)),+]);
            const INDICES: [[u16; N]; 2] =
                [counter_indices(&ROWS, false), counter_indices(&ROWS, true)];
            impl $crate::by_family::FamilyNext for $name {
                const NAMES: [&'static [&'static str]; 2] = [
                    &names(&counter_texts::<{ counters_in(&ROWS, false) }>(&ROWS, false)),
                    &names(&counter_texts::<{ counters_in(&ROWS, true) }>(&ROWS, true)),
                ];
                #[inline]
                fn index(self, v6: bool) -> u8 {
                    INDICES[usize::from(v6)][self as usize] as u8
                }
            }
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{Ip4, Ip6};

    family_node_counters! {
        /// Counters with holes.
        enum Counter {
            /// Both, other words.
            Ttl => (("ip4 ttl <= 1", "ip6 ttl <= 1"), Error),
            /// IPv4 only.
            Checksum => (("bad ip4 checksum", ""), Error),
            /// Both, same words.
            Split => ("headers not in the first buffer", Warning),
            /// IPv6 only.
            Extensions => (("", "too many"), Info),
        }
    }

    family_next_nodes! {
        /// Next nodes with a hole.
        enum Next {
            /// IPv6 only.
            Local => ("", "ip6-local"),
            /// Both.
            Lookup => ("ip4-lookup", "ip6-lookup"),
            /// Both, one node.
            Drop => "error-drop",
        }
    }

    #[test]
    fn each_family_has_its_own_texts_without_holes() {
        use Severity::{Error, Info, Warning};
        let (split, checksum) = ("headers not in the first buffer", "bad ip4 checksum");
        let texts = <ByFamily<Ip4, Counter> as CounterSet>::TEXTS;
        assert_eq!(texts, [("ip4 ttl <= 1", Error), (checksum, Error), (split, Warning)]);
        let texts = <ByFamily<Ip6, Counter> as CounterSet>::TEXTS;
        assert_eq!(texts, [("ip6 ttl <= 1", Error), (split, Warning), ("too many", Info)]);
        let index4 = |counter: Counter| ByFamily::<Ip4, _>::from(counter).index();
        let index6 = |counter: Counter| ByFamily::<Ip6, _>::from(counter).index();
        assert_eq!([Counter::Ttl, Counter::Checksum, Counter::Split].map(index4), [0, 1, 2]);
        assert_eq!([Counter::Ttl, Counter::Split, Counter::Extensions].map(index6), [0, 1, 2]);
    }

    #[test]
    fn each_family_has_its_own_next_nodes() {
        assert_eq!(<ByFamily<Ip4, Next> as NextNode>::NAMES, ["ip4-lookup", "error-drop"]);
        let names = <ByFamily<Ip6, Next> as NextNode>::NAMES;
        assert_eq!(names, ["ip6-local", "ip6-lookup", "error-drop"]);
        assert_eq!(ByFamily::<Ip4, _>::from(Next::Drop).index(), 1);
        let index6 = |next: Next| NextNode::index(ByFamily::<Ip6, _>::from(next));
        assert_eq!([Next::Local, Next::Lookup, Next::Drop].map(index6), [0, 1, 2]);
    }
}
