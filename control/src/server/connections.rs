//! The connections there are, and which of them makes room for another.
//!
//! Whoever connects is served, however many connections somebody else holds: the one that has done
//! nothing for the longest time is closed for it. One whose command is being run is never closed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A client that takes its answer is left in peace for so long.
const GRACE: Duration = Duration::from_secs(1);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The head of a request is awaited.
    Idle,
    /// Its body is awaited.
    Asking,
    /// The client takes the answer.
    Answering,
    /// A command is being run.
    Running,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Place {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    close: Notify,
}

impl Place {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Idle),
            since: Cell::new(Instant::now()),
            close: Notify::new(),
        })
    }

    /// Notes that something else is being done from now on.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
    }

    /// Waits until the connection must make room.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    /// Can it be closed for another?
    fn can_go(&self) -> bool {
        match self.phase.get() {
            Phase::Idle | Phase::Asking => true,
            Phase::Answering => self.since.get().elapsed() >= GRACE,
            Phase::Running => false,
        }
    }
}

/// Those of one listener.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    limit: usize,
    places: Rc<RefCell<Vec<Rc<Place>>>>,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, places: Rc::default() }
    }

    /// A place for one more; another connection may have to go for it. `None` when all are at work.
    pub(super) fn enter(&self) -> Option<Seat> {
        let full = self.places.borrow().len() >= self.limit;
        if full && !self.close_one(&[Phase::Idle, Phase::Asking, Phase::Answering]) {
            return None;
        }
        let place = Place::new();
        self.places.borrow_mut().push(Rc::clone(&place));
        Some(Seat { connections: self.clone(), place })
    }

    /// Closes the connection that has waited longest in the first of these phases that has any.
    fn close_one(&self, phases: &[Phase]) -> bool {
        let mut places = self.places.borrow_mut();
        let candidates = places
            .iter()
            .enumerate()
            .filter(|(_, place)| phases.contains(&place.phase.get()) && place.can_go());
        let oldest = candidates.min_by_key(|(_, place)| (place.phase.get(), place.since.get()));
        let Some(index) = oldest.map(|(index, _)| index) else { return false };
        places.remove(index).close.notify_one();
        true
    }
}

/// A place that is given back at the end.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Connections,
    pub(super) place: Rc<Place>,
}

impl Seat {
    /// How many connections of the same listener run a command.
    pub(super) fn running(&self) -> usize {
        let places = self.connections.places.borrow();
        places.iter().filter(|place| place.phase.get() == Phase::Running).count()
    }

    /// Closes the one whose client has been taking its answer for longest.
    pub(super) fn close_one_that_answers(&self) -> bool {
        self.connections.close_one(&[Phase::Answering])
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.places.borrow_mut().retain(|place| !Rc::ptr_eq(place, &self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_been_idle_longest_makes_room() {
        let connections = Connections::new(3);
        let seats: Vec<Seat> = (0..3).map(|_| connections.enter().unwrap()).collect();
        seats[0].place.enter(Phase::Running);
        seats[1].place.enter(Phase::Asking);
        let _new = connections.enter().unwrap();
        let held = |seat: &Seat| {
            connections.places.borrow().iter().any(|place| Rc::ptr_eq(place, &seat.place))
        };
        assert_eq!([held(&seats[0]), held(&seats[1]), held(&seats[2])], [true, true, false]);
        let newer = connections.enter().unwrap();
        // The newest idle one goes before a request that is half there, but it has to be idle.
        newer.place.enter(Phase::Running);
        let newest = connections.enter().unwrap();
        newest.place.enter(Phase::Answering);
        assert!(
            connections.enter().is_none(),
            "two run, and one has only begun to take its answer"
        );
        assert_eq!(newest.running(), 2);
        drop(seats);
        assert!(connections.enter().is_some());
    }
}
