//! The chart on a real API server: every setting is checked by it, each container has the Pod Security level that it
//! claims, and the service accounts may do what they need and no more.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    Tests, platforms, releases,
    render::{MATRIX, NAMESPACE, OTHERS, output, template, template_with},
};
use crate::{
    kube::{ControlPlane, Kubectl, Settings},
    parallel::side_by_side,
    setup::chart::Programs,
};

pub(super) fn run(tests: &mut Tests, programs: &Programs) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot create a folder for a control plane")?;
    let mut settings_of_plane = Settings::in_folder(folder.path());
    // Webhooks are called at their endpoints, of which there are none, instead of at an address without a route.
    settings_of_plane.api_server_flags.push("--enable-aggregator-routing=true".into());
    let plane = ControlPlane::start(&programs.kubernetes, settings_of_plane)?;
    let kubectl = plane.kubectl();
    kubectl.text(&["create", "namespace", NAMESPACE])?;
    // Without kinds, as a new cluster is; it has those of cilium.io afterwards.
    releases::run(tests, programs, &kubectl)?;
    settings(tests, programs, &kubectl);
    tests.holds("the Prometheus operator's kinds take what the chart makes", monitors(programs, &kubectl));
    pod_security(tests, programs, &kubectl)?;
    tests.holds("the API server itself rejects wrong labels", admission_policy(programs, &kubectl));
    // The control plane ends with this process's hold on it: in good order it would take ten seconds.
    rights(tests, programs, &kubectl)
}

/// Every object of every setting, as the API server takes it, strictly and without a warning.
fn settings(tests: &mut Tests, programs: &Programs, kubectl: &Kubectl) {
    let faults = side_by_side(MATRIX, |(name, settings)| {
        let outcome = dry_run(kubectl, &template(programs, "1.36.0", settings)?, NAMESPACE);
        Ok(outcome.err().map(|error| format!("{name}: {error:#}")).into_iter().collect())
    });
    tests.all("the API server takes all settings", faults);
    let faults = platforms::all().and_then(|platforms| {
        side_by_side(&platforms, |(name, file)| {
            let mut objects = template_with(programs, "1.36.0", file)?;
            // Only OpenShift has this kind.
            objects.retain(|object| object["apiVersion"] != "security.openshift.io/v1");
            let outcome = dry_run(kubectl, &objects, NAMESPACE);
            Ok(outcome.err().map(|error| format!("{name}: {error:#}")).into_iter().collect())
        })
    });
    tests.all("the API server takes the values of all distributions", faults);
    let wrong =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}});
    let refused = dry_run(kubectl, &[wrong], NAMESPACE);
    tests.holds(
        "the API server checks strictly",
        refused.is_err().then_some(()).context("a typing error passed"),
    );
}

/// What is for the Prometheus operator, as its own definitions have it.
fn monitors(programs: &Programs, kubectl: &Kubectl) -> Result<()> {
    for kind in ["podmonitors", "prometheusrules", "servicemonitors"] {
        let file = programs
            .operator_definitions
            .join(format!("monitoring.coreos.com_{kind}.yaml"))
            .display()
            .to_string();
        kubectl.text(&["apply", "--server-side", "-f", &file])?;
        kubectl.text(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &file])?;
    }
    let of_operator = |object: &Value| object["apiVersion"] == "monitoring.coreos.com/v1";
    let objects: Vec<Value> = template(programs, "1.36.0", OTHERS)?.into_iter().filter(of_operator).collect();
    // Agent and gate have a monitor of either kind.
    for (kind, count) in [("PodMonitor", 2), ("ServiceMonitor", 2), ("PrometheusRule", 1)] {
        let found = objects.iter().filter(|object| object["kind"] == kind).count();
        if found != count {
            bail!("{found} objects of kind {kind}, not {count}");
        }
    }
    dry_run(kubectl, &objects, NAMESPACE)?;
    // The check can fail: a field that there isn't, and a value that can't be.
    for (place, wrong) in [("honorLabel", json!(true)), ("interval", json!("often"))] {
        let mut monitor =
            objects.iter().find(|object| object["kind"] == "PodMonitor").cloned().unwrap_or_default();
        monitor["spec"]["podMetricsEndpoints"][0][place] = wrong;
        if dry_run(kubectl, &[monitor], NAMESPACE).is_ok() {
            bail!("a PodMonitor with a wrong `{place}` is taken");
        }
    }
    Ok(())
}

