//! Policies that one matcher does not hold together, and updates that cannot be loaded.

use std::{fmt::Write as _, fs, time::Duration};

use super::{Callers, SETUID, policy, restart::hooks_are_kept};
use crate::{
    agent::{Agent, sum},
    calls, pod,
    scrape::EVENTS,
};

/// Conditions that every call of `setuid(0)` by a process of the host meets. Each is on another integer: together they are
/// more than one matcher reads.
fn conditions() -> Vec<(String, String)> {
    let namespaces = ["Uts", "Ipc", "Mnt", "Pid", "Net", "Cgroup", "User"].map(|kind| {
        let filter = format!("matchNamespaces: [{{namespace: {kind}, operator: In, values: [host_ns]}}]");
        (format!("namespace-{}", kind.to_lowercase()), filter)
    });
    let capabilities = ["Effective", "Permitted"].map(|kind| {
        let filter = format!("matchCapabilities: [{{type: {kind}, operator: In, values: [CAP_SYS_ADMIN]}}]");
        (format!("capability-{}", kind.to_lowercase()), filter)
    });
    let others = [
        ("argument", "matchArgs: [{index: 0, operator: Equal, values: [\"0\"]}]"),
        ("pid", "matchPIDs: [{operator: NotIn, values: [1]}]"),
        ("namespace-pid-number", "matchPIDs: [{operator: NotIn, values: [1], isNamespacePID: true}]"),
    ]
    .map(|(name, filter)| (name.to_owned(), filter.to_owned()));
    namespaces.into_iter().chain(capabilities).chain(others).collect()
}

fn with_condition(name: &str, filter: &str) -> String {
    policy(name, &format!("{SETUID}\n    args: [{{index: 0, type: uint32}}]\n    selectors:\n    - {filter}"))
}

/// A dozen policies on one function, each on an integer of its own: each counts every call, while the agent is killed and
/// comes back, and while another policy comes, changes and goes.
pub(super) fn more_integers_than_a_matcher_reads() {
    let conditions = conditions();
    let text: String = conditions.iter().map(|(name, filter)| with_condition(name, filter)).collect();
    let mut agent = Agent::start(&[("all.yaml", &text)], &pod::list(&[]));
    let running = |more: usize| format!("policies{{state=\"running\"}} {}", conditions.len() + more);
    assert!(agent.metrics().contains(&running(0)), "{}", agent.log());
    assert!(agent.log().contains("kprobe:__sys_setuid lane 1"), "{}", agent.log());
    let kept = hooks_are_kept();
    let callers = Callers::start(&agent);
    let file = agent.policies.join("another.yaml");
    for value in [0, 7] {
        let another = format!("matchArgs: [{{index: 0, operator: Equal, values: [\"{value}\"]}}]");
        fs::write(&file, with_condition("another", &another)).expect("written");
        assert!(agent.wait(|text| text.contains(&running(1))), "{}", agent.log());
        agent.kill();
        std::thread::sleep(Duration::from_millis(300));
        agent.again();
        assert!(agent.wait(|text| text.contains(&running(1))), "{}", agent.log());
    }
    fs::remove_file(&file).expect("removed");
    assert!(agent.wait(|text| text.contains(&running(0))), "{}", agent.log());
    let made = callers.finish();
    assert!(made > 1_000, "only {made} calls were made");
    let text = agent.metrics();
    for (name, _) in &conditions {
        let counted = sum(&text, EVENTS, &[("policy", name)]);
        if kept {
            assert_eq!(counted, made, "{name}:\n{text}\n{}", agent.log());
        } else {
            assert!(counted > 0 && counted < made, "{name}: {counted} of {made}\n{text}");
        }
    }
    assert_eq!(sum(&text, "gatewatch_events_missed_total", &[]), 0, "{text}");
    // The other lane ends with its last policy.
    fs::write(agent.policies.join("all.yaml"), with_condition(&conditions[0].0, &conditions[0].1))
        .expect("written");
    assert!(agent.wait(|text| text.contains("policies{state=\"running\"} 1")), "{}", agent.log());
    let before = agent.events(&[("policy", &conditions[0].0)]);
    calls::setuid_root(100);
    assert_eq!(agent.events(&[("policy", &conditions[0].0)]), before + 100, "{}", agent.metrics());
}

/// An update that the node cannot load: the version before counts on, and the policy's state says so. The next update that
/// can be loaded replaces it.
pub(super) fn a_failed_update_keeps_the_version_before() {
    /// More sets of programs than a node can follow.
    const SETS: u32 = 65;
    let agent = Agent::start(
        &[("p.yaml", &policy("changed", SETUID)), ("q.yaml", &policy("other", SETUID))],
        &pod::list(&[]),
    );
    calls::setuid_root(10);
    let mut hooks = String::new();
    for (set, call) in (0..SETS).zip(["__sys_setuid", "__sys_setgid", "__sys_setreuid"].iter().cycle()) {
        let _ = writeln!(
            hooks,
            "  - call: {call}\n    syscall: false\n    selectors:\n    - matchBinaries: [{{operator: In, values: [/set/{set}], \
             followChildren: true}}]"
        );
    }
    let file = agent.policies.join("p.yaml");
    fs::write(&file, policy("changed", &hooks)).expect("written");
    let failed = |text: &str| sum(text, "gatewatch_policies", &[("state", "failed")]);
    assert!(agent.wait(|text| failed(text) == 1), "{}", agent.log());
    calls::setuid_root(10);
    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[("policy", "changed")]), 20, "{text}\n{}", agent.log());
    assert_eq!(sum(&text, EVENTS, &[("policy", "other")]), 20, "{text}");
    let log = agent.log();
    assert!(log.contains("cannot load policy changed") && log.contains("it runs as it was before"), "{log}");
    // Another change of policies changes nothing for it.
    fs::remove_file(agent.policies.join("q.yaml")).expect("removed");
    assert!(agent.wait(|text| !text.contains("policy=\"other\"")), "{}", agent.metrics());
    assert_eq!(failed(&agent.metrics()), 1, "{}", agent.log());
    calls::setuid_root(10);
    assert_eq!(agent.events(&[("policy", "changed")]), 30, "{}", agent.metrics());
    fs::write(&file, with_condition("changed", "matchArgs: [{index: 0, operator: Equal, values: [\"7\"]}]"))
        .expect("written");
    assert!(agent.wait(|text| failed(text) == 0), "{}", agent.log());
    calls::setuid_root(10);
    assert_eq!(agent.events(&[("policy", "changed")]), 30, "{}", agent.metrics());
}
