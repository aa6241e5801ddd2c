//! The second stage's first loop for replies: entries of their flows are brought up to date.

use balancer::{FirstBuckets, Updates, Usual};

use super::lane::Cx;
use super::ones::{Bits, Ones};
use super::replies::{ReplyJob, ReplyJobs};

/// Keeps the entries of flows up to date, of which there is a bit for each. Returns the packets that may be sent:
/// all, unless all flows `must` be there; then those before the first that is not, and entries behind it are not
/// looked at.
#[inline(never)]
pub(super) fn keep_flows(
    cx: &Cx<'_>,
    updates: &Updates,
    (jobs, looked_for): (&ReplyJobs, Bits),
    must: bool,
) -> Bits {
    let (sticky, mut missing, mut usual) = (&cx.worker.sticky, 0, Usual::nothing());
    let mut flows = Ones(looked_for);
    let first = sticky.first_buckets();
    loop {
        // Apart, as it takes registers to write.
        let next = if usual.is_left() {
            pass_usual::<true>(&first, jobs, &mut flows, &usual)
        } else {
            pass_usual::<false>(&first, jobs, &mut flows, &usual)
        };
        let Some((index, seen)) = next else { break };
        let job = &jobs[index];
        if seen || must {
            if !keep(cx, updates, job, &mut usual) && must {
                return (1 << index) - 1;
            }
        } else if sticky.may_be_elsewhere(&job.located) {
            sticky.prefetch_other(&job.located);
            missing |= 1 << index;
        }
    }
    for index in Ones(missing) {
        keep(cx, updates, &jobs[index], &mut usual);
    }
    Bits::MAX
}

/// Goes on to the first flow whose entry is not as most are, and returns its place, and whether the entry is in the
/// flow's first bucket. Some packets may be `FIRST`, those of their flows in this second.
#[inline(always)]
fn pass_usual<const FIRST: bool>(
    first: &FirstBuckets<'_>,
    jobs: &ReplyJobs,
    flows: &mut Ones,
    usual: &Usual,
) -> Option<(usize, bool)> {
    for index in flows {
        let job = &jobs[index];
        let Some(seen) = first.look(&job.located) else { return Some((index, false)) };
        let kept =
            usual.is_of(seen.value, job.visit) || FIRST && seen.keep_as_usual_for(usual, job.visit);
        if !kept {
            return Some((index, true));
        }
    }
    None
}

/// Keeps the entry of a flow up to date, wherever it is. False if there is none that is alive.
#[inline(never)]
fn keep(cx: &Cx<'_>, updates: &Updates, job: &ReplyJob, usual: &mut Usual) -> bool {
    let now_s = cx.now.tick_s;
    cx.worker.sticky.seen(&job.located, now_s).is_some_and(|seen| {
        job.visit.is_to(seen.value) && seen.keep_usual(job.visit.passing(), updates, now_s, usual)
    })
}
