//! What a question costs doesn't depend on how many pods there are: measured as a ratio in one run.

use std::time::{Duration, Instant};

use gatewatch_coverage::{Index, IndexedPolicy, Labels, Shape, Workload};
use gatewatch_policy::model::{LabelSelector, Policy};

const POLICIES: usize = 500;
const FEW: usize = 100;
const MANY: usize = 50_000;
/// Tolerance for other programs on the same processor. Checking every pod would take 500 times as long.
const RATIO: u32 = 6;

fn labels(pairs: &[(&str, String)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn policy(i: usize) -> IndexedPolicy {
    let mut policy = Policy { name: format!("policy-{i}"), ..Policy::default() };
    let selector = LabelSelector {
        match_labels: labels(&[("app", format!("application-{i}")), ("org", "empire".to_owned())]),
        match_expressions: Vec::new(),
    };
    policy.spec.pod_selector = Some(selector);
    IndexedPolicy::new(&policy, "default")
}

/// Pods of 50 applications in 10 namespaces; with `unique`, no two pods have the same labels.
fn index(pods: usize, unique: bool) -> Index {
    let mut index = Index::new();
    index.reset_policies((0..POLICIES).map(policy));
    for i in 0..pods {
        let mut shape = Shape {
            namespace: format!("ns-{}", i % 10),
            labels: labels(&[("app", format!("application-{}", i % 50)), ("org", "empire".to_owned())]),
            containers: Some(Vec::new()),
        };
        if unique {
            shape.labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), format!("pod-{i}"));
        }
        index.apply_workload(&Workload::pod(format!("pod-{i}"), shape));
    }
    index
}

/// The shortest time that a set of queries took.
fn shortest(mut queries: impl FnMut()) -> Duration {
    let once = |queries: &mut dyn FnMut()| {
        let start = Instant::now();
        queries();
        start.elapsed()
    };
    (0..30).map(|_| once(&mut queries)).min().unwrap_or_default()
}

fn compare(what: &str, unique: bool, ask: impl Fn(&Index)) {
    let [few, many] = [FEW, MANY].map(|pods| {
        let index = index(pods, unique);
        shortest(|| (0..20).for_each(|_| ask(&index)))
    });
    println!("{what}: {few:?} with {FEW} pods, {many:?} with {MANY}");
    assert!(many < few * RATIO, "{what}: {few:?} with {FEW} pods, {many:?} with {MANY}");
}

#[test]
fn checking_a_pod_is_as_fast_among_many() {
    let typo = labels(&[("app", "aplication-7".to_owned()), ("org", "empire".to_owned())]);
    let shape = Shape { namespace: "ns-1".to_owned(), labels: typo, containers: None };
    let pod = Workload::pod("new", shape);
    compare("a pod", true, |index| assert_eq!(index.on_workload(&pod).len(), 1));
}

#[test]
fn checking_a_policy_is_as_fast_among_many() {
    let policy = policy(7);
    compare("a policy", false, |index| assert!(!index.selection(&policy).is_empty()));
    compare("a deleted policy", false, |index| assert!(!index.on_policy_change(&policy, None).is_empty()));
}
