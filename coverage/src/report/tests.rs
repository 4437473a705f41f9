mod limits;
mod loaded;

use std::collections::BTreeMap;

use gatewatch_policy::{assess::Checked, diagnostic::Diagnostic, source::parse};

use crate::{Index, IndexedPolicy, REQUIRE_COVERAGE, Workload, read, templates::Templates};

fn policy(name: &str, kind: &str, spec: &str) -> IndexedPolicy {
    let metadata = if kind == "TracingPolicy" { "" } else { ", namespace: test" };
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{metadata}}}\n\
         spec:\n  kprobes: [{{call: sys_{name}, message: ok}}]\n{spec}"
    );
    IndexedPolicy::new(&Checked::of(&parse(&text)[0]).expect("a policy").policy, "default")
}

fn selecting(name: &str, selector: &str) -> IndexedPolicy {
    policy(name, "TracingPolicy", &format!("  podSelector: {selector}\n"))
}

fn object(text: &str) -> Workload {
    read::workload(&parse(text)[0].root, "test", &Templates::default()).expect("a workload").0
}

fn pod(name: &str, labels: &str) -> Workload {
    object(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{{labels}}}}}}}"))
}

fn deployment(name: &str, own: &str, labels: &str) -> Workload {
    object(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, labels: {{{own}}}}}, \
          spec: {{template: {{metadata: {{labels: {{{labels}}}}}, \
          spec: {{containers: [{{name: main, image: 'a.example:5000/b/web:1'}}]}}}}}}}}"
    ))
}

fn index(policies: &[IndexedPolicy], workloads: &[Workload]) -> Index {
    let mut index = Index::new();
    index.reset_policies(policies.iter().cloned());
    for workload in workloads {
        index.apply_workload(workload);
    }
    index
}

fn require(index: &mut Index) {
    index.apply_namespace("test", &BTreeMap::from([(REQUIRE_COVERAGE.to_owned(), "true".to_owned())]));
}

fn rendered(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(|d| format!("{} {d}", d.severity)).collect()
}

#[test]
fn a_typo_in_a_label_suggests_the_intended_one() {
    let policies = [
        selecting("open", "{matchLabels: {org: empire}}"),
        selecting("dup", "{matchExpressions: [{key: org, operator: In, values: [empire, rebels]}]}"),
        selecting("other", "{matchLabels: {org: empire, class: x}}"),
    ];
    let index = index(&policies, &[]);
    for (labels, expected) in [
        (
            "org: empre",
            "warning GW106 metadata.labels.org: \"empre\" matches no policy; did you mean \"empire\"? (2 policies \
             would select this pod)",
        ),
        (
            "Org: rebels",
            "warning GW106 metadata.labels.Org: no policy selects by \"Org\"; did you mean \"org\"? (1 policy would \
             select this pod)",
        ),
        (
            "empire: org",
            "warning GW106 metadata.labels.empire: \"empire: org\" matches no policy; did you mean \"org: empire\"? \
             (2 policies would select this pod)",
        ),
        (
            "Org: Empire",
            "warning GW106 metadata.labels.Org: no policy selects by \"Org\"; did you mean \"org: empire\"? (2 \
             policies would select this pod)",
        ),
    ] {
        assert_eq!(rendered(&index.on_workload(&pod("p", labels))), [expected]);
    }
    for fine in ["org: empire", "org: alliance", "app: web", "org: rebels"] {
        assert_eq!(rendered(&index.on_workload(&pod("p", fine))), [""; 0], "{fine}");
    }
    // The fix edits the label.
    let fix = index.on_workload(&deployment("d", "", "org: empre"))[0].fix.clone().expect("a fix");
    assert_eq!(fix.path.to_string(), "spec.template.metadata.labels.org");
}

