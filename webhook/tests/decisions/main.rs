//! Decisions of the gate about requests, with a cluster in memory. The suite `gate` tests what needs kubectl and a real
//! API server.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod races;
mod together;

use std::{collections::BTreeMap, sync::Arc};

use gatewatch_coverage::{Labels, Shape, Workload, templates::Templates};
use gatewatch_crds::{
    NodeTracingStatus,
    node_tracing::{PolicyOnNode, PolicyState},
};
use gatewatch_webhook::{
    agents::{Agent, AgentPod},
    caches::{
        Cache,
        watch::{Change, Name},
    },
    cluster::Cluster,
    gate::{Endpoint, Gate},
    kernels::{Node, ReportedKernel},
    modes::Modes,
    review::{Answer, parse},
    status::{Nodes, status},
    stored_policy::StoredPolicy,
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::{Value, json};

fn policy(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": name, "generation": 3},
        "spec": {"podSelector": {"matchLabels": labels}, "kprobes": [
            {"call": "sys_setuid", "syscall": true, "message": "setuid", "args": [{"index": 0, "type": "int"}]}]}})
}

fn pod(name: &str, labels: &[(&str, &str)]) -> Workload {
    let labels: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Workload::pod(name, Shape { namespace: "test".into(), labels, containers: None })
}

/// One policy for `org: empire`, and one pod that it selects.
fn cluster() -> Arc<Cluster> {
    let cluster = Arc::new(Cluster::default());
    let stored = StoredPolicy::read(&policy("empire", &json!({"org": "empire"}))).unwrap();
    cluster.policies_changed(Change::Reset(vec![stored]), false);
    cluster.workloads_changed(Change::Apply(pod("tie", &[("org", "empire")])), Cache::Pod);
    cluster.assume_synced();
    loaded(&cluster, &[("empire", 3)]);
    cluster
}

/// A node with a live agent that has loaded these policies in these generations.
fn loaded(cluster: &Cluster, policies: &[(&str, i64)]) {
    let node = Node { boot_id: "boot".into(), ..Node::default() };
    cluster.nodes_changed(Change::Apply(("node".to_owned(), node)));
    cluster.agent_pods_changed(Change::Apply(("agent".to_owned(), agent_pod("node"))));
    let policies = policies.iter().map(|(name, generation)| on_node(name, *generation, PolicyState::Loaded));
    cluster.agents_changed(Change::Apply(("node".to_owned(), agent("node", policies.collect()))));
}

fn agent_pod(node: &str) -> AgentPod {
    AgentPod { node: node.to_owned(), uid: format!("{node}-agent"), ready: true, addresses: Vec::new() }
}

fn on_node(name: &str, generation: i64, state: PolicyState) -> PolicyOnNode {
    PolicyOnNode {
        name: name.to_owned(),
        namespace: String::new(),
        observed_generation: Some(generation),
        reason: None,
        state,
    }
}

fn agent(node: &str, policies: Vec<PolicyOnNode>) -> Agent {
    let status = NodeTracingStatus::new("s".into(), policies)
        .reported_by(Some(format!("{node}-agent")), Some("boot".to_owned()));
    Agent { kernel: ReportedKernel { release: "6.12".into(), hash: "h".into(), endpoint: None }, status }
}

fn ask(
    cluster: &Arc<Cluster>,
    endpoint: Endpoint,
    operation: &str,
    kind: &str,
    old: &Value,
    new: &Value,
) -> Answer {
    ask_with(cluster, endpoint, (operation, false), kind, old, new)
}

fn ask_with(
    cluster: &Arc<Cluster>,
    endpoint: Endpoint,
    (operation, dry_run): (&str, bool),
    kind: &str,
    old: &Value,
    new: &Value,
) -> Answer {
    let group = if endpoint == Endpoint::Policies { "cilium.io" } else { "" };
    let body = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {"uid": "u", "kind": {"group": group, "version": "v", "kind": kind}, "operation": operation,
            "name": "x", "namespace": if endpoint == Endpoint::Policies { "" } else { "test" },
            "userInfo": {"username": "me"}, "object": new, "oldObject": old, "dryRun": dry_run},
    });
    let request = parse(&serde_json::to_vec(&body).unwrap()).unwrap();
    Gate::new(Arc::clone(cluster), "https://docs").decide(endpoint, &request).answer
}

