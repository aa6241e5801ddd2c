//! Internet checksums.

use std::hint::black_box;

use dataplane::wire::checksum::{Checksum, Delta, are_words_valid, sum};

use super::kernel::Kernel;
use super::world::{BURST, tuple};
use crate::frame_template::payload_byte;
use crate::site::{VIP, VIP_PORT};

const GROUP: &str = "checksum";

fn of_bytes(len: usize) -> Kernel {
    Kernel::new(GROUP, format!("{len} bytes"), BURST, move || {
        let bytes: Vec<u8> = (0..len).map(payload_byte).collect();
        move || (0..BURST).for_each(|_| _ = black_box(sum(black_box(&bytes)).checksum()))
    })
    .and_counted()
}

/// Of headers and payloads, and changed ones.
pub(super) fn all() -> Vec<Kernel> {
    let header = Kernel::new(GROUP, "ipv4 header", BURST, || {
        let header: [[u8; 4]; 5] = std::array::from_fn(|at| [payload_byte(at); 4]);
        move || (0..BURST).for_each(|_| _ = black_box(are_words_valid(black_box(&header))))
    });
    let update = Kernel::new(GROUP, "change of address and port", BURST, || {
        let tuples: Vec<_> = (0..BURST as u64).map(tuple).collect();
        move || {
            for tuple in &tuples {
                let delta = Delta::NONE.address(VIP, tuple.src).word(VIP_PORT, tuple.src_port);
                black_box(Checksum(black_box(0x1234)).updated(delta));
            }
        }
    });
    let payloads = [64, 1460].map(of_bytes);
    [header.and_counted(), update.and_counted()].into_iter().chain(payloads).collect()
}
