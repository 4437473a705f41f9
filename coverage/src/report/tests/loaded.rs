//! Policies cover pods only where a node runs them, and admitted changes count before the index has them.

use super::*;

#[test]
fn only_loaded_policies_cover() {
    let open = selecting("open", "{matchLabels: {org: empire}}");
    let mut index = index(std::slice::from_ref(&open), &[pod("a", "org: empire")]);
    require(&mut index);
    assert!(!index.lacks_required_coverage(&pod("p", "org: empire")));
    index.know_loaded(true);
    assert_eq!(
        rendered(&index.on_workload(&pod("p", "org: empire"))),
        [
            "error GW113 metadata.labels: no node has loaded a policy that selects this pod, but namespace `test` requires \
          it (gatewatch.dev/require-coverage); `open` must be loaded on a node first; `kubectl get policycoverages` \
          lists its state"
        ]
    );
    assert_eq!(index.uncovered().total().pods, 1);
    index.set_loaded(&open.id, true);
    assert_eq!(rendered(&index.on_workload(&pod("p", "org: empire"))), [""; 0]);
    assert_eq!(index.uncovered().total().pods, 0);
    // A new version of a policy is not loaded yet.
    index.apply_policy(open);
    assert!(index.lacks_required_coverage(&pod("p", "org: empire")));
}

#[test]
fn an_unloaded_policy_replaces_no_loaded_one() {
    let (one, two) = (selecting("open", "{matchLabels: {org: empire}}"), selecting("dup", "{}"));
    let mut index = index(&[one.clone(), two.clone()], &[pod("a", "org: empire")]);
    require(&mut index);
    index.know_loaded(true);
    index.set_loaded(&one.id, true);
    assert!(index.on_policy_change(&one, None)[0].is_error());
    index.set_loaded(&two.id, true);
    assert!(!index.on_policy_change(&one, None)[0].is_error());
}

#[test]
fn two_deletions_at_once_leave_no_pod_uncovered() {
    let (one, two) = (selecting("open", "{matchLabels: {org: empire}}"), selecting("dup", "{}"));
    let mut index = index(&[one.clone(), two.clone()], &[pod("a", "org: empire")]);
    require(&mut index);
    assert!(!index.on_policy_change(&one, None)[0].is_error());
    index.admit_policy(&one.id, None);
    assert!(index.on_policy_change(&two, None)[0].is_error());
    assert_eq!(index.admitted_count(), 1);
    // The deletion has failed.
    index.forget_admitted_policy(&one.id);
    assert!(!index.on_policy_change(&two, None)[0].is_error());
    // It has not: then the index says so itself.
    index.admit_policy(&one.id, None);
    index.delete_policy(&one.id);
    assert_eq!(index.admitted_count(), 0);
    assert!(index.on_policy_change(&two, None)[0].is_error());
}

#[test]
fn an_admitted_change_of_a_selector_counts_before_and_after() {
    let (one, two) = (selecting("open", "{matchLabels: {org: empire}}"), selecting("dup", "{}"));
    let other = selecting("open", "{matchLabels: {org: rebels}}");
    let mut index = index(&[one, two.clone()], &[pod("a", "org: empire"), pod("b", "org: rebels")]);
    require(&mut index);
    index.admit_policy(&other.id, Some(&other));
    let found = &rendered(&index.on_policy_change(&two, None))[0];
    // Neither version alone covers both.
    assert!(found.contains("no other policy selects them"), "{found}");
    index.apply_policy(other);
    let found = &rendered(&index.on_policy_change(&two, None))[0];
    assert!(found.contains("not selected by any other policy: 1 pod"), "{found}");
    assert_eq!(index.admitted_count(), 0);
}

#[test]
fn an_admitted_pod_counts_before_it_is_known() {
    let one = selecting("open", "{matchLabels: {org: empire}}");
    let mut index = index(std::slice::from_ref(&one), &[pod("other", "a: b")]);
    require(&mut index);
    let new = pod("a", "org: empire");
    index.admit_workload(&new);
    assert!(index.on_policy_change(&one, None)[0].is_error());
    // An older version of the pod arrives first.
    index.apply_workload(&pod("a", "org: rebels"));
    assert!(index.on_policy_change(&one, None)[0].is_error());
    index.apply_workload(&new);
    assert_eq!(index.admitted_count(), 0);
    assert!(index.on_policy_change(&one, None)[0].is_error());
    index.delete_workload("Pod", "test", "a");
    assert_eq!(rendered(&index.on_policy_change(&one, None)), [""; 0]);
}
