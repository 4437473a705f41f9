//! Filters on the calling program at hooks where an `execve` isn't done yet.

use super::located::{LocatedHook, LocatedPolicy};
use crate::{
    codes::EXEC_CALLER,
    diagnostic::{Diagnostic, Severity},
    model::{BinaryFilter, HookTarget, Operator},
};

/// Functions that `execve` runs before the process is known by its new program, which is at the tracepoint
/// `sched_process_exec`: `do_execveat_common` and what it calls, `fs/exec.c` and `security/security.c`.
const FUNCTIONS: [&str; 15] = [
    "do_execve",
    "do_execveat_common",
    "do_open_execat",
    "alloc_bprm",
    "bprm_execve",
    "exec_binprm",
    "search_binary_handler",
    "load_elf_binary",
    "load_script",
    "begin_new_exec",
    "security_bprm_creds_for_exec",
    "security_bprm_creds_from_file",
    "security_bprm_check",
    "security_bprm_committing_creds",
    "security_bprm_committed_creds",
];
/// The LSM hooks among them.
const LSM_HOOKS: [&str; 5] = [
    "bprm_creds_for_exec",
    "bprm_creds_from_file",
    "bprm_check_security",
    "bprm_committing_creds",
    "bprm_committed_creds",
];
/// Tracepoints before `sched_process_exec`.
const TRACEPOINTS: [&str; 3] = ["sys_enter_execve", "sys_enter_execveat", "sched_prepare_exec"];

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        let Some((name, severity)) = before_the_new_program(place) else { continue };
        for (selector, path) in place.selectors() {
            // Of ancestors it is right, and "run by anything but X" is often intended.
            let caller = |filter: &&BinaryFilter| {
                let negated =
                    matches!(filter.operator, Operator::NotIn | Operator::NotPrefix | Operator::NotPostfix);
                !filter.follow_children && (!negated || severity == Severity::Note)
            };
            let filters = selector.match_binaries.iter().filter(caller);
            let Some(program) = filters.flat_map(|filter| &filter.values).next() else { continue };
            found.push(
                Diagnostic::new(
                    &EXEC_CALLER,
                    path.field("matchBinaries"),
                    format!(
                        "at `{name}` the calling process still has its old program: this matches when {program} runs \
                         another program, not when {program} is run"
                    ),
                )
                .at_key()
                .severity(severity)
                .help(help(name, program)),
            );
        }
    }
}

/// The hook's name, where the calling process is still its old program there. At the entry of a system call that is
/// plain to see, and only a note.
fn before_the_new_program<'a>(place: &LocatedHook<'a>) -> Option<(&'a str, Severity)> {
    let (name, known) = match &place.hook.target {
        HookTarget::Function { call, .. } => (call, FUNCTIONS.contains(&call.as_str())),
        HookTarget::Lsm { hook } => (hook, LSM_HOOKS.contains(&hook.as_str())),
        HookTarget::Tracepoint { event, .. } => (event, TRACEPOINTS.contains(&event.as_str())),
        HookTarget::Uprobe { .. } | HookTarget::Usdt { .. } => return None,
    };
    if place.hook.on_return {
        return None;
    }
    if matches!(&place.hook.target, HookTarget::Function { .. })
        && (name.ends_with("sys_execve") || name.ends_with("sys_execveat"))
    {
        return Some((name, Severity::Note));
    }
    known.then_some((name, Severity::Warning))
}

fn help(name: &str, program: &str) -> String {
    if name.ends_with("bprm_check") || name.ends_with("bprm_check_security") {
        format!(
            "to match when {program} is run, declare `args: [{{index: 0, type: linux_binprm}}]` and filter it with \
             `matchArgs`"
        )
    } else {
        format!(
            "to match when {program} is run, hook `security_bprm_check` and filter its `linux_binprm` with `matchArgs`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{reported, reported_all};

    fn at(hook: &str, filter: &str) -> Vec<String> {
        reported_all(
            &hook.replace('$', &format!("message: ok, selectors: [{{matchBinaries: [{{{filter}}}]}}]")),
        )
    }

    const IN: &str = "operator: In, values: [/usr/bin/sudo]";

    #[test]
    fn a_system_call_sees_the_caller() {
        let place = ["GW209 spec.kprobes[0].selectors[0].matchBinaries"];
        let hook = "kprobes: [{call: sys_execve, $}]";
        assert_eq!(at(hook, IN), place);
        assert_eq!(at(hook, "operator: NotIn, values: [/usr/bin/sudo]"), place);
        assert_eq!(
            reported(&hook.replace('$', &format!("selectors: [{{matchBinaries: [{{{IN}}}]}}]"))),
            [""; 0]
        );
    }

    #[test]
    fn every_hook_before_the_new_program_sees_the_caller() {
        for (section, hook) in [
            ("kprobes", "{call: security_bprm_check, syscall: false, $}"),
            ("kprobes", "{call: begin_new_exec, syscall: false, $}"),
            ("fentries", "{call: security_bprm_creds_from_file, syscall: false, $}"),
            ("lsmhooks", "{hook: bprm_check_security, $}"),
            ("tracepoints", "{subsystem: syscalls, event: sys_enter_execve, $}"),
        ] {
            let expected = [format!("GW209 spec.{section}[0].selectors[0].matchBinaries")];
            assert_eq!(at(&format!("{section}: [{hook}]"), IN), expected, "{hook}");
        }
    }

    #[test]
    fn what_is_right_there_is_not_warned_of() {
        let check = "kprobes: [{call: security_bprm_check, syscall: false, $}]";
        assert_eq!(at(check, "operator: NotIn, values: [/usr/bin/runc]"), [""; 0]);
        assert_eq!(at(check, "operator: In, values: [/usr/bin/sudo], followChildren: true"), [""; 0]);
        assert_eq!(at("kprobes: [{call: security_file_open, syscall: false, $}]", IN), [""; 0]);
        assert_eq!(at("tracepoints: [{subsystem: sched, event: sched_process_exec, $}]", IN), [""; 0]);
    }
}
