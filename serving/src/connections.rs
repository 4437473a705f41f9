//! The open connections, and which one is closed when there are too many.
//!
//! A connection is *busy* from the head of a request to its answer, else *idle*. Idle ones are closed first: those that
//! have never sent a request, then those that have; of either kind the one that has been idle longest. If all are busy, the
//! new one is rejected, or, with [`fair`](crate::Limits::fair), takes the place of one of the peer that has most.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The connections of a server.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Mutex<Inner>>);

struct Inner {
    limit: usize,
    per_peer: usize,
    fair: bool,
    /// Number of events so far: a later event has a higher number.
    clock: u64,
    /// Idle connections, the first to be closed first.
    idle: BTreeMap<Rank, Open>,
    /// Busy connections, by when they became idle last.
    busy: BTreeMap<u64, Open>,
    open: usize,
    /// Open connections of each peer.
    peers: HashMap<IpAddr, usize>,
}

/// Whether the connection has had a request, and when it became idle.
type Rank = (bool, u64);

struct Open {
    peer: IpAddr,
    evicted: Arc<Notify>,
}

/// The slot of one connection. It is free again when this is dropped.
pub(crate) struct Slot {
    connections: Connections,
    peer: IpAddr,
    state: Mutex<State>,
    evicted: Arc<Notify>,
}

#[derive(Clone, Copy)]
enum State {
    Idle(Rank),
    Busy(u64),
    /// The slot belongs to another connection already.
    Evicted,
}

impl Connections {
    pub(crate) fn new(limit: usize, per_peer: usize, fair: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            limit,
            per_peer,
            fair,
            clock: 0,
            idle: BTreeMap::new(),
            busy: BTreeMap::new(),
            open: 0,
            peers: HashMap::new(),
        })))
    }

    /// A slot for a connection of this peer. Where the peer has too many connections, an idle one of its own is closed; where
    /// there are too many in all, any. `None` where there is none that can be closed.
    pub(crate) fn open(&self, peer: IpAddr) -> Option<Slot> {
        // An IPv4 peer of a socket for both protocols.
        let peer = peer.to_canonical();
        let mut inner = self.0.lock();
        let own = inner.peers.get(&peer).copied().unwrap_or_default();
        if own >= inner.per_peer {
            inner.evict(|idle| idle.peer == peer)?;
        } else if inner.open >= inner.limit && inner.evict(|_| true).is_none() {
            inner.cut_off(own)?;
        }
        inner.open += 1;
        *inner.peers.entry(peer).or_default() += 1;
        let evicted = Arc::new(Notify::new());
        let rank = inner.wait(false, peer, &evicted);
        drop(inner);
        Some(Slot { connections: self.clone(), peer, state: Mutex::new(State::Idle(rank)), evicted })
    }
}

impl Inner {
    fn wait(&mut self, answered: bool, peer: IpAddr, evicted: &Arc<Notify>) -> Rank {
        self.clock += 1;
        let rank = (answered, self.clock);
        self.idle.insert(rank, Open { peer, evicted: Arc::clone(evicted) });
        rank
    }

    fn evict(&mut self, which: impl Fn(&Open) -> bool) -> Option<()> {
        let rank = self.idle.iter().find(|(_, idle)| which(idle)).map(|(rank, _)| *rank)?;
        let idle = self.idle.remove(&rank)?;
        idle.evicted.notify_one();
        self.close(idle.peer);
        Some(())
    }

    /// Closes a busy connection of the peer that has most, if it still has more than a peer that gets one beside its `own`.
    fn cut_off(&mut self, own: usize) -> Option<()> {
        let (peer, open) = self.peers.iter().max_by_key(|(_, open)| **open)?;
        if !self.fair || *open <= own + 1 {
            return None;
        }
        let newest = self.busy.iter().rev().find(|(_, busy)| busy.peer == *peer).map(|(id, _)| *id)?;
        let busy = self.busy.remove(&newest)?;
        busy.evicted.notify_one();
        self.close(busy.peer);
        Some(())
    }

    fn close(&mut self, peer: IpAddr) {
        self.open -= 1;
        if let Some(open) = self.peers.get_mut(&peer) {
            *open -= 1;
            if *open == 0 {
                self.peers.remove(&peer);
            }
        }
    }
}