fn require_coverage(cluster: &Cluster) {
    let annotations = BTreeMap::from([("gatewatch.dev/require-coverage".to_owned(), "true".to_owned())]);
    cluster.namespaces_changed(Change::Apply(("test".to_owned(), annotations)));
}

fn labelled(labels: &Value) -> Value {
    json!({"metadata": {"name": "tie", "labels": labels}, "spec": {"containers": [{"name": "c"}]}})
}

#[test]
fn pods_are_told_of_slips_and_of_policies_that_lose_them() {
    let cluster = cluster();
    let create =
        |labels: Value| ask(&cluster, Endpoint::Workloads, "CREATE", "Pod", &Value::Null, &labelled(&labels));
    assert_eq!(create(json!({"org": "empire"})).warnings, [""; 0]);
    assert_eq!(
        create(json!({"org": "empre"})).warnings,
        [
            "GW106 metadata.labels.org: \"empre\" matches no policy; did you mean \"empire\"? (1 policy would select this pod)"
        ]
    );
    let relabel = |old: Value, new: Value| {
        ask(&cluster, Endpoint::Workloads, "UPDATE", "Pod", &labelled(&old), &labelled(&new))
    };
    let left = relabel(json!({"org": "empire"}), json!({"org": "alliance"}));
    assert!(left.allowed && left.warnings[0].contains("`empire`"), "{left:?}");
    assert_eq!(relabel(json!({"org": "empre"}), json!({"org": "empre"})), Answer::allow("u"));
}

#[test]
fn required_coverage_denies() {
    let cluster = cluster();
    require_coverage(&cluster);
    let bare = ask(&cluster, Endpoint::Workloads, "CREATE", "Pod", &Value::Null, &labelled(&json!({})));
    assert!(!bare.allowed, "{bare:?}");
    let old = policy("empire", &json!({"org": "empire"}));
    let delete = || ask(&cluster, Endpoint::Policies, "DELETE", "TracingPolicy", &old, &Value::Null);
    assert!(!delete().allowed);
    let other = policy("empire", &json!({"org": "alliance"}));
    assert!(!ask(&cluster, Endpoint::Policies, "UPDATE", "TracingPolicy", &old, &other).allowed);
    cluster.workloads_changed(
        Change::Delete(Name { namespace: "test".to_owned(), name: "tie".to_owned() }),
        Cache::Pod,
    );
    assert!(delete().allowed);
}

#[test]
fn a_namespace_is_told_what_it_requires() {
    let cluster = cluster();
    cluster.workloads_changed(Change::Apply(pod("other", &[("org", "alliance")])), Cache::Pod);
    let namespace = |value: &str| json!({"metadata": {"name": "test", "annotations": {"gatewatch.dev/require-coverage": value}}});
    let plain = json!({"metadata": {"name": "test"}});
    let change = |old: &Value, new: &Value| {
        let body = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {"uid": "u", "kind": {"group": "", "version": "v1", "kind": "Namespace"}, "name": "test",
                "operation": "UPDATE", "namespace": "test", "userInfo": {"username": "me"}, "object": new,
                "oldObject": old},
        });
        let request = parse(&serde_json::to_vec(&body).unwrap()).unwrap();
        let answer =
            Gate::new(Arc::clone(&cluster), "https://docs").decide(Endpoint::Workloads, &request).answer;
        assert!(answer.allowed, "{answer:?}");
        // A warning has room for the beginning, the audit log for all.
        let full = answer.audit_annotations.get("diagnostics").cloned().unwrap_or_default();
        (answer.warnings.join(" "), full)
    };
    let (required, full) = change(&plain, &namespace("true"));
    assert!(
        required.contains("GW113")
            && required.contains("1 pod in `test` is not selected by any loaded policy"),
        "{required}"
    );
    assert!(full.contains("`org=alliance` (1)"), "{full}");
    // Other changes say nothing.
    let warned = |old: &Value, new: &Value| change(old, new).0;
    assert_eq!(warned(&namespace("true"), &namespace("true")), "");
    assert_eq!(warned(&plain, &plain), "");
    assert!(warned(&namespace("true"), &plain).contains("may run without a policy"));
    assert!(warned(&plain, &namespace("True")).contains("\"True\" has no effect"));
    let mut ending = namespace("true");
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(warned(&plain, &ending), "");
}

