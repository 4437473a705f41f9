//! Tasks that go from one cgroup to another, and cgroups that come to be watched: what a matcher remembers, and what
//! it passes over, holds only for as long as it is true.

use std::{
    fs,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use super::{SETUID, policy};
use crate::{
    agent::{Agent, sum},
    calls,
    pod::{self, Container},
    scrape::EVENTS,
};

const SETGID: &str = "  - call: __sys_setgid\n    syscall: false";
const HOST: &str = "/sys/fs/cgroup";
/// How often a thread visits all cgroups, and how many calls each thread makes in each.
const ROUNDS: u64 = 20;
const CALLS: u64 = 10;

/// Calls of both kinds.
fn both() {
    calls::setuid_root(CALLS);
    calls::setgid(0, CALLS);
}

fn names(number: u32) -> (String, String) {
    (format!("00000000-1111-2222-3333-{number:012}"), format!("{number:064x}"))
}

fn pods(second: &str) -> String {
    let of = |number, name, org| {
        let (uid, container) = names(number);
        pod::manifest("test", name, &uid, &container, &[("org", org)])
    };
    pod::list(&[of(1, "one", "empire"), of(2, "two", second)])
}

/// A thread that makes its calls on request, and reports when they are made.
fn other_thread() -> (SyncSender<()>, Receiver<()>) {
    let (tell, told) = sync_channel(0);
    let (done, made) = sync_channel(0);
    thread::spawn(move || {
        while told.recv().is_ok() {
            both();
            let _ = done.send(());
        }
    });
    (tell, made)
}

/// A process with two threads goes through the host's cgroup and those of two pods, of which one is selected by a policy;
/// then the other one is, too.
pub(super) fn between_cgroups() {
    let selecting =
        policy("empire", SETGID).replace("spec:\n", "spec:\n  podSelector: {matchLabels: {org: empire}}\n");
    let agent =
        Agent::start(&[("a.yaml", &policy("all", SETUID)), ("b.yaml", &selecting)], &pods("alliance"));
    let containers = [1, 2].map(|number| {
        let (uid, container) = names(number);
        Container::create(&uid, &container).expect("a cgroup")
    });
    // Until it knows whose they are.
    thread::sleep(Duration::from_millis(2_500));
    let (tell, made) = other_thread();
    let go = |cgroup: &Path| {
        fs::write(cgroup.join("cgroup.procs"), "0").expect("joined");
        tell.send(()).expect("told");
        both();
        made.recv().expect("made");
    };
    for _ in 0..ROUNDS {
        for cgroup in [&containers[0].cgroup, &containers[1].cgroup, Path::new(HOST)] {
            go(cgroup);
        }
    }
    let each = ROUNDS * CALLS * 2;
    let text = agent.metrics();
    let counted = |text: &str, policy, pod| sum(text, EVENTS, &[("policy", policy), ("pod", pod)]);
    for (policy, pod, expected) in [
        ("all", "one", each),
        ("all", "two", each),
        ("all", "", each),
        ("empire", "one", each),
        ("empire", "two", 0),
        ("empire", "", 0),
    ] {
        assert_eq!(counted(&text, policy, pod), expected, "{policy} {pod}\n{text}\n{}", agent.log());
    }
    // Now the policy selects the second pod.
    fs::write(&agent.pods, pods("empire")).expect("written");
    thread::sleep(Duration::from_millis(2_500));
    go(&containers[1].cgroup);
    go(Path::new(HOST));
    let text = agent.metrics();
    assert_eq!(counted(&text, "empire", "two"), CALLS * 2, "{text}\n{}", agent.log());
    assert_eq!(counted(&text, "empire", ""), 0, "{text}");
    for container in containers {
        container.remove().expect("the cgroup is removed");
    }
}
