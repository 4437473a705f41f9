//! Nodes and their kernels.

use anyhow::Result;

use super::{Stage, policy};
use crate::gate::probe;

pub(super) fn node(name: &str, release: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nstatus:\n  nodeInfo: {{kernelVersion: {release}, \
         architecture: amd64, operatingSystem: linux, machineID: m, systemUUID: u, bootID: b, osImage: o, \
         containerRuntimeVersion: c, kubeletVersion: v1.36.3, kubeProxyVersion: v1.36.3}}\n---\n"
    )
}

pub(super) fn preflight(stage: &mut Stage) -> Result<()> {
    let nodes = [node("a", "6.12.9-x"), node("b", "6.12.9-x"), node("c", "5.10.0-8-y")].concat();
    stage.must(&["create", "-f", "-"], &nodes)?;
    // A function that came after 5.10.
    let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: newer}\nspec:\n  kprobes:\n  - \
        {call: bpf_prog_load, syscall: false, message: newer, args: [{index: 0, type: nop}]}\n  - {call: io_uring_setup_x, \
        syscall: false, message: newer}\n";
    stage.eventually("an error tells how many nodes there are", |stage| {
        let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], text)?;
        Ok(!said.ok && said.text.contains("on all 3 nodes"))
    })?;
    let some = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: newer}\nspec:\n  kprobes:\n  - \
        {call: security_uring_cmd, syscall: false, message: newer}\n";
    let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], some)?;
    said.expect(true, &["Warning: GW201 spec.kprobes[0].call: not loaded on 1 of 3 nodes (5.10.0-8-y)"])?;
    stage.must(&["delete", "node", "a", "b", "c"], "").map(drop)
}

/// A definition whose schema was loosened admits an object that does not have its kind's fields.
pub(super) fn unreadable(stage: &mut Stage) -> Result<()> {
    let loosen = r#"[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema","value":
        {"type":"object","x-kubernetes-preserve-unknown-fields":true}}]"#;
    let crd = "crd/nodetracings.gatewatch.dev";
    stage.must(&["patch", crd, "--type=json", "-p", loosen], "")?;
    let odd = "apiVersion: gatewatch.dev/v1alpha1\nkind: NodeTracing\nmetadata: {name: odd}\nspec: {kernel: text}\n";
    let good = "apiVersion: gatewatch.dev/v1alpha1\nkind: NodeTracing\nmetadata: {name: good}\nspec: {agentVersion: x, \
        kernel: {arch: x86_64, release: 6.1.0-z}, profile: {hash: h}}\n";
    stage.eventually("the odd object is taken", |stage| Ok(stage.apply(odd)?.ok))?;
    stage.must(&["apply", "-f", "-"], good)?;
    stage.eventually("the odd one is counted, and the other read", |stage| {
        for replica in &stage.plane.replicas {
            let left_out = probe::metric(
                replica.metrics,
                "gatewatch_cache_unreadable_objects",
                &[("cache", "NodeTracing")],
            )?;
            let known =
                probe::metric(replica.metrics, "gatewatch_preflight_nodes", &[("kernel", "6.1.0-z")])?;
            if left_out < 1.0 || known < 1.0 {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    stage.must(&["delete", "nodetracing", "odd", "good"], "")?;
    // Policies are followed all the while.
    stage.must(&["apply", "-f", "-"], &policy("after", "app: after"))?;
    stage.eventually("a policy is seen", |stage| {
        Ok(stage.kubectl(&["get", "policycoverage", "after"], "")?.ok)
    })?;
    stage.must(&["delete", "tracingpolicy", "after"], "").map(drop)
}
