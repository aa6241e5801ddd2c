use dataplane::frame::{FRAME_MAX, Frame};
use dataplane::interface::InterfaceId;
use testkit::fake_mbuf::{FakePool, free};

const FIRST: InterfaceId = InterfaceId(3);
const SECOND: InterfaceId = InterfaceId(4);

/// Adds packets named one after the other from `first` on, as a port does.
fn fill(frame: &mut Frame, pool: &mut FakePool, from: InterfaceId, first: u8, count: u8) -> usize {
    frame.fill(from, |slots| {
        let names = first..first + count;
        for (slot, name) in slots.iter_mut().zip(names) {
            *slot = Some(pool.packet(&[name]));
        }
        slots.len().min(usize::from(count))
    })
}

fn empty(frame: &mut Frame) {
    frame.packets_mut().iter_mut().filter_map(Option::take).for_each(|packet| {
        free(packet);
    });
    frame.clear();
}

#[test]
fn bursts_follow_each_other_with_fresh_lanes() {
    let mut pool = FakePool::new(FRAME_MAX);
    let mut frame = Frame::boxed();
    assert_eq!(fill(&mut frame, &mut pool, FIRST, 0, 10), 10);
    for at in 0..10 {
        let lanes = &mut frame.lanes;
        (lanes.l3_offset[at], lanes.mtu[at], lanes.trace[at], lanes.flags[at]) = (1, 2, 3, 4);
    }
    empty(&mut frame);
    assert_eq!(fill(&mut frame, &mut pool, FIRST, 0, 3), 3);
    assert_eq!(fill(&mut frame, &mut pool, SECOND, 3, 4), 4);
    assert_eq!(frame.len(), 7);
    for at in 0..7 {
        assert_eq!(frame.data(at), [at as u8]);
        let lanes = &frame.lanes;
        assert_eq!(lanes.rx_interface[at], if at < 3 { FIRST } else { SECOND });
        let read = (lanes.l3_offset[at], lanes.mtu[at], lanes.trace[at], lanes.flags[at]);
        assert_eq!(read, (0, 0, 0, 0));
    }
    empty(&mut frame);
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn a_burst_ends_with_the_frame() {
    let mut pool = FakePool::new(2 * FRAME_MAX);
    let mut frame = Frame::boxed();
    assert_eq!(fill(&mut frame, &mut pool, FIRST, 0, 200), 200);
    assert_eq!(fill(&mut frame, &mut pool, FIRST, 0, 200), FRAME_MAX - 200);
    assert_eq!((frame.len(), frame.room()), (FRAME_MAX, 0));
    // Whatever a source says, no more than there are slots.
    assert_eq!(frame.fill(FIRST, |slots| slots.len() + 1), 0);
    assert!(frame.is_whole());
    free(frame.take(77).unwrap());
    assert!(!frame.is_whole());
    empty(&mut frame);
    assert_eq!(pool.outstanding(), 0);
}