/// Applies objects without a trace.
fn dry_run(kubectl: &Kubectl, objects: &[Value], namespace: &str) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let folder = tempfile::NamedTempFile::new().context("cannot create a file")?;
    std::fs::write(folder.path(), list).context("cannot write a file")?;
    let mut command = kubectl.command(["apply", "--dry-run=server", "--validate=strict", "--server-side"]);
    command.args(["--force-conflicts", "--namespace", namespace, "-f"]).arg(folder.path());
    let said = output(&mut command)?;
    if let Some(warning) = said.lines().find(|line| line.starts_with("Warning")) {
        bail!("{warning}");
    }
    Ok(())
}

/// The fallback: rules that the API server evaluates.
fn admission_policy(programs: &Programs, kubectl: &Kubectl) -> Result<()> {
    let objects =
        template(programs, "1.36.0", &["validatingAdmissionPolicy.enabled=true", "webhook.enabled=false"])?;
    let objects: Vec<Value> = objects
        .into_iter()
        .filter(|object| {
            object["kind"].as_str().is_some_and(|kind| kind.starts_with("ValidatingAdmissionPolicy"))
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    kubectl.with_input(&["apply", "--server-side", "-f", "-"], &list)?;
    let policy = |operator: &str| {
        json!({
            "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "labels"},
            "spec": {
                "kprobes": [{"call": "sys_setuid", "syscall": true}],
                "podSelector": {"matchExpressions": [{"key": "a", "operator": operator}]},
            },
        })
    };
    let begun = Instant::now();
    let said = loop {
        // The API server applies policies of this kind after a moment.
        match dry_run(kubectl, &[policy("In")], NAMESPACE) {
            Err(error) => break error.to_string(),
            Ok(()) if begun.elapsed() > Duration::from_secs(30) => bail!("In without values is admitted"),
            Ok(()) => thread::sleep(Duration::from_millis(500)),
        }
    };
    if !said.contains("GW1") || !said.contains("require values") {
        bail!("the answer doesn't say what is wrong: {said}");
    }
    dry_run(kubectl, &[policy("Exists")], NAMESPACE)?;
    kubectl.with_input(&["delete", "-f", "-"], &list).map(drop)
}

/// The pods in namespaces that enforce a level: the gate meets `restricted`, the agent needs `privileged`.
fn pod_security(tests: &mut Tests, programs: &Programs, kubectl: &Kubectl) -> Result<()> {
    let objects = template(programs, "1.36.0", &[])?;
    let mut faults = Vec::new();
    for level in ["restricted", "baseline", "privileged"] {
        let namespace = format!("level-{level}");
        let label = format!("pod-security.kubernetes.io/enforce={level}");
        kubectl.text(&["create", "namespace", &namespace])?;
        kubectl.text(&["label", "namespace", &namespace, &label])?;
        kubectl.text(&["create", "serviceaccount", "default", "--namespace", &namespace])?;
        for (kind, allowed) in [("Deployment", true), ("DaemonSet", level == "privileged")] {
            let workload =
                objects.iter().find(|object| object["kind"] == kind).context("a kind is missing")?;
            let mut pod = workload["spec"]["template"].clone();
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!("pod");
            pod["spec"]["serviceAccountName"] = json!("default");
            match (dry_run(kubectl, &[pod], &namespace), allowed) {
                (Ok(()), true) => {}
                (Err(error), false) if error.to_string().contains("violates PodSecurity") => {}
                (Ok(()), false) => faults.push(format!("the {kind}'s pod needs less than {level} allows")),
                (Err(error), _) => faults.push(format!("the {kind}'s pod at level {level}: {error:#}")),
            }
        }
    }
    tests.verdict("the gate's pods meet `restricted`, the agent's only `privileged`", &faults);
    Ok(())
}

/// Questions to the authorizer: account, verb, resource (with a name after `/`), namespace, and the answer.
const RIGHTS: &[(&str, &str, &str, &str, bool)] = &[
    ("agent", "watch", "tracingpolicies.cilium.io", "", true),
    ("agent", "list", "pods", "", true),
    ("agent", "get", "replicasets.apps", "test", true),
    ("agent", "patch", "nodetracings.gatewatch.dev", "", true),
    ("agent", "patch", "nodetracings.gatewatch.dev/status", "", true),
    ("agent", "get", "daemonsets.apps/gatewatch-agent", NAMESPACE, true),
    ("agent", "watch", "serviceaccounts/gatewatch-agent", NAMESPACE, true),
    ("agent", "get", "daemonsets.apps/other", NAMESPACE, false),
    ("agent", "get", "serviceaccounts/gatewatch-webhook", NAMESPACE, false),
    ("agent", "create", "pods", NAMESPACE, false),
    ("agent", "get", "secrets", NAMESPACE, false),
    ("agent", "get", "configmaps", "kube-system", false),
    ("agent", "patch", "nodes", "", false),
    ("agent", "update", "tracingpolicies.cilium.io", "", false),
    ("agent", "patch", "policycoverages.gatewatch.dev", "", false),
    ("webhook", "watch", "pods", "", true),
    ("webhook", "patch", "policycoverages.gatewatch.dev/status", "", true),
    ("webhook", "patch", "secrets/gatewatch-webhook-tls", NAMESPACE, true),
    ("webhook", "get", "secrets/gatewatch-webhook-tls", "kube-system", false),
    ("webhook", "get", "secrets/other", NAMESPACE, false),
    ("webhook", "list", "secrets", NAMESPACE, false),
    ("webhook", "create", "secrets", NAMESPACE, false),
    ("webhook", "update", "leases.coordination.k8s.io/gatewatch-webhook", NAMESPACE, true),
    ("webhook", "update", "leases.coordination.k8s.io/other", NAMESPACE, false),
    ("webhook", "patch", "validatingwebhookconfigurations.admissionregistration.k8s.io/gatewatch", "", true),
    ("webhook", "patch", "validatingwebhookconfigurations.admissionregistration.k8s.io/other", "", false),
    ("webhook", "create", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", false),
    ("webhook", "delete", "tracingpolicies.cilium.io", "", false),
    ("webhook", "create", "pods", NAMESPACE, false),
    ("webhook", "create", "events", "default", true),
];

fn rights(tests: &mut Tests, programs: &Programs, kubectl: &Kubectl) -> Result<()> {
    let objects: Vec<Value> = template(programs, "1.36.0", &[])?
        .into_iter()
        .filter(|object| {
            let kind = object["kind"].as_str().unwrap_or_default();
            kind.contains("Role") || ["CustomResourceDefinition", "ServiceAccount"].contains(&kind)
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    kubectl.with_input(&["apply", "--server-side", "--namespace", NAMESPACE, "-f", "-"], &list)?;
    let faults = side_by_side(RIGHTS, |&(account, verb, resource, namespace, wanted)| {
        // A part of a resource is asked for by an option of its own.
        let (resource, part) = match resource.strip_suffix("/status") {
            Some(resource) => (resource, "--subresource=status"),
            None => (resource, "--quiet"),
        };
        let user = format!("--as=system:serviceaccount:{NAMESPACE}:gatewatch-{account}");
        let place =
            if namespace.is_empty() { "--all-namespaces".into() } else { format!("--namespace={namespace}") };
        let allowed = kubectl.succeeds(&["auth", "can-i", verb, resource, part, "--quiet", &user, &place]);
        let may = if allowed { "may" } else { "may not" };
        let fault = (allowed != wanted).then(|| format!("the {account} {may} {verb} {resource} ({place})"));
        Ok(fault.into_iter().collect())
    });
    tests.all("service accounts may do what they need and no more", faults);
    Ok(())
}
