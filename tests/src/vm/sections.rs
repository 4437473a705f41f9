//! The sections of the language beside `kprobes`: what their hooks count, exactly.

use std::fs;

use gatewatch_kernel::host::{Preemption, Support};
use gatewatch_policy::hook_point::PointKind;

use super::{exact::calls_at_once, make, this};
use crate::{
    agent::Agent,
    kernel::{Kernel, Way},
    pod,
};

/// A policy with one hook of a section.
fn on(section: &str, name: &str, hook: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n  {section}:\n  - {hook}\n---\n"
    )
}

/// Whether BPF programs on LSM hooks are called on this kernel.
fn has_lsm() -> bool {
    crate::kernel::host().features.lsm == Support::Yes
}

/// Fields of a record, strings that the record has, and the arguments of a raw tracepoint.
pub(super) fn tracepoints() {
    let this = this().display().to_string();
    let policies = [
        on(
            "tracepoints",
            "field",
            "{subsystem: syscalls, event: sys_enter_setgid, args: [{index: 5, type: uint32}], selectors: [{matchArgs: [{index: \
             5, operator: Equal, values: ['7']}]}]}",
        ),
        on(
            "tracepoints",
            "other",
            "{subsystem: syscalls, event: sys_enter_setgid, args: [{index: 5, type: uint32}], selectors: [{matchArgs: [{index: \
             5, operator: NotEqual, values: ['7']}]}]}",
        ),
        on(
            "tracepoints",
            "string",
            &format!(
                "{{subsystem: sched, event: sched_process_exec, args: [{{index: 4, type: data_loc}}], selectors: [{{matchArgs: \
                 [{{index: 4, operator: Equal, values: ['{this}']}}]}}]}}"
            ),
        ),
        on(
            "tracepoints",
            "raw",
            &format!(
                "{{subsystem: sched, event: sched_process_exec, raw: true, args: [{{index: 2, type: linux_binprm}}], selectors: \
                 [{{matchArgs: [{{index: 2, operator: Equal, values: ['{this}']}}]}}]}}"
            ),
        ),
        on(
            "tracepoints",
            "program",
            &format!(
                "{{subsystem: sched, event: sched_process_exit, selectors: [{{matchBinaries: [{{operator: In, values: \
                 ['{this}']}}]}}]}}"
            ),
        ),
    ];
    let agent = Agent::start(&[("p.yaml", &policies.concat())], &pod::list(&[]));
    for _ in 0..3 {
        make("setgid", "40");
    }
    crate::calls::setgid(0, 25);
    let counted = |policy, hook| agent.events(&[("policy", policy), ("hook", hook)]);
    let setgid = "tracepoint:syscalls/sys_enter_setgid";
    let counts = [
        counted("field", setgid),
        counted("other", setgid),
        counted("string", "tracepoint:sched/sched_process_exec"),
        counted("raw", "tracepoint:sched/sched_process_exec"),
        counted("program", "tracepoint:sched/sched_process_exit"),
    ];
    assert_eq!(counts, [120, 25, 3, 3, 3], "{}\n{}", agent.metrics(), agent.log());
}

/// The numbers of system calls, of both kinds of programs, by lists and alone.
pub(super) fn syscall_numbers() {
    let this = this().display().to_string();
    let of = |name: &str, index: u32, more: &str, filter: &str| {
        let hook = format!(
            "{{subsystem: raw_syscalls, event: sys_enter, {more}args: [{{index: {index}, type: syscall64}}], selectors: \
             [{{matchBinaries: [{{operator: In, values: ['{this}']}}], matchArgs: [{{index: {index}, {filter}}}]}}]}}"
        );
        let lists = "lists: [{name: ids, type: syscalls, values: [sys_setgid, i386/sys_setuid]}, {name: native, type: syscalls, \
                     values: [sys_setuid]}]";
        on("tracepoints", name, &hook).replace("spec:\n", &format!("spec:\n  {lists}\n"))
    };
    let policies = [
        of("list", 4, "", "operator: InMap, values: ['list:ids']"),
        of("raw-list", 1, "raw: true, ", "operator: InMap, values: ['list:ids']"),
        of("native", 4, "", "operator: InMap, values: ['list:native']"),
        // The number of setuid32 for 32-bit programs: without its bit, it is another call of 64-bit programs.
        of("without-bit", 4, "", "operator: Equal, values: ['213']"),
        of("with-bit", 1, "raw: true, ", "operator: Equal, values: ['0x800000d5']"),
    ];
    let agent = Agent::start(&[("p.yaml", &policies.concat())], &pod::list(&[]));
    make("setgid", "40");
    crate::calls::setuid_root(25);
    crate::calls::setuid_by_32_bits(0, 30);
    let by_32_bits = if cfg!(target_arch = "x86_64") { 30 } else { 0 };
    let counted = |policy| agent.events(&[("policy", policy), ("hook", "tracepoint:raw_syscalls/sys_enter")]);
    let counts = [
        counted("list"),
        counted("raw-list"),
        counted("native"),
        counted("without-bit"),
        counted("with-bit"),
    ];
    let expected = [40 + by_32_bits, 40 + by_32_bits, 25, 0, by_32_bits];
    assert_eq!(counts, expected, "{}\n{}", agent.metrics(), agent.log());
}

