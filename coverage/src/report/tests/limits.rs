//! The work that a query may cost, and the names that its answer may contain.

use std::fmt::Write as _;

use super::*;
use crate::{Hint, Hints, Limits};

/// Comparisons of a query in these tests.
const WORK: u64 = 100_000;

/// Labels that are all similar to each other, and none a typo of one with other digits.
fn similar(count: usize, suffix: &str) -> Vec<String> {
    let letter = |n: usize| char::from(b'a' + u8::try_from(n % 16).expect("a digit"));
    (0..count).map(|i| format!("{}{}{}{suffix}", letter(i), letter(i / 16), letter(i / 256))).collect()
}

#[test]
fn the_work_of_a_query_is_bounded() {
    let policies: Vec<IndexedPolicy> = similar(2000, "empire")
        .iter()
        .enumerate()
        .map(|(i, key)| selecting(&format!("p{i}"), &format!("{{matchLabels: {{{key}: x}}}}")))
        .collect();
    let labels = similar(2000, "emqire").iter().fold(String::new(), |mut text, key| {
        let _ = write!(text, "{key}: x, ");
        text
    });
    let mut index = index(&policies, &[]);
    require(&mut index);
    let limits = Limits::new(WORK, Hints::AllNamespaces);
    let found = index.on_workload_within(&pod("p", &labels), &limits);
    assert_eq!(limits.skipped(), [Hint::LabelTypos]);
    // What decides is checked in any case.
    assert!(found.iter().any(|diagnostic| diagnostic.code.id == "GW113"), "{found:?}");
    let usual = Limits::new(WORK, Hints::AllNamespaces);
    index.on_workload_within(&pod("p", "org: empire, app: web, team: blue"), &usual);
    assert_eq!(usual.skipped(), []);
}

#[test]
fn hints_name_nothing_of_other_namespaces() {
    let elsewhere = |labels: &str| {
        object(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: payments, labels: {{{labels}}}}}}}"
        ))
    };
    let of_payments = IndexedPolicy::new(
        &Checked::of(
            &parse(
                "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicyNamespaced\nmetadata: {name: open, namespace: \
                 payments}\nspec:\n  podSelector: {matchLabels: {org: ledger}}\n  kprobes: [{call: sys_open, message: ok}]\n",
            )[0],
        )
        .expect("a policy")
        .policy,
        "default",
    );
    let by_namespace = selecting(
        "wide",
        "{matchLabels: {org: x}, matchExpressions: [{key: 'k8s:io.kubernetes.pod.namespace', operator: In, values: \
         [payments]}]}",
    );
    let mut index = index(
        &[of_payments, by_namespace],
        &[elsewhere("org: ledger, vault: teller"), pod("mine", "app: web")],
    );
    require(&mut index);
    let own = |spec: &str| {
        let policy = policy("open", "TracingPolicyNamespaced", &format!("  podSelector: {spec}\n"));
        let limits = Limits::new(WORK, Hints::OwnNamespace);
        rendered(&index.on_policy_within(&policy, &limits)).join("\n")
    };
    let mut answers: Vec<String> = [
        "{matchLabels: {org: ledger}}",
        "{matchLabels: {org: ledgr}}",
        "{matchLabels: {org: other}}",
        "{matchLabels: {vault: x}}",
        "{matchExpressions: [{key: org, operator: NotIn, values: [ledgr]}]}",
    ]
    .map(own)
    .to_vec();
    let limits = Limits::new(WORK, Hints::OwnNamespace);
    answers.extend(rendered(&index.on_workload_within(&pod("p", "org: ledgr"), &limits)));
    for answer in answers {
        for secret in ["payments", "ledger", "teller"] {
            // The values that the author wrote are no secret.
            let answer = answer.replace("org=ledger`", "");
            assert!(!answer.contains(secret), "{secret} in: {answer}");
        }
    }
    // The hint is there, without the name.
    assert!(own("{}").contains("same name as 1 policy of another namespace"), "{}", own("{}"));
}
