//! What is wrong is said in one sentence, and takes nothing else with it.

use std::{fs, net::TcpListener, process::Command};

use super::{SETUID, policy};
use crate::{
    agent::{Agent, fails, sum},
    calls,
    kernel::{Kernel, Way},
    pod,
    scrape::EVENTS,
};

const GOOD: &str = "  - call: __sys_setgid\n    syscall: false";

/// Files that can't be read, functions that don't exist, types that don't fit: the other policies count.
pub(super) fn malformed_and_unknown() {
    let unknown = policy("unknown", "  - call: __sys_setgidd\n    syscall: false");
    let mistyped = policy(
        "mistyped",
        "  - call: security_file_permission\n    syscall: false\n    args: [{index: 1, type: file}]\n    selectors:\n    - \
         matchArgs: [{index: 1, operator: Prefix, values: [/etc]}]",
    );
    let undeclared = policy(
        "undeclared",
        "  - call: __sys_setgid\n    syscall: false\n    selectors:\n    - matchArgs: [{index: 0, operator: Equal, \
         values: [\"1\"]}]",
    );
    // One of its two hooks is good: it must not count either, unless it says itself that the other one may be missing.
    let missing = format!("{GOOD}\n  - call: no_such_function_anywhere\n    syscall: false");
    let half = policy("half", &missing);
    let part = policy("part", &format!("{missing}\n    ignore: {{callNotFound: true}}"));
    let agent = Agent::start(
        &[
            ("a-malformed.yaml", "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: [\n"),
            ("b-unknown.yaml", &unknown),
            ("c-mistyped.yaml", &mistyped),
            ("d-undeclared.yaml", &undeclared),
            ("e-half.yaml", &half),
            ("f-good.yaml", &policy("good", GOOD)),
            ("g-part.yaml", &part),
        ],
        &pod::list(&[]),
    );
    calls::setgid(0, 100);
    let (text, log) = (agent.metrics(), agent.log());
    assert_eq!(sum(&text, EVENTS, &[("policy", "good")]), 100, "{text}\n{log}");
    assert_eq!(sum(&text, EVENTS, &[("policy", "part")]), 100, "{text}\n{log}");
    assert_eq!(sum(&text, EVENTS, &[]), 200, "{text}");
    assert_eq!(sum(&text, "gatewatch_policies", &[("state", "running")]), 2, "{text}");
    assert_eq!(sum(&text, "gatewatch_policies", &[("state", "refused")]), 4, "{text}");
    assert_eq!(
        sum(&text, "gatewatch_policy_info", &[("policy", "part"), ("reason", "partial")]),
        1,
        "{text}"
    );
    for (state, policies) in [("enabled", 1), ("partially_enabled", 1), ("load_error", 4), ("skipped", 0)] {
        assert_eq!(sum(&text, "tetragon_tracingpolicy_loaded", &[("state", state)]), policies, "{text}");
    }
    for (line, words) in [
        ("a-malformed.yaml:", &["GW001"][..]),
        ("b-unknown.yaml:", &["GW201", "__sys_setgidd", "did you mean", "`__sys_setgid`"]),
        ("c-mistyped.yaml:", &["GW205", "spec.kprobes[0].args[0].type", "int mask"]),
        ("d-undeclared.yaml:", &["GW303", "argument 0 is not declared"]),
        ("e-half.yaml:", &["GW201", "no_such_function_anywhere"]),
    ] {
        let said: Vec<&str> = log.lines().filter(|l| l.contains(line)).collect();
        assert!(
            said.iter().any(|l| words.iter().all(|word| l.contains(word))),
            "{line} {words:?} is not in:\n{log}"
        );
    }
}

