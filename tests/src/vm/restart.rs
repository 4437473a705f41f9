//! The agent ends and comes back.

use std::{fs, path::Path, time::Duration};

use aya::maps::{HashMap, Map, MapData, Queue};
use gatewatch_abi::{CountKey, CountPlace, SHARE_OF_HOST, VERSION};

use super::{CALLS, Callers, SETUID, policy, this};
use crate::{
    agent::{Agent, cleanup, sum},
    calls, pod,
    pod::Container,
    scrape::EVENTS,
};

/// Where the agent has what outlives it.
const PINS: &str = "/sys/fs/bpf/gatewatch";

/// Two processes call flat out; meanwhile the agent is killed five times, and another policy on the same function is
/// changed ten times. If the kernel keeps the agent's hooks, each call is counted. Otherwise a metric has the time in
/// which no agent counted.
pub(super) fn killed_while_counting() {
    killed(5, &[]);
}

/// The same where functions are attached to by kprobe.
pub(super) fn killed_with_kprobes() {
    killed(2, &["--no-fentry"]);
}

fn killed(rounds: u32, arguments: &[&str]) {
    let all = policy("all", SETUID);
    let mut agent = Agent::start_with(&[("all.yaml", &all)], &pod::list(&[]), arguments);
    let callers = Callers::start(&agent);
    write_other(&agent.policies, 0);
    assert!(agent.wait(|text| text.contains("policies{state=\"running\"} 2")), "{}", agent.log());
    let mut hash = set_hash(&agent.metrics());
    for round in 0..rounds {
        write_other(&agent.policies, 2 * round + 1);
        assert!(agent.wait(|text| set_hash(text) != hash), "round {round}:\n{}", agent.log());
        hash = set_hash(&agent.metrics());
        agent.kill();
        // Changed while no agent runs.
        write_other(&agent.policies, 2 * round + 2);
        std::thread::sleep(Duration::from_millis(300));
        agent.again();
        assert!(agent.wait(|text| set_hash(text) != hash), "round {round}:\n{}", agent.log());
        hash = set_hash(&agent.metrics());
    }
    let made = callers.finish();
    assert!(made > 10_000, "only {made} calls were made");
    let text = agent.metrics();
    let counted = sum(&text, EVENTS, &[("policy", "all")]);
    let gap = gap_seconds(&text, "all");
    if hooks_are_kept() {
        assert_eq!(counted, made, "{text}\n{}", agent.log());
        assert!(gap == 0.0, "{gap} s:\n{text}");
    } else {
        assert!(counted < made && counted > 0, "{counted} of {made}");
        assert!(gap >= 0.3 * f64::from(rounds), "{gap} s:\n{text}");
    }
}

/// What the numbers stand for stays the same: pods that went, labels that changed, an agent that ended in good order.
pub(super) fn numbers_go_on() {
    const GONE: &str = "11111111-2222-3333-4444-555555555501";
    const STAYS: &str = "11111111-2222-3333-4444-555555555502";
    let (id_gone, id_stays) = ("a1".repeat(32), "b2".repeat(32));
    let empire = |label: &str| {
        policy("empire", SETUID)
            .replace("spec:\n", &format!("spec:\n  podSelector: {{matchLabels: {{org: {label}}}}}\n"))
    };
    let gone = pod::manifest("test", "gone", GONE, &id_gone, &[("org", "empire")]);
    let alliance = pod::manifest("test", "stays", STAYS, &id_stays, &[("org", "alliance")]);
    let mut agent = Agent::start(&[("p.yaml", &empire("empire"))], &pod::list(&[gone, alliance]));
    let first = Container::create(GONE, &id_gone).expect("a cgroup");
    let second = Container::create(STAYS, &id_stays).expect("a cgroup");
    let this = this();
    let call = |container: &Container, times: &str| {
        let output =
            container.run(&this, &[&this.display().to_string(), CALLS, "setuid", times]).expect("runs");
        assert!(output.status.success(), "{output:?}");
    };
    call(&first, "100");
    call(&second, "70");
    first.remove().expect("the cgroup is removed");
    // The next agent finds that the pod was deleted.
    agent.kill();
    agent.again();
    assert_eq!(agent.events(&[("policy", "empire"), ("pod", "gone")]), 100, "{}", agent.metrics());
    assert_eq!(agent.events(&[("policy", "empire"), ("pod", "stays")]), 0, "{}", agent.metrics());
    // From here on it is selected: what it did before is not counted, whoever reads the numbers.
    let stays = pod::manifest("test", "stays", STAYS, &id_stays, &[("org", "empire")]);
    fs::write(&agent.pods, pod::list(&[stays])).expect("written");
    std::thread::sleep(Duration::from_secs(3));
    if hooks_are_kept() {
        agent.kill();
        call(&second, "7");
        agent.again();
    } else {
        call(&second, "7");
    }
    call(&second, "3");
    assert_eq!(agent.events(&[("policy", "empire"), ("pod", "stays")]), 10, "{}", agent.metrics());
    // Ended in good order: nothing is different.
    agent.end();
    agent.again();
    assert_eq!(agent.events(&[("policy", "empire"), ("pod", "stays")]), 10, "{}", agent.metrics());
    second.remove().expect("the cgroup is removed");
}

