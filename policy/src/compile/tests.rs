//! What compiles, to what, and the findings on what doesn't; on the shipped profiles.

mod capabilities;
mod documented;
mod enforcement;
mod points;
mod sections;
mod sockets;
mod syscall_numbers;
mod uprobes;

use std::collections::BTreeMap;

use gatewatch_kernel::Profile;

use super::{Environment, compile};
use crate::{
    diagnostic::{Diagnostic, Severity},
    evaluate,
    model::NamespaceKind,
    plan::{Field, Filter, HookPoint, Plan, Test, TextOp, When},
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

pub(in crate::compile) fn whole(kernel: &str, text: &str) -> (Option<Plan>, Vec<Diagnostic>) {
    let profile = Profile::shipped(kernel).unwrap();
    let host: BTreeMap<NamespaceKind, u32> =
        [(NamespaceKind::Net, 4_026_531_840), (NamespaceKind::User, 4_026_531_837)].into();
    let (policy, diagnostics) = read(&parse(text)[0]);
    assert!(!diagnostics.iter().any(Diagnostic::is_error), "{diagnostics:?}");
    compile(&policy.unwrap(), Environment { kernel: &profile, host_namespaces: &host })
}

/// Codes and paths of the findings.
fn reported(kprobes: &str) -> Vec<String> {
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
    let call = HookPoint::Syscall { symbol: "__x64_sys_execve".to_owned(), when: When::Entry };
    assert_eq!(plan.unwrap().hooks[0].point, call);
    assert_eq!(reported("  - call: tcp_connect"), ["GW203 spec.kprobes[0].call"]);
    assert_eq!(reported("  - call: sys_execve\n    syscall: false"), ["GW203 spec.kprobes[0].call"]);
    let (_, diagnostics) = on("6.12", "  - call: securty_file_permission\n    syscall: false");
    assert_eq!(diagnostics[0].code.id, "GW201");
    assert!(diagnostics[0].help.as_ref().unwrap().contains("`security_file_permission`"), "{diagnostics:?}");
    // Only on newer kernels.
    let truncate = "  - call: security_file_truncate\n    syscall: false";
    assert!(on("5.10", truncate).0.is_none());
    assert!(on("6.12", truncate).0.is_some());
    let optional =
        format!("{truncate}\n    ignore: {{callNotFound: true}}\n  - call: tcp_connect\n    syscall: false");
    let (plan, diagnostics) = on("5.10", &optional);
    assert!(
        diagnostics.iter().all(|d| d.code.id == "GW201" && d.severity == Severity::Note),
        "{diagnostics:?}"
    );
    let plan = plan.unwrap();
    assert!(plan.partial);
    let [hook] = plan.hooks.as_slice() else { panic!("{:?}", plan.hooks) };
    assert_eq!(hook.origin.to_string(), "spec.kprobes[1]");
    assert!(!on("6.12", &optional).0.unwrap().partial, "this kernel has the function");
}

#[test]
fn entries_of_directories_and_packets_are_read() {
    let entry = filter("security_path_mkdir", "dentry", "Prefix", "[/etc/]").replace("index: 0", "index: 1");
    assert_eq!(test_of(&entry).0, Field::Dentry(1));
    let packet = |operator, values| filter("ip6_send_skb", "skb", operator, values);
    assert_eq!(test_of(&packet("NotDAddr", "[\"::1\"]")).0, Field::PacketDestination(0));
    assert_eq!(test_of(&packet("SAddr", "[10.0.0.0/8]")).0, Field::PacketSource(0));
    assert_eq!(test_of(&packet("Protocol", "[IPPROTO_UDP]")).0, Field::PacketProtocol(0));
    assert_eq!(test_of(&packet("Family", "[AF_INET6]")).0, Field::PacketFamily(0));
    assert_eq!(test_of(&packet("DPort", "[\"443\"]")).0, Field::PacketDestinationPort(0));
    assert_eq!(test_of(&packet("NotSportPriv", "[]")).0, Field::PacketSourcePort(0));
    // It has no value: a policy that asks for it must not count everything.
    let state = packet("State", "[TCP_SYN_SENT]");
    assert_eq!(reported(&state), ["GW301 spec.kprobes[0].selectors[0].matchArgs[0].operator"]);
    assert!(on("6.12", &entry.replace("Prefix", "FileType").replace("/etc/", "dir")).0.is_none());
}

#[test]
fn declarations_are_held_against_the_prototype() {
    assert_eq!(
        reported("  - call: security_file_permission\n    syscall: false\n    args: [{index: 2, type: int}]"),
        ["GW204 spec.kprobes[0].args[0].index"]
    );
    assert_eq!(
        reported("  - call: security_file_permission\n    syscall: false\n    args: [{index: 0, type: int}]"),
        ["GW205 spec.kprobes[0].args[0].type"]
    );
    assert_eq!(
        reported(
            "  - call: __sys_setuid\n    syscall: false\n    return: true\n    returnArg: {index: 0, type: file}"
        ),
        ["GW206 spec.kprobes[0].returnArg.type"]
    );
    // Of a wider one only a part is read: a warning.
    let with = |ty: &str| {
        on(
            "6.12",
            &format!("  - call: __sys_setuid\n    syscall: false\n    args: [{{index: 0, type: {ty}}}]"),
        )
    };
    let (plan, diagnostics) = with("uint16");
    assert!(plan.is_some() && diagnostics[0].code.id == "GW205", "{diagnostics:?}");
    assert_eq!(with("uint64").1, []);
}

#[test]
fn of_a_narrower_argument_no_more_is_read_than_there_is() {
    let (plan, diagnostics) = on(
        "6.12",
        &filter("security_path_chmod", "int", "Mask", "[\"2048\"]").replace("index: 0", "index: 1"),
    );
    assert_eq!(diagnostics, []);
    let expected = Field::Arg { index: 1, bits: 16, signed: false };
    assert_eq!(plan.unwrap().hooks[0].selectors[0].filters[0].field, expected);
}

#[test]
fn a_wrong_type_matters_where_a_filter_reads_it() {
    let hook = |read: u8| {
        format!(
            "  - call: security_file_permission\n    syscall: false\n    args: [{{index: 0, type: int}}, {{index: 1, type: int}}]\n    \
             selectors:\n    - matchArgs: [{{index: {read}, operator: Equal, values: [\"4\"]}}]"
        )
    };
    let (plan, diagnostics) = on("6.12", &hook(1));
    assert!(plan.is_some() && diagnostics.len() == 1, "{diagnostics:?}");
    assert!(diagnostics[0].message.contains("no filter reads it"), "{diagnostics:?}");
    let (plan, diagnostics) = on("6.12", &hook(0));
    assert!(plan.is_none() && diagnostics.len() == 1 && diagnostics[0].is_error(), "{diagnostics:?}");
}

#[test]
fn positions_are_those_in_the_list() {
    let hook = "  - call: security_file_permission\n    syscall: false\n    args: [{index: 1, type: int}, {index: 0, type: file}]\n    \
                selectors:\n    - matchArgs: [{args: [1], operator: Prefix, values: [/etc/]}, {args: [0], operator: Equal, values: ['4']}]";
    let (plan, diagnostics) = on("6.12", hook);
    assert_eq!(diagnostics, []);
    let fields: Vec<Field> =
        plan.unwrap().hooks[0].selectors[0].filters.iter().map(|filter| filter.field).collect();
    assert_eq!(fields, [Field::File(0), Field::Arg { index: 1, bits: 32, signed: true }]);
    // The first of two with one index.
    let twice = "  - call: security_file_permission\n    syscall: false\n    args: [{index: 1, type: int}, {index: 1, type: int, \
                 resolve: x}]\n    selectors:\n    - matchArgs: [{index: 1, operator: Equal, values: ['4']}]";
    assert_eq!(on("6.12", twice).0.unwrap().hooks[0].selectors[0].filters.len(), 1);
}

/// What runs on other declarations is not called unsupported.
#[test]
fn a_filter_on_a_wrong_declaration_is_one_finding() {
    let hook = |arg: &str| {
        let hook = format!(
            "  - call: __sys_setuid\n    syscall: false\n    args: [{{index: 0, {arg}}}]\n    selectors:\n    - matchArgs: \
             [{{index: 0, operator: Equal, values: ['0']}}]"
        );
        let (plan, found) = on("6.12", &hook);
        assert!(plan.is_none());
        found
    };
    let found = hook("type: int, resolve: uid");
    assert_eq!(found.iter().map(|found| found.code.id).collect::<Vec<_>>(), ["GW213"], "{found:?}");
    let found = hook("label: user");
    assert_eq!(found.iter().map(|found| found.code.id).collect::<Vec<_>>(), ["GW009"], "{found:?}");
    assert!(found[0].help.as_ref().is_some_and(|help| help.starts_with("use the type")), "{found:?}");
}

#[test]
fn a_buffer_without_a_length_is_empty() {
    let hook = |operator: &str| {
        let hook = format!(
            "  - call: sys_sethostname\n    syscall: true\n    args: [{{index: 0, type: char_buf}}]\n    selectors:\n    - \
             matchArgs: [{{index: 0, operator: {operator}, values: [a]}}]"
        );
        on("6.12", &hook).0.unwrap().hooks.remove(0).selectors.remove(0).filters.remove(0)
    };
    let holds = |filter: &Filter| evaluate::test(&filter.test, Some(&evaluate::Value::Int(1)));
    for (operator, expected) in
        [("Equal", false), ("NotEqual", true), ("Prefix", false), ("NotPostfix", true)]
    {
        assert_eq!(holds(&hook(operator)), expected, "{operator}");
    }
}

#[test]
fn what_is_not_performed_is_counted_and_said_once() {
    let policy = |mode: &str, actions: &str| {
        let hook = format!(
            "  - call: __sys_setuid\n    syscall: false\n    selectors:\n    - matchActions: [{actions}]\n    - {{}}\n  \
             - call: sys_dup\n    selectors: [{{matchActions: [{{action: Override, argError: -1}}]}}]"
        );
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  options: [{{name: policy-mode, \
             value: {mode}}}]\n  kprobes:\n{hook}\n"
        );
        let (plan, found) = whole("6.12", &text);
        let said: Vec<String> =
            found.iter().map(|found| format!("{} {}", found.code.id, found.path)).collect();
        (plan.unwrap(), said)
    };
    let at = "spec.kprobes[0].selectors[0].matchActions[0].action";
    let system_call = "spec.kprobes[1].selectors[0].matchActions[0].action";
    for (mode, expected) in [("monitor", Vec::new()), ("enforce", vec![format!("GW509 {system_call}")])] {
        let (plan, said) = policy(mode, "{action: Sigkill}");
        let first = plan.hooks[0].selectors[0].actions;
        assert_eq!((first.count, first.monitored, first.signal), (true, false, Some(9)));
        assert!(!plan.hooks[0].selectors[1].actions.acts());
        let second = plan.hooks[1].selectors[0].actions;
        assert_eq!((second.monitored, second.overrides, second.error), (true, true, None));
        assert!(plan.monitors() && plan.enforces() && plan.monitor_mode == (mode == "monitor"));
        assert_eq!(said, expected, "{mode}");
    }
    let (plan, said) = policy("enforce", "{action: NotifyEnforcer, argError: -1}");
    assert!(plan.hooks[0].selectors[0].actions.monitored);
    assert_eq!(said, [format!("GW509 {at}")], "once for both");
    let (plan, _) = policy("enforce", "{action: Sigkill}, {action: NoPost}");
    assert!(!plan.hooks[0].selectors[0].actions.count);
    let (_, said) = policy("monitor", "{action: FollowFD, argFd: 0, argName: 0}");
    assert_eq!(said, [format!("GW509 {at}")], "an older file runs");
}

