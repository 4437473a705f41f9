//! Records that wait for their pods. A container's first events come before anything is known of its cgroup, so they wait some
//! seconds, and are then written without a pod, and with the reason.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use gatewatch_events::hook::Incomplete;
use gatewatch_export::Tally;

use super::{convert::Draft, owners::Owners};

/// How long a record waits at most.
pub(super) const AT_MOST: Duration = Duration::from_secs(5);
/// Records that wait at a time.
const ALL: usize = 4_096;
/// Those of one pod: however many containers it has, it does not take the places of others.
const OF_ONE: usize = 512;

/// An event, and where it is entered what becomes of it.
pub(super) struct Outgoing {
    pub(super) draft: Draft,
    pub(super) tally: Arc<Tally>,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<(Instant, Outgoing)>,
    /// How many of each pod.
    each: HashMap<u64, usize>,
}

impl Waiting {
    /// Takes an event; gives it back if it needn't wait, or can't.
    pub(super) fn take(&mut self, mut event: Outgoing, owners: &Owners, now: Instant) -> Option<Outgoing> {
        if owners.settled(event.draft.cgroup.0) {
            return Some(event);
        }
        let each = self.each.entry(event.draft.pod).or_default();
        if *each >= OF_ONE || self.queue.len() >= ALL {
            incomplete(&mut event, Incomplete::PodQueueFull);
            return Some(event);
        }
        *each += 1;
        self.queue.push_back((now, event));
        None
    }

    /// Those that need not wait any more, in their order.
    pub(super) fn ready(&mut self, owners: &Owners, now: Instant) -> Vec<Outgoing> {
        let mut ready = Vec::new();
        let mut rest = VecDeque::new();
        for (since, mut event) in self.queue.drain(..) {
            let settled = owners.settled(event.draft.cgroup.0);
            if !settled && now.saturating_duration_since(since) < AT_MOST {
                rest.push_back((since, event));
                continue;
            }
            if !settled {
                incomplete(&mut event, Incomplete::Pod);
            }
            ready.push(event);
        }
        self.queue = rest;
        self.each.clear();
        for (_, event) in &self.queue {
            *self.each.entry(event.draft.pod).or_default() += 1;
        }
        ready
    }

    /// All of them, as they are: the agent ends.
    pub(super) fn rest(&mut self, owners: &Owners) -> Vec<Outgoing> {
        let far = Instant::now() + 2 * AT_MOST;
        self.ready(owners, far)
    }

    /// Records that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

fn incomplete(event: &mut Outgoing, what: Incomplete) {
    if let Some(processes) = event.draft.event.processes_mut() {
        processes.incomplete.push(what);
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_events::{Event, Timestamp, event::Body};

    use super::*;
    use crate::attribution::Owner;

    fn event(cgroup: u64) -> Outgoing {
        let event = Event::new(Body::ProcessExec(Box::default()), Timestamp(1));
        // Containers 70 to 79 are of pod 7.
        let draft = Draft { event, cgroup: (cgroup, 0), pod: cgroup / 10, parent: None };
        Outgoing { draft, tally: Arc::default() }
    }

    fn missing(event: &Outgoing) -> Vec<Incomplete> {
        event.draft.event.processes().unwrap().incomplete.clone()
    }

    #[test]
    fn a_record_waits_for_its_pod_and_no_longer_than_it_may() {
        let now = Instant::now();
        let (nobody, host) = (Owners::default(), Owners::from_iter([(7, Owner::Host)]));
        let mut waiting = Waiting::default();
        assert!(waiting.take(event(7), &host, now).is_some());
        assert!(waiting.take(event(7), &nobody, now).is_none());
        assert!(waiting.take(event(8), &nobody, now).is_none());
        assert!(waiting.ready(&nobody, now).is_empty());
        let ready = waiting.ready(&host, now);
        assert_eq!((ready.len(), missing(&ready[0])), (1, vec![]));
        let late = waiting.ready(&host, now + AT_MOST);
        assert_eq!((late.len(), missing(&late[0])), (1, vec![Incomplete::Pod]));
        assert_eq!(waiting.len(), 0);
    }

    #[test]
    fn one_pod_does_not_take_the_places_of_another() {
        let (now, nobody) = (Instant::now(), Owners::default());
        let mut waiting = Waiting::default();
        let containers = (70..80).cycle().take(2 * OF_ONE);
        let refused = containers.filter_map(|cgroup| waiting.take(event(cgroup), &nobody, now)).count();
        assert_eq!(refused, OF_ONE);
        assert!(waiting.take(event(80), &nobody, now).is_none());
        let over = waiting.take(event(71), &nobody, now).unwrap();
        assert_eq!(missing(&over), [Incomplete::PodQueueFull]);
        assert_eq!(waiting.rest(&nobody).len(), OF_ONE + 1);
    }
}