/// While there is no agent a pod gets another label, and a policy another selector. What was counted before that is
/// counted under what was, although the agent had no time to write it down.
pub(super) fn changed_meanwhile() {
    const UIDS: [&str; 2] = ["11111111-2222-3333-4444-555555555503", "11111111-2222-3333-4444-555555555504"];
    let ids = ["c3".repeat(32), "d4".repeat(32)];
    let on = |name: &str, org: &str| {
        policy(name, SETUID)
            .replace("spec:\n", &format!("spec:\n  podSelector: {{matchLabels: {{org: {org}}}}}\n"))
    };
    let pods = |org: &str| {
        let first = pod::manifest("test", "relabelled", UIDS[0], &ids[0], &[("org", org)]);
        let second = pod::manifest("test", "watched", UIDS[1], &ids[1], &[("org", "alliance")]);
        pod::list(&[first, second])
    };
    let policies = [("a.yaml", &*on("empire", "empire")), ("b.yaml", &*on("alliance", "alliance"))];
    let mut agent = Agent::start(&policies, &pods("empire"));
    let containers = [0, 1].map(|i| Container::create(UIDS[i], &ids[i]).expect("a cgroup"));
    let this = this();
    let call = || {
        for container in &containers {
            let argv = [&*this.display().to_string(), CALLS, "setuid", "50"];
            let output = container.run(&this, &argv).expect("runs");
            assert!(output.status.success(), "{output:?}");
        }
    };
    let counted = |agent: &Agent| {
        let text = agent.metrics();
        let of = |policy, pod| sum(&text, EVENTS, &[("policy", policy), ("pod", pod)]);
        [
            of("empire", "relabelled"),
            of("alliance", "watched"),
            of("alliance", "relabelled"),
            sum(&text, EVENTS, &[]),
        ]
    };
    call();
    assert_eq!(counted(&agent), [50, 50, 0, 100], "{}", agent.metrics());
    agent.kill();
    fs::write(&agent.pods, pods("rebels")).expect("written");
    fs::write(agent.policies.join("b.yaml"), on("alliance", "nobody")).expect("written");
    agent.again();
    assert_eq!(counted(&agent), [50, 50, 0, 100], "{}", agent.metrics());
    call();
    assert_eq!(counted(&agent), [50, 50, 0, 100], "{}", agent.metrics());
    for container in containers {
        container.remove().expect("the cgroup is removed");
    }
}

/// The agent is replaced by one of another layout: that of the one before goes, and the time without counts is exported.
pub(super) fn after_an_upgrade() {
    let all = policy("all", SETUID);
    let mut agent = Agent::start(&[("all.yaml", &all)], &pod::list(&[]));
    calls::setuid_root(100);
    agent.kill();
    let folder = || {
        let mut folders = fs::read_dir(PINS).expect("a folder").map(|entry| entry.expect("an entry").path());
        let path = folders.next().expect("a layout");
        assert!(folders.next().is_none(), "one layout");
        path
    };
    let now = folder();
    let name = now.file_name().expect("a name").to_string_lossy().into_owned();
    let earlier =
        now.with_file_name(name.replacen(&format!("v{VERSION}-"), &format!("v{}-", VERSION - 1), 1));
    assert_ne!(earlier, now);
    fs::rename(&now, &earlier).expect("renamed");
    calls::setuid_root(50);
    agent.again();
    calls::setuid_root(7);
    assert!(agent.log().contains("which has another layout version"), "{}", agent.log());
    assert_eq!(folder(), now);
    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[("policy", "all")]), 7, "{text}\n{}", agent.log());
    assert!(gap_seconds(&text, "all") > 0.0, "{text}");
}

