//! Enforcement: forbidden calls don't get through, allowed ones are not denied, and both are counted exactly.

mod calls;
mod doubt;
mod switch;

use std::{fs, process::Child};

use gatewatch_kernel::host::Support;

use self::calls::{ALLOWED, FORBIDDEN, Made, times};
pub(super) use self::{
    calls::make,
    doubt::{pending, spared, whole_node},
    switch::{by_hand, links_removed, one_policy, settings},
};
use crate::{
    agent::{Agent, sum},
    pod::{self, Container},
    scrape::EVENTS,
};

const ACTIONS: &str = "tetragon_tracingpolicy_selector_actions_total";
const UID: &str = "11111111-2222-3333-4444-5555555555e1";

/// A policy with one hook of a section, for the pod of these tests.
fn on(section: &str, name: &str, hook: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n  podSelector: {{matchLabels: \
         {{org: empire}}}}\n  {section}:\n  - {hook}\n---\n"
    )
}

/// Kills whoever calls `setgid(7)`.
fn kills(name: &str) -> String {
    on(
        "kprobes",
        name,
        "{call: __sys_setgid, syscall: false, args: [{index: 0, type: uint32}], selectors: [{matchArgs: [{index: 0, operator: \
         Equal, values: ['7']}], matchActions: [{action: Sigkill}]}]}",
    )
}

/// Denies to open the forbidden file.
fn refuses(name: &str) -> String {
    on("lsmhooks", name, &format!("{{hook: file_open, {}}}", refusing("Override, argError: -1")))
}

/// What the hook of such a policy selects, and what it does.
fn refusing(action: &str) -> String {
    format!(
        "args: [{{index: 0, type: file}}], selectors: [{{matchArgs: [{{index: 0, operator: Equal, values: ['{FORBIDDEN}']}}], \
         matchActions: [{{action: {action}}}]}}]"
    )
}

/// Whether BPF programs on LSM hooks are called on this kernel.
fn has_lsm() -> bool {
    crate::kernel::host().features.lsm == Support::Yes
}

/// An agent and a pod that its policies select.
struct Case {
    agent: Agent,
    container: Container,
}

impl Case {
    fn start(policies: &[(&str, &str)], arguments: &[&str]) -> Self {
        for file in [FORBIDDEN, ALLOWED] {
            fs::write(file, "x").expect("written");
        }
        let id = "e1".repeat(32);
        let pods = pod::list(&[pod::manifest("test", "enforced", UID, &id, &[("org", "empire")])]);
        let agent = Agent::start_with(policies, &pods, arguments);
        let container = Container::create(UID, &id).expect("a cgroup");
        let case = Self { agent, container };
        // Its cgroup gets a policy set.
        case.agent.wait(|text| sum(text, "gatewatch_map_entries", &[("map", "cgroups")]) > 0);
        std::thread::sleep(std::time::Duration::from_secs(1));
        case
    }

    /// Makes calls in the pod by one process.
    fn one(&self, words: &[&str]) -> Made {
        calls::finish(calls::start(&self.container, words))
    }

    /// Makes calls in the pod by two processes at once.
    fn two(&self, words: &[&str]) -> Made {
        let both: Vec<Child> = (0..2).map(|_| calls::start(&self.container, words)).collect();
        both.into_iter().map(calls::finish).fold(Made::default(), Made::and)
    }

    fn events(&self, policy: &str) -> u64 {
        self.agent.events(&[("policy", policy)])
    }

    fn actions(&self, policy: &str, action: &str) -> u64 {
        self.agent.sum(ACTIONS, &[("policy", policy), ("action", action)])
    }

    fn told(&self) -> String {
        format!("{}\n{}", self.agent.metrics(), self.agent.log())
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = self.container.remove();
    }
}

