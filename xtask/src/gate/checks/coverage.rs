//! Both-ways coverage, live.

use anyhow::{Result, ensure};

use super::{
    Stage,
    agents::{Agent, BOOT},
    pod, policy,
};
use crate::{gate::probe, paths};

fn at(path: &str) -> String {
    paths::root().join(path).display().to_string()
}

pub(super) fn both_orders(stage: &mut Stage) -> Result<()> {
    let (app, policies) = (at("test-app.yaml"), at("policies"));
    let delete = ["delete", "--wait=true", "--ignore-not-found", "-R", "-f"];
    // Policies first: they select nothing yet, and nothing is there that they could have meant.
    stage.must(&["apply", "-R", "-f", &policies], "")?;
    stage.cached("TracingPolicy", 6.0)?;
    stage.silently(&["apply", "-f", &app], "")?;
    stage.must(&[&delete[..], &[&policies]].concat(), "")?;
    stage.cached("TracingPolicy", 0.0)?;
    // Then the application is there, and the policies find it.
    let said = stage.must(&["apply", "-R", "-f", &policies], "")?;
    ensure!(!said.contains("Warning: GW1"), "{said}");
    stage.cached("TracingPolicy", 6.0)
}

pub(super) fn near_miss(stage: &mut Stage) -> Result<()> {
    let said = stage.apply(&pod("test", "slip", "org: empre"))?;
    said.expect(
        true,
        &[
            "Warning: GW106 metadata.labels.org: \"empre\" matches no policy; did you mean \"empire\"? (2 policies \
             would select this pod)",
            "pod/slip created",
        ],
    )?;
    stage.must(&["-n", "test", "delete", "pod", "slip", "--grace-period=0", "--force"], "")?;
    // A template is answered for as its pods are.
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: slip, namespace: test}\nspec:\n  \
        selector: {matchLabels: {org: Empire}}\n  template:\n    metadata: {labels: {org: Empire}}\n    spec: \
        {containers: [{name: c, image: example/app}]}\n";
    let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], deployment)?;
    said.expect(true, &["Warning: GW106 spec.template.metadata.labels.org: \"Empire\"", "\"empire\""])
}

pub(super) fn dry_run(stage: &mut Stage) -> Result<()> {
    let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], &pod("test", "dry", "org: empre"))?;
    said.expect(true, &["Warning: GW106", "pod/dry created (server dry run)"])?;
    ensure!(!stage.kubectl(&["-n", "test", "get", "pod", "dry"], "")?.ok, "the pod was made");
    let said = stage.kubectl(&["delete", "--dry-run=server", "tracingpolicy", "external-http-call"], "")?;
    said.expect(true, &["Warning: GW"])?;
    stage.must(&["get", "tracingpolicy", "external-http-call"], "").map(drop)
}

pub(super) fn relabel(stage: &mut Stage) -> Result<()> {
    stage.cached("Pod", 2.0)?;
    let label = |value: &str| {
        stage.kubectl(
            &["-n", "test", "label", "pod", "tiefighter", "--overwrite", &format!("org={value}")],
            "",
        )
    };
    let said = label("alliance")?;
    said.expect(true, &["Warning: GW", "application-file-system-access", "external-http-call"])?;
    let said = label("empire")?;
    ensure!(said.ok && !said.text.contains("Warning:"), "{}", said.text);
    // The way of `kubectl edit`.
    let mut edit = stage.plane.kubectl().command(["-n", "test", "edit", "pod", "tiefighter"]);
    let output = edit.env("KUBE_EDITOR", "sed -i /org:/s/empire$/empre/").output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && text.contains("GW106") && text.contains("empire"), "edit: {text}");
    stage.must(&["-n", "test", "label", "pod", "tiefighter", "--overwrite", "org=empire"], "").map(drop)
}

pub(super) fn delete_policy(stage: &mut Stage) -> Result<()> {
    let said = stage.kubectl(&["delete", "tracingpolicy", "external-http-call"], "")?;
    said.expect(true, &["Warning: GW", "1 pod", "test"])?;
    stage.must(&["apply", "-f", &at("policies/application/external-http-call.yaml")], "").map(drop)
}

