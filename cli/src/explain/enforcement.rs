//! What a policy stops, and what it does not.

use gatewatch_policy::model::{ActionKind, HookTarget, Policy, SECURITY_PREFIX, SYSCALL_PREFIX, Selector};

use super::hooks::hooks;

/// What the actions of a policy do to processes, one sentence each without a full stop. Empty if it only counts.
pub(super) fn stops(policy: &Policy) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |sentence: &str| {
        if !found.iter().any(|known| known == sentence) {
            found.push(sentence.to_owned());
        }
    };
    for hook in hooks(policy) {
        let kinds = hook.selectors.iter().flat_map(Selector::actions);
        for kind in kinds.filter_map(|(_, _, action)| action.kind) {
            match kind {
                ActionKind::Sigkill | ActionKind::Signal => {
                    add(
                        "a signal arrives when the call in flight returns: what the kernel has begun by then is done, such as \
                         a write or a connection. To prevent it, use `Override` at an LSM hook as well",
                    );
                    if matches!(&hook.target, HookTarget::Function { call, .. } if call.starts_with(SYSCALL_PREFIX))
                    {
                        add(
                            "the arguments of a system call are read when it begins: another thread can change a string \
                             between the check and its use. LSM hooks see what the kernel uses",
                        );
                        add(
                            "32-bit programs and io_uring do not enter the system call's function: they are not stopped there",
                        );
                    }
                }
                ActionKind::Override => match &hook.target {
                    HookTarget::Lsm { .. } => add(
                        "an override at an LSM hook prevents the operation, whichever system call it is by",
                    ),
                    HookTarget::Function { call, .. } if call.starts_with(SECURITY_PREFIX) => add(
                        "an override of a `security_*` function is done by the LSM hook of its name, and prevents the operation",
                    ),
                    _ => add(
                        "an override of a system call is not performed: the call is counted, and continues",
                    ),
                },
                _ => {}
            }
        }
    }
    if found.is_empty() {
        return found;
    }
    if policy.monitors() {
        return vec![
            "nothing: its option `policy-mode` is `monitor`, so it counts what it would stop".to_owned(),
        ];
    }
    found.push(
        "never stopped: containers whose pod is not known yet, the agent, kubelet and the container runtime with what they \
         start on the host, and the host's first process"
            .to_owned(),
    );
    found
}
