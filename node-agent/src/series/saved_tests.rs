//! Series that outlive the agent, and series that a policy has no room for.

use std::sync::Arc;

use gatewatch_policy::plan::{PodScope, Scope};

use super::{
    tests::{self, everything, hook},
    *,
};
use crate::attribution::{
    POD_GRACE,
    tests::{path, pod_with},
};

const POD: u64 = 71;
const GONE: u64 = 72;

fn count(cgroup: u64, path: &'static str, value: u64) -> Count<'static> {
    tests::count(1, cgroup, path, value)
}

fn values(series: &mut Series, now: Instant) -> Vec<(String, String, u64)> {
    let line =
        |Sample { labels, value }: Sample<'_>| (labels.pod.to_owned(), labels.binary.to_owned(), value);
    series.samples(now).iter().map(line).collect()
}

/// The agent ends after it has saved, the kernel counts on, and pods come to be known later: no event is counted twice,
/// and none is lost.
#[test]
fn the_next_agent_goes_on() {
    let hooks = Hooks::from([(1, hook("all", "f", &everything()))]);
    let now = Instant::now();
    let mut known = Attribution::new(POD_GRACE);
    known.add_cgroup(POD, &path(1, Some(11)), now);
    known.add_cgroup(GONE, &path(2, Some(21)), now);
    known.apply_pod(pod_with(1, &[11]));
    let mut series = Series::default();
    let folded = series.fold([count(POD, "/b", 10), count(GONE, "/b", 5)], &hooks, &known, now);
    assert_eq!(folded.pending, 5, "its pod isn't known");
    known.remove_cgroup(GONE, now);
    let written = serde_json::to_vec(&(series.save(), known.save())).unwrap();
    // This agent still sees these, and says nothing of them any more.
    series.fold([count(POD, "/b", 12), count(GONE, "/b", 6)], &hooks, &known, now);

    let (saved, saved_known) = serde_json::from_slice(&written).unwrap();
    let (mut series, mut known) = (Series::default(), Attribution::new(POD_GRACE));
    series.restore(saved, now);
    known.restore(saved_known, now);
    series.fold([count(POD, "/b", 14), count(GONE, "/b", 6)], &hooks, &known, now);
    assert_eq!(values(&mut series, now), [("p1".to_owned(), "/b".to_owned(), 14)]);
    known.apply_pod(pod_with(2, &[21]));
    series.fold([count(POD, "/b", 14), count(GONE, "/b", 6)], &hooks, &known, now);
    assert_eq!(
        values(&mut series, now),
        [("p1".to_owned(), "/b".to_owned(), 14), ("p2".to_owned(), "/b".to_owned(), 6)]
    );
    // Cgroups that were deleted while no agent ran are forgotten.
    known.only_cgroups(|_| false, now);
    assert_eq!(known.cgroups(now).count(), 0);
}

#[test]
fn what_has_no_room_is_counted_in_one_more() {
    let hooks = Hooks::from([(1, hook("all", "f", &everything()))]);
    let now = Instant::now();
    let mut known = Attribution::new(POD_GRACE);
    known.add_cgroup(1, "/", now);
    // The host has half of them.
    let mut series = Series::new(SeriesLimits { per_policy: 4, ..SeriesLimits::default() });
    let binaries = ["/a", "/b", "/c", "/d"];
    for round in 1..=3 {
        series.fold(binaries.map(|binary| count(1, binary, round * 10)), &hooks, &known, now);
    }
    let all = values(&mut series, now);
    assert_eq!(all.iter().map(|(.., value)| value).sum::<u64>(), 120);
    assert_eq!(all.len(), 3);
    assert!(all.contains(&(String::new(), OVERFLOW_BINARY.to_owned(), 60)), "{all:?}");
    // The room of a series that went is given to another one.
    let none = Hooks::new();
    series.fold([], &none, &known, now);
    assert_eq!(values(&mut series, now), []);
    series.fold([count(1, "/d", 40)], &hooks, &known, now);
    assert_eq!(values(&mut series, now), [(String::new(), "/d".to_owned(), 40)]);
}

/// Others have used up all series of a policy: a pod's events lose their program, and keep the labels that alerts are made
/// from.
#[test]
fn pods_take_no_labels_from_others() {
    let hooks = Hooks::from([(1, hook("all", "f", &everything()))]);
    let now = Instant::now();
    let mut known = Attribution::new(POD_GRACE);
    known.add_cgroup(1, "/", now);
    for pod in 1..=4 {
        known.apply_pod(pod_with(pod, &[pod]));
        known.add_cgroup(70 + pod, &path(pod, Some(pod)), now);
    }
    let mut series = Series::new(SeriesLimits { per_policy: 4, per_pod: 2 });
    let used_up = [71, 72].into_iter().flat_map(|pod| ["/a", "/b"].map(|binary| count(pod, binary, 1)));
    series.fold(used_up, &hooks, &known, now);
    let later = [count(73, "/a", 10), count(73, "/b", 10), count(74, "/a", 20), count(1, "/a", 30)];
    series.fold(later, &hooks, &known, now);
    let of = |pod: &str, value| (pod.to_owned(), OVERFLOW_BINARY.to_owned(), value);
    let all = values(&mut series, now);
    assert_eq!(all.len(), 7, "{all:?}");
    for expected in [of("p3", 20), of("p4", 20), of("", 30)] {
        assert!(all.contains(&expected), "{expected:?} in {all:?}");
    }
}

/// A policy on labels can't be decided for a pod that never becomes known: what is dropped for that reason is counted.
#[test]
fn what_is_dropped_for_want_of_a_name_is_counted() {
    let pods = PodScope { namespace: Some("test".to_owned()), ..PodScope::default() };
    let scope = Arc::new(Scope { host: true, pods: Some(pods) });
    let host = Arc::new(Scope { host: true, pods: None });
    let hooks = Hooks::from([(1, hook("of-test", "f", &scope)), (2, hook("of-host", "f", &host))]);
    let mut now = Instant::now();
    let mut known = Attribution::new(POD_GRACE);
    known.add_cgroup(POD, &path(1, Some(11)), now);
    let mut series = Series::default();
    let counts = [count(POD, "/b", 5), Count { hook: 2, ..count(POD, "/b", 5) }];
    assert_eq!(series.fold(counts, &hooks, &known, now).pending, 10);
    assert_eq!(series.unattributed().count(), 0);
    now += POD_GRACE;
    assert_eq!(series.fold(counts, &hooks, &known, now).pending, 0);
    // The other policy watches no pod, whatever it is called.
    assert_eq!(series.unattributed().collect::<Vec<_>>(), [(1, 5)]);
    series.fold([count(POD, "/b", 7)], &hooks, &known, now);
    assert_eq!(series.unattributed().collect::<Vec<_>>(), [(1, 7)]);
    series.fold([], &Hooks::new(), &known, now);
    assert_eq!(series.unattributed().count(), 0);
}

/// A pod with too many programs, and one whose programs the kernel has no path of.
#[test]
fn a_pods_overflow_keeps_its_labels() {
    let hooks = Hooks::from([(1, hook("all", "f", &everything()))]);
    let now = Instant::now();
    let mut known = Attribution::new(POD_GRACE);
    known.add_cgroup(1, "/", now);
    for pod in [1, 2] {
        known.apply_pod(pod_with(pod, &[pod]));
        known.add_cgroup(70 + pod, &path(pod, Some(pod)), now);
    }
    let mut series = Series::new(SeriesLimits { per_pod: 2, ..SeriesLimits::default() });
    let binaries = ["/a", "/b", "/c", "/d"];
    for round in 1..=3 {
        let mut counts: Vec<Count<'_>> =
            binaries.iter().map(|binary| count(71, binary, round * 10)).collect();
        // A key of the kernel's for all that had no share left, and a process that isn't known.
        counts.push(Count { binary: 77, ..count(71, "", round * 10) });
        counts.push(Count { binary: OVERFLOW, ..count(71, "", round) });
        counts.push(Count { binary: UNKNOWN, ..count(72, "", round) });
        counts.extend([count(1, "/a", round), count(1, "/b", round), count(1, "/c", round)]);
        series.fold(counts, &hooks, &known, now);
    }
    assert_eq!(
        values(&mut series, now),
        [
            ("p2".to_owned(), String::new(), 3),
            (String::new(), "/a".to_owned(), 3),
            ("p1".to_owned(), "/a".to_owned(), 30),
            (String::new(), "/b".to_owned(), 3),
            ("p1".to_owned(), "/b".to_owned(), 30),
            (String::new(), "/c".to_owned(), 3),
            ("p1".to_owned(), OVERFLOW_BINARY.to_owned(), 93),
        ]
    );
}
