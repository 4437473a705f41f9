//! The suite `cluster`: Gatewatch, installed by its chart, on a real Kubernetes cluster.

mod agents;
mod endurance;
mod outages;
mod pods;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Context, counts::Counts};
use crate::{
    cluster::{self, Cluster, Story, samples},
    kube::Life,
    paths,
};

const POD_LIMIT: &str = "--timeout=900s";
/// How long what was done may take to be seen in the node's numbers or in the cluster's objects.
const SEEN_LIMIT: Duration = Duration::from_mins(5);

pub(super) use endurance::run as endurance;

type Test = fn(&mut Cluster, &cluster::Programs) -> Result<()>;

/// In the order in which they run: the first installs what the others test.
const TESTS: &[(&str, Test)] = &[
    ("the story of the README", story),
    ("a service answers at its address", service),
    ("the gate answers through its Service", gate),
    ("the agent runs under a seccomp profile of its own", confined),
    ("labels of running pods are followed", pods::relabelled),
    ("pods that live for a moment are counted whole, each under its name", pods::short_lived),
    ("a policy that cannot load is reported, and the others run", unloadable),
    ("the agent sees its own folder of the BPF file system alone", agents::mounts),
    ("what is reported of a node is by an agent that is there", agents::reports),
    ("counts continue when the agent is replaced, and when it is killed", outages::agent),
    ("counting and scraping continue while the API server is away", outages::api_server),
    ("an uninstalled chart leaves nothing that blocks, and nothing in the kernel", uninstall),
];

/// A cluster with nothing of ours on it, and the programs that talk to it.
fn up(context: &Context) -> Result<(Cluster, cluster::Programs)> {
    let built = context.built()?;
    let cache = &context.tools.cache;
    let programs = cluster::programs(cache)?;
    let folder = paths::target().join("cluster-test");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let cluster = Cluster::up(cache, built, &cluster::images(built)?, &folder, Life::WithParent)?;
    Ok((cluster, programs))
}

pub(super) fn run(context: &Context) -> Result<Counts> {
    let (mut cluster, programs) = up(context)?;
    let mut counts = Counts::default();
    for (name, test) in TESTS {
        let begun = Instant::now();
        let outcome = test(&mut cluster, &programs).and_then(|()| cluster.check());
        let seconds = begun.elapsed().as_secs_f64();
        match &outcome {
            Ok(()) => println!("test {name} ... ok ({seconds:.1} s)"),
            Err(error) => println!("{error:#}\ntest {name} ... FAILED ({seconds:.1} s)"),
        }
        counts = counts.and(Counts::one(name, outcome.is_ok()));
    }
    if counts.failed > 0 {
        println!("{}", cluster.post_mortem());
    }
    cluster.down()?;
    Ok(counts)
}

fn story(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    Story::new(cluster, programs).tell()
}

/// Through kube-proxy's rules on the node, and through the API server.
fn service(cluster: &mut Cluster, _: &cluster::Programs) -> Result<()> {
    let path = "jsonpath={.spec.clusterIP}";
    let address =
        cluster.kubectl().text(&["get", "service", "deathstar", "--namespace", "test", "--output", path])?;
    let (code, output) = cluster.run_on_node(&format!("curl -sS -m 30 http://{address}/v1/"))?;
    ensure!(code == 0 && output.contains("Ship landed"), "curl on the node: {code}, {output}");
    let proxied = "/api/v1/namespaces/test/services/deathstar:80/proxy/v1/";
    let output = cluster.kubectl().text(&["get", "--raw", proxied])?;
    ensure!(output.contains("Ship landed"), "through the API server: {output}");
    Ok(())
}

/// Relabelling a ship takes it out of the policies' sight, which the gate says.
fn gate(cluster: &mut Cluster, _: &cluster::Programs) -> Result<()> {
    let said = cluster.kubectl().shown(&[
        "label",
        "pod",
        "tiefighter",
        "--namespace=test",
        "org=empre",
        "--overwrite",
        "--dry-run=server",
    ])?;
    ensure!(said.contains("Warning: GW") && said.contains("external-http-call"), "the gate said: {said}");
    Ok(())
}

/// All that comes after this runs under it. A profile that the node doesn't have, or that doesn't let the agent start, would
/// be the end of the roll-out.
fn confined(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    let story = Story::new(cluster, programs);
    let before = sudo(&story.scrape()?)?;
    story.install_with(&[
        "agent.seccompProfile.type=Localhost",
        "agent.seccompProfile.localhostProfile=gatewatch/agent.json",
    ])?;
    // Helm's own wait lets a single agent be away.
    rolled_out(cluster)?;
    run_sudo(cluster)?;
    ensure!(sudo(&story.scrape()?)? > before, "sudo isn't counted under the profile");
    Ok(())
}

