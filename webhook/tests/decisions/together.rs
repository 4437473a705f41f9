//! Policies that are judged beside those that are stored.

use super::*;

/// A policy whose hook fills a matcher: eight integers that no other policy filters on.
fn filling(name: &str, first: usize) -> Value {
    let pids: Vec<Value> = (0..8)
        .map(|i| json!({"operator": "In", "followForks": true, "values": [first * 8 + i + 2]}))
        .collect();
    json!({"apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": name, "generation": 1},
        "spec": {"kprobes": [{"call": "sys_setuid", "syscall": true, "message": "setuid",
            "selectors": [{"matchPIDs": pids}]}]}})
}

#[test]
fn policies_that_fit_alone_but_not_together_are_refused() {
    let cluster = Arc::new(Cluster::default());
    cluster.assume_synced();
    let ask_for = |cluster: &Arc<Cluster>, new: &Value| {
        ask(cluster, Endpoint::Policies, "CREATE", "TracingPolicy", &Value::Null, new)
    };
    for number in 0..6 {
        let new = filling(&format!("p{number}"), number);
        let answer = ask_for(&cluster, &new);
        assert!(answer.allowed, "{answer:?}");
        cluster.policies_changed(Change::Apply(StoredPolicy::read(&new).unwrap()), false);
    }
    let one_more = filling("one-more", 6);
    let answer = ask_for(&cluster, &one_more);
    let message = format!("{answer:?}");
    assert!(!answer.allowed && message.contains("GW401"), "{message}");
    assert!(message.contains("policy `p0` takes the most") && message.contains("matchers"), "{message}");
    // An update of a policy is judged beside the others alone.
    let update = filling("p0", 6);
    assert!(ask_for(&cluster, &update).allowed);
    let gone = Name { namespace: String::new(), name: "p3".to_owned() };
    cluster.policies_changed(Change::Delete(gone), false);
    assert!(ask_for(&cluster, &one_more).allowed);
}
