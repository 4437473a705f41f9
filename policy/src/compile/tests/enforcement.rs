//! Actions that stop processes.

use super::*;
use crate::plan::ActionPlan;

/// The actions of the only selector, and what is reported.
fn actions(kernel: &str, section: &str, hook: &str) -> (ActionPlan, Vec<Diagnostic>) {
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  {section}:\n  - {hook}\n"
    );
    let (plan, found) = whole(kernel, &text);
    (plan.unwrap().hooks[0].selectors[0].actions, found)
}

fn overriding(point: &str, error: &str) -> String {
    format!("{{{point}, selectors: [{{matchActions: [{{action: Override, argError: {error}}}]}}]}}")
}

#[test]
fn calls_that_can_return_an_error() {
    for kernel in ["5.10", "6.1", "6.12", "7.3"] {
        for (section, point, error) in [
            ("lsmhooks", "hook: file_open", Some(-1)),
            ("lsmhooks", "hook: bprm_check_security", Some(-1)),
            ("kprobes", "call: security_file_open, syscall: false", Some(-1)),
            // It returns nothing.
            ("lsmhooks", "hook: bprm_committed_creds", None),
            ("kprobes", "call: security_bprm_committed_creds, syscall: false", None),
            // A truth value.
            ("lsmhooks", "hook: audit_rule_known", None),
            ("kprobes", "call: sys_openat", None),
            (
                "kprobes",
                "call: security_file_open, syscall: false, return: true, returnArg: {index: 0, type: int}",
                None,
            ),
        ] {
            let (actions, found) = actions(kernel, section, &overriding(point, "-1"));
            assert_eq!((actions.error, actions.overrides), (error, true), "{kernel} {point}");
            assert_eq!(actions.monitored, error.is_none(), "{kernel} {point}");
            let said = found.iter().any(|found| found.code.id == "GW509");
            assert_eq!(said, error.is_none(), "{kernel} {point}: {found:?}");
        }
    }
}

#[test]
fn a_system_call_has_an_lsm_hook_to_use_instead() {
    for (call, hook) in
        [("sys_openat", "file_open"), ("sys_connect", "socket_connect"), ("sys_mount", "sb_mount")]
    {
        let (_, found) = actions("6.12", "kprobes", &overriding(&format!("call: {call}"), "-1"));
        let help =
            found.iter().find(|found| found.code.id == "GW509").and_then(|found| found.help.as_deref());
        assert!(help.is_some_and(|help| help.contains(&format!("`hook: {hook}`"))), "{help:?}");
        for kernel in ["5.10", "7.3"] {
            let (plan, _) = whole(
                kernel,
                &format!(
                    "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  lsmhooks: [{{hook: {hook}}}]\n"
                ),
            );
            assert!(plan.is_some(), "{kernel} has no {hook}");
        }
    }
}

#[test]
fn errors_and_signals_have_their_numbers() {
    for (written, error) in [("-13", Some(-13)), ("-4095", Some(-4095)), ("5", Some(-1))] {
        let (actions, _) = actions("6.12", "lsmhooks", &overriding("hook: file_open", written));
        assert_eq!(actions.error, error, "{written}");
    }
    let of = |written: &str| {
        let hook =
            format!("{{call: __sys_setuid, syscall: false, selectors: [{{matchActions: [{written}]}}]}}");
        actions("6.12", "kprobes", &hook).0
    };
    assert_eq!(of("{action: Signal, argSig: 15}").signal, Some(15));
    assert_eq!(of("{action: Signal, argSig: 15}, {action: Sigkill}").signal, Some(9));
    assert_eq!(of("{action: Sigkill}, {action: Signal, argSig: 15}").signal, Some(9));
    assert_eq!(of("{action: Signal, argSig: 10}, {action: Signal, argSig: 15}").signal, Some(10));
    assert_eq!(of("{action: Post}"), ActionPlan::COUNT);
    let silent = of("{action: NoPost}, {action: Sigkill}");
    assert_eq!((silent.count, silent.signal), (false, Some(9)));
}
