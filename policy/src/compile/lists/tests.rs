//! Lists on the shipped kernels.

use super::MAX_POINTS;
use crate::{
    compile::tests::whole,
    diagnostic::{Diagnostic, Severity},
    evaluate::{self, Value},
    plan::{Field, HookPlan, HookPoint, Plan, When},
};

fn on(kernel: &str, list: &str, hook: &str) -> (Option<Plan>, Vec<Diagnostic>) {
    whole(
        kernel,
        &format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  lists:\n  - {{name: l, {list}}}\n  \
             kprobes:\n  - {{call: 'list:l', {hook}}}\n"
        ),
    )
}

fn hooks(list: &str, hook: &str) -> Vec<HookPlan> {
    let (plan, found) = on("6.12", list, hook);
    plan.unwrap_or_else(|| panic!("{found:?}")).hooks
}

fn symbols(hooks: &[HookPlan]) -> Vec<&str> {
    hooks.iter().filter_map(|hook| hook.point.symbol()).collect()
}

/// Codes and paths.
fn reported(kernel: &str, list: &str, hook: &str) -> Vec<String> {
    let (plan, found) = on(kernel, list, hook);
    assert_eq!(plan.is_none(), found.iter().any(Diagnostic::is_error), "{found:?}");
    found.iter().map(|found| format!("{} {}", found.code.id, found.path)).collect()
}

#[test]
fn each_function_of_a_list_is_a_hook() {
    let found = hooks(
        "values: [tcp_connect, __sys_setuid]",
        "syscall: false, return: true, returnArg: {index: 0, type: int}",
    );
    assert_eq!(symbols(&found), ["tcp_connect", "__sys_setuid"]);
    assert!(found.iter().all(|hook| hook.origin.to_string() == "spec.kprobes[0]"));
    assert!(found.iter().all(|hook| hook.point.when() == When::Return && !hook.point.is_syscall()));
}

#[test]
fn system_calls_are_so_whatever_the_hook_says() {
    let list =
        "type: syscalls, values: [sys_dup, __x64_sys_dup, x64/sys_dup2, i386/sys_dup3, i386/sys_openat]";
    let found = hooks(list, "syscall: false");
    assert_eq!(
        symbols(&found),
        ["__x64_sys_dup", "__x64_sys_dup2", "__ia32_sys_dup3", "__ia32_compat_sys_openat"],
        "one call twice is one hook, and of two entries the kernel uses the one for 32-bit programs"
    );
    assert!(found.iter().all(|hook| hook.point.is_syscall()));
    assert_eq!(
        reported("6.12", "type: syscalls, values: [arm64/sys_dup]", ""),
        ["GW214 spec.lists[0].values[0]"]
    );
}

#[test]
fn all_system_calls() {
    for (kernel, least) in [("5.10", 330), ("6.1", 340), ("6.12", 350), ("7.3", 350)] {
        let (plan, found) = on(kernel, "type: generated_syscalls", "args: [{index: 0, type: uint64}]");
        let plan = plan.unwrap_or_else(|| panic!("{found:?}"));
        assert!((least..500).contains(&plan.hooks.len()), "{kernel}: {}", plan.hooks.len());
        assert!(!symbols(&plan.hooks).contains(&"__x64_sys_ni_syscall"), "{kernel}");
        assert!(plan.hooks.contains(&HookPlan {
            point: HookPoint::Syscall { symbol: "__x64_sys_dup".to_owned(), when: When::Entry },
            ..plan.hooks[0].clone()
        }));
    }
}

#[test]
fn functions_by_a_pattern() {
    assert_eq!(
        symbols(&hooks("type: generated_ftrace, pattern: '^tcp_v[46]_connect$'", "syscall: false")),
        ["tcp_v4_connect", "tcp_v6_connect"]
    );
    // As in Go, a pattern matches anywhere.
    let anywhere = hooks("type: generated_ftrace, pattern: 'cp_v4_connec'", "syscall: false");
    assert_eq!(symbols(&anywhere), ["tcp_v4_connect"]);
    let pattern = |pattern: &str| {
        reported("6.12", &format!("type: generated_ftrace, pattern: '{pattern}'"), "syscall: false")
    };
    assert_eq!(pattern("^no_such_"), ["GW201 spec.lists[0].pattern"]);
    assert_eq!(pattern("*x"), ["GW015 spec.lists[0].pattern"]);
    assert_eq!(pattern("(a{1000}){1000}"), ["GW015 spec.lists[0].pattern"]);
    assert_eq!(pattern(""), ["GW015 spec.lists[0].pattern"]);
    assert_eq!(pattern("."), ["GW202 spec.lists[0].pattern", "GW413 spec.kprobes[0].call"]);
}

