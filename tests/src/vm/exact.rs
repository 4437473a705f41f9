//! Counts are exact.

use std::process::Command;

use gatewatch_kernel::host::Preemption;

use super::{CALLS, SETUID, counts_setuid, policy, this};
use crate::{
    agent::Agent,
    calls,
    kernel::{Kernel, Way},
    pod,
    scrape::EVENTS,
};

/// Calls that match among calls that don't, on both processors at once.
pub(super) fn two_processors() {
    let hook = "  - call: __sys_setgid\n    syscall: false\n    args: [{index: 0, type: uint32}]\n    selectors:\n    - \
                matchArgs: [{index: 0, operator: Equal, values: [\"7\"]}]";
    let agent = Agent::start(&[("p.yaml", &policy("gid", hook))], &pod::list(&[]));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            Command::new(this()).args([CALLS, "setgid", "20000"]).spawn().expect("a process that makes calls")
        })
        .collect();
    // These don't match.
    crate::calls::setgid(0, 5_000);
    for mut worker in workers {
        assert!(worker.wait().expect("an exit status").success());
    }
    assert_eq!(agent.events(&[("policy", "gid")]), 80_000, "{}", agent.metrics());
    let binary = this().display().to_string();
    assert_eq!(agent.events(&[("policy", "gid"), ("binary", &binary)]), 80_000);
    assert_eq!(agent.sum("gatewatch_events_missed_total", &[]), 0);
    assert_eq!(agent.sum("gatewatch_events_overflow_total", &[]), 0);
}

/// Many tasks on two processors that interrupt each other in the middle of our programs: a program that runs in one task at a
/// time misses the calls of the others. Where the kernel is preemptible that is so by fentry, and the load must be one that
/// shows it.
pub(super) fn interrupted() {
    /// Times that the load is made by fentry: it was seen in the first one always.
    const WITHIN: usize = 20;
    let (made, counted, missed) = under_interruption(Way::of_this_kernel());
    assert_eq!(counted, made);
    assert_eq!(missed, 0);
    let host = crate::kernel::host();
    // Where the mode is not known, as on 5.10, the kernel need not be preemptible.
    if !matches!(host.features.preemption, Some(Preemption::Full | Preemption::Lazy | Preemption::RealTime)) {
        return;
    }
    let lost =
        (0..WITHIN).map(|_| under_interruption(Way::Trampolines)).find(|(made, counted, _)| counted < made);
    let (made, counted, missed) = lost.expect("the load interrupts programs");
    println!("by fentry {counted} of {made} calls were counted, and {missed} missed");
    assert_eq!(counted + missed, made);
}

/// How many calls were made, how many of them counted, and how many the kernel says that its programs missed.
fn under_interruption(way: Way) -> (u64, u64, u64) {
    let load = [("setgid-yielding", 10_000_u64, 6), ("setgid-interrupting", 4_000, 4)];
    let mut kernel = Kernel::load_with(way);
    let hook = "  - call: __sys_setgid\n    syscall: false\n    args: [{index: 0, type: uint32}]\n    selectors:\n    - \
                matchArgs: [{index: 0, operator: Equal, values: [\"7\"]}]";
    let plans = kernel.compile(&policy("gid", hook));
    assert!(kernel.apply(plans).is_empty(), "the policy loads");
    let by: Vec<_> = kernel.engine.bpf().functions().map(|(_, by)| by).collect();
    assert_eq!(by, [way.name()]);
    let made = calls_at_once(load);
    let missed = kernel.engine.view().missed().into_values().sum();
    (made, kernel.counts().get("gid").copied().unwrap_or(0), missed)
}

/// Makes calls in several processes at once: for each kind, how many each process makes, and in how many. Returns how many
/// were made together.
pub(super) fn calls_at_once<const N: usize>(load: [(&str, u64, u32); N]) -> u64 {
    let mut workers = Vec::new();
    let mut made = 0;
    for (kind, times, tasks) in load {
        for _ in 0..tasks {
            let worker = Command::new(this()).args([CALLS, kind, &times.to_string()]).spawn();
            workers.push(worker.expect("a process that makes calls"));
            made += times;
        }
    }
    for mut worker in workers {
        assert!(worker.wait().expect("an exit status").success());
    }
    made
}

