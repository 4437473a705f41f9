//! Lists of functions and of system calls, and macros, with exact counts for each function.

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use super::{Callers, make, policy, restart::hooks_are_kept, this};
use crate::{
    agent::{Agent, sum},
    calls, pod,
    scrape::{self, EVENTS},
};

/// How long a policy on all system calls may take to load, and the kernel's memory that it may take.
const LOADS_WITHIN: Duration = Duration::from_secs(10);
/// The same where the kernel has no link for many functions, and changes its code once for each kprobe.
const LOADS_BY_KPROBES_WITHIN: Duration = Duration::from_secs(30);
const MEMORY: u64 = 4 << 20;
/// How long a change of a list's functions may leave calls of functions that stay uncounted.
const LONGEST_GAP: Duration = Duration::from_millis(500);

fn with_list(name: &str, list: &str, hook: &str) -> String {
    policy(name, &format!("  - call: \"list:l\"\n{hook}"))
        .replace("spec:\n", &format!("spec:\n  lists:\n  - {{name: l, {list}}}\n"))
}

/// A policy on all system calls of this program.
fn all_calls(name: &str) -> String {
    let selectors = format!(
        "    selectors:\n    - matchBinaries: [{{operator: In, values: [\"{}\"]}}]",
        this().display()
    );
    with_list(name, "type: generated_syscalls", &selectors)
}

fn counted(text: &str, policy: &str, symbol: &str) -> u64 {
    sum(text, EVENTS, &[("policy", policy), ("hook", &format!("kprobe:{symbol}"))])
}

/// Each kind of list, and macros: every function has its own count.
pub(super) fn functions_and_calls() {
    let this = this().display().to_string();
    let zero = "    args: [{index: 0, type: uint32}]\n    selectors:\n    - matchArgs: [{index: 0, operator: Equal, values: [\"0\"]}]";
    let macros = policy(
        "macros",
        "  - call: __sys_setuid\n    syscall: false\n    args: [{index: 0, type: uint32}]\n    selectors:\n    - macros: [me, zero]",
    )
    .replace(
        "spec:\n",
        &format!(
            "spec:\n  selectorsMacros:\n    me: {{matchBinaries: [{{operator: In, values: [\"{this}\"]}}]}}\n    \
             zero: {{matchArgs: [{{index: 0, operator: Equal, values: [\"0\"]}}]}}\n"
        ),
    );
    let policies = [
        with_list(
            "functions",
            "values: [__sys_setuid, __sys_setgid]",
            &format!("    syscall: false\n{zero}"),
        ),
        with_list("calls", "type: syscalls, values: [sys_setuid, sys_setgid]", zero),
        with_list(
            "pattern",
            "type: generated_ftrace, pattern: '^__sys_set[ug]id$'",
            &format!("    syscall: false\n{zero}"),
        ),
        with_list("narrow", "type: syscalls, values: [i386/sys_setuid]", zero),
        macros,
    ];
    let agent = Agent::start(&[("p.yaml", &policies.concat())], &pod::list(&[]));
    calls::setuid_root(10);
    calls::setgid(7, 3);
    calls::setgid(0, 5);
    calls::setuid_by_32_bits(0, 4);
    calls::setuid_by_32_bits(u32::MAX, 1);
    let text = agent.metrics();
    for (policy, symbol, expected) in [
        ("functions", "__sys_setuid", 14),
        ("functions", "__sys_setgid", 5),
        ("calls", "__x64_sys_setuid", 10),
        ("calls", "__x64_sys_setgid", 5),
        ("pattern", "__sys_setuid", 14),
        ("pattern", "__sys_setgid", 5),
        ("narrow", "__ia32_sys_setuid", 4),
        ("macros", "__sys_setuid", 14),
    ] {
        assert_eq!(counted(&text, policy, symbol), expected, "{policy} {symbol}\n{text}\n{}", agent.log());
    }
}

