//! A node with many pods and policies: cgroups as kubelet makes them, and an agent.

use std::{fs, path::Path};

use super::table::Table;
use crate::{
    agent::{Agent, sum},
    calls,
    pod::{self, Container},
    scrape::{self, EVENTS},
    vm::policy,
};

/// An agent, and the pods of its node.
pub(super) struct World {
    pub(super) agent: Agent,
    containers: Vec<Container>,
}

/// A policy on `setuid`; every other one selects the even pods, and the rest the odd ones.
pub(super) fn policy_text(number: u32) -> String {
    let selector = format!("spec:\n  podSelector: {{matchLabels: {{org: {}}}}}\n", org(number));
    policy(&format!("policy-{number}"), "  - call: __sys_setuid\n    syscall: false")
        .replace("spec:\n", &selector)
}

fn org(number: u32) -> &'static str {
    if number.is_multiple_of(2) { "even" } else { "odd" }
}

fn uid(number: u32) -> String {
    format!("00000000-1111-2222-3333-{number:012}")
}

fn container_id(number: u32) -> String {
    format!("{number:064x}")
}

/// Files of policies, as an agent takes them.
pub(super) fn policies(count: u32) -> Vec<(String, String)> {
    (0..count).map(|number| (format!("{number}.yaml"), policy_text(number))).collect()
}

/// Starts an agent with so many policies of these, and pods.
pub(super) fn start(policies: &[(String, String)], pods: &str) -> Agent {
    let policies: Vec<(&str, &str)> =
        policies.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Agent::start(&policies, pods)
}

impl World {
    /// With so many policies and pods, when all pods are known to the BPF programs.
    pub(super) fn new(table: &Table, policies: u32, pods: u32) -> Self {
        table.progress(&format!("starting an agent with {policies} policies and {pods} pods"));
        let manifests: Vec<String> = (0..pods)
            .map(|i| pod::manifest("test", &format!("pod{i}"), &uid(i), &container_id(i), &[("org", org(i))]))
            .collect();
        let agent = start(&self::policies(policies), &pod::list(&manifests));
        let containers: Vec<Container> =
            (0..pods).map(|i| Container::create(&uid(i), &container_id(i)).expect("a cgroup")).collect();
        // What a cgroup counts before it has a policy set, it counts for all policies. A pod has one, and so has its container.
        let assigned =
            |text: &str| sum(text, "gatewatch_map_entries", &[("map", "cgroups")]) >= u64::from(pods) * 2;
        assert!(agent.wait(assigned), "{}", agent.log());
        let running = agent.sum("gatewatch_policies", &[("state", "running")]);
        assert_eq!(running, u64::from(policies), "all policies run\n{}", agent.log());
        Self { agent, containers }
    }

    /// A few calls in each pod: one series for each policy that selects it.
    pub(super) fn call(&self, times: u64) {
        let join = |cgroup: &Path| fs::write(cgroup.join("cgroup.procs"), "0").expect("joined");
        for container in &self.containers {
            join(&container.cgroup);
            calls::setuid_root(times);
        }
        join(Path::new("/sys/fs/cgroup"));
    }

    /// A scrape in which so many events are counted.
    pub(super) fn scrape(&self, events: u64) -> String {
        let text = self.agent.metrics();
        assert_eq!(sum(&text, EVENTS, &[]), events, "{}", self.agent.log());
        text
    }
}

/// How many series of events there are.
pub(super) fn series(text: &str) -> usize {
    scrape::samples(text, EVENTS).len()
}

impl Drop for World {
    fn drop(&mut self) {
        for container in &self.containers {
            let _ = container.remove();
            let _ = container.cgroup.parent().map(fs::remove_dir);
        }
    }
}
