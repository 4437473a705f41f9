//! `enforcers`: the calls that `NotifyEnforcer` can stop.

use super::located::{LocatedPolicy, spec};
use crate::{
    codes::{NO_ENFORCER, OVER_LIMIT},
    diagnostic::Diagnostic,
    model::{List, SECURITY_PREFIX, SYSCALL_PREFIX},
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let enforcers = &places.policy.spec.enforcers;
    if enforcers.is_empty() {
        return;
    }
    let path = spec().field("enforcers");
    if enforcers.len() > 1 {
        found.push(
            Diagnostic::new(
                &OVER_LIMIT,
                path.index(1),
                "second entry in `enforcers`; Tetragon rejects the policy",
            )
            .help("put all calls into one entry"),
        );
    }
    for (i, calls) in enforcers.iter().enumerate() {
        for (k, call) in calls.iter().enumerate() {
            let known = [SYSCALL_PREFIX, "__x64_sys_", "__arm64_sys_", "__ia32_sys_", SECURITY_PREFIX]
                .iter()
                .any(|prefix| call.starts_with(prefix))
                || List::named_in(call).is_some()
                || call.split_once('/').is_some_and(|(_, name)| name.starts_with(SYSCALL_PREFIX));
            if !known {
                found.push(
                    Diagnostic::new(
                        &NO_ENFORCER,
                        path.index(i).field("calls").index(k),
                        format!("`{call}` cannot be enforced; Tetragon rejects the policy"),
                    )
                    .help("use system calls (`sys_…`), `security_*` functions or a `list:`"),
                );
            }
        }
    }
}
