//! `enforcers`: the calls that `NotifyEnforcer` can stop.

use super::spec;
use crate::codes::{NO_ENFORCER, OVER_LIMIT};
use crate::diagnostic::Diagnostic;
use crate::model::Policy;

pub(super) fn check(policy: &Policy, found: &mut Vec<Diagnostic>) {
    let path = spec().field("enforcers");
    if policy.spec.enforcers.len() > 1 {
        found.push(
            Diagnostic::new(
                &OVER_LIMIT,
                path.index(1),
                "a second entry in `enforcers`: every node refuses the policy",
            )
            .help("write all calls in one entry"),
        );
    }
    for (i, calls) in policy.spec.enforcers.iter().enumerate() {
        for (k, call) in calls.iter().enumerate() {
            let known = ["sys_", "__x64_sys_", "__arm64_sys_", "__ia32_sys_", "security_", "list:"]
                .iter()
                .any(|prefix| call.starts_with(prefix))
                || call.split_once('/').is_some_and(|(_, name)| name.starts_with("sys_"));
            if !known {
                found.push(
                    Diagnostic::new(
                        &NO_ENFORCER,
                        path.index(i).field("calls").index(k),
                        format!("`{call}` can't be enforced: every node refuses the policy"),
                    )
                    .help("name system calls (`sys_…`), `security_*` functions or a `list:`"),
                );
            }
        }
    }
}