/// A shell that forks and executes between the calls: each call under the program that made it.
pub(super) fn fork_and_exec_between() {
    let agent = counts_setuid();
    let this = this();
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do {0} {CALLS} setuid 100; (exec {0} {CALLS} setuid 10); done",
        this.display()
    );
    let status = Command::new("sh").arg("-c").arg(script).status().expect("a shell");
    assert!(status.success());
    let binary = this.display().to_string();
    assert_eq!(agent.events(&[("policy", "uid"), ("binary", &binary)]), 1_100, "{}", agent.metrics());
    assert_eq!(agent.events(&[("policy", "uid")]), 1_100);
    // `setpriv` is known by its own path, also when it is run by a link.
    std::os::unix::fs::symlink("/usr/bin/setuid", "/tmp/another-name").expect("a link");
    let status = Command::new("/tmp/another-name").args(["1", "true"]).status().expect("setuid runs");
    assert!(status.success());
    assert_eq!(agent.events(&[("policy", "uid"), ("binary", "/usr/bin/setuid")]), 1, "{}", agent.metrics());
}

/// The kernel's table of counts is full: nothing is lost, it only has no name.
pub(super) fn full_table() {
    let mut kernel = Kernel::load();
    let plans = kernel.compile(&policy("uid", SETUID));
    assert!(kernel.apply(plans).is_empty());
    let id = *kernel.engine.view().hooks.keys().next().expect("a hook");
    kernel.engine.bpf_mut().fill_counts().expect("the table is filled");
    crate::calls::setuid_root(1_000);
    let overflow: u64 = kernel
        .reader
        .counts()
        .expect("counts")
        .into_iter()
        .filter(|(key, _)| key.hook == id && key.cgroup == gatewatch_abi::consts::OVERFLOW)
        .map(|(_, value)| value)
        .sum();
    assert_eq!(overflow, 1_000);
    let left_out = kernel.reader.usage().left_out;
    assert!(left_out.iter().all(|(what, times)| *what != "counts" || *times == 0), "{left_out:?}");
}