#[test]
fn a_policy_without_pods_reports_the_reason() {
    let workloads = [
        pod("a", "org: Empire, class: x"),
        pod("b", "org: Empire"),
        deployment("d", "", "org: alliance, team: blue"),
    ];
    let index = index(&[], &workloads);
    let nothing = "warning GW110 spec.podSelector";
    for (selector, expected) in [
        (
            "{matchLabels: {org: empire}}",
            format!(
                "{nothing}.matchLabels.org: no pod has `org=empire`, so this policy currently counts nothing; \
                 did you mean `org=Empire`? 2 pods in `test` would match"
            ),
        ),
        (
            "{matchExpressions: [{key: orgs, operator: Exists}]}",
            format!(
                "{nothing}: no pod has `orgs`, so this policy currently counts nothing; no pod has a label `orgs`"
            ),
        ),
        (
            "{matchLabels: {team: red}}",
            format!(
                "{nothing}.matchLabels.team: no pod has `team=red`, so this policy currently counts nothing; existing \
                 values of `team`: `blue`"
            ),
        ),
        (
            "{matchLabels: {team: blue, class: x}}",
            format!(
                "{nothing}: no pod has `class=x,team=blue`, so this policy currently counts nothing; each of these labels \
                 exists, but no pod has all of them"
            ),
        ),
    ] {
        assert_eq!(rendered(&index.on_policy(&selecting("open", selector))), [expected]);
    }
    assert_eq!(
        rendered(&index.on_policy(&policy(
            "open",
            "TracingPolicy",
            "  containerSelector: {matchLabels: {name: man}}\n"
        ))),
        [
            "warning GW111 spec.containerSelector: no pod that this policy selects has a container `name=man`, so it \
          counts nothing; their containers are `main` (1)"
        ]
    );
    // An empty cluster gives no diagnostics.
    assert_eq!(rendered(&Index::new().on_policy(&selecting("open", "{matchLabels: {a: b}}"))), [""; 0]);
}

#[test]
fn a_policy_reports_the_pods_it_selects_and_misses() {
    let workloads = [pod("a", "org: empire"), pod("b", "org: empre"), deployment("d", "", "org: empire")];
    let index = index(&[], &workloads);
    assert_eq!(
        rendered(&index.on_policy(&selecting("open", "{matchLabels: {org: empire}}"))),
        [
            "note GW118 spec.podSelector: this policy selects 1 pod and 1 workload in `test`",
            "warning GW112 spec.podSelector.matchLabels.org: 1 pod in `test` has `org=empre`, a likely typo of \
             `org=empire`, which this policy selects; if it is a typo, relabel it; if not, list both values here",
        ]
    );
    // A policy for the host misses no pods.
    assert_eq!(rendered(&index.on_policy(&policy("open", "TracingPolicy", "  hostSelector: {}\n"))), [""; 0]);
}

#[test]
fn matches_in_another_namespace_are_reported() {
    let index = index(
        &[],
        &[object("{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: prod, labels: {a: b}}}")],
    );
    let indexed = policy("open", "TracingPolicyNamespaced", "  podSelector: {matchLabels: {a: b}}\n");
    assert_eq!(
        rendered(&index.on_policy(&indexed)),
        [
            "warning GW110 spec.podSelector: no pod in namespace `test` has `a=b`, so this policy currently counts \
             nothing; 1 pod in `prod` would match, but this policy applies only to `test`"
        ]
    );
}

#[test]
fn missing_required_coverage_is_an_error() {
    let mut index = index(&[selecting("open", "{matchLabels: {org: empire}}")], &[]);
    let lone = pod("p", "app: web");
    assert_eq!(rendered(&index.on_workload(&lone)), [""; 0]);
    require(&mut index);
    assert_eq!(
        rendered(&index.on_workload(&lone)),
        ["error GW113 metadata.labels: no policy selects this pod, but namespace `test` requires it \
          (gatewatch.dev/require-coverage); existing policies select `org=empire` (`open`)"]
    );
    assert_eq!(rendered(&index.on_workload(&pod("p", "org: empire"))), [""; 0]);
}

#[test]
fn changes_report_deselected_pods() {
    let (one, two) =
        (selecting("open", "{matchLabels: {org: empire}}"), selecting("dup", "{matchLabels: {class: x}}"));
    let workloads = [pod("a", "org: empire, class: x"), pod("b", "org: empire")];
    let mut index = index(&[one.clone(), two], &workloads);
    let relabelled = pod("a", "org: empre, class: x");
    let was = &workloads[0].shape;
    assert_eq!(
        rendered(&index.on_relabel(was, &relabelled)),
        ["warning GW114 metadata.labels: 1 policy no longer selects this pod: `open`"]
    );
    assert_eq!(
        rendered(&index.on_policy_change(&one, None)),
        [
            "warning GW115 metadata.name: 2 pods in `test` are selected by this policy, which is being deleted; not \
             selected by any other policy: 1 pod"
        ]
    );
    let narrower = selecting("open", "{matchLabels: {org: empire, class: x}}");
    assert_eq!(
        rendered(&index.on_policy_change(&one, Some(&narrower))),
        [
            "warning GW115 spec.podSelector: 1 pod in `test` is no longer selected by this policy; no other policy \
             selects them"
        ]
    );
    let wider = selecting("open", "{}");
    assert_eq!(rendered(&index.on_policy_change(&one, Some(&wider))), [""; 0]);
    require(&mut index);
    assert!(index.on_policy_change(&one, None)[0].is_error());
    assert!(!index.on_relabel(was, &relabelled)[0].is_error());
    assert!(index.on_relabel(was, &pod("a", "org: empre"))[0].is_error());
}

