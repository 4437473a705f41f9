//! Actions: what is done with an event, and what this agent cannot do.

use std::collections::BTreeSet;

use gatewatch_kernel::{CType, Kind, Profile};

use super::{
    compiler::{Compiler, Unperformed},
    lsm::LSM_PREFIX,
    syscall::portable,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath},
    history::LAST_WITH_DESCRIPTORS,
    model::{Action, ActionKind, Policy, SECURITY_PREFIX, Selector},
    plan::{ActionPlan, HookPoint, RateScope, RecordPlan, SIGKILL, When},
    values,
};

/// LSM hooks that return a truth value and no error (`bool_lsm_hooks` in `kernel/bpf/bpf_lsm.c`).
const BOOLEAN_HOOKS: [&str; 2] = ["audit_rule_known", "inode_xattr_skipcap"];

/// The LSM hook that decides about a system call, for those that policies override most.
const DECIDED_BY: [(&str, &str); 28] = [
    ("sys_accept", "socket_accept"),
    ("sys_accept4", "socket_accept"),
    ("sys_bind", "socket_bind"),
    ("sys_bpf", "bpf"),
    ("sys_connect", "socket_connect"),
    ("sys_creat", "file_open"),
    ("sys_execve", "bprm_check_security"),
    ("sys_execveat", "bprm_check_security"),
    ("sys_finit_module", "kernel_read_file"),
    ("sys_init_module", "kernel_load_data"),
    ("sys_kill", "task_kill"),
    ("sys_listen", "socket_listen"),
    ("sys_mkdir", "inode_mkdir"),
    ("sys_mkdirat", "inode_mkdir"),
    ("sys_mmap", "mmap_file"),
    ("sys_mount", "sb_mount"),
    ("sys_mprotect", "file_mprotect"),
    ("sys_open", "file_open"),
    ("sys_openat", "file_open"),
    ("sys_openat2", "file_open"),
    ("sys_ptrace", "ptrace_access_check"),
    ("sys_rename", "inode_rename"),
    ("sys_renameat2", "inode_rename"),
    ("sys_setgid", "task_fix_setgid"),
    ("sys_setuid", "task_fix_setuid"),
    ("sys_socket", "socket_create"),
    ("sys_unlink", "inode_unlink"),
    ("sys_unlinkat", "inode_unlink"),
];

/// The fields of `Post` that limit records.
const LIMITS: [&str; 2] = ["rateLimit", "rateLimitScope"];

/// Whether a program at this point can make the call return an error; if not, what can be written instead, where there is
/// something.
fn can_return_errors(kernel: &Profile, point: &HookPoint) -> Result<(), Option<String>> {
    let returns_error =
        |ret: Option<CType>| matches!(ret.map(|ty| ty.kind), Some(Kind::Int { signed: true, .. }));
    match point {
        HookPoint::Lsm { hook } => {
            let function = kernel.function(&format!("{LSM_PREFIX}{hook}"));
            let decides = function.is_some_and(|function| returns_error(function.ret));
            if decides && !BOOLEAN_HOOKS.contains(&hook.as_str()) {
                Ok(())
            } else {
                Err(Some(format!(
                    "the LSM hook `{hook}` decides nothing: choose one that can deny the operation"
                )))
            }
        }
        HookPoint::Function { symbol, when: When::Entry } => {
            let Some(hook) = symbol.strip_prefix(SECURITY_PREFIX) else { return Err(None) };
            let types = |name: &str| {
                kernel.function(name)?.params.map(|params| params.into_iter().map(|p| p.ty.kind))
            };
            let lsm = format!("{LSM_PREFIX}{hook}");
            let same = match (types(symbol), types(&lsm)) {
                (Some(own), Some(lsm)) => own.eq(lsm),
                _ => false,
            };
            let decides = kernel.function(&lsm).is_some_and(|function| returns_error(function.ret));
            if same && decides && !BOOLEAN_HOOKS.contains(&hook) { Ok(()) } else { Err(None) }
        }
        HookPoint::Syscall { symbol, .. } => {
            let name = portable(symbol);
            let name = name.strip_prefix(kernel.arch.syscall_prefix()).unwrap_or(name);
            Err(Some(match DECIDED_BY.iter().find(|(call, _)| *call == name) {
                Some((_, hook)) => format!(
                    "use an entry of `lsmhooks` with `hook: {hook}`, which decides about `{name}`; it also sees calls by io_uring \
                     and by 32-bit programs"
                ),
                None => "use an entry of `lsmhooks` whose hook decides about this operation".to_owned(),
            }))
        }
        _ => Err(None),
    }
}