/// LSM hooks count where the kernel calls programs on them, and only observe. Elsewhere the policy fails with the reason.
pub(super) fn lsm_hooks() {
    let file = "/tmp/lsm-hook";
    fs::write(file, "x").expect("written");
    let opened = super::monitoring(&on(
        "lsmhooks",
        "opened",
        &format!(
            "{{hook: file_open, args: [{{index: 0, type: file}}], selectors: [{{matchArgs: [{{index: 0, operator: Equal, values: \
             ['{file}']}}], matchActions: [{{action: Override, argError: -1}}]}}]}}"
        ),
    ));
    let ids = on(
        "lsmhooks",
        "ids",
        "{hook: task_fix_setgid, args: [{index: 2, type: int}], selectors: [{matchArgs: [{index: 2, \
                                    operator: Equal, values: ['1']}]}]}",
    );
    let agent = Agent::start(&[("a.yaml", &opened), ("b.yaml", &ids)], &pod::list(&[]));
    if !has_lsm() {
        assert_eq!(agent.sum("gatewatch_policies", &[("state", "failed")]), 2, "{}", agent.metrics());
        assert!(agent.log().contains("would never fire on this node: "), "{}", agent.log());
        return;
    }
    for _ in 0..100 {
        fs::read(file).expect("the file is readable: the agent only counts");
    }
    make("setgid", "50");
    let text = agent.metrics();
    assert_eq!(
        agent.events(&[("policy", "opened"), ("hook", "lsm:file_open")]),
        100,
        "{text}\n{}",
        agent.log()
    );
    assert_eq!(agent.events(&[("policy", "ids"), ("hook", "lsm:task_fix_setgid")]), 50, "{text}");
    assert_eq!(
        agent.sum("gatewatch_policy_info", &[("policy", "opened"), ("reason", "monitor")]),
        1,
        "{text}"
    );
}

/// Many tasks on two processors that interrupt each other in the middle of the programs: LSM hooks miss nothing. Tracepoints
/// miss nothing where the kernel isn't preemptible, and elsewhere nothing silently.
pub(super) fn interrupted() {
    let mut all = vec![
        on("tracepoints", "record", "{subsystem: syscalls, event: sys_enter_setgid}"),
        on(
            "tracepoints",
            "raw",
            "{subsystem: raw_syscalls, event: sys_enter, raw: true, args: [{index: 1, type: int64}], selectors: [{matchArgs: \
             [{index: 1, operator: Equal, values: ['106']}]}]}",
        ),
    ];
    all.push(on("kprobes", "beside", "{call: __sys_setgid, syscall: false}"));
    if has_lsm() {
        all.push(on("lsmhooks", "lsm", "{hook: task_fix_setgid}"));
    }
    let features = &crate::kernel::host().features;
    let preemptible =
        matches!(features.preemption, Some(Preemption::Full | Preemption::Lazy | Preemption::RealTime));
    let mut kernel = Kernel::load_with(Way::of_this_kernel());
    let plans = kernel.compile(&all.concat());
    let failed = kernel.apply(plans);
    assert!(failed.is_empty(), "{failed:?}");
    let made = calls_at_once([("setgid-yielding", 3_000, 6), ("setgid-interrupting", 1_500, 4)]);
    let missed = kernel.engine.view().missed();
    let counts = kernel.counts();
    let of = |name: &str| counts.get(name).copied().unwrap_or(0);
    println!("of {made} calls: {counts:?}, missed: {missed:?}");
    assert_eq!(of("beside"), made, "a policy on tracepoints takes nothing from others");
    assert!(!has_lsm() || of("lsm") == made);
    // The kernel lets a tracepoint's program run once at a time on a processor, and tells what it left out.
    let left_out = |kind| -> u64 {
        missed.iter().filter(|(lane, _)| lane.point.kind() == kind).map(|(_, missed)| *missed).sum()
    };
    for (name, kind) in [("record", PointKind::Tracepoint), ("raw", PointKind::RawTracepoint)] {
        if preemptible {
            assert!(of(name) <= made && of(name) + left_out(kind) >= made, "{name}");
        } else {
            assert_eq!((of(name), left_out(kind)), (made, 0), "{name}");
        }
    }
}
