//! Requests that arrive before the caches have what earlier ones changed, and policies that no node runs.

use super::*;

/// Two loaded policies that both select the pod, in a namespace that requires coverage.
fn covered_twice() -> Arc<Cluster> {
    let cluster = cluster();
    let stored = StoredPolicy::read(&policy("second", &json!({"org": "empire"}))).unwrap();
    cluster.policies_changed(Change::Apply(stored), false);
    loaded(&cluster, &[("empire", 3), ("second", 3)]);
    require_coverage(&cluster);
    cluster
}

fn delete(cluster: &Arc<Cluster>, name: &str, dry_run: bool) -> Answer {
    let old = policy(name, &json!({"org": "empire"}));
    ask_with(cluster, Endpoint::Policies, ("DELETE", dry_run), "TracingPolicy", &old, &Value::Null)
}

#[test]
fn two_deletions_at_once_are_not_both_admitted() {
    let cluster = covered_twice();
    assert!(delete(&cluster, "empire", true).allowed && delete(&cluster, "second", true).allowed);
    assert!(delete(&cluster, "empire", false).allowed);
    let refused = delete(&cluster, "second", false);
    assert!(!refused.allowed, "no watch has received the first deletion");
    assert!(refused.status.unwrap().message.unwrap().contains("GW115"));
}

#[test]
fn concurrent_deletions_are_not_both_admitted() {
    for _ in 0..20 {
        let cluster = covered_twice();
        let allowed: usize = std::thread::scope(|scope| {
            let deletions = ["empire", "second"].map(|name| {
                let cluster = &cluster;
                scope.spawn(move || usize::from(delete(cluster, name, false).allowed))
            });
            deletions.into_iter().map(|deletion| deletion.join().unwrap()).sum()
        });
        assert_eq!(allowed, 1);
    }
}

#[test]
fn a_pod_that_was_just_admitted_keeps_its_policy() {
    let cluster = cluster();
    require_coverage(&cluster);
    let name = || Name { namespace: "test".to_owned(), name: "tie".to_owned() };
    cluster.workloads_changed(Change::Delete(name()), Cache::Pod);
    let create = labelled(&json!({"org": "empire"}));
    assert!(ask(&cluster, Endpoint::Workloads, "CREATE", "Pod", &Value::Null, &create).allowed);
    assert!(!delete(&cluster, "empire", false).allowed, "no watch has received the pod");
    cluster.workloads_changed(Change::Apply(pod("tie", &[("org", "empire")])), Cache::Pod);
    cluster.workloads_changed(Change::Delete(name()), Cache::Pod);
    assert!(delete(&cluster, "empire", false).allowed);
}

#[test]
fn a_pod_needs_a_policy_that_a_live_agent_runs() {
    let cluster = cluster();
    require_coverage(&cluster);
    let create = || {
        let pod = labelled(&json!({"org": "empire"}));
        ask_with(&cluster, Endpoint::Workloads, ("CREATE", true), "Pod", &Value::Null, &pod).allowed
    };
    assert!(create());
    // The agent was deleted.
    let dead = AgentPod { ready: false, ..agent_pod("node") };
    cluster.agent_pods_changed(Change::Apply(("agent".to_owned(), dead)));
    assert!(!create());
    assert_eq!(cluster.nodes_without_agent(), 1);
    cluster.agent_pods_changed(Change::Apply(("agent".to_owned(), agent_pod("node"))));
    assert!(create());
    // The node has booted since.
    let booted = Node { boot_id: "other".into(), ..Node::default() };
    cluster.nodes_changed(Change::Apply(("node".to_owned(), booted)));
    assert!(!create());
    loaded(&cluster, &[("empire", 3)]);
    assert!(create());
    // A new generation is not loaded.
    let mut newer = policy("empire", &json!({"org": "empire"}));
    newer["metadata"]["generation"] = json!(4);
    cluster.policies_changed(Change::Apply(StoredPolicy::read(&newer).unwrap()), false);
    assert!(!create());
    loaded(&cluster, &[("empire", 4)]);
    assert!(create());
    // The policy is being deleted.
    newer["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.policies_changed(Change::Apply(StoredPolicy::read(&newer).unwrap()), false);
    assert!(!create());
    // Tetragon reports nothing.
    cluster.set_modes(Modes::parse("target: tetragon").unwrap());
    assert!(create());
}

#[test]
fn a_node_selector_without_nodes_is_a_warning() {
    let cluster = cluster();
    cluster.rebuild_kernels(&BTreeMap::new());
    let mut nowhere = policy("nowhere", &json!({"org": "empire"}));
    nowhere["spec"]["nodeSelector"] = json!({"matchLabels": {"zone": "moon"}});
    let warnings = |object: &Value| {
        let answer = ask(&cluster, Endpoint::Policies, "CREATE", "TracingPolicy", &Value::Null, object);
        assert!(answer.allowed, "{answer:?}");
        answer.warnings.join("\n")
    };
    assert!(warnings(&nowhere).contains("spec.nodeSelector selects no node"), "{}", warnings(&nowhere));
    nowhere["spec"]["nodeSelector"] =
        json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]});
    assert!(!warnings(&nowhere).contains("selects no node"));
}
