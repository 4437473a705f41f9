//! The sections beside `kprobes`.

use super::whole;
use crate::plan::{Field, HookPoint, Plan};

/// The findings and the plan of a policy with one hook of a section.
fn of_section(section: &str, hook: &str) -> (Option<Plan>, Vec<String>) {
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec: {{{section}: [{hook}]}}\n"
    );
    let (plan, found) = whole("6.12", &text);
    (plan, found.iter().map(|found| format!("{} {}", found.code.id, found.path)).collect())
}

#[test]
fn fields_of_records() {
    let field = |hook: &str| {
        let (plan, found) = of_section("tracepoints", hook);
        let plan = plan.unwrap_or_else(|| panic!("{hook}: {found:?}"));
        assert_eq!(found, [""; 0], "{hook}");
        plan.hooks[0].selectors[0].filters[0].field
    };
    let of = |at: &str, index: u32, ty: &str, operator: &str, value: &str| {
        format!(
            "{{{at}, args: [{{index: {index}, type: {ty}}}], selectors: [{{matchArgs: [{{index: {index}, operator: {operator}, \
             values: [\"{value}\"]}}]}}]}}"
        )
    };
    let exec = "subsystem: sched, event: sched_process_exec";
    let open = "subsystem: syscalls, event: sys_enter_openat";
    for (hook, expected) in [
        (of(exec, 4, "data_loc", "Prefix", "/x"), Field::TracepointString(4)),
        (of(exec, 4, "auto", "Prefix", "/x"), Field::TracepointString(4)),
        (of(exec, 5, "auto", "Equal", "1"), Field::Arg { index: 5, bits: 32, signed: true }),
        // Wider than the field: all of it.
        (of(exec, 5, "int64", "Equal", "1"), Field::Arg { index: 5, bits: 32, signed: true }),
        (of(open, 6, "string", "Postfix", "shadow"), Field::UserString(6)),
        (of(open, 6, "auto", "Postfix", "shadow"), Field::UserString(6)),
        // Each argument of a system call has eight bytes there: of a number, the lower ones.
        (of(open, 7, "int", "Mask", "1"), Field::Arg { index: 7, bits: 32, signed: true }),
        (of("subsystem: skb, event: kfree_skb", 4, "skb", "Family", "AF_INET"), Field::PacketFamily(4)),
        (of("subsystem: skb, event: kfree_skb", 4, "skb", "NotDPort", "53"), Field::PacketDestinationPort(4)),
        (of("subsystem: syscalls, event: sys_enter_write", 5, "fd", "Prefix", "/x"), Field::Descriptor(5)),
        (
            of("subsystem: syscalls, event: sys_enter_connect", 6, "sockaddr_un", "Prefix", "/x"),
            Field::UnixName { index: 6, length: Some(7) },
        ),
        // The first of six.
        (
            of("subsystem: raw_syscalls, event: sys_enter", 5, "int64", "Equal", "-1"),
            Field::Arg { index: 5, bits: 64, signed: true },
        ),
    ] {
        assert_eq!(field(&hook), expected, "{hook}");
    }
    let raw = of(&format!("{exec}, raw: true"), 2, "linux_binprm", "Postfix", "/sh");
    assert_eq!(field(&raw), Field::Binprm(2));
    let (plan, _) = of_section("tracepoints", &raw);
    let (subsystem, event) = ("sched".to_owned(), "sched_process_exec".to_owned());
    assert_eq!(plan.unwrap().hooks[0].point, HookPoint::RawTracepoint { subsystem, event });
}

#[test]
fn mistakes_in_tracepoints() {
    let hook = "spec.tracepoints[0]";
    for (written, expected) in [
        ("{subsystem: sched, event: sched_process_exe}", format!("GW201 {hook}.event")),
        ("{subsystem: task, event: sched_process_exec}", format!("GW201 {hook}.subsystem")),
        ("{subsystem: sched, event: no_such_thing, raw: true}", format!("GW201 {hook}.event")),
        (
            "{subsystem: sched, event: sched_process_exec, args: [{index: 9, type: int}]}",
            format!("GW204 {hook}.args[0].index"),
        ),
        (
            "{subsystem: raw_syscalls, event: sys_enter, args: [{index: 5, type: int}]}",
            format!("GW205 {hook}.args[0].type"),
        ),
        (
            "{subsystem: sched, event: sched_process_exec, args: [{index: 5, type: file}]}",
            format!("GW205 {hook}.args[0].type"),
        ),
        (
            "{subsystem: sched, event: sched_process_exec, raw: true, args: [{index: 2, type: file}], selectors: [{matchArgs: \
             [{index: 2, operator: Prefix, values: [/x]}]}]}",
            format!("GW205 {hook}.args[0].type"),
        ),
    ] {
        assert_eq!(of_section("tracepoints", written).1, [expected], "{written}");
    }
}

#[test]
fn hooks_of_the_security_modules() {
    let hook = "{hook: file_open, args: [{index: 0, type: file}], selectors: [{matchArgs: [{index: 0, operator: Prefix, values: \
                [/x]}]}]}";
    let (plan, found) = of_section("lsmhooks", hook);
    assert_eq!(found, [""; 0]);
    let hook = &plan.unwrap().hooks[0];
    assert_eq!(hook.point, HookPoint::Lsm { hook: "file_open".to_owned() });
    assert_eq!(hook.selectors[0].filters[0].field, Field::File(0));
    let (_, found) = of_section("lsmhooks", "{hook: file_open, args: [{index: 1, type: file}]}");
    assert_eq!(found, ["GW204 spec.lsmhooks[0].args[0].index"]);
    let (plan, found) = of_section("fentries", "{call: tcp_connect, syscall: false}");
    assert_eq!(found, [""; 0]);
    assert_eq!(plan.unwrap().hooks[0].point.label(), "kprobe:tcp_connect");
}