impl Compiler<'_> {
    /// What is done with an event that a selector takes.
    pub(super) fn selector_actions(
        &mut self,
        selector: &Selector,
        point: &HookPoint,
        path: &FieldPath,
    ) -> ActionPlan {
        let actions = self.actions(&selector.match_actions, point, &path.field("matchActions"));
        let path = path.field("matchReturnActions");
        let on_return = self.actions(&selector.match_return_actions, point, &path);
        ActionPlan {
            monitored: actions.monitored || on_return.monitored,
            overrides: actions.overrides || on_return.overrides,
            ..actions.stricter(on_return)
        }
    }

    fn actions(&mut self, actions: &[Action], point: &HookPoint, path: &FieldPath) -> ActionPlan {
        // Tetragon posts an event unless an action says otherwise (`do_actions`, bpf/process/generic_calls.h).
        let mut plan = if actions.iter().any(|action| action.kind == Some(ActionKind::NoPost)) {
            ActionPlan::NONE
        } else {
            ActionPlan::COUNT
        };
        for (i, action) in actions.iter().enumerate() {
            let path = path.index(i);
            match action.kind {
                Some(ActionKind::Post) => {
                    plan.record = plan.record.map(|record| limited(record, action));
                    for name in action.fields.keys().filter(|name| !LIMITS.contains(&name.as_str())) {
                        self.report(Diagnostic::new(
                            &codes::NO_EFFECT,
                            path.field(name),
                            format!("`{name}` is not recorded here; the event is counted and recorded without it"),
                        ));
                    }
                }
                Some(ActionKind::NoPost) => {}
                Some(ActionKind::Sigkill) => plan = plan.stricter(signal(Some(SIGKILL))),
                // A number that is none is an error of a rule.
                Some(ActionKind::Signal) => {
                    let number = action.number("argSig").and_then(|number| u8::try_from(number).ok());
                    plan = plan.stricter(signal(number.filter(|number| *number > 0)));
                }
                Some(ActionKind::Override) => {
                    plan.overrides = true;
                    match can_return_errors(self.environment.kernel, point) {
                        Ok(()) => plan.error = plan.error.or_else(|| error(action)),
                        Err(help) => self.unperformed(&mut plan, ActionKind::Override, &path, help),
                    }
                }
                // Nothing is done to the process: `monitored` says so.
                Some(other) if other.is_monitored() => self.unperformed(&mut plan, other, &path, None),
                // They followed file descriptors for arguments of type `fd`, and changed nothing else.
                Some(other) if other.is_removed() => self.report(Diagnostic::new(
                    &codes::NOT_PERFORMED,
                    path.field("action"),
                    format!(
                        "`{other}` is ignored: Tetragon {LAST_WITH_DESCRIPTORS} was the last version that followed file descriptors; matches are counted"
                    ),
                )),
                Some(other) => self.not_run(path.field("action"), &format!("the action `{other}`")),
                None => self.not_run(path.field("action"), "this action"),
            }
        }
        plan
    }

    fn unperformed(
        &mut self,
        plan: &mut ActionPlan,
        kind: ActionKind,
        path: &FieldPath,
        help: Option<String>,
    ) {
        plan.monitored = true;
        self.unperformed.push(Unperformed { kind, path: path.field("action"), help });
    }

    /// Reports, once for a policy, that some of its actions are not performed. A policy that asks for a monitor has what it
    /// wants.
    pub(super) fn report_unperformed(&mut self, policy: &Policy) {
        let all = std::mem::take(&mut self.unperformed);
        let Some(first) = all.first().filter(|_| !policy.monitors()) else { return };
        let kinds: BTreeSet<&str> = all.iter().map(|action| action.kind.name()).collect();
        let names: Vec<String> = kinds.into_iter().map(|name| format!("`{name}`")).collect();
        let (names, verb, it) = match names.as_slice() {
            [name] => (name.clone(), "is", "it"),
            names => (names.join(", "), "are", "them"),
        };
        let help = first.help.clone().unwrap_or_else(|| {
            "write the option `policy-mode: monitor` if the policy is only to count".to_owned()
        });
        self.report(
            Diagnostic::new(
                &codes::NOT_PERFORMED,
                first.path.clone(),
                format!("{names} {verb} not performed here: the agent counts each match that {it} would affect and lets it pass"),
            )
            .help(help),
        );
    }
}

/// A plan that has only a signal.
const fn signal(signal: Option<u8>) -> ActionPlan {
    ActionPlan { signal, ..ActionPlan::NONE }
}

/// The error of an `Override`. As with Tetragon, a positive number at an LSM hook is -1 (`generic_lsm_output` in
/// `bpf/process/bpf_generic_lsm_output.c`); 0 would allow the call.
fn error(action: &Action) -> Option<i16> {
    match action.number("argError")? {
        0 => None,
        1.. => Some(-1),
        error => i16::try_from(error).ok(),
    }
}

/// How events are recorded with the limits of a `Post`. Rules report those that are not valid.
fn limited(record: RecordPlan, action: &Action) -> RecordPlan {
    let field = |name: &str| action.fields.get(name).filter(|text| !text.is_empty());
    let Some(Ok(seconds)) = field("rateLimit").map(|text| values::interval(text)) else { return record };
    let scope = match field("rateLimitScope").map(String::as_str) {
        Some("process") => RateScope::Process,
        Some("global") => RateScope::Global,
        _ => RateScope::Thread,
    };
    RecordPlan { rate: seconds.saturating_mul(1_000_000_000), scope }
}