/// Filters on the process: id, namespace, capability, program, and the programs of ancestors.
pub(super) fn processes() {
    let me = std::process::id();
    let this = this().display().to_string();
    let hook = |filter: &str| format!("{SETUID}\n    selectors:\n    - {filter}");
    let policies = [
        policy("pid", &hook(&format!("matchPIDs: [{{operator: In, values: [{me}]}}]"))),
        policy("not-pid", &hook(&format!("matchPIDs: [{{operator: NotIn, values: [{me}]}}]"))),
        policy(
            "ns-pid",
            &hook(&format!("matchPIDs: [{{operator: In, values: [{me}], isNamespacePID: true}}]")),
        ),
        policy("host-net", &hook("matchNamespaces: [{namespace: Net, operator: In, values: [host_ns]}]")),
        policy("other-uts", &hook("matchNamespaces: [{namespace: Uts, operator: NotIn, values: [host_ns]}]")),
        policy(
            "host-pid-user",
            &hook(
                "matchNamespaces: [{namespace: Pid, operator: In, values: [host_ns]}, {namespace: User, operator: In, values: [host_ns]}]",
            ),
        ),
        policy(
            "admin",
            &hook("matchCapabilities: [{type: Effective, operator: In, values: [CAP_SYS_ADMIN]}]"),
        ),
        policy(
            "no-admin",
            &hook("matchCapabilities: [{type: Effective, operator: NotIn, values: [CAP_SYS_ADMIN]}]"),
        ),
        policy("binary", &hook(&format!("matchBinaries: [{{operator: In, values: [\"{this}\"]}}]"))),
        policy("not-binary", &hook(&format!("matchBinaries: [{{operator: NotIn, values: [\"{this}\"]}}]"))),
        policy("prefix", &hook("matchBinaries: [{operator: Prefix, values: [/usr/local/]}]")),
        policy("postfix", &hook("matchBinaries: [{operator: Postfix, values: [vm-tests]}]")),
        policy("not-postfix", &hook("matchBinaries: [{operator: NotPostfix, values: [vm-tests]}]")),
        policy(
            "below-env",
            &hook("matchBinaries: [{operator: In, values: [/usr/bin/env], followChildren: true}]"),
        ),
        policy(
            "below-me",
            &hook(&format!("matchBinaries: [{{operator: In, values: [\"{this}\"], followChildren: true}}]")),
        ),
        policy(
            "nothing",
            &format!(
                "{}\n      matchActions: [{{action: NoPost}}]\n    - {{}}",
                hook("matchPIDs: [{operator: In, values: [1, 2]}]")
            ),
        ),
    ];
    let text = policies.concat();
    let agent = Agent::start(&[("p.yaml", &text)], &pod::list(&[]));
    crate::calls::setuid_root(10);
    let script = format!(
        "{this} {CALLS} setuid 100; unshare --uts {this} {CALLS} setuid 1000; setuid 1 true; setuid 1 true"
    );
    assert!(Command::new("env").args(["sh", "-c", &script]).status().expect("a shell").success());
    let text = agent.metrics();
    let counted = |policy| crate::agent::sum(&text, EVENTS, &[("policy", policy)]);
    for (policy, expected) in [
        ("pid", 10),
        ("not-pid", 1_102),
        ("ns-pid", 10),
        ("host-net", 1_112),
        ("other-uts", 1_000),
        ("host-pid-user", 1_112),
        ("admin", 1_112),
        ("no-admin", 0),
        ("binary", 1_110),
        ("not-binary", 2),
        ("prefix", 1_110),
        ("postfix", 1_110),
        ("not-postfix", 2),
        ("below-env", 1_102),
        ("below-me", 1_112),
        ("nothing", 1_112),
    ] {
        assert_eq!(counted(policy), expected, "{policy}\n{text}\n{}", agent.log());
    }
}

/// A system call and the function that enters it, hooked by two policies on one symbol: what an argument is for one of them
/// doesn't hang on the other.
pub(super) fn one_symbol_two_points() {
    for way in Way::all() {
        let mut kernel = Kernel::load_with(way);
        let symbol = kernel.engine.profile().syscall_symbol("sys_setuid");
        // The function's one argument is where the registers are. As a system call's it would be the id: 0.
        let function = policy(
            "function",
            &format!(
                "  - call: {symbol}\n    syscall: false\n    args: [{{index: 0, type: uint64}}]\n    selectors:\n    - \
                 matchArgs: [{{index: 0, operator: GT, values: [\"4096\"]}}]"
            ),
        );
        let call = |name: &str, operator: &str| {
            policy(
                name,
                &format!(
                    "  - call: sys_setuid\n    syscall: true\n    args: [{{index: 0, type: uint32}}]\n    selectors:\n    - \
                     matchArgs: [{{index: 0, operator: {operator}, values: [\"0\"]}}]"
                ),
            )
        };
        let text = [function.clone(), call("call", "Equal"), call("other", "NotEqual")].concat();
        let plans = kernel.compile(&text);
        let failed = kernel.apply(plans);
        assert!(failed.is_empty(), "{way:?}: {failed:#?}");
        calls::setuid_root(1_000);
        let counts = kernel.counts();
        let counted = |name: &str| counts.get(name).copied().unwrap_or(0);
        assert_eq!(["function", "call", "other"].map(counted), [1_000, 1_000, 0], "{way:?}");
        // The other policies go, and it counts on.
        let plans = kernel.compile(&function);
        assert!(kernel.apply(plans).is_empty());
        calls::setuid_root(1_000);
        assert_eq!(kernel.counts().get("function"), Some(&2_000), "{way:?}");
    }
}
