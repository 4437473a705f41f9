//! Exactness under load that takes minutes: for a suite of its own.

use std::{fs, path::Path, process::Command, thread::sleep, time::Duration};

use rustix::process::Signal;

use super::{CALLS, Callers, counts_setuid, this};
use crate::{
    agent::{Agent, sum},
    calls,
    scrape::EVENTS,
};

/// What was counted, whatever it was counted under, is what was made, and nothing was left over.
fn exact(agent: &Agent, made: u64) {
    let text = agent.metrics();
    let counted = sum(&text, EVENTS, &[("policy", "uid")]);
    let overflow = sum(&text, "gatewatch_events_overflow_total", &[]);
    assert_eq!(counted + overflow, made, "{counted} in series, {overflow} in overflow\n{}", agent.log());
    assert_eq!(sum(&text, "gatewatch_events_missed_total", &[]), 0, "{}", agent.log());
}

/// The agent gets a twentieth of a processor while two processes call flat out.
pub(super) fn agent_starved() {
    let agent = counts_setuid();
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+cpu").expect("a controller of processor time");
    let cgroup = Path::new("/sys/fs/cgroup/starved");
    fs::create_dir(cgroup).expect("a cgroup");
    fs::write(cgroup.join("cpu.max"), "5000 100000").expect("a limit");
    fs::write(cgroup.join("cgroup.procs"), agent.id().to_string()).expect("joined");
    let callers = Callers::start(&agent);
    sleep(Duration::from_mins(1));
    let made = callers.finish();
    fs::write("/sys/fs/cgroup/cgroup.procs", agent.id().to_string()).expect("joined");
    exact(&agent, made);
    drop(agent);
    fs::remove_dir(cgroup).expect("removed");
}

/// The agent stands still for a minute while two processes call flat out.
pub(super) fn agent_stopped() {
    let agent = counts_setuid();
    let callers = Callers::start(&agent);
    sleep(Duration::from_secs(2));
    agent.signal(Signal::STOP);
    sleep(Duration::from_mins(1));
    agent.signal(Signal::CONT);
    sleep(Duration::from_secs(2));
    exact(&agent, callers.finish());
}

/// More different programs than the BPF programs can remember: each call is counted, and memory has its bound.
pub(super) fn programs_without_end() {
    const PROGRAMS: u64 = 20_000;
    let agent = counts_setuid();
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program");
    fs::copy(this(), &program).expect("a copy of this program");
    for number in 0..PROGRAMS {
        let other = folder.path().join(format!("program-{number}"));
        fs::rename(&program, &other).expect("renamed");
        let status = Command::new(&other).args([CALLS, "setuid", "1"]).status();
        assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{number}: {status:?}");
        fs::rename(&other, &program).expect("renamed");
    }
    exact(&agent, PROGRAMS);
    let text = agent.metrics();
    for map in ["counts", "binaries", "processes"] {
        let entries = sum(&text, "gatewatch_map_entries", &[("map", map)]);
        assert!(entries <= sum(&text, "gatewatch_map_capacity", &[("map", map)]), "{map}\n{text}");
    }
}

/// Ten thousand cgroups, a call in each, then it goes: each call is counted, and nothing is kept of them.
pub(super) fn cgroups_without_end() {
    const CGROUPS: u64 = 10_000;
    let agent = counts_setuid();
    let entries = |text: &str, map| sum(text, "gatewatch_map_entries", &[("map", map)]);
    let before = entries(&agent.metrics(), "cgroups");
    let cgroup = Path::new("/sys/fs/cgroup/one-of-many");
    for number in 0..CGROUPS {
        fs::create_dir(cgroup).expect("a cgroup");
        fs::write(cgroup.join("cgroup.procs"), "0").expect("joined");
        calls::setuid_root(1);
        fs::write("/sys/fs/cgroup/cgroup.procs", "0").expect("joined");
        fs::remove_dir(cgroup).unwrap_or_else(|error| panic!("cgroup {number} is not removed: {error}"));
    }
    exact(&agent, CGROUPS);
    assert!(agent.wait(|text| entries(text, "cgroups") <= before + 2), "{}", agent.metrics());
}
