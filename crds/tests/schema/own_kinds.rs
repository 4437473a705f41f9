//! What the agent and the webhook write is admitted.

use gatewatch_crds::{
    NodeTracing, NodeTracingSpec, NodeTracingStatus, PolicyCoverage, PolicyCoverageSpec,
    PolicyCoverageStatus,
    node_tracing::{Feature, Kernel, MAX_POLICIES, MAX_REASON, PolicyOnNode, PolicyState, Profile, Support},
    policy_coverage::{
        CoverageDiagnostic, CoverageSeverity, FailedNode, NamespaceCoverage, NodeCounts, UnconfirmedNode,
        UnconfirmedState,
    },
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::dialect::{refusals, schema};

fn node() -> NodeTracing {
    let mut node = NodeTracing::new(
        "node-1",
        NodeTracingSpec {
            agent_version: "0.1.0".into(),
            features: vec![Feature {
                name: "fentry".into(),
                support: Support::No,
                reason: Some("the kernel is built without CONFIG_DEBUG_INFO_BTF".into()),
            }],
            kernel: Kernel { arch: "x86_64".into(), release: "6.12.0-1-amd64".into() },
            profile: Profile {
                endpoint: Some("http://10.0.0.1:2112/profile".into()),
                hash: "sha256:00".into(),
            },
        },
    );
    let policy = PolicyOnNode {
        name: "sudo-invocations".into(),
        namespace: String::new(),
        observed_generation: Some(1),
        reason: Some("x".repeat(9999)),
        state: PolicyState::Failed,
    };
    let id = "0d6a3c4e-6f1b-4c57-9c1c-6f6a0b7d2f11";
    let status = NodeTracingStatus::new("sha256:11".into(), vec![policy]);
    node.status = Some(status.reported_by(Some(id.into()), Some(id.into())));
    node
}

fn coverage() -> PolicyCoverage {
    let policy = PolicyCoverageSpec::of_namespace("test", "a");
    let mut coverage = PolicyCoverage::new(&policy.object_name().unwrap(), policy);
    let mut status = PolicyCoverageStatus {
        diagnostics: vec![
            CoverageDiagnostic {
                code: "GW106".into(),
                message: "x".repeat(9999),
                path: Some("spec.podSelector".into()),
                severity: CoverageSeverity::Warning,
            };
            100
        ],
        failed_nodes: vec![FailedNode { name: "node-1".into(), reason: "no such function".into() }; 100],
        unconfirmed_nodes: vec![
            UnconfirmedNode {
                name: "node-2".into(),
                reason: "x".repeat(9999),
                state: UnconfirmedState::Pending
            };
            100
        ],
        namespaces: vec![NamespaceCoverage { name: "test".into(), pods: 4 }; 100],
        nodes: NodeCounts { failed: 100, loaded: 900, ..NodeCounts::default() },
        observed_generation: Some(3),
        pods: 400,
        warnings: 100,
        workloads: 2,
        ..PolicyCoverageStatus::default()
    };
    status.bound();
    coverage.status = Some(status);
    coverage
}

#[test]
fn what_is_written_is_admitted_and_read_back() {
    let object = serde_json::to_value(node()).unwrap();
    assert_eq!(refusals("NodeTracing", &object), Vec::<String>::new());
    assert_eq!(serde_json::from_value::<NodeTracing>(object).unwrap(), node());

    let object = serde_json::to_value(coverage()).unwrap();
    assert_eq!(refusals("PolicyCoverage", &object), Vec::<String>::new());
    assert_eq!(serde_json::from_value::<PolicyCoverage>(object).unwrap(), coverage());
}

#[test]
fn what_is_too_large_or_unknown_is_refused() {
    let mut object = serde_json::to_value(node()).unwrap();
    object["status"]["policies"][0]["reason"] = json!("x".repeat(MAX_REASON as usize + 1));
    object["status"]["policies"][0]["state"] = json!("Sleeping");
    assert_eq!(refusals("NodeTracing", &object), ["/status/policies/0/reason", "/status/policies/0/state"]);

    let mut object = serde_json::to_value(coverage()).unwrap();
    object["status"]["diagnostics"][0]["code"] = json!("W1");
    object["status"]["failedNodes"] = json!(vec![json!({"name": "n", "reason": ""}); 21]);
    object["spec"]["kind"] = json!("Pod");
    assert_eq!(
        refusals("PolicyCoverage", &object),
        ["/spec/kind", "/status/diagnostics/0/code", "/status/failedNodes"]
    );
}

/// The largest objects stay below what etcd takes in one request (1.5 MiB), with room for the record of field owners.
#[test]
fn objects_are_bounded() {
    let mut largest = node();
    let policies = (0..MAX_POLICIES + 100).map(|i| PolicyOnNode {
        name: format!("a-policy-with-a-name-of-usual-length-{i}"),
        namespace: "a-namespace-of-usual-length".into(),
        observed_generation: Some(1000),
        reason: None,
        state: PolicyState::Loaded,
    });
    largest.status = Some(NodeTracingStatus::new("sha256:11".into(), policies.collect()));
    let size = serde_json::to_string(&largest).unwrap().len();
    assert!(size < 800_000, "NodeTracing has {size} bytes");
    let size = serde_json::to_string(&coverage()).unwrap().len();
    assert!(size < 64 * 1024, "PolicyCoverage has {size} bytes");
}

#[test]
fn status_is_written_on_its_own_and_columns_are_shown() {
    let columns = |definition: CustomResourceDefinition| -> Vec<(String, String)> {
        let version = definition.spec.versions.into_iter().next().unwrap();
        assert!(version.subresources.unwrap().status.is_some());
        let columns = version.additional_printer_columns.unwrap().into_iter();
        columns.filter(|c| c.priority.unwrap_or(0) == 0).map(|c| (c.name, c.json_path)).collect()
    };
    let names = |columns: &[(String, String)]| -> Vec<String> {
        columns.iter().map(|c| c.0.to_uppercase()).collect()
    };
    let node_columns = columns(NodeTracing::crd());
    let coverage_columns = columns(PolicyCoverage::crd());
    assert_eq!(names(&node_columns), ["KERNEL", "ARCH", "LOADED", "FAILED", "MESSAGE", "AGE"]);
    assert_eq!(
        names(&coverage_columns),
        ["PODS", "NODES", "FAILED", "UNKNOWN", "COVERED", "WARNINGS", "AGE"]
    );

    // A column with a misspelt path stays empty without an error.
    for (kind, columns) in [("NodeTracing", node_columns), ("PolicyCoverage", coverage_columns)] {
        let schema = schema(kind);
        for (name, path) in columns.iter().filter(|(_, path)| !path.starts_with(".metadata.")) {
            // A filter selects an element of a list.
            let path = match (path.split_once("[?("), path.split_once(")]")) {
                (Some((list, _)), Some((_, field))) => format!("{list}[]{field}"),
                _ => path.clone(),
            };
            let place = path.replace('.', "/properties/").replace("[]", "/items");
            assert!(
                schema.pointer(&place).is_some_and(Value::is_object),
                "{kind}: column {name} has no field {path}"
            );
        }
    }
}
