//! Which connections are open, and which one goes when there are too many.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The places of a server.
#[derive(Clone)]
pub(super) struct Places(Arc<Mutex<Inner>>);

struct Inner {
    limit: usize,
    /// Counts what happens: a later event has a higher number.
    clock: u64,
    /// Idle connections by when they became so: the first is idle for the longest time.
    idle: BTreeMap<u64, Arc<Notify>>,
    busy: usize,
}

/// One connection's place. It is free again when this is dropped.
pub(super) struct Seat {
    places: Places,
    state: Mutex<State>,
    evicted: Arc<Notify>,
}

#[derive(Clone, Copy)]
enum State {
    Idle(u64),
    Busy,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner { limit, clock: 0, idle: BTreeMap::new(), busy: 0 })))
    }

    /// Takes a place, of the connection that is idle for the longest time if there is no other. `None` where all have
    /// a request under way.
    pub(super) fn take(&self) -> Option<Seat> {
        let mut inner = self.0.lock();
        if inner.idle.len() + inner.busy >= inner.limit {
            let (_, evicted) = inner.idle.pop_first()?;
            evicted.notify_one();
        }
        let evicted = Arc::new(Notify::new());
        let number = inner.sit(&evicted);
        drop(inner);
        Some(Seat { places: self.clone(), state: Mutex::new(State::Idle(number)), evicted })
    }
}

impl Inner {
    fn sit(&mut self, evicted: &Arc<Notify>) -> u64 {
        self.clock += 1;
        self.idle.insert(self.clock, Arc::clone(evicted));
        self.clock
    }
}

impl Seat {
    /// Ends when somebody else has the place.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Says that a request is under way, until the guard is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut state = self.state.lock();
        if let State::Idle(number) = *state {
            let mut inner = self.places.0.lock();
            inner.idle.remove(&number);
            inner.busy += 1;
            *state = State::Busy;
        }
        Busy(Arc::clone(self))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.places.0.lock();
        match *self.state.get_mut() {
            // Nothing is there where it was evicted.
            State::Idle(number) => drop(inner.idle.remove(&number)),
            State::Busy => inner.busy -= 1,
        }
    }
}

/// A request is under way.
pub(super) struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let mut inner = self.0.places.0.lock();
        inner.busy -= 1;
        *state = State::Idle(inner.sit(&self.0.evicted));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_evicted(seat: &Seat) -> bool {
        tokio::time::timeout(Duration::from_millis(10), seat.evicted()).await.is_ok()
    }

    #[tokio::test]
    async fn the_one_that_is_idle_longest_goes() {
        let places = Places::new(3);
        let seats: Vec<_> = (0..3).map(|_| Arc::new(places.take().unwrap())).collect();
        // The first has done something since.
        drop(seats[0].busy());
        let next = places.take().unwrap();
        assert!(is_evicted(&seats[1]).await);
        assert!(!is_evicted(&seats[0]).await && !is_evicted(&seats[2]).await);
        drop((seats, next));
        let inner = places.0.lock();
        assert_eq!(inner.idle.len() + inner.busy, 0);
    }

    #[tokio::test]
    async fn a_request_under_way_is_not_cut_off() {
        let places = Places::new(1);
        let seat = Arc::new(places.take().unwrap());
        let busy = seat.busy();
        assert!(places.take().is_none());
        drop(busy);
        assert!(places.take().is_some());
        assert!(is_evicted(&seat).await);
    }
}
