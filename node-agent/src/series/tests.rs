use std::sync::Arc;

use gatewatch_policy::{
    model::LabelSelector,
    plan::{HookPoint, PodScope, Scope, When},
};
use proptest::prelude::*;

use super::*;
use crate::{
    attribution::{
        POD_GRACE, REMEMBERED,
        tests::{path, pod_with, uid},
    },
    pods::Pod,
};

pub(crate) fn everything() -> Arc<Scope> {
    Arc::new(Scope { host: true, pods: Some(PodScope::default()) })
}

fn empire() -> Arc<Scope> {
    let selector = LabelSelector {
        match_labels: [("org".to_owned(), "empire".to_owned())].into(),
        match_expressions: Vec::new(),
    };
    Arc::new(Scope { host: false, pods: Some(PodScope { pods: Some(selector), ..PodScope::default() }) })
}

pub(crate) fn hook(policy: &str, symbol: &str, scope: &Arc<Scope>) -> Hook {
    let point = HookPoint::Function { symbol: symbol.to_owned(), when: When::Entry };
    Hook { policy: policy.into(), namespace: None, point: Arc::new(point), scope: scope.clone() }
}

/// A count whose binary's id is made of its path. It is a program of a container, as far as ids say.
pub(super) fn count(hook: u32, cgroup: u64, path: &'static str, value: u64) -> Count<'static> {
    let binary = path.bytes().fold(0, |id: u64, b| id.wrapping_mul(31).wrapping_add(b.into()));
    Count { hook, cgroup, binary: binary << 2 | 1, path: path.as_bytes(), value }
}

/// A pod of the empire.
fn imperial(n: u64, containers: &[u64]) -> Pod {
    let mut pod = pod_with(n, containers);
    pod.labels.insert("org".to_owned(), "empire".to_owned());
    pod
}

struct Node {
    series: Series,
    hooks: Hooks,
    known: Attribution,
    now: Instant,
}

const HOST: u64 = 1;

impl Node {
    fn new(hooks: impl Into<Hooks>) -> Self {
        let (mut known, now) = (Attribution::new(POD_GRACE), Instant::now());
        known.add_cgroup(HOST, "/", now);
        Self { series: Series::default(), hooks: hooks.into(), known, now }
    }

    fn cgroup(&mut self, id: u64, pod: u64, container: u64) {
        self.known.add_cgroup(id, &path(pod, Some(container)), self.now);
    }

    fn fold(&mut self, counts: &[Count<'_>]) -> Folded {
        self.series.fold(counts.iter().copied(), &self.hooks, &self.known, self.now)
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// `POLICY BINARY NAMESPACE/POD/WORKLOAD VALUE` of each series.
    fn scrape(&mut self) -> Vec<String> {
        let line = |Sample { labels: l, value }: Sample<'_>| {
            format!("{} {} {}/{}/{} {value}", l.policy, l.binary, l.namespace, l.pod, l.workload)
        };
        self.series.samples(self.now).iter().map(line).collect()
    }
}

#[test]
fn labels_are_exact() {
    let mut node = Node::new([(1, hook("sudo-invocations", "__x64_sys_execve", &everything()))]);
    node.fold(&[count(1, HOST, "/usr/bin/sudo", 1)]);
    let samples = node.series.samples(node.now);
    let [Sample { labels, value: 1 }] = samples.iter().collect::<Vec<_>>()[..] else { panic!("one series") };
    assert_eq!(labels.binary, "/usr/bin/sudo");
    assert_eq!(labels.hook, "kprobe:__x64_sys_execve");
    assert_eq!(labels.policy, "sudo-invocations");
    assert_eq!([labels.namespace, labels.pod, labels.workload], ["", "", ""]);
}

#[test]
fn programs_of_the_host_have_a_prefix_in_pods() {
    let mut node = Node::new([(1, hook("a", "f", &everything()))]);
    node.known.apply_pod(pod_with(1, &[11]));
    node.cgroup(71, 1, 11);
    let by_host = |cgroup, value| {
        let count = count(1, cgroup, "/usr/bin/crun", value);
        Count { binary: count.binary | gatewatch_abi::HOST_PROGRAM, ..count }
    };
    node.fold(&[by_host(71, 1), by_host(HOST, 10), count(1, 71, "/usr/bin/crun", 100)]);
    assert_eq!(
        node.scrape(),
        [
            "a /usr/bin/crun // 10",
            "a /usr/bin/crun test/p1/p1-workload 100",
            "a host:/usr/bin/crun test/p1/p1-workload 1",
        ]
    );
}

#[test]
fn equal_labels_are_summed() {
    // Two hooks of one policy on one function, two containers of one pod, a nested cgroup.
    let mut node = Node::new([(1, hook("a", "f", &everything())), (2, hook("a", "f", &everything()))]);
    node.known.apply_pod(pod_with(1, &[11, 12]));
    node.cgroup(71, 1, 11);
    node.cgroup(72, 1, 12);
    node.known.add_cgroup(73, &format!("{}/nested", path(1, Some(12))), node.now);
    node.fold(&[
        count(1, 71, "/b", 1),
        count(2, 71, "/b", 10),
        count(1, 72, "/b", 100),
        count(1, 73, "/b", 1000),
    ]);
    assert_eq!(node.scrape(), ["a /b test/p1/p1-workload 1111"]);
}

#[test]
fn unselected_counts_are_dropped_and_unknown_ones_held() {
    let mut node = Node::new([(1, hook("a", "f", &empire())), (2, hook("all", "f", &everything()))]);
    node.known.apply_pod(pod_with(1, &[11]));
    node.cgroup(71, 1, 11);
    node.cgroup(72, 2, 21);
    let mut counts = vec![
        count(1, HOST, "/b", 1),
        count(2, HOST, "/b", 1),
        count(1, 71, "/b", 2),
        count(2, 71, "/b", 2),
        count(1, 72, "/b", 4),
        count(1, 99, "/b", 8),
        count(5, HOST, "/b", 16),
    ];
    assert_eq!(node.fold(&counts), Folded { pending: 12, unknown: vec![99] });
    assert_eq!(node.scrape(), ["all /b // 1", "all /b test/p1/p1-workload 2"]);
    // The pod comes, after more was counted.
    node.known.apply_pod(imperial(2, &[21]));
    counts[4].value = 5;
    assert_eq!(node.fold(&counts).pending, 8);
    assert!(node.scrape().contains(&"a /b test/p2/p2-workload 5".to_owned()));
    // The last cgroup turns out to be the host's.
    node.known.add_cgroup(99, "/system.slice", node.now);
    assert_eq!(node.fold(&counts), Folded::default());
    assert_eq!(node.scrape().len(), 3);
}

#[test]
fn a_container_that_is_awaited_is_held_for_policies_on_containers_only() {
    let selector = LabelSelector {
        match_labels: [("name".to_owned(), "c11".to_owned())].into(),
        match_expressions: Vec::new(),
    };
    let pods = PodScope { containers: Some(selector), ..PodScope::default() };
    let scope = Arc::new(Scope { host: false, pods: Some(pods) });
    let mut node = Node::new([(1, hook("one", "f", &scope)), (2, hook("all", "f", &everything()))]);
    node.known.apply_pod(pod_with(1, &[]));
    node.cgroup(71, 1, 11);
    node.cgroup(72, 1, 12);
    let counts = [count(1, 71, "/b", 3), count(2, 71, "/b", 3), count(1, 72, "/b", 5)];
    assert_eq!(node.fold(&counts).pending, 8);
    assert_eq!(node.scrape(), ["all /b test/p1/p1-workload 3"]);
    node.known.apply_pod(pod_with(1, &[11]));
    assert_eq!(node.fold(&counts).pending, 5);
    assert_eq!(node.scrape()[1], "one /b test/p1/p1-workload 3");
    node.wait(60);
    assert_eq!(node.fold(&counts).pending, 0);
    assert_eq!(node.scrape().len(), 2);
}

#[test]
fn a_pod_that_nobody_lists_goes_by_its_uid() {
    let mut node = Node::new([(1, hook("all", "f", &everything())), (2, hook("a", "f", &empire()))]);
    node.cgroup(71, 1, 11);
    let counts = [count(1, 71, "/b", 3), count(2, 71, "/b", 3)];
    assert_eq!(node.fold(&counts).pending, 6);
    node.wait(60);
    assert_eq!(node.fold(&counts).pending, 0);
    assert_eq!(node.scrape(), [format!("all /b /{}/ 3", uid(1))]);
    // Its cgroup goes: so does the series, in time.
    node.known.remove_cgroup(71, node.now);
    node.fold(&counts);
    assert_eq!(node.scrape().len(), 1);
    node.wait(60);
    node.fold(&counts);
    assert_eq!(node.scrape(), [""; 0]);
}

#[test]
fn series_of_a_deleted_pod_go_a_minute_after_their_last_scrape() {
    let mut node = Node::new([(1, hook("a", "f", &everything()))]);
    node.known.apply_pod(pod_with(1, &[11]));
    node.cgroup(71, 1, 11);
    node.fold(&[count(1, 71, "/b", 3)]);
    assert_eq!(node.scrape().len(), 1);
    node.known.delete_pod(&uid(1), node.now);
    // Prometheus was away: nothing goes unseen.
    node.wait(1_800);
    node.fold(&[count(1, 71, "/b", 3)]);
    assert_eq!(node.scrape(), ["a /b test/p1/p1-workload 3"]);
    node.wait(30);
    // A late count starts the minute again.
    node.fold(&[count(1, 71, "/b", 4)]);
    assert_eq!(node.scrape(), ["a /b test/p1/p1-workload 4"]);
    node.wait(59);
    node.fold(&[count(1, 71, "/b", 4)]);
    assert_eq!(node.scrape().len(), 1);
    node.wait(1);
    node.fold(&[count(1, 71, "/b", 4)]);
    assert_eq!(node.scrape(), [""; 0]);
}

#[test]
fn without_scrapes_series_of_deleted_pods_go_too() {
    let mut node = Node::new([(1, hook("a", "f", &everything()))]);
    node.known.apply_pod(pod_with(1, &[11]));
    node.cgroup(71, 1, 11);
    node.fold(&[count(1, 71, "/b", 3), count(1, HOST, "/b", 1)]);
    node.known.delete_pod(&uid(1), node.now);
    node.fold(&[]);
    node.wait(3_600);
    node.fold(&[]);
    assert_eq!(node.scrape(), ["a /b // 1"]);
}

#[test]
fn a_pod_of_the_same_name_keeps_the_series_going() {
    // A `StatefulSet`'s pod is deleted and made again.
    let mut node = Node::new([(1, hook("a", "f", &everything()))]);
    let again = Pod { name: "p1".to_owned(), workload: pod_with(1, &[]).workload, ..pod_with(2, &[21]) };
    node.known.apply_pod(pod_with(1, &[11]));
    node.cgroup(71, 1, 11);
    node.fold(&[count(1, 71, "/b", 10)]);
    node.known.set_pods(vec![again], node.now);
    node.cgroup(72, 2, 21);
    node.fold(&[count(1, 71, "/b", 10), count(1, 72, "/b", 10)]);
    assert_eq!(node.scrape(), ["a /b test/p1/p1-workload 20"]);
    node.wait(1_000);
    node.fold(&[]);
    assert_eq!(node.scrape().len(), 1);
}

#[test]
fn series_of_a_policy_go_with_it_and_outlive_its_generations() {
    let mut node = Node::new([(1, hook("a", "f", &everything())), (2, hook("b", "f", &everything()))]);
    node.fold(&[count(1, HOST, "/b", 3), count(2, HOST, "/b", 3)]);
    // The new generation of `a` counts before the old one is removed; `a` no longer watches `g`.
    node.hooks.insert(3, hook("a", "f", &everything()));
    node.fold(&[count(1, HOST, "/b", 4), count(2, HOST, "/b", 3), count(3, HOST, "/b", 1)]);
    node.hooks.remove(&1);
    node.fold(&[count(1, HOST, "/b", 9), count(2, HOST, "/b", 3), count(3, HOST, "/b", 2)]);
    assert_eq!(node.scrape(), ["a /b // 6", "b /b // 3"]);
    node.hooks.remove(&2);
    node.fold(&[count(3, HOST, "/b", 2)]);
    assert_eq!(node.scrape(), ["a /b // 6"]);
    node.hooks = [(4, hook("a", "g", &everything()))].into();
    node.fold(&[]);
    assert_eq!(node.scrape(), [""; 0]);
}

#[test]
fn what_was_counted_stays_when_the_kernel_forgets() {
    let mut node = Node::new([(1, hook("a", "f", &everything()))]);
    node.known.add_cgroup(50, "/system.slice/a.service", node.now);
    node.fold(&[count(1, 50, "/b", 7), count(1, HOST, "/b", 1)]);
    node.known.remove_cgroup(50, node.now);
    node.wait(REMEMBERED.as_secs() + 1);
    let forgotten = node.known.forget(REMEMBERED, node.now);
    assert_eq!(forgotten.ids, [50]);
    node.series.forget(&forgotten);
    assert_eq!((node.series.last.len(), node.series.binaries.len()), (1, 1));
    node.fold(&[count(1, HOST, "/b", 2)]);
    assert_eq!(node.scrape(), ["a /b // 9"]);
    // A cgroup that has the id again begins from nothing.
    node.known.add_cgroup(50, "/system.slice/b.service", node.now);
    node.fold(&[count(1, HOST, "/b", 2), count(1, 50, "/b", 3)]);
    assert_eq!(node.scrape(), ["a /b // 12"]);
}

#[test]
fn a_reused_id_gives_nothing_to_the_next_pod() {
    let mut node = Node::new([(1, hook("a", "f", &everything()))]);
    node.cgroup(71, 1, 11);
    assert_eq!(node.fold(&[count(1, 71, "/b", 5)]).pending, 5);
    node.cgroup(71, 2, 21);
    node.known.set_pods(vec![pod_with(1, &[11]), pod_with(2, &[21])], node.now);
    node.fold(&[count(1, 71, "/b", 6)]);
    assert_eq!(node.scrape(), ["a /b test/p1/p1-workload 5", "a /b test/p2/p2-workload 1"]);
}

#[test]
fn a_path_that_becomes_known_while_its_counts_are_held() {
    let mut node = Node::new([(1, hook("a", "f", &everything()))]);
    let nameless = Count { hook: 1, cgroup: 99, binary: 42, path: b"", value: 1 };
    node.fold(&[nameless]);
    node.known.add_cgroup(99, "/x", node.now);
    node.fold(&[Count { path: b"/usr/bin/x", ..nameless }]);
    assert_eq!(node.scrape(), ["a /usr/bin/x // 1"]);
}

#[derive(Clone, Debug)]
enum Step {
    Count { cgroup: u64, binary: usize, by: u64 },
    Appear(u64),
    Vanish(u64),
    Pods(Vec<u64>),
    Wait(u64),
    Forget,
    Scrape,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..6u64, 0..2usize, 1..100u64).prop_map(|(cgroup, binary, by)| Step::Count { cgroup, binary, by }),
        2 => (2..6u64).prop_map(Step::Appear),
        1 => (2..6u64).prop_map(Step::Vanish),
        2 => prop::collection::vec(2..6u64, 0..4).prop_map(Step::Pods),
        1 => (1..400u64).prop_map(Step::Wait),
        1 => Just(Step::Forget),
        3 => Just(Step::Scrape),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// A series never goes down while it is there, and every event is in a series or held.
    #[test]
    fn monotonic_and_complete(steps in steps()) {
        const BINARIES: [&str; 2] = ["/a", "/b"];
        let mut node = Node::new([(1, hook("all", "f", &everything()))]);
        let mut kernel: BTreeMap<(u64, usize), u64> = BTreeMap::new();
        let (mut shown, mut lost, mut total) = (BTreeMap::<String, u64>::new(), 0, 0);
        for step in steps {
            match step {
                // Cgroup 1 is the host's, 2 to 5 are pods' of the same number. A deleted one counts nothing.
                Step::Count { cgroup, binary, by } => {
                    *kernel.entry((cgroup, binary)).or_default() += by;
                    total += by;
                }
                Step::Appear(id) => node.cgroup(id, id, id),
                Step::Vanish(id) => node.known.remove_cgroup(id, node.now),
                Step::Pods(pods) => {
                    let pods = pods.iter().map(|p| pod_with(*p, &[*p])).collect();
                    node.known.set_pods(pods, node.now);
                }
                Step::Wait(seconds) => node.wait(seconds),
                Step::Forget | Step::Scrape => {
                    let counts: Vec<_> =
                        kernel.iter().map(|((c, b), v)| count(1, *c, BINARIES[*b], *v)).collect();
                    let folded = node.fold(&counts);
                    if matches!(step, Step::Forget) {
                        let forgotten = node.known.forget(REMEMBERED, node.now);
                        kernel.retain(|(cgroup, _), _| !forgotten.ids.contains(cgroup));
                        node.series.forget(&forgotten);
                    }
                    let samples: BTreeMap<_, _> =
                        node.series.samples(node.now).iter().map(|s| (format!("{:?}", s.labels), s.value)).collect();
                    for (labels, before) in &shown {
                        match samples.get(labels) {
                            Some(value) => prop_assert!(value >= before, "{:?} fell", labels),
                            None => lost += before,
                        }
                    }
                    shown = samples;
                    prop_assert_eq!(shown.values().sum::<u64>() + lost + folded.pending, total);
                }
            }
        }
    }
}
