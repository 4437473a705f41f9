//! What the cluster's objects say of an agent that is there, and of one that is not.

use anyhow::{Result, ensure};

use super::{AGENT, rolled_out, until};
use crate::cluster::{self, Cluster};

/// A policy of the story that every node runs.
const POLICY: &str = "sudo-invocations";
/// No node has it.
const NOWHERE: &str = "gatewatch.dev/no-such-node";

/// The node's report names the agent's pod and the node's boot. Without an agent, the policy is not loaded on the node but
/// unknown, with the reason, although the last report still says that it is; with an agent, it is loaded again.
pub(super) fn reports(cluster: &mut Cluster, _: &cluster::Programs) -> Result<()> {
    let kubectl = cluster.kubectl();
    let field = |of: &[&str], path: &str| {
        kubectl.text(&[of, &["--output", &format!("jsonpath={{{path}}}")]].concat())
    };
    let boot = field(&["get", "nodes"], ".items[0].status.nodeInfo.bootID")?;
    let pods = ["get", "pods", "--namespace=gatewatch", "--selector=app.kubernetes.io/component=agent"];
    let pod = field(&pods, ".items[0].metadata.uid")?;
    ensure!(!boot.is_empty() && !pod.is_empty(), "boot {boot:?}, pod {pod:?}");
    let reports = ["get", "nodetracings"];
    let reported =
        (field(&reports, ".items[0].status.bootID")?, field(&reports, ".items[0].status.agentPodUID")?);
    ensure!(reported == (boot, pod.clone()), "the report is by {reported:?}, the agent is {pod}");

    let coverage = ["get", "policycoverage", POLICY];
    let nodes = || {
        let loaded = field(&coverage, ".status.nodes.loaded")?;
        Ok::<_, anyhow::Error>((loaded, field(&coverage, ".status.nodes.unknown")?))
    };
    let is = |loaded: &str, unknown: &str| Ok(nodes()? == (loaded.to_owned(), unknown.to_owned()));
    until("the policy is loaded", || is("1", "0"))?;
    let selector = |value: &str| {
        let patch = format!(
            "{{\"spec\":{{\"template\":{{\"spec\":{{\"nodeSelector\":{{\"{NOWHERE}\":{value}}}}}}}}}}}"
        );
        kubectl.text(&[&["patch"], &AGENT[..], &["--type=merge", "--patch", &patch]].concat())
    };
    selector("\"true\"")?;
    let without = until("without an agent the policy is unknown", || is("0", "1")).and_then(|()| {
        let reason = field(&coverage, ".status.unconfirmedNodes[0].reason")?;
        ensure!(reason.contains("no pod of the agent"), "the reason is {reason:?}");
        let covered = field(&coverage, ".status.conditions[?(@.type==\"Covered\")].status")?;
        ensure!(covered != "True", "it is covered without an agent");
        Ok(())
    });
    // What comes after this needs the agent.
    selector("null")?;
    rolled_out(cluster)?;
    without?;
    until("the next agent's report is believed", || is("1", "0"))?;
    let next = field(&pods, ".items[0].metadata.uid")?;
    ensure!(next != pod, "the agent is the one before");
    Ok(())
}

/// Of the BPF file system, the agent sees its own folder alone.
pub(super) fn mounts(cluster: &mut Cluster, _: &cluster::Programs) -> Result<()> {
    // proc_pid_mountinfo(5): the mount point is the fifth field, the type is after the separator.
    let script = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" != gatewatch-agent ] || grep -- ' - bpf ' $p/mountinfo; done";
    let (code, output) = cluster.run_on_node(script)?;
    let places: Vec<&str> = output.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    ensure!(code == 0 && places == ["/sys/fs/bpf/gatewatch"], "mounted: {places:?} ({code}: {output})");
    Ok(())
}
