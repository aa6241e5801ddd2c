//! [`ReplyFlow`]: the flow of a reply, whose entry is brought up to date.

use balancer::{Located, Passing, Updates, Usual};

use super::lane::Cx;
use super::ones::Ones;

/// The flow that a reply may be of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReplyFlow {
    pub(super) located: Located,
    /// What its entry has for an [owner](balancer::FlowValue::owner) while it is alive.
    pub(super) owner: u32,
    pub(super) passing: Passing,
}

/// Keeps the entries of flows up to date, of not more than a group. If all of them `must` be there, the place of
/// the first that is not; entries behind it are not looked at then.
#[inline(never)]
pub(super) fn keep_flows(
    cx: &Cx<'_>,
    updates: &Updates,
    flows: &[ReplyFlow],
    must: bool,
) -> Option<usize> {
    let (mut missing, mut usual) = (0, Usual::nothing());
    let mut index = 0;
    loop {
        index = pass_usual(cx, flows, (index, must), &usual, &mut missing);
        let Some(flow) = flows.get(index) else { break };
        if !keep(cx, updates, flow, &mut usual) && must {
            return Some(index);
        }
        index += 1;
    }
    if missing != 0 {
        keep_missing(cx, updates, flows, (missing, &mut usual));
    }
    None
}

/// Goes on from a place to the first flow whose entry is not as most are, and returns its place. Those that
/// are not in their first buckets are left out, if they need not be there; their second buckets are fetched.
#[inline(always)]
fn pass_usual(
    cx: &Cx<'_>,
    flows: &[ReplyFlow],
    (from, must): (usize, bool),
    usual: &Usual,
    missing: &mut u32,
) -> usize {
    let (sticky, large) = (&cx.worker.sticky, cx.worker.sticky.is_large());
    for (index, flow) in flows.iter().enumerate().skip(from) {
        match sticky.look_first(&flow.located) {
            Some(seen)
                if seen.value.owner() == flow.owner && usual.is(seen.value, flow.passing) => {}
            None if !must => {
                if sticky.may_be_elsewhere(&flow.located) {
                    *missing |= 1 << index;
                    if large {
                        sticky.prefetch_other(&flow.located);
                    }
                }
            }
            _ => return index,
        }
    }
    flows.len()
}

/// Keeps the entries of flows up to date that are not in their first buckets: a bit for each.
#[inline(never)]
fn keep_missing(
    cx: &Cx<'_>,
    updates: &Updates,
    flows: &[ReplyFlow],
    (missing, usual): (u32, &mut Usual),
) {
    let now_s = cx.now.tick_s;
    for index in Ones(missing) {
        let Some(flow) = flows.get(index) else { break };
        if cx.worker.sticky.seen(&flow.located, now_s).is_some() {
            keep(cx, updates, flow, usual);
        }
    }
}

/// Keeps the entry of a flow up to date, wherever it is. False if there is none that is alive.
#[inline(never)]
fn keep(cx: &Cx<'_>, updates: &Updates, flow: &ReplyFlow, usual: &mut Usual) -> bool {
    let now_s = cx.now.tick_s;
    cx.worker.sticky.seen(&flow.located, now_s).is_some_and(|seen| {
        seen.value.owner() == flow.owner && seen.keep_usual(flow.passing, updates, now_s, usual)
    })
}
