//! Switching enforcement off and on, while forbidden calls are made.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use super::{Case, calls, has_lsm, kills, refuses};

/// How soon a switch is in force.
const WITHIN: Duration = Duration::from_secs(2);

/// A policy whose denied calls are known on every kernel: by an error where there are LSM hooks, else by a signal.
fn policy(name: &str) -> (String, [&'static str; 3]) {
    if has_lsm() { (refuses(name), ["open", "200", ""]) } else { (kills(name), ["forks", "7", "50"]) }
}

impl Case {
    /// Whether forbidden calls are denied now: all of them or none.
    fn enforces(&self, words: &[&str; 3]) -> bool {
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        let made = self.one(&words);
        assert!(made.failed == 0 && (made.refused == 0 || made.through == 0), "{made:?}\n{}", self.told());
        made.refused > 0
    }

    /// Two processes that make forbidden calls until a file appears.
    fn load(&self) -> (Vec<Child>, PathBuf) {
        let stop = self.agent.pods.with_file_name("stop");
        let words = ["open-until", &*stop.display().to_string()];
        ((0..2).map(|_| calls::start(&self.container, &words)).collect(), stop)
    }
}

/// The settings of a file, under load.
pub(in super::super) fn settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("enforcement");
    fs::write(&file, "enforcement: enforce\n").expect("written");
    let (text, words) = policy("p");
    let case = Case::start(&[("p.yaml", &text)], &["--enforcement-file", &file.display().to_string()]);
    let (load, stop) = case.load();
    assert!(case.enforces(&words), "{}", case.told());
    let kind = if has_lsm() { "override" } else { "signal" };
    for (mode, enforces) in [("off", false), ("enforce", true), ("monitor", false), ("enforce", true)] {
        let begun = Instant::now();
        fs::write(&file, format!("enforcement: {mode}\n")).expect("written");
        std::thread::sleep(WITHIN.saturating_sub(begun.elapsed()));
        // Counted from now on: in the mode before, the load was counted otherwise.
        let before = case.actions("p", &format!("monitor_{kind}"));
        assert_eq!(case.enforces(&words), enforces, "{mode}\n{}", case.told());
        let in_force =
            |policy| case.agent.sum("gatewatch_enforcement_mode", &[("mode", mode), ("policy", policy)]);
        assert_eq!((in_force(""), in_force("p")), (1, 1), "{mode}\n{}", case.told());
        let monitored = case.actions("p", &format!("monitor_{kind}")) - before;
        assert_eq!(monitored > 0, mode == "monitor", "{mode}\n{}", case.told());
    }
    fs::write(stop, "").expect("written");
    let made = load.into_iter().map(calls::finish).fold(calls::Made::default(), calls::Made::and);
    assert_eq!(made.failed, 0, "{made:?}");
    assert_eq!(case.agent.sum("gatewatch_policy_info", &[("policy", "p"), ("state", "running")]), 1);
}

/// One policy of two is switched.
pub(in super::super) fn one_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("enforcement");
    fs::write(&file, "").expect("written");
    let (text, words) = policy("p");
    let case = Case::start(&[("p.yaml", &text)], &["--enforcement-file", &file.display().to_string()]);
    assert!(case.enforces(&words), "{}", case.told());
    for (settings, enforces) in [
        ("policy_other: off", true),
        ("policy_p: off", false),
        ("policy_ns_p: off", true),
        ("policy_p: monitor", false),
        ("", true),
    ] {
        fs::write(&file, settings).expect("written");
        std::thread::sleep(WITHIN);
        assert_eq!(case.enforces(&words), enforces, "{settings}\n{}", case.told());
    }
    // The policy's own option, without a program being loaded again.
    let with_option = text.replace("spec:\n", "spec:\n  options: [{name: policy-mode, value: monitor}]\n");
    fs::write(case.agent.policies.join("p.yaml"), with_option).expect("written");
    let is_monitor = |text: &str| {
        crate::agent::sum(text, "gatewatch_enforcement_mode", &[("mode", "monitor"), ("policy", "p")]) == 1
    };
    assert!(case.agent.wait(is_monitor), "{}", case.told());
    assert!(!case.enforces(&words), "{}", case.told());
}

/// By hand: whether the agent runs, is dead, or comes back.
pub(in super::super) fn by_hand() {
    let (text, words) = policy("p");
    let mut case = Case::start(&[("p.yaml", &text)], &[]);
    let hold = |mode: &str| {
        let output =
            Command::new("gatewatch-agent").args(["--enforcement-now", mode]).output().expect("it starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert!(case.enforces(&words), "{}", case.told());
    assert_eq!(hold("off"), "enforcement on this node: off");
    assert!(!case.enforces(&words), "at once\n{}", case.told());
    // No agent undoes it.
    std::thread::sleep(WITHIN);
    assert!(!case.enforces(&words), "{}", case.told());
    case.agent.kill();
    case.agent.again();
    assert!(!case.enforces(&words), "{}", case.told());
    assert_eq!(hold("configured"), "enforcement on this node: enforce");
    assert!(case.enforces(&words), "{}", case.told());
    if !super::super::restart::hooks_are_kept() {
        return;
    }
    case.agent.kill();
    assert!(case.enforces(&words), "without an agent");
    assert_eq!(hold("monitor"), "enforcement on this node: monitor");
    assert!(!case.enforces(&words), "without an agent");
    assert_eq!(hold("configured"), "enforcement on this node: enforce");
    assert!(case.enforces(&words), "without an agent");
    case.agent.again();
}

/// Root of the host removes what keeps a program attached: the policy is said to have failed, until an agent attaches it again.
pub(in super::super) fn links_removed() {
    let (text, words) = policy("p");
    let mut case = Case::start(&[("p.yaml", &text)], &[]);
    if !super::super::restart::hooks_are_kept() {
        return;
    }
    assert!(case.enforces(&words), "{}", case.told());
    let in_state = |text: &str, state| {
        crate::agent::sum(text, "gatewatch_policy_info", &[("policy", "p"), ("state", state)]) == 1
    };
    assert!(in_state(&case.agent.metrics(), "running"), "{}", case.told());
    let mut links = Vec::new();
    find_links("/sys/fs/bpf/gatewatch".as_ref(), &mut links);
    assert!(!links.is_empty(), "no program is pinned");
    for link in links {
        fs::remove_file(link).expect("removed");
    }
    assert!(case.agent.wait(|text| in_state(text, "failed")), "{}", case.told());
    assert!(case.agent.log().contains("policy p counts and stops nothing more"), "{}", case.told());
    case.agent.kill();
    case.agent.again();
    assert!(case.enforces(&words), "{}", case.told());
    assert!(in_state(&case.agent.metrics(), "running"), "{}", case.told());
}

/// Where links of functions are pinned (`node-agent/src/bpf/function.rs`).
fn find_links(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            find_links(&path, found);
        } else if path.ends_with("link") {
            found.push(path);
        }
    }
}