/// Each way to attach sends its signal to each process that makes the call, and to no other.
pub(super) fn signals() {
    let number = "matchArgs: [{index: 0, operator: Equal, values: ['7']}]";
    let mut policies = vec![
        ("kprobe", kills("kprobe")),
        (
            "return",
            on(
                "kprobes",
                "return",
                &format!(
                    "{{call: __sys_setgid, syscall: false, return: true, returnArg: {{index: 0, type: int}}, args: [{{index: 0, \
                     type: uint32}}], selectors: [{{{number}, matchReturnArgs: [{{index: 0, operator: Equal, values: ['0']}}], \
                     matchReturnActions: [{{action: Signal, argSig: 9}}]}}]}}"
                ),
            ),
        ),
        (
            "tracepoint",
            on(
                "tracepoints",
                "tracepoint",
                "{subsystem: syscalls, event: sys_enter_setgid, args: [{index: 5, type: uint32}], selectors: [{matchArgs: \
                 [{index: 5, operator: Equal, values: ['7']}], matchActions: [{action: Sigkill}]}]}",
            ),
        ),
    ];
    if has_lsm() {
        policies.push((
            "lsm",
            on(
                "lsmhooks",
                "lsm",
                "{hook: task_fix_setgid, selectors: [{matchActions: [{action: Sigkill}]}]}",
            ),
        ));
    }
    for (name, text) in policies {
        let case = Case::start(&[("p.yaml", &text)], &[]);
        let forks = times() / 40;
        let made = case.two(&["forks", "7", &forks.to_string()]);
        // On a preemptible kernel, returns and tracepoints can miss calls, each of which the kernel counts.
        let can_miss = matches!(name, "return" | "tracepoint");
        let missed =
            if can_miss { case.agent.sum("gatewatch_events_missed_total", &[("policy", name)]) } else { 0 };
        let reached = 2 * forks - missed;
        assert_eq!((made.refused, made.through), (reached, missed), "{name}: {made:?}\n{}", case.told());
        let counted = (case.events(name), case.actions(name, "signal"));
        assert_eq!(counted, (reached, reached), "{name}\n{}", case.told());
        if name != "lsm" {
            let made = case.one(&["forks", "8", "20"]);
            assert_eq!((made.refused, made.through), (0, 20), "{name}: {made:?}");
        }
    }
}

/// An LSM hook, and the function `security_*` that calls it, deny each forbidden call and no other.
pub(super) fn overrides() {
    let by_function = on(
        "kprobes",
        "function",
        &format!("{{call: security_file_open, syscall: false, {}}}", refusing("Override, argError: -13")),
    );
    if !has_lsm() {
        // The policy counts, and says that it does no more.
        let case = Case::start(&[("p.yaml", &by_function)], &[]);
        let made = case.two(&["open", "500"]);
        assert_eq!((made.refused, made.through), (0, 1_000), "{}", case.told());
        assert_eq!(case.actions("function", "monitor_override"), 1_000, "{}", case.told());
        assert!(
            case.agent.log().contains("`Override` is not performed on this node"),
            "{}",
            case.agent.log()
        );
        drop(case);
        let lsm = Case::start(&[("p.yaml", &refuses("hook"))], &[]);
        assert_eq!(lsm.agent.sum("gatewatch_policies", &[("state", "failed")]), 1, "{}", lsm.told());
        return;
    }
    for (name, text, error) in [("hook", refuses("hook"), 1), ("function", by_function, 13)] {
        let case = Case::start(&[("p.yaml", &text)], &[]);
        let calls = times();
        let made = case.two(&["open", &calls.to_string()]);
        let expected = Made { refused: 2 * calls, allowed: 2 * calls / 10, error, ..Made::default() };
        assert_eq!(made, expected, "{name}\n{}", case.told());
        let text = case.agent.metrics();
        assert_eq!(sum(&text, EVENTS, &[("policy", name)]), 2 * calls, "{name}\n{}", case.told());
        assert_eq!(case.actions(name, "override"), 2 * calls, "{name}\n{}", case.told());
        assert_eq!(sum(&text, "gatewatch_events_missed_total", &[]), 0, "{text}");
        // On the host nothing is denied.
        fs::read(FORBIDDEN).expect("the policy selects pods");
    }
}

