//! Lines of JSON that an agent writes, from the kernel to a file.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::super::{CALLS, SETUID, policy, this};
use crate::agent::{Agent, sum};

const WRITTEN: &str = "gatewatch_events_written_total";
const NOT_WRITTEN: &str = "gatewatch_events_not_written_total";

/// An agent that writes records to a file in this folder.
fn start(folder: &Path, policies: &[(&str, &str)], pods: &str, more: &[&str]) -> Agent {
    let file = file(folder);
    let options = ["--export-filename", file.as_str(), "--node-name", "node-a"];
    Agent::start_with(policies, pods, &[&options[..], more].concat())
}

fn file(folder: &Path) -> String {
    folder.join("events.log").display().to_string()
}

/// The records of a kind so far.
fn records(folder: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(file(folder)).unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    lines.filter(|line| line.get(kind).is_some()).collect()
}

/// Waits until there are records for which this holds, and gives them.
fn wait(folder: &Path, kind: &str, wanted: impl Fn(&Value) -> bool, number: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found: Vec<Value> = records(folder, kind).into_iter().filter(&wanted).collect();
        if found.len() >= number {
            return found;
        }
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "{} of {number} {kind}:\n{}",
            found.len(),
            fs::read_to_string(file(folder)).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until every matched event of a policy is accounted for; gives how many were written, and how many were not.
fn account(agent: &Agent, policy: &str, matched: u64) -> (u64, u64) {
    let labels = [("policy", policy)];
    let complete = agent.wait(|text| {
        let counted = sum(text, crate::scrape::EVENTS, &labels);
        counted == matched && sum(text, WRITTEN, &labels) + sum(text, NOT_WRITTEN, &labels) == matched
    });
    let text = agent.metrics();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("_total{") && line.contains(policy)).collect();
    assert!(complete, "{matched} matched:\n{}\n{}", lines.join("\n"), agent.log());
    (sum(&text, WRITTEN, &labels), sum(&text, NOT_WRITTEN, &labels))
}

/// One hook with an argument: what is in the file, beside the count.
pub(in crate::vm) fn a_line_for_each_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let hook = format!(
        "{SETUID}\n    message: \"becomes root\"\n    tags: [a.tag]\n    args: [{{index: 0, type: uint32, label: who}}]"
    );
    let agent = start(folder.path(), &[("p.yaml", &policy("uid", &hook))], &crate::pod::list(&[]), &[]);
    let mut command = Command::new(this());
    let child = command.args([CALLS, "setuid", "3"]).current_dir("/tmp").spawn().expect("a process");
    let pid = child.id();
    child.wait_with_output().expect("its end");
    let of_child = |record: &Value| record["process_kprobe"]["process"]["pid"] == pid;
    let lines = wait(folder.path(), "process_kprobe", of_child, 3);
    assert_eq!(lines.len(), 3);
    let body = &lines[0]["process_kprobe"];
    assert_eq!(lines[0]["node_name"], "node-a");
    assert_eq!((&body["policy_name"], &body["function_name"]), (&"uid".into(), &"__sys_setuid".into()));
    assert_eq!(body["args"], serde_json::json!([{"uint_arg": 0, "label": "who"}]));
    assert_eq!((&body["message"], &body["tags"][0]), (&"becomes root".into(), &"a.tag".into()));
    let process = &body["process"];
    assert_eq!(process["binary"], this().display().to_string());
    assert_eq!(process["arguments"], format!("{CALLS} setuid 3"));
    assert_eq!((&process["pod_status"], &process["flags"]), (&"host".into(), &"execve clone".into()));
    assert_eq!(process["cwd"], "/tmp");
    assert_eq!(body["parent"]["pid"], std::process::id());
    assert_eq!(process["parent_exec_id"], body["parent"]["exec_id"]);
    // The same process in the record of its program.
    let executed =
        wait(folder.path(), "process_exec", |line| line["process_exec"]["process"]["pid"] == pid, 1);
    assert_eq!(executed[0]["process_exec"]["process"]["exec_id"], process["exec_id"]);
    let ended = wait(folder.path(), "process_exit", |line| line["process_exit"]["process"]["pid"] == pid, 1);
    assert_eq!(ended[0]["process_exit"]["process"]["exec_id"], process["exec_id"]);
    let numbers: Vec<u64> = fs::read_to_string(file(folder.path()))
        .expect("lines")
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["seq"].as_str()?.parse().ok())
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_eq!(account(&agent, "uid", 3), (3, 0));
}