/// The agents' `DaemonSet`, as kubectl takes it.
const AGENT: [&str; 2] = ["daemonset/gatewatch-agent", "--namespace=gatewatch"];

/// Waits until each node has the agent as the `DaemonSet` wants it.
fn rolled_out(cluster: &Cluster) -> Result<()> {
    cluster.kubectl().text(&[&["rollout", "status", POD_LIMIT], &AGENT[..]].concat())?;
    Ok(())
}

const UNLOADABLE: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: unloadable}
spec: {kprobes: [{call: no_such_function_here, syscall: false}]}
";

/// The webhook would reject it, so it is set to warn. (A policy gets past the gate in other ways, too: a node with another
/// kernel may join later.)
fn unloadable(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    let modes = |modes: &str| {
        let patch = format!("{{\"data\":{{\"modes.yaml\":\"{modes}\"}}}}");
        cluster.kubectl().text(&[
            "patch",
            "configmap",
            "gatewatch-modes",
            "--namespace=gatewatch",
            "--type=merge",
            "--patch",
            &patch,
        ])
    };
    let rejected = cluster.kubectl().apply(UNLOADABLE);
    ensure!(
        rejected.as_ref().is_err_and(|error| format!("{error:#}").contains("GW201")),
        "not rejected: {rejected:?}"
    );
    modes("modes: {GW201: warn}")?;
    until("the gate lets the policy pass", || Ok(cluster.kubectl().apply(UNLOADABLE).is_ok()))?;
    until("the policy is reported as failed", || Ok(state(cluster, "unloadable")? == "Failed"))?;
    let reason = on_node(cluster, "unloadable", "reason")?;
    ensure!(reason.contains("no_such_function_here"), "the reason is {reason:?}");
    let metrics = Story::new(cluster, programs).scrape()?;
    let told = |line: &str| line.starts_with("gatewatch_policy_info{") && line.contains("\"unloadable\"");
    ensure!(metrics.lines().any(told), "no metric reports the policy:\n{metrics}");
    let before = sudo(&metrics)?;
    run_sudo(cluster)?;
    ensure!(sudo(&Story::new(cluster, programs).scrape()?)? > before, "sudo isn't counted any more");
    // It is tried again when it changes.
    cluster.kubectl().apply(&UNLOADABLE.replace("no_such_function_here", "__sys_setgid"))?;
    wait_loaded(cluster, "unloadable")?;
    modes("modes: {}")?;
    cluster.kubectl().text(&["delete", "tracingpolicy", "unloadable"])?;
    Ok(())
}

/// Waits until the node has loaded a policy.
fn wait_loaded(cluster: &Cluster, policy: &str) -> Result<()> {
    until(&format!("{policy} is loaded"), || Ok(state(cluster, policy)? == "Loaded"))
}

/// What the node's object says of a policy; empty where it says nothing.
fn state(cluster: &Cluster, policy: &str) -> Result<String> {
    on_node(cluster, policy, "state")
}

fn on_node(cluster: &Cluster, policy: &str, field: &str) -> Result<String> {
    let path = format!("jsonpath={{.items[0].status.policies[?(@.name==\"{policy}\")].{field}}}");
    cluster.kubectl().text(&["get", "nodetracings", "--output", &path])
}

/// Waits until something is so. An error counts as "not yet", and is reported at the end.
fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    loop {
        let held = holds();
        if matches!(held, Ok(true)) {
            return Ok(());
        }
        if begun.elapsed() > SEEN_LIMIT {
            bail!("after {} s it is not so that {what}: {held:?}", SEEN_LIMIT.as_secs());
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Uses of sudo that were counted on the node, outside of every pod.
fn sudo(metrics: &str) -> Result<f64> {
    let samples = samples::events(metrics)?;
    let of_host = samples
        .iter()
        .filter(|sample| sample.label("policy") == "sudo-invocations" && sample.label("pod").is_empty());
    Ok(of_host.map(|sample| sample.value).sum())
}

fn run_sudo(cluster: &Cluster) -> Result<()> {
    let (code, output) = cluster.run_on_node("sudo true")?;
    ensure!(code == 0, "sudo ended with code {code}: {output}");
    Ok(())
}

fn uninstall(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    Story::new(cluster, programs).uninstall()?;
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: after}\nspec:\n  containers: [{name: a, image: none}]\n";
    cluster.kubectl().with_input(&["create", "--dry-run=server", "-f", "-"], pod)?;
    cluster.kubectl().with_input(&["create", "--dry-run=server", "-f", "-"], UNLOADABLE)?;
    let mut left = String::new();
    let nothing = until("nothing is pinned on the node", || {
        // An empty folder may stay: it was a mount of the agent's container.
        let (code, output) = cluster.run_on_node("find /sys/fs/bpf/gatewatch -mindepth 1")?;
        left = output;
        Ok(code == 0 && left.is_empty())
    });
    nothing.with_context(|| format!("pinned: {left}"))
}