pub(super) fn required(stage: &mut Stage) -> Result<()> {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: vault, annotations: \
                     {gatewatch.dev/require-coverage: \"true\"}}\n";
    // Policies for every process watch everything.
    stage.must(&["delete", "-f", &at("policies/standard")], "")?;
    let agent = Agent::start(stage, "vaults")?;
    // When a namespace begins to require coverage, the answer lists the pods that it already has.
    stage.must(&["create", "namespace", "vault"], "")?;
    stage.must(&["apply", "-f", "-"], &pod("vault", "early", "app: early"))?;
    stage.eventually("requiring coverage returns a warning about pods that no policy selects", |stage| {
        let said = stage.kubectl(
            &["annotate", "--dry-run=server", "namespace", "vault", "gatewatch.dev/require-coverage=true"],
            "",
        )?;
        Ok(said.ok && said.text.contains("Warning: GW113") && said.text.contains("1 pod in `vault`"))
    })?;
    stage.must(&["apply", "-f", "-"], namespace)?;
    stage.eventually("it is a metric", |stage| {
        let name = "gatewatch_pods_without_required_coverage";
        let each = |replica: &crate::gate::plane::Replica| probe::metric(replica.metrics, name, &[]);
        let found: Vec<f64> = stage.plane.replicas.iter().map(each).collect::<Result<_>>()?;
        Ok(found == [1.0, 1.0])
    })?;
    stage.must(&["-n", "vault", "delete", "pod", "early", "--grace-period=0", "--force"], "")?;
    stage.must(&["apply", "-f", "-"], &policy("vault", "app: vault"))?;
    agent.report(stage, BOOT, &[("vault", "Loaded", "")])?;
    stage.eventually("a pod that no policy selects is rejected", |stage| {
        let said =
            stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], &pod("vault", "bare", "app: other"))?;
        Ok(!said.ok && said.text.contains("GW") && said.text.contains("vault"))
    })?;
    stage.eventually("a pod that a loaded policy selects is admitted", |stage| {
        stage.silently(&["apply", "-f", "-"], &pod("vault", "seen", "app: vault"))?;
        Ok(true)
    })?;
    stage.eventually("the last policy can't go", |stage| {
        let said = stage.kubectl(&["delete", "--dry-run=server", "tracingpolicy", "vault"], "")?;
        Ok(!said.ok && said.text.contains("GW"))
    })?;
    let relabel = ["-n", "vault", "label", "pod", "seen", "--overwrite", "app=other"];
    let said = stage.kubectl(&relabel, "")?;
    said.expect(false, &["GW"])?;
    stage.must(&["-n", "vault", "delete", "pod", "seen", "--grace-period=0", "--force"], "")?;
    stage.eventually("nothing is lost any more", |stage| {
        Ok(stage.kubectl(&["delete", "tracingpolicy", "vault"], "")?.ok)
    })?;
    stage.must(&["delete", "namespace", "vault", "--wait=false"], "")?;
    agent.end(stage)?;
    stage.must(&["apply", "-f", &at("policies/standard")], "").map(drop)
}

/// A node's agent says that it can't load a policy.
fn node_fails(stage: &mut Stage) -> Result<()> {
    let agent = Agent::start(stage, "unable")?;
    agent.report(stage, BOOT, &[("external-http-call", "Failed", "the verifier rejects it")])?;
    stage.eventually("an Event on the policy names the node and its reason", |stage| {
        let of = [
            "get",
            "events",
            "-A",
            "--field-selector",
            "reason=NodeFailed,involvedObject.name=external-http-call",
        ];
        let said = stage.must(&of, "")?;
        Ok(said.contains("unable") && said.contains("the verifier rejects it"))
    })?;
    agent.end(stage)
}

pub(super) fn object(stage: &mut Stage) -> Result<()> {
    let get = ["get", "policycoverage", "external-http-call", "--no-headers"];
    stage.eventually("a policy's coverage is written", |stage| {
        let line = stage.must(&get, "")?;
        let columns: Vec<&str> = line.split_whitespace().collect();
        Ok(columns.len() >= 5 && columns[1] == "1")
    })?;
    // It follows what happens.
    stage.must(&["apply", "-f", "-"], &pod("test", "second", "org: empire"))?;
    stage.eventually("a new pod is counted", |stage| {
        Ok(stage.must(&get, "")?.split_whitespace().nth(1) == Some("2"))
    })?;
    stage
        .must(&["-n", "test", "delete", "pod", "second", "tiefighter", "--grace-period=0", "--force"], "")?;
    stage.eventually("an Event reports lost coverage", |stage| {
        Ok(stage.must(&["get", "events", "-A"], "")?.contains("CoverageLost"))
    })?;
    let text = stage.must(&["get", "policycoverage"], "")?;
    ensure!(
        text.lines().next().is_some_and(|head| head.contains("PODS") && head.contains("UNKNOWN")),
        "{text}"
    );
    node_fails(stage)?;
    // What belongs to no policy goes.
    stage.must(&["delete", "tracingpolicy", "external-http-call"], "")?;
    stage.eventually("a deleted policy's coverage is deleted", |stage| Ok(!stage.kubectl(&get, "")?.ok))?;
    stage.must(&["apply", "-f", &at("policies/application/external-http-call.yaml")], "").map(drop)
}
