//! Pods that come and go, and many of them.

use std::{fs, path::Path, time::Duration};

use super::{CALLS, SETUID, policy, this};
use crate::{
    agent::{Agent, sum},
    calls,
    pod::{self, Container},
    scrape::{self, EVENTS},
};

/// A policy on `setuid` for pods with this label.
fn for_pods(name: &str, org: &str) -> String {
    policy(name, SETUID)
        .replace("spec:\n", &format!("spec:\n  podSelector: {{matchLabels: {{org: {org}}}}}\n"))
}

fn uid(number: u32) -> String {
    format!("00000000-1111-2222-3333-{number:012}")
}

fn container_id(number: u32) -> String {
    format!("{number:064x}")
}

/// A hundred pods one after the other, each of which makes a thousand calls and ends before the agent knows it:
/// each has its thousand, under its name. One in ten has the name of the pod before it and isn't selected.
pub(super) fn a_hundred_short_ones() {
    const PODS: u32 = 100;
    const BATCH: u32 = 20;
    let agent = Agent::start(&[("p.yaml", &for_pods("empire", "empire"))], &pod::list(&[]));
    let before = agent.sum("gatewatch_map_entries", &[("map", "cgroups")]);
    let this = this();
    let argv = [this.display().to_string(), CALLS.to_owned(), "setuid".to_owned(), "1000".to_owned()];
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let mut listed = Vec::new();
    for number in 0..PODS {
        let container = Container::create(&uid(number), &container_id(number)).expect("a cgroup");
        let output = container.run(&this, &argv).expect("runs");
        assert!(output.status.success(), "{output:?}");
        container.remove().expect("the cgroup is removed");
        fs::remove_dir(container.cgroup.parent().expect("the pod's")).expect("the pod's cgroup is removed");
        let (name, org) = if number % 10 == 9 { (number - 1, "alliance") } else { (number, "empire") };
        listed.push(pod::manifest(
            "test",
            &format!("p{name}"),
            &uid(number),
            &container_id(number),
            &[("org", org)],
        ));
        // Only now they are in the file, and no longer the next time.
        if number % BATCH == BATCH - 1 {
            fs::write(&agent.pods, pod::list(&std::mem::take(&mut listed))).expect("written");
            std::thread::sleep(Duration::from_millis(2_500));
        }
    }
    let text = agent.metrics();
    for number in (0..PODS).filter(|number| number % 10 != 9) {
        let name = format!("p{number}");
        assert_eq!(sum(&text, EVENTS, &[("pod", &name)]), 1_000, "{name}:\n{text}\n{}", agent.log());
    }
    assert_eq!(sum(&text, EVENTS, &[]), u64::from(PODS / 10 * 9) * 1_000);
    assert_eq!(sum(&text, "gatewatch_attribution_pending_events", &[]), 0);
    let after = sum(&text, "gatewatch_map_entries", &[("map", "cgroups")]);
    // `kubepods` and the class of service in it stay.
    assert!(after <= before + 2, "{before} cgroups before, {after} after");
}

/// 200 pods and 100 policies, half of which select each pod: what a scrape takes, and what the agent needs.
pub(super) fn two_hundred_and_a_hundred_policies() {
    const PODS: u32 = 200;
    const POLICIES: u32 = 100;
    let policies: Vec<(String, String)> = (0..POLICIES)
        .map(|i| (format!("{i}.yaml"), for_pods(&format!("p{i}"), if i % 2 == 0 { "even" } else { "odd" })))
        .collect();
    let policies: Vec<(&str, &str)> =
        policies.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let manifests: Vec<String> = (0..PODS)
        .map(|i| {
            let org = if i % 2 == 0 { "even" } else { "odd" };
            pod::manifest("test", &format!("pod{i}"), &uid(i), &container_id(i), &[("org", org)])
        })
        .collect();
    let agent = Agent::start(&policies, &pod::list(&manifests));
    let containers: Vec<Container> =
        (0..PODS).map(|i| Container::create(&uid(i), &container_id(i)).expect("a cgroup")).collect();
    // What a cgroup counts before it has a policy set, it counts for all policies: for 200 of them the table has no room.
    let assigned = |text: &str| sum(text, "gatewatch_map_entries", &[("map", "cgroups")]) >= u64::from(PODS);
    assert!(agent.wait(assigned), "{}", agent.log());
    let join = |cgroup: &Path| fs::write(cgroup.join("cgroup.procs"), "0").expect("joined");
    for container in &containers {
        join(&container.cgroup);
        calls::setuid_root(2);
    }
    join(Path::new("/sys/fs/cgroup"));
    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[]), u64::from(PODS * POLICIES / 2) * 2, "{}", agent.log());
    assert_eq!(scrape::samples(&text, EVENTS).len(), (PODS * POLICIES / 2) as usize);
    // The second one has only to read.
    let text = agent.metrics();
    let took = scrape::samples(&text, "gatewatch_scrape_duration_seconds")[0].1;
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).expect("the agent's status");
    let kilobytes = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(u64::MAX)
    };
    let (now, most) = (kilobytes("VmRSS:"), kilobytes("VmHWM:"));
    let own = kilobytes("RssAnon:");
    println!(
        "a scrape of 10,000 series took {took:.3} s here; the agent has {own} KiB of its own, {now} KiB with its program, at \
         most {most} KiB"
    );
    // What it may have of its own: 14 to 15 MiB when this was written. What is mapped of its program is as much again here,
    // where the program isn't optimised, and grows with its code: `bench memory` holds the optimised program to its budget.
    assert!(own <= 17 * 1024, "the agent has {own} KiB of its own");
    // It may take 0.05 s of a real processor, which is ten times as quick; this took 0.07 s here, and more on a busy machine.
    assert!(took <= 1.0, "a scrape took {took} s");
    let per_policy = scrape::samples(&text, "gatewatch_policy_kernel_memory_bytes");
    assert_eq!(per_policy.len(), POLICIES as usize);
    for (labels, bytes) in per_policy {
        assert!(bytes > 0.0 && bytes <= 65_536.0, "{labels:?}: {bytes}");
    }
    for container in containers {
        container.remove().expect("the cgroup is removed");
    }
}

/// A policy has more series than it may: what is too much has no program, but its pod, and the sum is exact.
pub(super) fn more_series_than_allowed() {
    let everything = policy("all", SETUID);
    let manifests: Vec<String> = (0..6)
        .map(|i| pod::manifest("test", &format!("pod{i}"), &uid(i), &container_id(i), &[("a", "b")]))
        .collect();
    let agent =
        Agent::start_with(&[("p.yaml", &everything)], &pod::list(&manifests), &["--series-per-policy", "3"]);
    let containers: Vec<Container> =
        (0..6).map(|i| Container::create(&uid(i), &container_id(i)).expect("a cgroup")).collect();
    for container in &containers {
        fs::write(container.cgroup.join("cgroup.procs"), "0").expect("joined");
        calls::setuid_root(10);
    }
    fs::write("/sys/fs/cgroup/cgroup.procs", "0").expect("joined");
    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[("policy", "all")]), 60, "{text}");
    assert_eq!(sum(&text, EVENTS, &[("policy", "all"), ("binary", "<overflow>")]), 30, "{text}");
    for i in 0..6 {
        let pod = format!("pod{i}");
        assert_eq!(
            sum(&text, EVENTS, &[("policy", "all"), ("namespace", "test"), ("pod", &pod)]),
            10,
            "{text}"
        );
    }
    assert_eq!(scrape::samples(&text, EVENTS).len(), 6, "{text}");
    for container in containers {
        container.remove().expect("the cgroup is removed");
    }
}