#[test]
fn misplaced_labels_and_related_workloads() {
    let policies = [selecting("open", "{matchLabels: {org: empire}}")];
    let index = index(&policies, &[deployment("web", "", "app: web, org: empire")]);
    let misplaced = deployment("api", "org: empire", "app: api");
    assert_eq!(
        rendered(&index.on_workload(&misplaced)),
        ["warning GW116 metadata.labels.org: `org=empire` is set only on this object, not on the pods that \
             policies match: `open` would select them; add it under `spec.template.metadata.labels` too"]
    );
    let related = "warning GW117 spec.template.metadata.labels: the pods of Deployment `web` have `org=empire` and \
                   are selected by `open`; these pods have no `org` and are not; if a policy should select both, add \
                   `org=empire`";
    assert_eq!(rendered(&index.on_workload(&deployment("web-canary", "", "app: web"))), [related]);
    // A different value is intended, and so is another application.
    assert_eq!(rendered(&index.on_workload(&deployment("web-v2", "", "app: web, org: alliance"))), [""; 0]);
    assert_eq!(rendered(&index.on_workload(&deployment("db", "", "app: db"))), [""; 0]);
}

#[test]
fn duplicate_hooks_and_names() {
    let twin = IndexedPolicy {
        id: crate::PolicyId { namespace: None, name: "twin".into() },
        ..selecting("open", "{}")
    };
    let namesake = policy("open", "TracingPolicyNamespaced", "  podSelector: {matchLabels: {z: z}}\n");
    let index = index(&[twin, namesake], &[]);
    assert_eq!(
        rendered(&index.on_policy(&selecting("open", "{matchLabels: {a: b}}"))),
        [
            "warning GW216 spec.kprobes[0]: same hook and filters as `twin` for some of the same pods: every policy \
             counts each of these events; keep the hook in one of them, or sum only one policy's counter",
            "warning GW217 metadata.name: same name as `test/open`: the counter's label `policy` has no namespace, so \
             their counts cannot be distinguished; rename one of them",
        ]
    );
    assert_eq!(rendered(&index.on_policy(&selecting("dup", "{}"))), [""; 0]);
}

#[test]
fn hooks_of_every_section_are_compared() {
    let policy = |name: &str| {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
             uprobes: [{{path: /usr/bin/bash, symbols: [readline], message: ok}}]\n"
        );
        IndexedPolicy::new(&Checked::of(&parse(&text)[0]).expect("a policy").policy, "default")
    };
    let found = rendered(&index(&[policy("one")], &[]).on_policy(&policy("two")));
    assert!(found.iter().any(|found| found.starts_with("warning GW216 spec.uprobes[0]")), "{found:?}");
}

#[test]
fn a_namespace_that_starts_to_require_coverage_lists_uncovered_pods() {
    let policies = [selecting("open", "{matchLabels: {org: empire}}")];
    let workloads = [
        pod("a", "org: empire"),
        pod("b", "app: web"),
        pod("c", "app: web"),
        pod("d", ""),
        deployment("e", "", "app: db"),
        deployment("f", "", "org: empire"),
    ];
    let index = index(&policies, &workloads);
    assert_eq!(
        rendered(&index.on_coverage_required("test")),
        [
            "warning GW113 metadata.annotations[gatewatch.dev/require-coverage]: 3 pods and 1 workload in `test` are \
             not selected by any policy; existing objects stay, but new ones like them are rejected; apply a policy \
             that selects `app=web` (2), objects without labels (1), `app=db` (1)"
        ]
    );
    assert_eq!(rendered(&index.on_coverage_required("elsewhere")), [""; 0]);
}

#[test]
fn an_excluded_value_that_no_pod_has() {
    let excluding = |values: &str| {
        let selector = format!("{{matchExpressions: [{{key: team, operator: NotIn, values: [{values}]}}]}}");
        let indexed = selecting("p", &selector);
        let pods = [pod("a", "team: monitoring"), pod("b", "team: shop"), pod("c", "app: x")];
        let found = index(std::slice::from_ref(&indexed), &pods).on_policy(&indexed);
        let warned = found.iter().filter(|d| d.code.id == "GW119");
        warned.map(|d| (d.path.to_string(), d.help.clone().unwrap_or_default())).collect::<Vec<_>>()
    };
    let path = "spec.podSelector.matchExpressions[0].values[0]".to_owned();
    assert_eq!(excluding("monitorng"), [(path, "did you mean `monitoring`?".to_owned())]);
    for good in ["monitoring", "billing", "monitoring, monitorng"] {
        assert_eq!(excluding(good), [], "{good}");
    }
}
