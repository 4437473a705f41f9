//! Attackers, and neighbours that are in each other's way.

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Stage,
    agents::{Agent, BOOT},
    kernels, pod, policy,
};
use crate::gate::{plane::Replica, probe};

const CONFIGURATION: &str = "validatingwebhookconfiguration";

/// The sum of a metric of all replicas.
fn sum(stage: &Stage, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let each = |replica: &Replica| probe::metric(replica.metrics, name, labels);
    stage.plane.replicas.iter().map(each).sum()
}

/// The API server itself calls the webhook without the secret, as every pod of a cluster can.
pub(super) fn secret(stage: &mut Stage) -> Result<()> {
    let path = "jsonpath={.webhooks[0].clientConfig.url}";
    let url = stage.must(&["get", CONFIGURATION, "gatewatch", "-o", path], "")?;
    let (base, secret) = url.rsplit_once('/').context("the registered URL has no path")?;
    ensure!(base.ends_with("/validate/policies") && secret.len() == 64, "the registered URL is {url}");
    let rejected = || sum(stage, "gatewatch_admission_bad_requests_total", &[("reason", "secret")]);
    let before = rejected()?;
    let other = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: \
                 without-secret}\nwebhooks:\n- {name: policies.example.com, admissionReviewVersions: [v1], sideEffects: \
                 None, failurePolicy: Fail, clientConfig: {url: \"URL\", caBundle: BUNDLE}, rules: [{apiGroups: \
                 [cilium.io], apiVersions: [v1alpha1], operations: [CREATE], resources: [tracingpolicies]}]}\n";
    let bundle = "jsonpath={.webhooks[0].clientConfig.caBundle}";
    let bundle = stage.must(&["get", CONFIGURATION, "gatewatch", "-o", bundle], "")?;
    for wrong in [base.to_owned(), format!("{base}/{}", "0".repeat(64))] {
        stage.must(&["apply", "-f", "-"], &other.replace("URL", &wrong).replace("BUNDLE", &bundle))?;
        stage.eventually("a request without the secret is rejected", |stage| {
            let said = stage.kubectl(
                &["create", "--dry-run=server", "-f", "-"],
                &policy("without-secret", "app: secret"),
            )?;
            Ok(!said.ok && said.text.contains("policies.example.com"))
        })?;
    }
    stage.must(&["delete", CONFIGURATION, "without-secret"], "")?;
    ensure!(rejected()? >= before + 2.0, "rejected requests are not counted");
    Ok(())
}

/// A pod is covered by a policy only where a node runs the policy, and no two deletions at once leave it uncovered.
pub(super) fn coverage(stage: &mut Stage) -> Result<()> {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: safe, annotations: \
                     {gatewatch.dev/require-coverage: \"true\"}}\n";
    stage.must(&["delete", "tracingpolicies", "--all"], "")?;
    stage.cached("TracingPolicy", 0.0)?;
    stage.must(&["apply", "-f", "-"], namespace)?;
    let agent = Agent::start(stage, "attacked")?;
    let pair = [policy("one", "app: safe"), policy("two", "app: safe")].concat();
    stage.must(&["apply", "-f", "-"], &pair)?;
    stage.cached("TracingPolicy", 2.0)?;
    let create = |stage: &Stage| stage.kubectl(&["apply", "-f", "-"], &pod("safe", "pod", "app: safe"));
    stage.eventually("a policy that no node runs covers nothing", |stage| {
        let said = create(stage)?;
        Ok(!said.ok && said.text.contains("GW113") && said.text.contains("no node has loaded"))
    })?;
    agent.report(stage, BOOT, &[("one", "Loaded", ""), ("two", "Loaded", "")])?;
    stage.eventually("a loaded policy covers", |stage| Ok(create(stage)?.ok))?;

    // The status of a pod has labels, too.
    let labels = r#"{"metadata": {"labels": {"app": "other"}}}"#;
    let status = ["-n", "safe", "patch", "pod", "pod", "--subresource=status", "--type=merge", "-p", labels];
    stage.kubectl(&status, "")?.expect(false, &["GW114"])?;

    // One API server stays at one replica, as the chart's Service arranges it.
    let balancer = stage.plane.balancer.as_ref().context("there is no balancer")?;
    balancer.set_sticky(true);
    stage.eventually("a deletion of all policies is rejected for the last one", |stage| {
        let said = stage.kubectl(&["delete", "--wait=false", "tracingpolicies", "--all"], "")?;
        Ok(!said.ok && said.text.contains("GW115"))
    })?;
    let left = stage.must(&["get", "tracingpolicies", "-o", "name"], "")?;
    ensure!(left.lines().count() == 1, "policies that are left: {left}");
    stage.plane.balancer.as_ref().context("there is no balancer")?.set_sticky(false);

    stage.must(&["-n", "safe", "delete", "pod", "pod", "--grace-period=0", "--force"], "")?;
    stage.must(&["delete", "namespace", "safe", "--wait=false"], "")?;
    stage.eventually("nothing is protected any more", |stage| {
        Ok(stage.kubectl(&["delete", "tracingpolicies", "--all"], "")?.ok)
    })?;
    agent.end(stage)
}

pub(super) fn no_node(stage: &mut Stage) -> Result<()> {
    stage.must(&["create", "-f", "-"], &kernels::node("only", "6.12.9-x"))?;
    let nowhere = policy("nowhere", "app: x")
        .replace("spec:\n", "spec:\n  nodeSelector: {matchLabels: {zone: moon}}\n");
    stage.eventually("a nodeSelector that selects no node is a warning", |stage| {
        let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], &nowhere)?;
        Ok(said.ok && said.text.contains("Warning: spec.nodeSelector selects no node of the cluster"))
    })?;
    stage.must(&["delete", "node", "only"], "").map(drop)
}

