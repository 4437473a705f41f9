//! The index against a reference that compares everything: the same changes, the same questions, the same answers.

use std::collections::{BTreeMap, BTreeSet};

use gatewatch_coverage::{
    Container, Index, IndexedPolicy, Limits, PolicyId, Selection, Shape, Tally, Workload,
};
use gatewatch_policy::{
    labels::NAMESPACE_KEY,
    model::{Kind, LabelExpression, LabelOperator, LabelSelector, Policy},
};
use proptest::{prelude::*, sample::select};

/// Compares every object with every policy.
#[derive(Default)]
struct Reference {
    workloads: BTreeMap<(String, String, String), Workload>,
    policies: BTreeMap<PolicyId, IndexedPolicy>,
}

fn selects(policy: &IndexedPolicy, shape: &Shape) -> bool {
    let Some(scope) = &policy.scope.pods else { return false };
    let mut labels = shape.labels.clone();
    labels.entry(NAMESPACE_KEY.to_owned()).or_insert_with(|| shape.namespace.clone());
    let container = |c: &Container| {
        let fields =
            BTreeMap::from([("name".to_owned(), c.name.clone()), ("repo".to_owned(), c.repo.clone())]);
        scope.containers.as_ref().is_none_or(|selector| selector.matches(&fields))
    };
    scope.namespace.as_ref().is_none_or(|namespace| *namespace == shape.namespace)
        && scope.pods.as_ref().is_none_or(|selector| selector.matches(&labels))
        && (scope.containers.is_none()
            || shape.containers.as_ref().is_none_or(|containers| containers.iter().any(container)))
}

impl Reference {
    fn selection(&self, policy: &IndexedPolicy) -> Selection {
        let mut by_namespace = BTreeMap::<String, Tally>::new();
        for workload in self.workloads.values().filter(|workload| selects(policy, &workload.shape)) {
            let tally = by_namespace.entry(workload.shape.namespace.clone()).or_default();
            if workload.is_pod() {
                tally.pods += 1;
            } else {
                tally.workloads += 1;
            }
        }
        Selection { by_namespace }
    }

    fn selecting_policies(&self, shape: &Shape) -> BTreeSet<&PolicyId> {
        self.policies.values().filter(|policy| selects(policy, shape)).map(|policy| &policy.id).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Workload),
    Delete(usize),
    Policy(IndexedPolicy),
    DeletePolicy(usize),
    Reset(bool, Vec<Workload>),
}

fn key() -> impl Strategy<Value = String> {
    select(vec!["app", "org", "tier", NAMESPACE_KEY]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "n1", "empire", "Empire", "empre"]).prop_map(str::to_owned)
}

fn namespace() -> impl Strategy<Value = String> {
    select(vec!["n1", "n2"]).prop_map(str::to_owned)
}

fn container() -> impl Strategy<Value = Container> {
    (select(vec!["a", "b"]), select(vec!["a", "r"]))
        .prop_map(|(name, repo)| Container { name: name.to_owned(), repo: repo.to_owned() })
}

fn workload() -> impl Strategy<Value = Workload> {
    let labels = prop::collection::btree_map(key(), value(), 0..3);
    let containers = prop::option::weighted(0.8, prop::collection::vec(container(), 0..3));
    (select(vec!["Pod", "Deployment"]), select(vec!["x", "y", "z"]), namespace(), labels, containers)
        .prop_map(|(kind, name, namespace, labels, containers)| Workload {
            kind: kind.to_owned(),
            name: name.to_owned(),
            shape: Shape { namespace, labels, containers },
            ..Workload::default()
        })
}

fn selector(keys: impl Strategy<Value = String> + Clone + 'static) -> impl Strategy<Value = LabelSelector> {
    let expression = (keys.clone(), select(LabelOperator::ALL), prop::collection::vec(value(), 0..3))
        .prop_map(|(key, operator, values)| LabelExpression { key, operator, values });
    (prop::collection::btree_map(keys, value(), 0..2), prop::collection::vec(expression, 0..3))
        .prop_map(|(match_labels, match_expressions)| LabelSelector { match_labels, match_expressions })
}