/// While two processes call, the policy is updated ten times and the agent is killed five times: nothing gets through.
pub(super) fn without_a_gap() {
    if !has_lsm() {
        return;
    }
    let mut case = Case::start(&[("p.yaml", &refuses("hook"))], &[]);
    let stop = case.agent.pods.with_file_name("stop");
    let words = ["open-until", &*stop.display().to_string()];
    let callers: Vec<Child> = (0..2).map(|_| calls::start(&case.container, &words)).collect();
    for round in 0..10_u32 {
        let seen = format!("round {round}");
        let more = format!(
            "{}, {{matchArgs: [{{index: 0, operator: Equal, values: ['/{round}']}}]}}]",
            refusing("Override, argError: -1").strip_suffix(']').expect("a list")
        );
        let text = on("lsmhooks", "hook", &format!("{{hook: file_open, message: {seen}, {more}}}"));
        let hash = |text: &str| {
            text.lines().find(|line| line.starts_with("gatewatch_policy_set_info")).map(str::to_owned)
        };
        let before = hash(&case.agent.metrics());
        fs::write(case.agent.policies.join("p.yaml"), text).expect("written");
        assert!(case.agent.wait(|text| hash(text) != before), "{seen}\n{}", case.agent.log());
        if round % 2 == 1 {
            case.agent.kill();
            case.agent.again();
        }
    }
    fs::write(&stop, "").expect("written");
    let made = callers.into_iter().map(calls::finish).fold(Made::default(), Made::and);
    println!("{made:?}");
    assert!(made.refused > 5_000 && made.allowed > 500, "{made:?}");
    assert_eq!((made.through, made.failed), (0, 0), "{}", case.told());
    assert_eq!(case.events("hook"), made.refused, "{}", case.told());
}

/// Of two policies on one event each counts what it wanted, and the strictest of both is done.
pub(super) fn two_policies() {
    let number = "args: [{index: 0, type: uint32}], selectors: [{matchArgs: [{index: 0, operator: Equal, values: ['7']}], \
                  matchActions:";
    let signal = |name: &str, number_of_it: u32| {
        on(
            "kprobes",
            name,
            &format!(
                "{{call: __sys_setgid, syscall: false, {number} [{{action: Signal, argSig: {number_of_it}}}]}}]}}"
            ),
        )
    };
    // SIGTERM, which the callers ignore.
    let text = [signal("a-term", 15), kills("kill"), signal("z-term", 15)].concat();
    let case = Case::start(&[("p.yaml", &text)], &[]);
    let made = case.two(&["forks", "7", "100"]);
    assert_eq!((made.refused, made.through), (200, 0), "{made:?}\n{}", case.told());
    for policy in ["a-term", "kill", "z-term"] {
        let counted = (case.events(policy), case.actions(policy, "signal"));
        assert_eq!(counted, (200, 200), "{policy}\n{}", case.told());
    }
    drop(case);
    if !has_lsm() {
        return;
    }
    // The first error holds, whatever the others want.
    let hook = |name: &str, action: &str| {
        on("lsmhooks", name, &format!("{{hook: file_open, {}}}", refusing(action)))
    };
    let text = [hook("a", "Override, argError: -13"), hook("b", "Override, argError: -1"), hook("c", "Post")]
        .concat();
    let case = Case::start(&[("p.yaml", &text)], &[]);
    let made = case.two(&["open", "100"]);
    assert!(
        made.refused == 200 && made.through == 0 && [1, 13].contains(&made.error),
        "{made:?}\n{}",
        case.told()
    );
    let counted = ["a", "b", "c"].map(|policy| case.events(policy));
    assert_eq!(counted, [200; 3], "{}", case.told());
    assert_eq!([case.actions("a", "override"), case.actions("b", "override")], [200; 2], "{}", case.told());
}
