//! What a question costs doesn't depend on how many pods there are: measured as a ratio in one run.

use std::time::{Duration, Instant};

use gatewatch_coverage::{Index, Labels, Shape, Watch, Workload};
use gatewatch_policy::model::{LabelSelector, Policy};

const POLICIES: usize = 500;
const FEW: usize = 100;
const MANY: usize = 50_000;
/// What another program on the same processor may add. Looking at every pod would be 500 times as much.
const RATIO: u32 = 6;

fn labels(pairs: &[(&str, String)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn watch(i: usize) -> Watch {
    let mut policy = Policy { name: format!("policy-{i}"), ..Policy::default() };
    let selector = LabelSelector {
        match_labels: labels(&[("app", format!("application-{i}")), ("org", "empire".to_owned())]),
        match_expressions: Vec::new(),
    };
    policy.spec.pod_selector = Some(selector);
    Watch::new(&policy, "default")
}

/// Pods of 50 applications in 10 namespaces; with `unique`, no two pods have the same labels.
fn index(pods: usize, unique: bool) -> Index {
    let mut index = Index::new();
    index.reset_policies((0..POLICIES).map(watch));
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

/// The least time that some questions took.
fn least(mut questions: impl FnMut()) -> Duration {
    let once = |questions: &mut dyn FnMut()| {
        let begun = Instant::now();
        questions();
        begun.elapsed()
    };
    (0..30).map(|_| once(&mut questions)).min().unwrap_or_default()
}

fn compare(what: &str, unique: bool, ask: impl Fn(&Index)) {
    let [few, many] = [FEW, MANY].map(|pods| {
        let index = index(pods, unique);
        least(|| (0..20).for_each(|_| ask(&index)))
    });
    println!("{what}: {few:?} with {FEW} pods, {many:?} with {MANY}");
    assert!(many < few * RATIO, "{what}: {few:?} with {FEW} pods, {many:?} with {MANY}");
}

#[test]
fn a_pod_is_judged_as_fast_among_many() {
    let slip = labels(&[("app", "aplication-7".to_owned()), ("org", "empire".to_owned())]);
    let shape = Shape { namespace: "ns-1".to_owned(), labels: slip, containers: None };
    let pod = Workload::pod("new", shape);
    compare("a pod", true, |index| assert_eq!(index.on_workload(&pod).len(), 1));
}

#[test]
fn a_policy_is_judged_as_fast_among_many() {
    let watch = watch(7);
    compare("a policy", false, |index| assert!(!index.selection(&watch).is_empty()));
    compare("a policy that goes", false, |index| assert!(!index.on_policy_change(&watch, None).is_empty()));
}