/// A running policy that is changed to an invalid one continues with its previous version. Once it is fixed, the new version
/// runs. The other policy is not affected.
pub(super) fn mistake_while_running() {
    let other = policy("other", SETUID);
    let agent = Agent::start(&[("p.yaml", &policy("gid", GOOD)), ("q.yaml", &other)], &pod::list(&[]));
    calls::setgid(0, 10);
    calls::setuid_root(1);
    let file = agent.policies.join("p.yaml");
    fs::write(&file, policy("gid", "  - call: __sys_setgidd\n    syscall: false")).expect("written");
    assert!(
        agent.wait(|text| sum(text, "gatewatch_policies", &[("state", "refused")]) == 1),
        "{}",
        agent.log()
    );
    calls::setgid(0, 10);
    calls::setuid_root(1);
    assert_eq!(agent.events(&[("policy", "gid")]), 20, "{}", agent.metrics());
    let narrower = format!(
        "{GOOD}\n    args: [{{index: 0, type: uint32}}]\n    selectors:\n    - matchArgs: [{{index: 0, operator: Equal, values: [\"5\"]}}]"
    );
    fs::write(&file, policy("gid", &narrower)).expect("written");
    assert!(
        agent.wait(|text| sum(text, "gatewatch_policies", &[("state", "refused")]) == 0),
        "{}",
        agent.log()
    );
    calls::setgid(0, 10);
    calls::setgid(5, 3);
    calls::setgid(0, 1);
    assert_eq!(agent.events(&[("policy", "gid")]), 23, "{}", agent.metrics());
    assert_eq!(agent.events(&[("policy", "other")]), 2);
}

/// One clear sentence, and nothing loaded.
pub(super) fn occupied_port() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (status, text) = fails(&["--policy-dir", "/policies", "--metrics-address", &address]);
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
    assert!(!fs::exists("/sys/fs/bpf/gatewatch").expect("readable"));
}

/// One clear sentence, and nothing loaded.
pub(super) fn unreadable_directory() {
    let (status, text) = fails(&["--policy-dir", "/no/such/folder", "--metrics-address", "127.0.0.1:0"]);
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    assert!(text.contains("/no/such/folder"), "{text}");
    let (status, _) = fails(&["--no-such-flag"]);
    assert_eq!(status.code(), Some(2), "a mistake in the command line");
}

/// Without root: what is missing, in one sentence.
pub(super) fn no_privileges() {
    let output = Command::new("setpriv")
        .args(["--reuid", "1000", "--regid", "1000", "--clear-groups", "gatewatch-agent"])
        .args(["--policy-dir", "/policies", "--metrics-address", "127.0.0.1:0"])
        .output()
        .expect("setpriv runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let last = text.trim().lines().last().expect("a line");
    assert!(last.starts_with("gatewatch-agent: ") && last.contains("CAP_"), "{text}");
}

/// A kretprobe sees no arguments: whatever of them a policy filters on, it is rejected, and does not count what happens to be in
/// the registers.
pub(super) fn arguments_on_return() {
    let mut kernel = Kernel::load_with(Way::Probes);
    let hook = |call: &str, arg: &str, filter: &str| {
        policy(
            "p",
            &format!(
                "  - call: {call}\n    syscall: false\n    return: true\n    returnArg: {{index: 0, type: int}}\n    args: \
                 [{{index: 0, {arg}}}]\n    selectors:\n    - matchArgs: [{{index: 0, {filter}}}]"
            ),
        )
    };
    for (call, arg, filter) in [
        ("__sys_setgid", "type: uint32", "operator: Equal, values: ['1']"),
        ("security_socket_connect", "type: socket", "operator: Protocol, values: [IPPROTO_TCP]"),
        ("tcp_close", "type: sock", "operator: DPort, values: ['80']"),
        ("security_file_open", "type: file", "operator: FileType, values: [reg]"),
        ("security_file_open", "type: file", "operator: Prefix, values: [/etc/]"),
    ] {
        let plans = kernel.compile(&hook(call, arg, filter));
        let failed = format!("{:?}", kernel.apply(plans));
        assert!(failed.contains("ArgumentsOnReturn"), "{call}, {arg}, {filter}: {failed}");
    }
    // The result is seen.
    let result = "  - call: __sys_setgid\n    syscall: false\n    return: true\n    returnArg: {index: 0, type: int64}\n    \
                  selectors:\n    - matchReturnArgs: [{index: 0, operator: Equal, values: ['0']}]";
    let plans = kernel.compile(&policy("p", result));
    let failed = kernel.apply(plans);
    assert!(failed.is_empty(), "{failed:?}");
    calls::setgid(0, 10);
    assert_eq!(kernel.counts()["p"], 10);
}