/// The author of a policy in a namespace learns nothing of others.
pub(super) fn hints(stage: &mut Stage) -> Result<()> {
    for namespace in ["mine", "payments"] {
        stage.must(&["create", "namespace", namespace], "")?;
    }
    let pods = [pod("payments", "teller", "app: ledger"), pod("mine", "web", "app: web")].concat();
    stage.must(&["apply", "-f", "-"], &pods)?;
    let asked = policy("spy", "app: ledger")
        .replace("kind: TracingPolicy", "kind: TracingPolicyNamespaced")
        .replace("{name: spy}", "{name: spy, namespace: mine}");
    stage.eventually("a policy that selects nothing is a warning", |stage| {
        let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], &asked)?;
        ensure!(!said.text.contains("payments"), "the answer names another namespace: {}", said.text);
        Ok(said.ok && said.text.contains("GW110"))
    })?;
    stage.must(&["delete", "namespace", "mine", "payments", "--wait=false"], "").map(drop)
}

/// The state of a policy is what a live agent reports of this boot.
pub(super) fn true_state(stage: &mut Stage) -> Result<()> {
    let agent = Agent::start(stage, "stated")?;
    stage.must(&["apply", "-f", "-"], &policy("state", "app: state"))?;
    stage.must(&["apply", "-f", "-"], &pod("default", "state", "app: state"))?;
    agent.report(stage, BOOT, &[("state", "Loaded", "")])?;
    let is = |stage: &Stage, wanted: &str| -> Result<()> {
        let path = "jsonpath={.status.conditions[0].status}/{.status.conditions[0].reason} \
                    {.status.unconfirmedNodes[*].reason}";
        let get = ["get", "policycoverage", "state", "-o", path];
        stage.eventually(&format!("the condition is {wanted}"), |stage| {
            let said = stage.kubectl(&get, "")?;
            ensure!(said.ok && said.text.starts_with(wanted), "{}", said.text);
            Ok(true)
        })
    };
    is(stage, "True/Covered")?;
    agent.report(stage, "an-earlier-boot", &[("state", "Loaded", "")])?;
    is(stage, "Unknown/NodesPending the report is of an earlier boot")?;
    agent.report(stage, BOOT, &[("state", "Loaded", "")])?;
    is(stage, "True/Covered")?;
    agent.set_ready(stage, false)?;
    is(stage, "Unknown/NodesUnknown the agent's pod agent-stated is not ready")?;
    stage.eventually("a node without a live agent is counted", |stage| {
        Ok(sum(stage, "gatewatch_nodes_without_agent", &[])? >= 2.0)
    })?;
    agent.set_ready(stage, true)?;
    is(stage, "True/Covered")?;
    // A new version is not loaded yet.
    stage.must(&["apply", "-f", "-"], &policy("state", "app: state, tier: back"))?;
    stage.must(&["apply", "-f", "-"], &pod("default", "back", "app: state, tier: back"))?;
    is(stage, "Unknown/NodesPending the agent has reported generation 1, and the policy has generation 2")?;
    stage.must(&["delete", "pod", "state", "back", "--grace-period=0", "--force"], "")?;
    stage.must(&["delete", "tracingpolicy", "state"], "")?;
    agent.end(stage)
}