fn policy() -> impl Strategy<Value = IndexedPolicy> {
    let fields = select(vec!["name", "repo"]).prop_map(str::to_owned).boxed();
    let host = prop::option::weighted(0.2, Just(LabelSelector::default()));
    (
        select(vec!["p", "q", "r"]),
        prop::option::of(namespace()),
        prop::option::of(selector(key().boxed())),
        prop::option::weighted(0.3, selector(fields)),
        host,
    )
        .prop_map(|(name, namespace, pods, containers, host)| {
            let kind = if namespace.is_some() { Kind::Namespaced } else { Kind::Cluster };
            let mut policy = Policy { kind, name: name.to_owned(), namespace, ..Policy::default() };
            policy.spec.pod_selector = pods;
            policy.spec.container_selector = containers;
            policy.spec.host_selector = host;
            IndexedPolicy::new(&policy, "default")
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => workload().prop_map(Step::Apply),
        3 => any::<usize>().prop_map(Step::Delete),
        6 => policy().prop_map(Step::Policy),
        2 => any::<usize>().prop_map(Step::DeletePolicy),
        1 => (any::<bool>(), prop::collection::vec(workload(), 0..4)).prop_map(|(p, all)| Step::Reset(p, all)),
    ]
}

fn identity(workload: &Workload) -> (String, String, String) {
    (workload.kind.clone(), workload.shape.namespace.clone(), workload.name.clone())
}

fn run(index: &mut Index, reference: &mut Reference, step: Step) {
    match step {
        Step::Apply(workload) => {
            index.apply_workload(&workload);
            reference.workloads.insert(identity(&workload), workload);
        }
        Step::Delete(n) => {
            let known: Vec<_> = reference.workloads.keys().cloned().collect();
            if let Some(gone) = (!known.is_empty()).then(|| &known[n % known.len()]) {
                index.delete_workload(&gone.0, &gone.1, &gone.2);
                reference.workloads.remove(gone);
            }
        }
        Step::Policy(policy) => {
            index.apply_policy(policy.clone());
            reference.policies.insert(policy.id.clone(), policy);
        }
        Step::DeletePolicy(n) => {
            let known: Vec<_> = reference.policies.keys().cloned().collect();
            if let Some(gone) = (!known.is_empty()).then(|| &known[n % known.len()]) {
                index.delete_policy(gone);
                reference.policies.remove(gone);
            }
        }
        Step::Reset(pods, all) => {
            let kind = if pods { "Pod" } else { "Deployment" };
            let all: Vec<Workload> = all.into_iter().filter(|workload| workload.kind == kind).collect();
            index.reset_workloads(kind, &all);
            reference.workloads.retain(|(of, ..), _| of != kind);
            reference.workloads.extend(all.into_iter().map(|workload| (identity(&workload), workload)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn answers_as_the_reference(
        steps in prop::collection::vec(step(), 1..30),
        asked in policy(),
        pod in workload(),
    ) {
        let (mut index, mut reference) = (Index::new(), Reference::default());
        for step in steps {
            run(&mut index, &mut reference, step);
        }
        for policy in reference.policies.values().chain([&asked]) {
            prop_assert_eq!(index.selection(policy), reference.selection(policy), "{:?}", policy);
        }
        for workload in reference.workloads.values().chain([&pod]) {
            prop_assert_eq!(index.selecting_policies(&workload.shape), reference.selecting_policies(&workload.shape), "{:?}", workload);
        }
        prop_assert_eq!(index.workloads().total().pods, reference.workloads.values().filter(|w| w.is_pod()).count());
        // A change from one policy to another deselects the pods that only the first one selects.
        for was in reference.policies.values() {
            let deselection = index.deselection(was, Some(&asked));
            let expected = reference.workloads.values().filter(|w| selects(was, &w.shape) && !selects(&asked, &w.shape));
            let Tally { pods, workloads } = deselection.deselected.total();
            prop_assert_eq!(pods + workloads, expected.count());
        }
        // With the suggested label, the listed policies select the pod.
        for typo in index.label_typos(&pod.shape, &Limits::none()) {
            let mut fixed = pod.shape.clone();
            fixed.labels.remove(&typo.key);
            fixed.labels.insert(typo.meant_key.clone(), typo.meant_value.clone());
            for id in &typo.gained {
                let policy = &reference.policies[id];
                prop_assert!(!selects(policy, &pod.shape) && selects(policy, &fixed), "{:?}", typo);
            }
            prop_assert!(!typo.gained.is_empty());
        }
    }
}
