//! For which program the gate checks policies, and that it reports what every other caller of the pipeline does.
#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::{Against, Kernel, assess},
    compile::Environment,
    diagnostic::Diagnostic,
    model::NamespaceKind,
    selection::Selection,
    source::{self, Document},
};
use gatewatch_webhook::{
    caches::watch::Change,
    cluster::Cluster,
    gate::{Endpoint, Gate},
    kernels::Node,
    modes::Modes,
    review::{Answer, parse},
    stored_policy::StoredPolicy,
};
use serde_json::{Value, json};

fn cluster(modes: &str) -> Arc<Cluster> {
    let cluster = Arc::new(Cluster::default());
    cluster.set_modes(Modes::parse(modes).unwrap());
    cluster.assume_synced();
    cluster
}

fn create(cluster: &Arc<Cluster>, object: &Value) -> Answer {
    let body = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {"uid": "u", "kind": {"group": "cilium.io", "version": "v", "kind": "TracingPolicy"},
            "operation": "CREATE", "name": "x", "userInfo": {"username": "me"}, "object": object, "oldObject": null},
    });
    let request = parse(&serde_json::to_vec(&body).unwrap()).unwrap();
    Gate::new(Arc::clone(cluster), "https://docs").decide(Endpoint::Policies, &request).answer
}

fn policy(spec: &Value) -> Value {
    json!({"apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "p"}, "spec": spec})
}

/// The policies of the corpus.
fn corpus() -> Vec<Value> {
    let mut all = Vec::new();
    for folder in ["good", "warn", "bad"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(folder);
        for entry in fs::read_dir(folder).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let documents = source::parse(&text).into_iter().filter(|document| document.complete);
            all.extend(documents.map(|document| document.root.to_json()));
        }
    }
    all
}

/// Policies that only Tetragon rejects, that only Gatewatch does not run, and that an older Tetragon does not support.
#[test]
fn the_modes_say_for_which_program_policies_are_checked() {
    let short = policy(&json!({"kprobes": [{"call": "sys_setuid", "message": "a"}]}));
    let counter = policy(&json!({"uprobes": [{"path": "/bin/sh", "symbols": ["main"], "refCtrOffsets": [8],
        "message": "ok"}]}));
    let newer = policy(&json!({"kprobes": [{"call": "sys_setuid", "message": "ok",
        "args": [{"index": 0, "type": "int"}],
        "selectors": [{"matchArgs": [{"index": 0, "operator": "InRange", "values": ["1:5"]}]}]}]}));
    let allowed = |modes: &str| {
        let cluster = cluster(modes);
        [&short, &counter, &newer].map(|object| create(&cluster, object).allowed)
    };
    assert_eq!(allowed(""), [true, false, true]);
    assert_eq!(allowed("target: gatewatch"), [true, false, true]);
    assert_eq!(allowed("target: tetragon"), [false, true, true]);
    assert_eq!(allowed("target: tetragon=1.5"), [false, true, false]);
    assert_eq!(allowed("target: [gatewatch, tetragon]"), [false, false, true]);

    let audit = |modes: &str| {
        let answer = create(&cluster(modes), &short);
        assert!(answer.warnings.is_empty(), "{answer:?}");
        answer.audit_annotations.get("diagnostics").cloned().unwrap_or_default()
    };
    assert!(audit("").contains("audit GW406"), "without a choice it is a note");
    assert_eq!(audit("target: gatewatch"), "");
    let refused = create(&cluster("target: tetragon=1.5"), &newer);
    assert!(refused.status.unwrap().message.unwrap().contains("`InRange` was added in Tetragon 1.6"));
}

/// Every policy of the corpus, with all of its diagnostics as warnings.
#[test]
fn every_warning_is_one_short_line_with_its_code() {
    let cluster = cluster("target: [gatewatch, tetragon]\nmodes: {'*': warn}");
    let mut lines = 0;
    for object in corpus() {
        let answer = create(&cluster, &object);
        assert!(answer.allowed, "{answer:?}");
        let audit = answer.audit_annotations.get("diagnostics").map_or("", String::as_str);
        for warning in &answer.warnings {
            assert!(warning.chars().count() <= 120, "{warning}");
            let code = warning.get(..5).unwrap();
            assert!(
                code.starts_with("GW") && audit.contains(code) || warning.starts_with("and "),
                "{warning}"
            );
            lines += 1;
        }
    }
    assert!(lines > 100, "{lines} warnings");
}

/// The command line and the agent have the same test: all three report of a policy what `assess` does.
#[test]
fn the_gate_reports_of_each_policy_what_every_caller_does() {
    let profile = Profile::shipped("6.12").unwrap();
    let host_namespaces = NamespaceKind::ALL.iter().copied().zip(1..).collect();
    let environment = Environment { kernel: &profile, host_namespaces: &host_namespaces };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let cluster = Cluster::default();
    let node = Node { release: "6.12.1-x".to_owned(), arch: "amd64".to_owned(), ..Node::default() };
    cluster.nodes_changed(Change::Reset(vec![("a".to_owned(), node)]));
    cluster.rebuild_kernels(&BTreeMap::new());
    let key = |d: &Diagnostic| (d.code.id, d.severity, d.targets, d.path.to_string());
    let mut seen = 0;
    for target in ["gatewatch", "tetragon", "tetragon=1.4"] {
        let selection = Selection::of(&[target.parse().unwrap()]);
        let against = Against { kernels: &kernels, ..Against::new(&selection) };
        for object in corpus() {
            // Only policies are objects of these kinds.
            let Some(stored) = StoredPolicy::read(&object) else { continue };
            let expected = assess(&Document::from_json(&object), &against).findings;
            let expected: Vec<_> = expected.iter().map(|found| key(&found.diagnostic)).collect();
            let found = cluster.kernels().assess(&stored.checked, &selection);
            assert_eq!(found.iter().map(key).collect::<Vec<_>>(), expected, "{target}: {object}");
            seen += expected.len();
        }
    }
    assert!(seen > 200, "{seen} findings");
}