/// An API server that accepts requests and does not answer: leadership ends, and comes back.
pub(super) fn stalled(stage: &mut Stage) -> Result<()> {
    let leaders = |stage: &Stage| sum(stage, "gatewatch_leader", &[]);
    stage.eventually("one replica leads", |stage| Ok((leaders(stage)? - 1.0).abs() < 0.5))?;
    stage.plane.link.as_ref().context("there is no link")?.stall(true);
    let began = Instant::now();
    let ended = loop {
        if leaders(stage)? < 0.5 {
            break Ok(());
        }
        // The deadline is 12 s after the last renewal.
        if began.elapsed() > Duration::from_secs(14) {
            break Err(anyhow::anyhow!("a replica still leads after {} s", began.elapsed().as_secs()));
        }
        thread::sleep(Duration::from_millis(100));
    };
    println!("  leadership ended after {:.1} s", began.elapsed().as_secs_f64());
    stage.plane.link.as_ref().context("there is no link")?.stall(false);
    ended?;
    stage.eventually("one replica leads again", |stage| Ok((leaders(stage)? - 1.0).abs() < 0.5))
}

/// An object that cannot be written keeps no other from being written.
pub(super) fn one_failing_object(stage: &mut Stage) -> Result<()> {
    let refuse = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: \
                  reject}\nspec:\n  failurePolicy: Fail\n  matchConstraints: {resourceRules: [{apiGroups: \
                  [gatewatch.dev], apiVersions: ['*'], operations: ['*'], resources: ['*']}]}\n  validations: \
                  [{expression: \"request.name != 'a-rejected'\"}]\n---\napiVersion: \
                  admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: \
                  reject}\nspec: {policyName: reject, validationActions: [Deny]}\n";
    stage.must(&["apply", "-f", "-"], refuse)?;
    let probe = "apiVersion: gatewatch.dev/v1alpha1\nkind: PolicyCoverage\nmetadata: {name: a-rejected}\nspec: {kind: \
                 TracingPolicy, name: a-rejected}\n";
    stage.eventually("the object is rejected", |stage| {
        Ok(!stage.kubectl(&["create", "--dry-run=server", "-f", "-"], probe)?.ok)
    })?;
    let both = [policy("a-rejected", "app: a"), policy("b-written", "app: b")].concat();
    stage.must(&["apply", "-f", "-"], &both)?;
    stage.eventually("the other object is written", |stage| {
        Ok(stage.kubectl(&["get", "policycoverage", "b-written"], "")?.ok)
    })?;
    ensure!(!stage.kubectl(&["get", "policycoverage", "a-rejected"], "")?.ok, "nothing was rejected");
    stage.eventually("failures are counted", |stage| {
        Ok(sum(stage, "gatewatch_status_write_errors", &[])? >= 1.0)
    })?;
    stage.must(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "reject"], "")?;
    stage.eventually("it is written later", |stage| {
        Ok(stage.kubectl(&["get", "policycoverage", "a-rejected"], "")?.ok)
    })?;
    stage.must(&["delete", "tracingpolicy", "a-rejected", "b-written"], "").map(drop)
}

/// A report cannot make the webhook call another machine.
pub(super) fn profile_address(stage: &mut Stage) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let node = kernels::node("caller", "6.1.0-q")
        .replace("status:\n", "status:\n  addresses: [{type: InternalIP, address: 10.9.9.8}]\n");
    stage.must(&["create", "-f", "-"], &node)?;
    let report = format!(
        "apiVersion: gatewatch.dev/v1alpha1\nkind: NodeTracing\nmetadata: {{name: caller}}\nspec: {{agentVersion: x, \
         kernel: {{arch: x86_64, release: 6.1.0-q}}, profile: {{hash: h, endpoint: \"http://127.0.0.1:{port}/profile\"}}}}\n"
    );
    stage.must(&["apply", "-f", "-"], &report)?;
    stage.eventually("the node is known", |stage| {
        Ok(sum(stage, "gatewatch_preflight_nodes", &[("kernel", "6.1.0-q")])? >= 2.0)
    })?;
    thread::sleep(Duration::from_secs(2));
    ensure!(listener.accept().is_err(), "the webhook has called an address that is not the node's");
    let patch = r#"{"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}"#;
    stage.must(&["patch", "node", "caller", "--subresource=status", "--type=merge", "-p", patch], "")?;
    stage.eventually("the node's own address is called", |_| Ok(listener.accept().is_ok()))?;
    stage.must(&["delete", "nodetracing", "caller"], "")?;
    stage.must(&["delete", "node", "caller"], "").map(drop)
}