#[test]
fn nothing_hides_other_errors() {
    let hook = "  - call: tcp_v4_connect\n    args: [{index: 0, type: sock}]\n    selectors:\n    - matchArgs: [{index: 0, operator: \
                DPort, values: [\"70000\"]}]\n      matchActions: [{action: GetUrl, argUrl: \"http://x\"}]";
    assert_eq!(
        reported(hook),
        [
            "GW203 spec.kprobes[0].call",
            "GW304 spec.kprobes[0].selectors[0].matchArgs[0].values[0]",
            "GW009 spec.kprobes[0].selectors[0].matchActions[0].action",
        ]
    );
}

#[test]
fn operators_and_values_fit_the_type() {
    assert_eq!(
        reported(&filter("__sys_setuid", "uint32", "Prefix", "[\"1\"]")),
        ["GW301 spec.kprobes[0].selectors[0].matchArgs[0].operator"]
    );
    assert_eq!(
        reported(&filter("tcp_connect", "sock", "Equal", "[\"1\"]")),
        ["GW301 spec.kprobes[0].selectors[0].matchArgs[0].operator"]
    );
    assert_eq!(
        reported(&filter("__sys_setuid", "uint32", "Equal", "[\"-1\", \"x\"]")),
        [
            "GW304 spec.kprobes[0].selectors[0].matchArgs[0].values[0]",
            "GW304 spec.kprobes[0].selectors[0].matchArgs[0].values[1]"
        ]
    );
    assert_eq!(
        reported(&filter("tcp_connect", "sock", "DAddr", "[\"10.0.0.0/33\"]")),
        ["GW305 spec.kprobes[0].selectors[0].matchArgs[0].values[0]"]
    );
    assert_eq!(
        reported(&filter("security_file_open", "file", "Prefix", "[\"\"]")),
        ["GW306 spec.kprobes[0].selectors[0].matchArgs[0].values[0]"]
    );
    assert_eq!(
        reported(&filter("tcp_connect", "sock", "State", "[TCP_OPEN]")),
        ["GW307 spec.kprobes[0].selectors[0].matchArgs[0].values[0]"]
    );
    assert_eq!(
        reported(&filter("__sys_setuid", "uint32", "Equal", "[]")),
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
            "  - call: tcp_connect\n    syscall: false\n    selectors:\n    - matchParentBinaries: [{operator: In, values: [/a]}]",
            "spec.kprobes[0].selectors[0].matchParentBinaries",
        ),
        (
            "  - call: sys_dup\n    args: [{index: 0, type: int}]\n    selectors:\n    - matchArgs: [{index: 0, operator: InMap, values: \
             ['list:l']}]",
            "spec.kprobes[0].selectors[0].matchArgs[0].values",
        ),
    ] {
        assert_eq!(reported(kprobes), [format!("GW009 {path}")]);
    }
    let (plan, diagnostics) = on(
        "6.12",
        "  - call: tcp_connect\n    syscall: false\n    selectors:\n    - matchActions: [{action: Post, kernelStackTrace: true}]",
    );
    assert!(plan.is_some() && diagnostics[0].code.id == "GW403", "{diagnostics:?}");
}