#[test]
fn nothing_is_trapped() {
    let cluster = cluster();
    require_coverage(&cluster);
    let mut bad = policy("bad", &json!({}));
    bad["spec"]["podSelector"] = json!({});
    bad["spec"]["kprobes"][0]["call"] = json!("sys_no_such_call");
    let create = ask(&cluster, Endpoint::Policies, "CREATE", "TracingPolicy", &Value::Null, &bad);
    assert!(!create.allowed);
    // One that is there already can be annotated, and its finalizers taken off.
    let mut annotated = bad.clone();
    annotated["metadata"]["annotations"] = json!({"a": "b"});
    let update = ask(&cluster, Endpoint::Policies, "UPDATE", "TracingPolicy", &bad, &annotated);
    assert!(update.allowed && update.warnings[0].starts_with("GW201"), "{update:?}");
    let mut ending = annotated.clone();
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    ending["spec"]["podSelector"] = json!({"matchLabels": {"org": "other"}});
    assert_eq!(
        ask(&cluster, Endpoint::Policies, "UPDATE", "TracingPolicy", &bad, &ending),
        Answer::allow("u")
    );
    let mut pod = labelled(&json!({}));
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let old = labelled(&json!({"org": "empire"}));
    assert_eq!(ask(&cluster, Endpoint::Workloads, "UPDATE", "Pod", &old, &pod), Answer::allow("u"));
}

#[test]
fn fields_that_the_api_server_dropped_are_told() {
    let cluster = cluster();
    let mut object = policy("p", &json!({"org": "empire"}));
    let mut written = object.clone();
    written["spec"]["podSelectr"] = json!({});
    object["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": written.to_string()});
    let answer = ask(&cluster, Endpoint::Policies, "CREATE", "TracingPolicy", &Value::Null, &object);
    assert!(answer.warnings.iter().any(|w| w.starts_with("GW017 spec.podSelectr")), "{answer:?}");
}

#[test]
fn an_exempt_user_hears_nothing_and_the_audit_log_why() {
    let cluster = cluster();
    cluster.set_modes(Modes::parse("exempt: {users: [me]}").unwrap());
    let answer = ask(
        &cluster,
        Endpoint::Workloads,
        "CREATE",
        "Pod",
        &Value::Null,
        &labelled(&json!({"org": "empre"})),
    );
    assert!(answer.allowed && answer.warnings.is_empty());
    assert_eq!(answer.audit_annotations["exempt"], "user me");
}

#[test]
fn a_status_says_where_a_policy_runs_and_whom_it_watches() {
    let cluster = cluster();
    let stored = StoredPolicy::read(&policy("empire", &json!({"org": "empire"}))).unwrap();
    let agent = |node: &str, state, reason: Option<&str>| {
        agent(node, vec![PolicyOnNode { reason: reason.map(str::to_owned), ..on_node("empire", 3, state) }])
    };
    let node = Node { boot_id: "boot".into(), ..Node::default() };
    let nodes = BTreeMap::from(["a", "b", "c"].map(|name| (name.to_owned(), node.clone())));
    let live = ["a", "b", "c"].map(agent_pod);
    let mut agents = BTreeMap::from([
        ("a".to_owned(), agent("a", PolicyState::Loaded, None)),
        ("b".to_owned(), agent("b", PolicyState::Failed, Some("no such function"))),
    ]);
    let now = Time(Timestamp::UNIX_EPOCH);
    let on_kernels = cluster.kernels().assess(&stored.checked, cluster.modes().selection());
    let of = |agents: &BTreeMap<String, Agent>, by_gatewatch: bool| {
        let pods = live.iter().map(|pod| (pod.node.as_str(), vec![(pod.uid.as_str(), pod)])).collect();
        let nodes = Nodes { nodes: &nodes, agents, pods: &pods, by_gatewatch };
        cluster.with_index(|index| status(&stored, &on_kernels, index, nodes, now.clone()))
    };
    let partly = of(&agents, true);
    assert_eq!((partly.pods, partly.observed_generation), (1, Some(3)));
    assert_eq!((partly.nodes.loaded, partly.nodes.failed, partly.nodes.pending), (1, 1, 1));
    assert_eq!(partly.failed_nodes[0].reason, "no such function");
    assert_eq!(partly.conditions[0].reason, "NodesFailed");
    agents.insert("b".to_owned(), agent("b", PolicyState::Loaded, None));
    agents.insert("c".to_owned(), agent("c", PolicyState::Skipped, Some("another node")));
    let covered = of(&agents, true);
    assert_eq!(covered.conditions[0].status, "True", "{covered:?}");
    assert_eq!(covered.warnings, 0);
    // In front of Tetragon no agent reports what is loaded.
    let elsewhere = of(&BTreeMap::new(), false);
    assert_eq!((elsewhere.nodes.pending, elsewhere.conditions[0].reason.as_str()), (0, "NotReported"));
}