/// After `--cleanup` there is no trace of an agent, and what is of another layout goes when one starts.
pub(super) fn nothing_is_left() {
    let all = policy("all", SETUID);
    let mut agent = Agent::start(&[("all.yaml", &all)], &pod::list(&[]));
    calls::setuid_root(5);
    assert_eq!(agent.events(&[("policy", "all")]), 5);
    let (_, log) = crate::agent::fails(&["--cleanup"]);
    assert!(log.contains("in use by another agent"), "{log}");
    agent.kill();
    let folders = || {
        let entries = fs::read_dir(PINS).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name()).collect::<Vec<_>>()
    };
    assert_eq!(folders().len(), 1);
    fs::create_dir(Path::new(PINS).join("v0-0000000000000000")).expect("a folder");
    agent.again();
    assert_eq!(folders().len(), 1, "{:?}", folders());
    agent.kill();
    cleanup();
    assert!(!Path::new(PINS).exists());
    agent.again();
    assert_eq!(agent.events(&[("policy", "all")]), 0, "{}", agent.metrics());
}

/// An agent is killed after it has saved that a number is unused, and before it has removed the counts under that number.
/// The next agent removes them, so that their places can be used again.
pub(super) fn unused_counts_are_removed() {
    let all = policy("all", SETUID);
    let mut agent = Agent::start(&[("all.yaml", &all)], &pod::list(&[]));
    calls::setuid_root(100);
    agent.kill();
    let mut counts: HashMap<MapData, CountKey, CountPlace> = map("COUNTS").try_into().expect("counts");
    let mut free: Queue<MapData, u32> = map("FREE").try_into().expect("free places");
    let released: HashMap<MapData, u32, u32> = map("RELEASED").try_into().expect("released places");
    let place = free.pop(0).expect("a free place");
    let unused = CountKey { cgroup: 1, binary: 1, hook: 1_000_000, pad: 0 };
    counts.insert(unused, CountPlace { owner: SHARE_OF_HOST, place, pad: 0 }, 0).expect("an entry");
    agent.again();
    assert!(counts.get(&unused, 0).is_err(), "the count is still there:\n{}", agent.log());
    assert!(released.get(&place, 0).is_ok(), "the place is lost:\n{}", agent.log());
    calls::setuid_root(7);
    assert_eq!(agent.events(&[("policy", "all")]), 107, "{}", agent.metrics());
}

/// A map that outlives the agent.
fn map(name: &str) -> Map {
    let layout = fs::read_dir(PINS).expect("a folder").next().expect("a layout").expect("an entry");
    MapData::from_pin(layout.path().join(name)).and_then(Map::from_map_data).expect("a map")
}

fn write_other(directory: &Path, number: u32) {
    let hook = format!(
        "  - call: __sys_setuid\n    syscall: false\n    args: [{{index: 0, type: uint32}}]\n    selectors:\n    - \
         matchArgs: [{{index: 0, operator: Equal, values: [\"{number}\"]}}]"
    );
    fs::write(directory.join("other.yaml"), policy("other", &hook)).expect("written");
}

fn set_hash(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("gatewatch_policy_set_info"));
    line.unwrap_or_default().to_owned()
}

fn gap_seconds(text: &str, policy: &str) -> f64 {
    crate::scrape::samples(text, "gatewatch_gap_seconds_total")
        .into_iter()
        .filter(|(labels, _)| labels.get("policy").is_some_and(|of| of == policy))
        .map(|(_, value)| value)
        .sum()
}

/// Whether the hook of the policies here, on a function's entry, is in the bpf file system.
pub(super) fn hooks_are_kept() -> bool {
    let version = fs::read_dir(PINS).expect("a folder").next().expect("a layout").expect("an entry");
    fs::read_dir(version.path().join("hooks")).expect("a folder").count() > 0
}