impl Slot {
    /// Ends when the connection must be closed.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// A request is under way until the guard is dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        let mut state = self.state.lock();
        if let State::Idle(rank) = *state {
            let mut inner = self.connections.0.lock();
            *state = match inner.idle.remove(&rank) {
                Some(open) => {
                    inner.busy.insert(rank.1, open);
                    State::Busy(rank.1)
                }
                None => State::Evicted,
            };
        }
        Busy(Arc::clone(self))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inner = self.connections.0.lock();
        let open = match *self.state.get_mut() {
            State::Idle(rank) => inner.idle.remove(&rank).is_some(),
            State::Busy(id) => inner.busy.remove(&id).is_some(),
            State::Evicted => false,
        };
        if open {
            inner.close(self.peer);
        }
    }
}

/// A request is under way.
pub(crate) struct Busy(Arc<Slot>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if let State::Busy(id) = *state {
            let mut inner = self.0.connections.0.lock();
            *state = match inner.busy.remove(&id) {
                Some(_) => State::Idle(inner.wait(true, self.0.peer, &self.0.evicted)),
                None => State::Evicted,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    async fn is_evicted(slot: &Slot) -> bool {
        tokio::time::timeout(Duration::from_millis(10), slot.evicted()).await.is_ok()
    }

    fn are_empty(connections: &Connections) -> bool {
        let inner = connections.0.lock();
        inner.idle.is_empty() && inner.busy.is_empty() && inner.open == 0 && inner.peers.is_empty()
    }

    #[tokio::test]
    async fn the_one_that_is_idle_longest_is_closed() {
        let connections = Connections::new(3, 3, false);
        let slots: Vec<_> = (0..3).map(|_| Arc::new(connections.open(PEER).unwrap())).collect();
        // The first has had a request since.
        drop(slots[0].busy());
        let next = connections.open(PEER).unwrap();
        assert!(is_evicted(&slots[1]).await);
        assert!(!is_evicted(&slots[0]).await && !is_evicted(&slots[2]).await);
        drop((slots, next));
        assert!(are_empty(&connections));
    }

    #[tokio::test]
    async fn a_connection_that_was_used_outlives_silent_ones() {
        let connections = Connections::new(2, 2, false);
        let used = Arc::new(connections.open(PEER).unwrap());
        drop(used.busy());
        let mut silent = connections.open(PEER).unwrap();
        for _ in 0..5 {
            let next = connections.open(OTHER).unwrap();
            assert!(is_evicted(&silent).await && !is_evicted(&used).await);
            silent = next;
        }
    }

    #[tokio::test]
    async fn a_request_under_way_is_not_cut_off() {
        let connections = Connections::new(1, 1, false);
        let slot = Arc::new(connections.open(PEER).unwrap());
        let busy = slot.busy();
        assert!(connections.open(PEER).is_none() && connections.open(OTHER).is_none());
        drop(busy);
        assert!(connections.open(OTHER).is_some());
        assert!(is_evicted(&slot).await);
        // A request that comes too late changes nothing.
        drop(slot.busy());
        drop(slot);
        assert!(are_empty(&connections));
    }

    #[tokio::test]
    async fn fairness_takes_the_place_of_the_peer_that_has_most() {
        let connections = Connections::new(3, 3, true);
        let slots: Vec<_> = (0..3).map(|_| Arc::new(connections.open(PEER).unwrap())).collect();
        let busy: Vec<_> = slots.iter().map(Slot::busy).collect();
        let other = Arc::new(connections.open(OTHER).unwrap());
        let busy_other = other.busy();
        assert!(is_evicted(&slots[2]).await, "the newest one");
        assert!(!is_evicted(&slots[0]).await && !is_evicted(&slots[1]).await);
        assert!(connections.open(OTHER).is_none(), "it would have as many as the other");
        assert!(connections.open(PEER).is_none());
        let third = connections.open(IpAddr::V4(std::net::Ipv4Addr::BROADCAST)).unwrap();
        assert!(is_evicted(&slots[1]).await && !is_evicted(&other).await);
        drop((busy, slots, busy_other, other, third));
        assert!(are_empty(&connections));
    }

    #[tokio::test]
    async fn a_peer_closes_its_own_connections() {
        let connections = Connections::new(8, 2, false);
        let other = connections.open(OTHER).unwrap();
        let first = connections.open(PEER).unwrap();
        let second = connections.open(PEER).unwrap();
        let mapped = IpAddr::V6(std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        let third = connections.open(mapped).unwrap();
        assert!(is_evicted(&first).await && !is_evicted(&second).await && !is_evicted(&other).await);
        let (second, third) = (Arc::new(second), Arc::new(third));
        let busy = (second.busy(), third.busy());
        assert!(connections.open(PEER).is_none(), "all of its connections are busy");
        assert!(connections.open(OTHER).is_some());
        drop((busy, first, second, third, other));
        assert!(are_empty(&connections));
    }
}