/// A policy on all system calls loads soon and takes little memory, counts each call exactly, also while no agent runs, and
/// ends with the policy.
pub(super) fn all_system_calls() {
    let mut agent = Agent::start(&[], &pod::list(&[]));
    let running = |text: &str| sum(text, "gatewatch_policies", &[("state", "running")]) == 1;
    let begun = Instant::now();
    fs::write(agent.policies.join("p.yaml"), all_calls("all")).expect("written");
    assert!(agent.wait(running), "{}", agent.log());
    let took = begun.elapsed();
    let memory = agent.sum("gatewatch_policy_kernel_memory_bytes", &[("policy", "all")]);
    println!("all system calls: loaded in {took:?}, {memory} bytes of the kernel's memory");
    assert!(memory > 0 && memory <= MEMORY, "{memory} bytes");
    make("setuid", "1000");
    make("setgid", "300");
    let text = agent.metrics();
    assert_eq!(counted(&text, "all", "__x64_sys_setuid"), 1_000, "{text}\n{}", agent.log());
    assert_eq!(counted(&text, "all", "__x64_sys_setgid"), 300, "{text}");
    assert_eq!(counted(&text, "all", "__x64_sys_setreuid"), 0, "{text}");
    assert!(counted(&text, "all", "__x64_sys_exit_group") >= 2, "{text}");
    assert_eq!(sum(&text, "gatewatch_events_missed_total", &[]), 0, "{text}");
    let kept = agent.log().contains("(fprobe)") && hooks_are_kept();
    agent.kill();
    make("setuid", "100");
    agent.again();
    assert!(agent.wait(running), "{}", agent.log());
    make("setuid", "10");
    let text = agent.metrics();
    let expected = if kept { 1_110 } else { 1_010 };
    assert_eq!(counted(&text, "all", "__x64_sys_setuid"), expected, "{text}\n{}", agent.log());
    let by_one_link = agent.log().contains("(fprobe)");
    let most = if by_one_link { LOADS_WITHIN } else { LOADS_BY_KPROBES_WITHIN };
    assert!(took <= most, "loaded in {took:?}");
    fs::remove_file(agent.policies.join("p.yaml")).expect("removed");
    assert!(agent.wait(|text| !text.contains("policy=\"all\"")), "{}", agent.log());
}

/// What the agent says of the time in which a hook did not count.
fn gap_seconds(text: &str, policy: &str, hook: &str) -> f64 {
    let samples = scrape::samples(text, "gatewatch_gap_seconds_total").into_iter();
    let of_hook = samples.filter(|(labels, _)| {
        labels.get("policy").is_some_and(|of| of == policy) && labels.get("hook").is_some_and(|at| at == hook)
    });
    of_hook.map(|(_, seconds)| seconds).sum()
}

/// A list grows from a few functions to many and on, and shrinks again, under load: no call is counted twice, and at most
/// some are not counted at the moments of the changes.
pub(super) fn a_list_that_changes() {
    const FUNCTIONS: [&str; 22] = [
        "__sys_setuid",
        "__sys_setgid",
        "__sys_setreuid",
        "__sys_setregid",
        "__sys_setresuid",
        "__sys_setresgid",
        "__sys_setfsuid",
        "__sys_setfsgid",
        "tcp_v4_connect",
        "tcp_connect",
        "tcp_close",
        "tcp_sendmsg",
        "tcp_recvmsg",
        "udp_sendmsg",
        "udp_recvmsg",
        "ksys_read",
        "ksys_write",
        "do_nanosleep",
        "vfs_mkdir",
        "vfs_rmdir",
        "vfs_unlink",
        "vfs_symlink",
    ];
    let of = |functions: usize| {
        let mut values = String::new();
        for function in &FUNCTIONS[..functions] {
            let _ = write!(values, "{function}, ");
        }
        let hook = "    syscall: false\n    ignore: {callNotFound: true}";
        with_list("changes", &format!("values: [{values}]"), hook)
    };
    let agent = Agent::start(&[("p.yaml", &of(3))], &pod::list(&[]));
    let callers = Callers::start(&agent);
    let started = Instant::now();
    let changes = || agent.log().matches(" policies run at ").count();
    for functions in [20, 22, 18, 2] {
        let before = changes();
        fs::write(agent.policies.join("p.yaml"), of(functions)).expect("written");
        assert!(agent.wait(|_| changes() > before), "{functions}: {}", agent.log());
    }
    let took = started.elapsed();
    let made = callers.finish();
    let text = agent.metrics();
    let seen = counted(&text, "changes", "__sys_setuid");
    assert!(seen <= made, "{seen} of {made}\n{text}");
    // Between two programs for different functions the kernel waits for a grace period (`bpf_arch_poke_desc_update`,
    // arch/x86/net/bpf_jit_comp.c). By the calls that were not counted, this was so long for all changes together.
    let gap = took.as_millis() * u128::from(made - seen) / u128::from(made);
    println!("four changes of a list left out {gap} ms");
    assert!(gap < 4 * LONGEST_GAP.as_millis(), "{seen} of {made} in {took:?}\n{text}\n{}", agent.log());
    // The agent says so. Calls are made faster at some moments than at others, so theirs is an estimate.
    let said = Duration::from_secs_f64(gap_seconds(&text, "changes", "kprobe:__sys_setuid")).as_millis();
    assert!(gap <= 3 * said + 20, "{gap} ms by the calls, {said} ms by the agent\n{text}\n{}", agent.log());
    assert!(made == seen || said > 0, "{text}");
    let before = counted(&text, "changes", "__sys_setuid");
    calls::setuid_root(100);
    calls::setgid(0, 50);
    let text = agent.metrics();
    assert_eq!(counted(&text, "changes", "__sys_setuid"), before + 100, "{text}");
    assert_eq!(counted(&text, "changes", "__sys_setgid"), 50, "{text}");
}
