//! The state that control publishes, as a worker reads it; and what workers count.

use std::hint::black_box;

use dataplane::sync::counter::Counter;
use dataplane::sync::qsbr::Publisher;

use super::kernel::Kernel;
use super::world::BURST;

const GROUP: &str = "shared with control";

/// Reads and counters.
pub(super) fn all() -> Vec<Kernel> {
    let snapshot = Kernel::new(GROUP, "snapshot read and quiescent point", BURST, || {
        let mut publisher = Publisher::new(Box::new(7_u64), 1);
        let mut reader = publisher.reader().expect("one reader was asked for");
        move || {
            let _ = &publisher;
            for _ in 0..BURST {
                black_box(reader.current());
                reader.quiesce();
            }
        }
    });
    let counter = Kernel::new(GROUP, "counter add", BURST, || {
        let counter = Counter::new();
        move || (0..BURST).for_each(|_| black_box(&counter).add(1))
    });
    vec![snapshot.and_counted(), counter.and_counted()]
}
