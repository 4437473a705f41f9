//! The time of the last event: of each hook and pod, over restarts, and of events that wait for their pod.

use super::{
    tests::{self, everything, hook},
    *,
};
use crate::attribution::{
    POD_GRACE,
    tests::{path, pod_with},
};

const HOST: u64 = 1;
const POD: u64 = 71;

fn count(cgroup: u64, path: &'static str, value: u64) -> Count<'static> {
    tests::count(1, cgroup, path, value)
}

/// A node with a policy, and a clock that the test sets.
struct Node {
    series: Series,
    hooks: Hooks,
    known: Attribution,
    now: Instant,
}

impl Node {
    fn new() -> Self {
        let (mut known, now) = (Attribution::new(POD_GRACE), Instant::now());
        known.add_cgroup(HOST, "/", now);
        known.add_cgroup(POD, &path(1, Some(11)), now);
        let hooks = Hooks::from([(1, hook("all", "f", &everything()))]);
        Self { series: Series::default(), hooks, known, now }
    }

    /// Folds at a second.
    fn fold(&mut self, second: u64, counts: &[Count<'_>]) {
        self.series.set_clock(UNIX_EPOCH + Duration::from_secs(second));
        self.series.fold(counts.iter().copied(), &self.hooks, &self.known, self.now);
    }

    /// `POD SECOND` of each last event.
    fn last(&mut self) -> Vec<String> {
        let samples = self.series.samples(self.now);
        samples.last_events().map(|last| format!("{} {}", last.pod, last.milliseconds / 1_000)).collect()
    }
}

#[test]
fn it_is_that_of_the_fold_that_saw_a_count_grow() {
    let mut node = Node::new();
    node.known.apply_pod(pod_with(1, &[11]));
    node.fold(100, &[count(HOST, "/a", 1), count(POD, "/a", 1)]);
    assert_eq!(node.last(), [" 100", "p1 100"]);
    node.fold(200, &[count(HOST, "/a", 1), count(POD, "/a", 1), count(POD, "/b", 1)]);
    assert_eq!(node.last(), [" 100", "p1 200"], "one time for all programs of a pod");
    assert_eq!(node.series.newest(), 200_000);
    node.fold(300, &[count(HOST, "/a", 1), count(POD, "/a", 1), count(POD, "/b", 1)]);
    assert_eq!(node.last(), [" 100", "p1 200"], "nothing has grown");
    assert_eq!(node.series.newest(), 200_000);
}

#[test]
fn a_clock_that_was_wrong_hides_no_event() {
    let mut node = Node::new();
    node.known.apply_pod(pod_with(1, &[11]));
    node.fold(1_000, &[count(HOST, "/a", 1)]);
    node.fold(9_000, &[count(HOST, "/a", 1), count(POD, "/a", 1)]);
    // It is set right: the time of the pod's event was wrong, and is not known.
    node.fold(1_100, &[count(HOST, "/a", 1), count(POD, "/a", 1)]);
    assert_eq!(node.last(), [" 1000"]);
    node.fold(1_200, &[count(HOST, "/a", 1), count(POD, "/a", 2)]);
    assert_eq!(node.last(), [" 1000", "p1 1200"]);
    // It is adjusted by a few seconds.
    node.fold(1_195, &[count(HOST, "/a", 2), count(POD, "/a", 3)]);
    assert_eq!(node.last(), [" 1195", "p1 1200"]);
}

#[test]
fn an_event_that_waits_for_its_pod_keeps_its_time() {
    let mut node = Node::new();
    node.fold(100, &[count(POD, "/a", 1)]);
    assert!(node.last().is_empty());
    let saved = serde_json::to_vec(&(node.series.save(), node.known.save())).unwrap();
    node.known.apply_pod(pod_with(1, &[11]));
    node.fold(160, &[count(POD, "/a", 1)]);
    assert_eq!(node.last(), ["p1 100"]);
    // The same after the agent's end.
    let (series, known) = serde_json::from_slice(&saved).unwrap();
    let mut node = Node::new();
    node.series.restore(series, node.now);
    node.known.restore(known, node.now);
    node.known.apply_pod(pod_with(1, &[11]));
    node.fold(170, &[count(POD, "/a", 1)]);
    assert_eq!(node.last(), ["p1 100"]);
}

#[test]
fn it_outlives_the_agent() {
    let mut node = Node::new();
    node.known.apply_pod(pod_with(1, &[11]));
    node.fold(100, &[count(HOST, "/a", 1), count(POD, "/a", 1), count(POD, "/b", 1)]);
    node.fold(200, &[count(HOST, "/a", 1), count(POD, "/a", 1), count(POD, "/b", 2)]);
    let saved = serde_json::to_value(node.series.save()).unwrap();
    let mut next = Node::new();
    next.known.apply_pod(pod_with(1, &[11]));
    next.series.restore(serde_json::from_value(saved.clone()).unwrap(), next.now);
    next.fold(300, &[count(HOST, "/a", 1), count(POD, "/a", 1), count(POD, "/b", 2)]);
    assert_eq!(next.last(), [" 100", "p1 200"]);
    next.fold(400, &[count(HOST, "/a", 2), count(POD, "/a", 1), count(POD, "/b", 2)]);
    assert_eq!(next.last(), [" 400", "p1 200"]);

    // An agent that saved no times: they begin with the next event.
    let mut earlier = saved;
    earlier.as_object_mut().unwrap().retain(|field, _| !field.ends_with("grown"));
    let mut next = Node::new();
    next.known.apply_pod(pod_with(1, &[11]));
    next.series.restore(serde_json::from_value(earlier).unwrap(), next.now);
    next.fold(300, &[count(HOST, "/a", 1), count(POD, "/a", 1), count(POD, "/b", 2)]);
    assert!(next.last().is_empty());
    next.fold(400, &[count(HOST, "/a", 1), count(POD, "/a", 2), count(POD, "/b", 2)]);
    assert_eq!(next.last(), ["p1 400"]);
}
