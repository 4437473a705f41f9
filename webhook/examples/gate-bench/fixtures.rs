//! The cluster that the gate knows, and the objects that it is asked about.

use std::sync::Arc;

use gatewatch_coverage::{Labels, Shape, Workload};
use gatewatch_webhook::{
    caches::{Cache, watch::Change},
    cluster::Cluster,
    stored_policy::StoredPolicy,
};
use serde_json::{Value, json};

fn labels(i: usize) -> Labels {
    [("app", format!("app-{}", i % 500)), ("team", format!("team-{}", i % 40)), ("pod", format!("p{i}"))]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// A policy that selects the pods of one application and team.
pub(super) fn policy(i: usize) -> Value {
    json!({
        "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": format!("policy-{i}")},
        "spec": {
            "podSelector": {"matchLabels": {"app": format!("app-{}", i % 500), "team": format!("team-{}", i % 40)}},
            "kprobes": [{"call": "security_file_permission", "syscall": false, "message": "reads",
                "args": [{"index": 0, "type": "file"}, {"index": 1, "type": "int"}],
                "selectors": [{"matchArgs": [
                    {"index": 0, "operator": "Prefix", "values": [format!("/etc/{i}"), "/usr/lib"]},
                    {"index": 1, "operator": "Equal", "values": ["4"]}]}]}],
        },
    })
}

/// A pod as large as pods are, with one label that is nearly a policy's.
pub(super) fn pod() -> Value {
    let container = |i: usize| {
        json!({"name": format!("c{i}"), "image": "registry.example/team/app:1.2.3", "env": (0..30).map(|n| json!({
            "name": format!("SETTING_{n}"), "value": "x".repeat(40)})).collect::<Vec<_>>(),
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}]})
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns-1", "labels": {"app": "app-17", "team": "team-l7"}},
        "spec": {"containers": [container(0), container(1)], "volumes": [{"name": "v", "emptyDir": {}}]},
    })
}

/// An admission review of an object.
pub(super) fn review(kind: &str, group: &str, operation: &str, object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {"uid": "u", "kind": {"group": group, "version": "v", "kind": kind}, "operation": operation,
            "name": "p", "namespace": "ns-1", "userInfo": {"username": "me"}, "object": object},
    })
}

/// A cluster whose caches are all filled.
pub(super) fn cluster(pods: usize, policies: usize) -> Arc<Cluster> {
    let cluster = Arc::new(Cluster::default());
    let pods = (0..pods).map(|i| {
        Workload::pod(
            format!("pod-{i}"),
            Shape { namespace: format!("ns-{}", i % 50), labels: labels(i), containers: Some(Vec::new()) },
        )
    });
    cluster.workloads_changed(Change::Reset(pods.collect()), Cache::Pod);
    let policies = (0..policies).filter_map(|i| StoredPolicy::read(&policy(i)));
    cluster.policies_changed(Change::Reset(policies.collect()), false);
    cluster.assume_synced();
    cluster
}
