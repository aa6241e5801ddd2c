//! Frames: filled, emptied, and split among the next nodes.

use std::hint::black_box;

use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::packet::Packet;

use super::kernel::Kernel;
use super::world::BURST;
use crate::mbufs;

const GROUP: &str = "frame";

fn fill(frame: &mut Frame, packets: &mut Vec<Packet>) {
    let count = packets.len();
    frame.fill(InterfaceId(1), |slots| {
        for (slot, packet) in slots.iter_mut().zip(packets.drain(..)) {
            *slot = Some(packet);
        }
        count
    });
}

fn empty(frame: &mut Frame, packets: &mut Vec<Packet>) {
    packets.extend((0..frame.len()).filter_map(|at| frame.take(at)));
    frame.clear();
}

/// Moves a frame's packets to `N` others in turns and back again: twice [`BURST`] moves.
fn split<const N: usize>(name: &str) -> Kernel {
    Kernel::new(GROUP, name, 2 * BURST, || {
        let (mut whole, mut parts) = (Frame::boxed(), [(); N].map(|()| Frame::boxed()));
        fill(&mut whole, &mut mbufs::make(BURST));
        move || {
            for at in 0..whole.len() {
                black_box(parts[at % N].move_from(&mut whole, at));
            }
            whole.clear();
            for part in &mut parts {
                for at in 0..part.len() {
                    black_box(whole.move_from(part, at));
                }
                part.clear();
            }
        }
    })
    .and_counted()
}

/// What is done with frames.
pub(super) fn all() -> Vec<Kernel> {
    let through = Kernel::new(GROUP, "packet in and out", BURST, || {
        let (mut frame, mut packets) = (Frame::boxed(), mbufs::make(BURST));
        move || {
            fill(&mut frame, &mut packets);
            empty(black_box(&mut frame), &mut packets);
        }
    });
    vec![
        through.and_counted(),
        split::<1>("packet to one frame"),
        split::<4>("packet to four frames"),
    ]
}
