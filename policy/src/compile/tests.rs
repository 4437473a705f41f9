//! What compiles, to what, and what is said of what doesn't; on the shipped profiles.

use std::collections::BTreeMap;

use gatewatch_kernel::Profile;

use super::{Environment, compile};
use crate::{
    diagnostic::{Diagnostic, Severity},
    model::NamespaceKind,
    plan::{Field, Plan, Test, TextOp},
    read::read,
    source::parse,
};

/// Compiles a policy with these `kprobes` (YAML, indented by two) for a kernel.
fn on(kernel: &str, kprobes: &str) -> (Option<Plan>, Vec<Diagnostic>) {
    whole(
        kernel,
        &format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  kprobes:\n{kprobes}\n"
        ),
    )
}

fn whole(kernel: &str, text: &str) -> (Option<Plan>, Vec<Diagnostic>) {
    let profile = Profile::shipped(kernel).unwrap();
    let host: BTreeMap<NamespaceKind, u32> = [(NamespaceKind::Net, 4_026_531_840)].into();
    let documents = parse(text);
    let (policy, diagnostics) = read(&documents[0]);
    assert!(!diagnostics.iter().any(Diagnostic::is_error), "{diagnostics:?}");
    compile(&policy.unwrap(), Environment { kernel: &profile, host_namespaces: &host })
}

/// Codes and places of what is said.
fn said(kprobes: &str) -> Vec<String> {
    let (plan, diagnostics) = on("6.12", kprobes);
    assert_eq!(plan.is_none(), diagnostics.iter().any(Diagnostic::is_error));
    diagnostics.iter().map(|d| format!("{} {}", d.code.id, d.path)).collect()
}

/// A filter on argument 0 of `tcp_connect` or another function.
fn filter(call: &str, ty: &str, operator: &str, values: &str) -> String {
    format!(
        "  - call: {call}\n    syscall: false\n    args: [{{index: 0, type: {ty}}}]\n    selectors:\n    - matchArgs:\n      - \
         {{index: 0, operator: {operator}, values: {values}}}"
    )
}

fn test_of(kprobes: &str) -> (Field, Test) {
    let (plan, diagnostics) = on("6.12", kprobes);
    let plan = plan.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let filter = plan.hooks[0].selectors[0].filters[0].clone();
    (filter.field, filter.test)
}

#[test]
fn shipped_policies_compile_for_every_shipped_kernel() {
    for kernel in ["5.10", "6.1", "6.12", "7.3"] {
        for text in [
            include_str!("../../../policies/standard/sudo-invocations.yaml"),
            include_str!("../../../policies/standard/privileges-raise.yaml"),
            include_str!("../../../policies/standard/user-namespaces.yaml"),
            include_str!("../../../policies/standard/monitor-kernel-modules.yaml"),
            include_str!("../../../policies/application/application-file-system-access.yaml"),
            include_str!("../../../policies/application/external-http-call.yaml"),
        ] {
            let (plan, diagnostics) = whole(kernel, text);
            let notes = diagnostics.iter().all(|d| d.severity == Severity::Note);
            assert!(plan.is_some() && notes, "{kernel}: {diagnostics:?}");
        }
    }
}

#[test]
fn names_become_symbols() {
    let (plan, _) = on("6.12", "  - call: sys_execve\n    syscall: true");
    assert_eq!(plan.unwrap().hooks[0].symbol, "__x64_sys_execve");
    assert_eq!(said("  - call: tcp_connect"), ["GW203 spec.kprobes[0].call"]);
    assert_eq!(said("  - call: sys_execve\n    syscall: false"), ["GW203 spec.kprobes[0].call"]);
    let (_, diagnostics) = on("6.12", "  - call: securty_file_permission\n    syscall: false");
    assert_eq!(diagnostics[0].code.id, "GW201");
    assert!(diagnostics[0].help.as_ref().unwrap().contains("`security_file_permission`"), "{diagnostics:?}");
    // Only on newer kernels.
    let truncate = "  - call: security_file_truncate\n    syscall: false";
    assert!(on("5.10", truncate).0.is_none());
    assert!(on("6.12", truncate).0.is_some());
    let optional =
        format!("{truncate}\n    ignore: {{callNotFound: true}}\n  - call: tcp_connect\n    syscall: false");
    assert_eq!(on("5.10", &optional).0.unwrap().hooks.len(), 1);
}

#[test]
fn declarations_are_held_against_the_prototype() {
    assert_eq!(
        said("  - call: security_file_permission\n    syscall: false\n    args: [{index: 2, type: int}]"),
        ["GW204 spec.kprobes[0].args[0].index"]
    );
    assert_eq!(
        said("  - call: security_file_permission\n    syscall: false\n    args: [{index: 0, type: int}]"),
        ["GW205 spec.kprobes[0].args[0].type"]
    );
    assert_eq!(
        said(
            "  - call: __sys_setuid\n    syscall: false\n    return: true\n    returnArg: {index: 0, type: file}"
        ),
        ["GW206 spec.kprobes[0].returnArg.type"]
    );
    // Another width is read in part: a warning.
    let (plan, diagnostics) =
        on("6.12", "  - call: __sys_setuid\n    syscall: false\n    args: [{index: 0, type: uint64}]");
    assert!(plan.is_some() && diagnostics[0].code.id == "GW205", "{diagnostics:?}");
}

