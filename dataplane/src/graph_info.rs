//! [`GraphInfo`]: what is known of a graph without running it.

use crate::node::Severity;

/// One counter of one node, as `show errors` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterInfo {
    /// Index of the node in the graph.
    pub node: u16,
    /// What is counted.
    pub text: &'static str,
    /// How grave it is.
    pub severity: Severity,
}

/// Names, edges and counters of a graph; the same for every worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphInfo {
    /// Node names by index.
    pub nodes: Vec<&'static str>,
    /// True for nodes that bring packets in.
    pub inputs: Vec<bool>,
    /// True for nodes that do the work of several others.
    pub fused: Vec<bool>,
    /// By node, by next: index of the next node.
    pub edges: Vec<Vec<u16>>,
    /// All counters; a packet's `error` lane is an index into it.
    pub counters: Vec<CounterInfo>,
    /// By node: index of its first counter; behind the last, how many counters there are.
    pub(crate) first_counter: Vec<u16>,
}

impl GraphInfo {
    /// Index of the node called `name`.
    pub fn node(&self, name: &str) -> Option<u16> {
        self.nodes.iter().position(|n| *n == name).map(|at| at as u16)
    }
}