/// Two processors that match without end: counts are exact, and so is the account of records.
pub(in crate::vm) fn flood() {
    let folder = tempfile::tempdir().expect("a folder");
    let hook = format!("{SETUID}\n    args: [{{index: 0, type: uint32}}]");
    let agent = start(
        folder.path(),
        &[("p.yaml", &policy("uid", &hook))],
        &crate::pod::list(&[]),
        &["--records-per-second", "1000000", "--records-burst", "1000000", "--rb-size", "64Ki"],
    );
    let workers: Vec<_> = (0..2)
        .map(|_| Command::new(this()).args([CALLS, "setuid", "20000"]).spawn().expect("a process"))
        .collect();
    for worker in workers {
        assert!(worker.wait_with_output().expect("its end").status.success());
    }
    let (written, not_written) = account(&agent, "uid", 40_000);
    println!("{written} written, {not_written} not written");
    assert!(written > 0);
    assert_eq!(
        records(folder.path(), "process_kprobe").len() as u64,
        written,
        "what is said to be written is there"
    );
}

/// The default budget: a burst is written, and the rest is counted alone.
pub(in crate::vm) fn budget() {
    let folder = tempfile::tempdir().expect("a folder");
    let policies =
        format!("{}{}", policy("uid", SETUID), policy("gid", "  - call: __sys_setgid\n    syscall: false"));
    let agent = start(
        folder.path(),
        &[("p.yaml", &policies)],
        &crate::pod::list(&[]),
        &["--records-per-second", "1", "--records-burst", "50"],
    );
    super::super::make("setuid", "5000");
    super::super::make("setgid", "20");
    let (written, not_written) = account(&agent, "uid", 5_000);
    assert!((50..200).contains(&written), "{written} written, {not_written} not");
    let budget = agent.sum(NOT_WRITTEN, &[("policy", "uid"), ("reason", "budget")]);
    assert_eq!(budget, not_written, "{}", agent.metrics());
    assert_eq!(account(&agent, "gid", 20), (20, 0), "the other policy has a budget of its own");
}

/// `rateLimit` leaves records out that are the same, and no counts.
pub(in crate::vm) fn rate_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let hook = "  - call: __sys_setgid\n    syscall: false\n    args: [{index: 0, type: uint32}]\n    selectors:\n    - matchActions: \
                [{action: Post, rateLimit: 1h, rateLimitScope: global}]";
    let agent = start(folder.path(), &[("p.yaml", &policy("gid", hook))], &crate::pod::list(&[]), &[]);
    for id in [7, 8, 7, 8, 8] {
        crate::calls::setgid(id, 2);
    }
    crate::calls::setgid(0, 1);
    assert_eq!(account(&agent, "gid", 11), (3, 8));
    assert_eq!(agent.sum(NOT_WRITTEN, &[("reason", "rate_limit")]), 8);
}

/// Without an output, or with `--no-records`, there is nothing of all this.
pub(in crate::vm) fn off() {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = [("p.yaml", &*policy("uid", SETUID))];
    let agent = start(folder.path(), &policies, &crate::pod::list(&[]), &["--no-records"]);
    super::super::make("setuid", "5");
    assert!(agent.wait(|text| sum(text, crate::scrape::EVENTS, &[("policy", "uid")]) == 5));
    assert!(!agent.metrics().contains(WRITTEN), "{}", agent.metrics());
    assert_eq!(fs::read_to_string(file(folder.path())).unwrap_or_default(), "");
    for map in ["RECORDS", "RECORD_SPACES", "RECORD_BUDGETS"] {
        let folders = fs::read_dir("/sys/fs/bpf/gatewatch").expect("pins");
        let there = folders.filter_map(Result::ok).any(|entry| entry.path().join(map).exists());
        assert!(!there, "{map} is there");
    }
}