#[test]
fn operators_and_values_fit_the_type() {
    assert_eq!(
        said(&filter("__sys_setuid", "uint32", "Prefix", "[\"1\"]")),
        ["GW301 spec.kprobes[0].selectors[0].matchArgs[0].operator"]
    );
    assert_eq!(
        said(&filter("tcp_connect", "sock", "Equal", "[\"1\"]")),
        ["GW301 spec.kprobes[0].selectors[0].matchArgs[0].operator"]
    );
    assert_eq!(
        said(&filter("__sys_setuid", "uint32", "Equal", "[\"-1\", \"x\"]")),
        [
            "GW304 spec.kprobes[0].selectors[0].matchArgs[0].values[0]",
            "GW304 spec.kprobes[0].selectors[0].matchArgs[0].values[1]"
        ]
    );
    assert_eq!(
        said(&filter("tcp_connect", "sock", "DAddr", "[\"10.0.0.0/33\"]")),
        ["GW305 spec.kprobes[0].selectors[0].matchArgs[0].values[0]"]
    );
    assert_eq!(
        said(&filter("security_file_open", "file", "Prefix", "[\"\"]")),
        ["GW306 spec.kprobes[0].selectors[0].matchArgs[0].values[0]"]
    );
    assert_eq!(
        said(&filter("tcp_connect", "sock", "State", "[TCP_OPEN]")),
        ["GW307 spec.kprobes[0].selectors[0].matchArgs[0].values[0]"]
    );
    assert_eq!(
        said(&filter("__sys_setuid", "uint32", "Equal", "[]")),
        ["GW302 spec.kprobes[0].selectors[0].matchArgs[0]"]
    );
}

#[test]
fn filters_mean_what_they_say() {
    let int = |operator, values| test_of(&filter("__sys_setuid", "int", operator, values)).1;
    let max = i128::from(i32::MAX);
    let min = i128::from(i32::MIN);
    assert_eq!(
        int("Equal", "[\"1\", \"0x2\", \"7\"]"),
        Test::Int { negated: false, ranges: vec![(1, 2), (7, 7)] }
    );
    assert_eq!(int("NotEqual", "[\"0\"]"), Test::Int { negated: true, ranges: vec![(0, 0)] });
    assert_eq!(int("GT", "[\"5\"]"), Test::Int { negated: false, ranges: vec![(6, max)] });
    assert_eq!(int("LT", "[\"-5\"]"), Test::Int { negated: false, ranges: vec![(min, -6)] });
    assert_eq!(int("Mask", "[\"4\", \"2\"]"), Test::Mask { negated: false, mask: 6 });
    assert_eq!(int("NotInMap", "[\"3:9\"]"), Test::Int { negated: true, ranges: vec![(3, 9)] });
    assert_eq!(
        test_of(&filter("tcp_connect", "sock", "DPortPriv", "[]")),
        (Field::DestinationPort(0), Test::Int { negated: false, ranges: vec![(0, 1023)] })
    );
    let (field, test) = test_of(&filter("security_file_open", "file", "NotPostfix", "[.log]"));
    assert_eq!(field, Field::File(0));
    assert!(matches!(test, Test::Text { negated: true, op: TextOp::Postfix, .. }));
}

#[test]
fn whom_it_watches() {
    let scope = |kind: &str, spec: &str| {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: {kind}\nmetadata: {{name: p, namespace: ns-1}}\nspec:\n{spec}  kprobes:\n  - call: tcp_connect\n    syscall: false\n"
        );
        whole("6.12", &text).0.unwrap().scope
    };
    let everything = scope("TracingPolicy", "");
    assert!(everything.host && everything.pods.is_some());
    let pods = scope("TracingPolicy", "  podSelector: {}\n");
    assert!(!pods.host && pods.pods.unwrap().pods.is_none());
    let containers = scope("TracingPolicy", "  containerSelector: {matchLabels: {name: web}}\n");
    assert!(!containers.host && containers.pods.unwrap().containers.is_some());
    let host = scope("TracingPolicy", "  hostSelector: {}\n");
    assert!(host.host && host.pods.is_none());
    let namespaced = scope("TracingPolicyNamespaced", "");
    assert!(!namespaced.host && namespaced.pods.unwrap().namespace.as_deref() == Some("ns-1"));
}

#[test]
fn what_does_not_run_yet_is_refused_by_name() {
    for (kprobes, path) in [
        (
            "  - call: tcp_connect\n    syscall: false\n    selectors:\n    - matchActions: [{action: Sigkill}]",
            "spec.kprobes[0].selectors[0].matchActions[0].action",
        ),
        (
            "  - call: tcp_connect\n    syscall: false\n    selectors:\n    - matchParentBinaries: [{operator: In, values: [/a]}]",
            "spec.kprobes[0].selectors[0].matchParentBinaries",
        ),
        ("  - call: \"list:calls\"", "spec.kprobes[0].call"),
    ] {
        assert_eq!(said(kprobes), [format!("GW009 {path}")]);
    }
    let (plan, diagnostics) = on(
        "6.12",
        "  - call: tcp_connect\n    syscall: false\n    selectors:\n    - matchActions: [{action: Post, rateLimit: 1m}]",
    );
    assert!(plan.is_some() && diagnostics[0].code.id == "GW403", "{diagnostics:?}");
}
