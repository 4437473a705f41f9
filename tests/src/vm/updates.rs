//! Policies come, change and go while events happen.

use std::fs;

use super::{Callers, SETUID, policy, this};
use crate::{agent::Agent, agent::sum, calls, kernel::Kernel, pod, scrape::EVENTS};

/// Two processes call flat out; meanwhile policies on the same function are added, changed and removed. The policy
/// that stays counts every call.
pub(super) fn without_a_gap() {
    const CHANGES: u32 = 9;
    let all = policy("all", SETUID);
    let agent = Agent::start(&[("all.yaml", &all)], &pod::list(&[]));
    let callers = Callers::start(&agent);
    let file = agent.policies.join("other.yaml");
    for change in 0..CHANGES {
        // A deleted file takes effect after the second poll only.
        let (written, seen) = if change % 3 == 2 {
            fs::remove_file(&file).expect("removed");
            (false, "policies{state=\"running\"} 1")
        } else {
            let hook = format!(
                "  - call: __sys_setuid\n    syscall: false\n    args: [{{index: 0, type: uint32}}]\n    selectors:\n    - \
                 matchArgs: [{{index: 0, operator: Equal, values: [\"{change}\"]}}]"
            );
            fs::write(&file, policy("other", &hook)).expect("written");
            (true, "policies{state=\"running\"} 2")
        };
        assert!(
            agent.wait(|text| text.contains(seen)),
            "change {change} (written: {written}):\n{}",
            agent.log()
        );
    }
    let made = callers.finish();
    assert!(made > 10_000, "only {made} calls were made");
    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[("policy", "all")]), made, "{text}\n{}", agent.log());
    assert_eq!(sum(&text, "gatewatch_events_missed_total", &[]), 0, "{text}");
}

/// A policy follows the children of one set of programs after the other: more of them than can be followed at a time.
pub(super) fn followed_one_after_the_other() {
    const SETS: u64 = 70;
    let mut kernel = Kernel::load();
    let this = this().display().to_string();
    for number in 0..SETS {
        let hook = format!(
            "{SETUID}\n    selectors:\n    - matchBinaries: [{{operator: In, values: [\"{this}\", \"/none/{number}\"], \
             followChildren: true}}]"
        );
        let plans = kernel.compile(&policy("followed", &hook));
        let failed = kernel.apply(plans);
        assert!(failed.is_empty(), "set {number}: {failed:?}");
        calls::setuid_root(1);
    }
    assert_eq!(kernel.counts()["followed"], SETS);
}

/// The series of a policy that is removed go with it, and come back from 0.
pub(super) fn series_go_with_their_policy() {
    let gid = policy("gid", "  - call: __sys_setgid\n    syscall: false");
    let uid = policy("uid", SETUID);
    let agent = Agent::start(&[("gid.yaml", &gid), ("uid.yaml", &uid)], &pod::list(&[]));
    calls::setgid(0, 5);
    calls::setuid_root(5);
    assert_eq!((agent.events(&[("policy", "gid")]), agent.events(&[("policy", "uid")])), (5, 5));
    let file = agent.policies.join("gid.yaml");
    fs::remove_file(&file).expect("removed");
    assert!(agent.wait(|text| !text.contains("policy=\"gid\"")), "{}", agent.metrics());
    calls::setgid(0, 5);
    assert_eq!(agent.events(&[("policy", "gid")]), 0);
    fs::write(&file, gid).expect("written");
    assert!(agent.wait(|text| sum(text, "gatewatch_policies", &[("state", "running")]) == 2));
    calls::setgid(0, 7);
    assert_eq!(sum(&agent.metrics(), EVENTS, &[("policy", "gid")]), 7, "{}", agent.metrics());
    assert_eq!(agent.events(&[("policy", "uid")]), 5);
}
