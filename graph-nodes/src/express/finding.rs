//! The second stage's first loop: the ways of packets are found, and the entries of their flows brought up
//! to date.

use balancer::{Room, Usual};

use super::fitting::{AlikeJob, NO_WAY};
use super::lane::{Cx, Lane, LaneFamily};
use super::newcomers::fetch_seconds;
use super::server_ways::ServerWays;
use super::stragglers::Stragglers;

/// Finds the ways to the ASs of flows, and brings their entries up to date. In loops of their own, as the
/// CPU looks ahead over more packets then. Returns those that it does not find.
#[inline(never)]
pub(super) fn find_ways<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &mut Lane<F>,
    jobs: &mut [AlikeJob],
) -> Stragglers {
    let (mut stragglers, mut usual, mut index) = (Stragglers::default(), Usual::nothing(), 0);
    loop {
        // Apart, as it takes registers to write.
        let (found, seen) = if usual.is_left() {
            find_usual::<F, true>(cx, &lane.servers, &mut jobs[index..], &usual)
        } else {
            find_usual::<F, false>(cx, &lane.servers, &mut jobs[index..], &usual)
        };
        index += found;
        if !seen {
            let unseen = pass_unseen(cx, &mut jobs[index..]);
            stragglers.add_unknown(index, unseen);
            index += unseen;
            continue;
        }
        let Some((before, [job, ..])) = jobs.split_at_mut_checked(index) else { break };
        (job.way, job.room) = (NO_WAY, Room::NONE);
        match look_closer(cx, lane, (before, job), &mut usual) {
            Found::Way => {}
            Found::Unknown => stragglers.add_unknown(index, 1),
            Found::Otherwise => {
                stragglers.add_all_from(index);
                jobs[index..].iter_mut().for_each(|job| job.way = NO_WAY);
                break;
            }
        }
        index += 1;
    }
    // Most of few are in their second buckets. Where there are more, most begin.
    if stragglers.any_unknown() && stragglers.are_few(jobs.len()) && cx.worker.sticky.is_large() {
        fetch_seconds(cx, stragglers.unknown(jobs));
    }
    stragglers
}

/// Passes packets of flows that are not seen, most often all or none, and looks for room for the flows.
/// Returns how many there are in a row.
#[inline(always)]
fn pass_unseen(cx: &Cx<'_>, jobs: &mut [AlikeJob]) -> usize {
    let Some(rooms) = cx.worker.sticky.rooms(cx.now.tick_s) else {
        return pass_unseen_closely(cx, jobs);
    };
    let all = jobs.len();
    let mut left = jobs.iter_mut();
    while let Some(job) = left.next() {
        let Some(room) = rooms.find(&job.place) else { return all - left.len() - 1 };
        (job.way, job.room) = (NO_WAY, room);
    }
    all
}

/// The same when each flow takes a closer look.
#[cold]
fn pass_unseen_closely(cx: &Cx<'_>, jobs: &mut [AlikeJob]) -> usize {
    let unseen = |job: &&mut AlikeJob| cx.worker.sticky.look(&job.place).is_none();
    let passed = jobs.iter_mut().take_while(unseen);
    passed.map(|job| (job.way, job.room) = (NO_WAY, Room::NONE)).count()
}

/// Finds the ways of packets up to the first that needs more than most do. Some may be `FIRST`, those of their
/// flows in this second. Returns how many it found, and whether the flow of the next was seen.
#[inline(always)]
fn find_usual<F: LaneFamily, const FIRST: bool>(
    cx: &Cx<'_>,
    servers: &ServerWays<F>,
    jobs: &mut [AlikeJob],
    usual: &Usual,
) -> (usize, bool) {
    let (sticky, all) = (&cx.worker.sticky, jobs.len());
    let mut left = jobs.iter_mut();
    while let Some(job) = left.next() {
        let Some(seen) = sticky.look(&job.place) else { return (all - left.len() - 1, false) };
        match servers.position(seen.value) {
            Ok(way)
                if servers.at(way).takes(job.len)
                    && (usual.is(seen.value, job.passing)
                        || FIRST && seen.keep_as_usual(usual, job.passing)) =>
            {
                job.way = way;
            }
            _ => return (all - left.len() - 1, true),
        }
    }
    (all, true)
}

/// What is found out about a packet whose flow was seen.
enum Found {
    /// It may go to the AS.
    Way,
    /// The flow was not seen, or has ended.
    Unknown,
    /// It is not for the way to its flow's AS, or not as simply.
    Otherwise,
}

/// Finds the way of a packet, and brings the entry of its flow up to date.
#[inline(never)]
fn look_closer<F: LaneFamily>(
    cx: &Cx<'_>,
    lane: &mut Lane<F>,
    (before, job): (&[AlikeJob], &mut AlikeJob),
    usual: &mut Usual,
) -> Found {
    let now_s = cx.now.tick_s;
    let Some(seen) = cx.worker.sticky.look(&job.place) else { return Found::Unknown };
    let way = match lane.servers.position(seen.value) {
        Ok(way) => way,
        // Packets before this one need what is there.
        Err(way) if before.iter().any(|job| job.way == way) => return Found::Otherwise,
        Err(way) if lane.servers.work_out(cx.snapshot, seen.value) => way,
        Err(_) => return Found::Unknown,
    };
    // A SYN may start another connection.
    if job.passing.opens() || !lane.servers.at(way).takes(job.len) {
        return if seen.value.is_live(now_s) { Found::Otherwise } else { Found::Unknown };
    }
    if !seen.keep_usual(job.passing, &lane.updates, now_s, usual) {
        return Found::Unknown;
    }
    job.way = way;
    Found::Way
}