#[test]
fn a_label_that_the_api_server_dropped_is_refused() {
    let cluster = cluster();
    let create =
        |object: &Value| ask(&cluster, Endpoint::Policies, "CREATE", "TracingPolicy", &Value::Null, object);
    let mut written = policy("all", &json!({"org": null}));
    let mut stored = policy("all", &json!({}));
    stored["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": written.to_string()});
    let refused = create(&stored);
    assert!(!refused.allowed, "{refused:?}");
    // Without what was written, only what came of it is known.
    let warned = create(&policy("all", &json!({})));
    assert!(warned.allowed, "{warned:?}");
    let about = warned.warnings.iter().find(|warning| warning.starts_with("GW120"));
    assert!(about.is_some_and(|warning| warning.contains("all 1 pod")), "{warned:?}");
    // All pods on purpose.
    written["spec"]["podSelector"] = json!({});
    assert!(create(&written).warnings.iter().all(|warning| !warning.starts_with("GW120")));
}

#[test]
fn an_excluded_typo_is_a_warning() {
    let cluster = cluster();
    let excluding = |value: &str| {
        let mut object = policy("rebels", &json!({}));
        object["spec"]["podSelector"] =
            json!({"matchExpressions": [{"key": "org", "operator": "NotIn", "values": [value]}]});
        cluster.workloads_changed(Change::Apply(pod("other", &[("org", "alliance")])), Cache::Pod);
        ask(&cluster, Endpoint::Policies, "CREATE", "TracingPolicy", &Value::Null, &object).warnings.join(" ")
    };
    assert!(excluding("empre").contains("GW119"), "{}", excluding("empre"));
    assert!(!excluding("empire").contains("GW119"));
    assert!(!excluding("federation").contains("GW119"));
}

#[test]
fn templates_of_any_group_are_read() {
    let cluster = cluster();
    let rollout = |org: &str| {
        let object = json!({"metadata": {"name": "tie"}, "spec": {"template": {
            "metadata": {"labels": {"org": org}}, "spec": {"containers": [{"name": "c"}]}}}});
        ask(&cluster, Endpoint::Workloads, "CREATE", "Rollout", &Value::Null, &object).warnings.join(" ")
    };
    assert_eq!(rollout("empire"), "");
    assert!(rollout("empre").contains("GW106 spec.template.metadata.labels.org"), "{}", rollout("empre"));
    let none = ask(
        &cluster,
        Endpoint::Workloads,
        "CREATE",
        "Service",
        &Value::Null,
        &json!({"spec": {"ports": []}}),
    );
    assert!(none.allowed && none.warnings[0].contains("which has no pods"), "{none:?}");
}

#[test]
fn templates_are_read_where_they_are_set() {
    let cluster = cluster();
    let templates = Templates::from(vec!["Workload.example.com=spec.workload.template".parse().unwrap()]);
    let gate = Gate::new(Arc::clone(&cluster), "https://docs").with_templates(templates);
    let decide = |org: &str| {
        let template = json!({"metadata": {"labels": {"org": org}}, "spec": {"containers": [{"name": "c"}]}});
        // What is elsewhere may have any form.
        let object = json!({"metadata": {"name": "tie"}, "spec": {"template": 7, "containers": "none",
            "workload": {"template": template}}});
        let body = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {"uid": "u", "kind": {"group": "example.com", "version": "v1", "kind": "Workload"},
                "operation": "CREATE", "name": "tie", "namespace": "test", "userInfo": {"username": "me"},
                "object": object},
        });
        let request = parse(&serde_json::to_vec(&body).unwrap()).unwrap();
        gate.decide(Endpoint::Workloads, &request).answer.warnings.join(" ")
    };
    assert_eq!(decide("empire"), "");
    assert!(
        decide("empre").contains("GW106 spec.workload.template.metadata.labels.org"),
        "{}",
        decide("empre")
    );
}