#[test]
fn the_bound_is_named() {
    let (_, found) = on("6.12", "type: generated_ftrace, pattern: '^a'", "syscall: false");
    let found = found.iter().find(|found| found.code.id == "GW413").unwrap();
    assert!(found.message.contains(&format!("more than {MAX_POINTS} functions")), "{found}");
}

#[test]
fn fewer_functions_are_hooked_at_their_return() {
    let (_, found) =
        on("6.12", "type: generated_syscalls", "return: true, returnArg: {index: 0, type: int64}");
    let found = found.iter().find(|found| found.code.id == "GW413").unwrap();
    assert!(found.message.contains("`return: true`") && found.message.contains("more than 64"), "{found}");
}

#[test]
fn filters_of_many_functions_have_a_bound_in_bytes() {
    let value = "x".repeat(200_000);
    let hook = format!("selectors: [{{matchBinaries: [{{operator: In, values: ['{value}']}}]}}]");
    let (plan, found) = on("6.12", "type: generated_syscalls", &hook);
    assert!(plan.is_none() && found.iter().any(|found| found.code.id == "GW413"), "{found:?}");
}

#[test]
fn a_name_that_the_kernel_lacks_is_reported_where_it_is_written() {
    let list = "values: [tcp_connect, tcp_conect]";
    assert_eq!(reported("6.12", list, "syscall: false"), ["GW201 spec.lists[0].values[1]"]);
    let (_, found) = on("6.12", list, "syscall: false");
    assert_eq!(found[0].fix.as_ref().unwrap().path.to_string(), "spec.lists[0].values[1]");
    let (plan, found) = on("6.12", list, "syscall: false, ignore: {callNotFound: true}");
    let plan = plan.unwrap();
    assert!(plan.partial, "a function of the list is missing");
    assert_eq!(symbols(&plan.hooks), ["tcp_connect"]);
    assert_eq!(found[0].severity, Severity::Note);
    assert_eq!(reported("6.12", "values: [tcp_connect]", ""), ["GW203 spec.lists[0].values[0]"]);
}

#[test]
fn a_list_that_is_not_defined_has_no_plan() {
    let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n  kprobes:\n  - {call: 'list:l'}\n";
    let (plan, found) = whole("6.12", text);
    assert!(plan.is_none());
    assert_eq!(found[0].code.id, "GW015");
}

#[test]
fn what_holds_for_many_functions_is_reported_once() {
    let hook = "syscall: false, args: [{index: 0, type: int}], selectors: [{matchArgs: [{index: 0, operator: Equal, values: ['1']}]}]";
    let (_, found) = on("6.12", "values: [tcp_connect, tcp_v4_connect, tcp_v6_connect]", hook);
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(found.code.id, "GW205");
    assert!(found.message.ends_with("; the same for 2 more of the list"), "{found}");
    // The author can't leave a function out of a list that nodes make.
    let (plan, found) = on("6.12", "type: generated_ftrace, pattern: '^tcp_v[46]_connect$'", hook);
    assert!(plan.is_some() && found.iter().all(|found| found.severity == Severity::Warning), "{found:?}");
}

#[test]
fn an_argument_that_a_function_lacks_has_no_value_there() {
    let hook = |operator: &str| {
        let filter = format!(
            "args: [{{index: 0, type: uint32}}], selectors: [{{matchArgs: [{{index: 0, operator: {operator}, values: ['7']}}]}}]"
        );
        let (plan, found) = on("6.12", "type: syscalls, values: [sys_dup, sys_getpid]", &filter);
        assert_eq!(
            found.iter().map(|found| (found.code.id, found.severity)).collect::<Vec<_>>(),
            [("GW204", Severity::Warning)]
        );
        plan.unwrap().hooks
    };
    let holds = |hook: &HookPlan, value: i128| {
        evaluate::test(&hook.selectors[0].filters[0].test, Some(&Value::Int(value)))
    };
    let equal = hook("Equal");
    assert_eq!(equal[0].selectors[0].filters[0].field, Field::Arg { index: 0, bits: 32, signed: false });
    assert!(holds(&equal[0], 7) && !holds(&equal[0], 8));
    assert!(!holds(&equal[1], 7) && !holds(&equal[1], 8));
    assert!(holds(&hook("NotEqual")[1], 7));
    // Without a filter there is nothing to report.
    assert_eq!(
        reported("6.12", "type: syscalls, values: [sys_dup, sys_getpid]", "args: [{index: 0, type: uint32}]"),
        [""; 0]
    );
}
