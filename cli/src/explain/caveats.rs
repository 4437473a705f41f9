//! Events that a policy does not catch, as far as the policy itself shows it.

use gatewatch_policy::{
    assess::listed,
    model::{ActionKind, ArgType, Hook, HookTarget, Operator, Policy, SYSCALL_PREFIX, Selector},
    scope::Scope,
};

use super::hooks::hooks;

/// Groups of system calls with the same effect. A policy that hooks one of a group misses the others.
const ALTERNATIVES: &[&[&str]] = &[
    &["sys_execve", "sys_execveat"],
    &["sys_open", "sys_openat", "sys_openat2", "sys_creat"],
    &["sys_setuid", "sys_setreuid", "sys_setresuid", "sys_setfsuid"],
    &["sys_setgid", "sys_setregid", "sys_setresgid", "sys_setfsgid"],
    &["sys_read", "sys_pread64", "sys_readv", "sys_preadv", "sys_preadv2", "sys_sendfile64", "sys_splice"],
    &["sys_write", "sys_pwrite64", "sys_writev", "sys_pwritev", "sys_pwritev2", "sys_splice"],
    &["sys_unlink", "sys_unlinkat", "sys_rmdir"],
    &["sys_rename", "sys_renameat", "sys_renameat2"],
    &["sys_link", "sys_linkat"],
    &["sys_symlink", "sys_symlinkat"],
    &["sys_mkdir", "sys_mkdirat"],
    &["sys_mknod", "sys_mknodat"],
    &["sys_chmod", "sys_fchmod", "sys_fchmodat", "sys_fchmodat2"],
    &["sys_chown", "sys_fchown", "sys_lchown", "sys_fchownat"],
    &["sys_init_module", "sys_finit_module"],
    &["sys_clone", "sys_clone3", "sys_unshare", "sys_setns"],
    &["sys_mount", "sys_move_mount", "sys_fsmount"],
    &["sys_ptrace", "sys_process_vm_readv", "sys_process_vm_writev"],
    &["sys_sendto", "sys_sendmsg", "sys_sendmmsg"],
];

/// The gaps of a policy, one sentence each without a full stop.
pub(super) fn caveats(policy: &Policy, scope: &Scope, somewhere_not: bool) -> Vec<String> {
    let mut found = Vec::new();
    scope_caveats(scope, &mut found);
    if somewhere_not {
        found.push("events on nodes with a kernel on which the policy does not run (see above)".to_owned());
    }
    if policy.spec.node_selector.is_some() {
        found.push("events on nodes that its `nodeSelector` does not select".to_owned());
    }
    let calls = calls(policy);
    for row in ALTERNATIVES {
        let watched: Vec<&str> = row.iter().copied().filter(|call| calls.contains(call)).collect();
        let missed: Vec<&str> = row.iter().copied().filter(|call| !calls.contains(call)).collect();
        if !watched.is_empty() && !missed.is_empty() {
            found.push(format!(
                "the same operation through {} instead of {}",
                listed(&missed),
                listed(&watched)
            ));
        }
    }
    if calls.iter().any(|call| call.starts_with(SYSCALL_PREFIX)) {
        found.push(
            "system calls of 32-bit programs, which have separate entry points, and operations through io_uring"
                .to_owned(),
        );
    }
    if scope.pods.is_some() && calls.iter().any(|call| by_io_uring(call)) {
        found.push(
            "operations of io_uring that kernel threads do (before Linux 5.12): they are in no pod and have no program"
                .to_owned(),
        );
    }
    if calls.contains(&"tcp_connect") && !calls.contains(&"ip_send_skb") {
        found.push("UDP, and so QUIC (HTTP/3)".to_owned());
    }
    if calls.iter().any(|call| matches!(*call, "tcp_connect" | "ip_send_skb" | "ip6_send_skb")) {
        found.push("packets that a program builds itself (raw and packet sockets)".to_owned());
    }
    if calls.contains(&"security_path_truncate") && !calls.contains(&"security_file_truncate") {
        found.push(
            "truncation of an open file, and by opening it, since Linux 6.2 (`security_file_truncate`)"
                .to_owned(),
        );
    }
    let selectors = || hooks(policy).flat_map(|hook| hook.selectors.iter().map(move |s| (hook, s)));
    for (hook, selector) in selectors() {
        filters(hook, selector, &calls, &mut found);
    }
    if policy.spec.kprobes.iter().any(|hook| hook.on_return) {
        found.push(
            "calls that are still running, because the return value is known only at the end".to_owned(),
        );
    }
    found.push("what a process did before the policy was loaded".to_owned());
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|caveat| seen.insert(caveat.clone()));
    found
}

/// Whether `io_uring` comes to a function without a system call of its own.
fn by_io_uring(call: &str) -> bool {
    ["security_file_", "security_path_", "security_inode_", "security_socket_", "vfs_"]
        .iter()
        .any(|prefix| call.starts_with(prefix))
        || matches!(call, "tcp_connect" | "ip_send_skb" | "ip6_send_skb")
}

fn scope_caveats(scope: &Scope, found: &mut Vec<String>) {
    if !scope.host {
        found.push("host processes".to_owned());
    }
    match &scope.pods {
        None => found.push("processes in pods".to_owned()),
        Some(pods) => {
            if pods.pods.is_some() {
                found.push("other pods, and pods that lose the label".to_owned());
            } else if pods.namespace.is_some() {
                found.push("pods of other namespaces".to_owned());
            }
            if pods.containers.is_some() {
                found.push(
                    "other containers of the same pods, such as sidecars and `kubectl debug` containers"
                        .to_owned(),
                );
            }
        }
    }
}

fn calls(policy: &Policy) -> Vec<&str> {
    hooks(policy)
        .filter_map(|hook| match &hook.target {
            HookTarget::Function { call, .. } => Some(call.as_str()),
            _ => None,
        })
        .collect()
}

fn filters(hook: &Hook, selector: &Selector, calls: &[&str], found: &mut Vec<String>) {
    let positive = |operator: Operator| !operator.name().starts_with("Not");
    if selector.match_binaries.iter().any(|filter| positive(filter.operator)) {
        let call = match &hook.target {
            HookTarget::Function { call, .. } => call.as_str(),
            _ => "",
        };
        if matches!(call, "sys_execve" | "sys_execveat") && !calls.contains(&"security_bprm_check") {
            found.push(
                "the start of the named programs: at the entry of execve, the process still runs the calling program"
                .to_owned(),
            );
        }
        found.push(
            "the same program under another path (copied or hard-linked), and scripts, whose program is the interpreter"
                .to_owned(),
        );
    }
    for filter in &selector.match_args {
        let ty = hook.filtered_arg(filter).map(|arg| arg.ty);
        match ty {
            Some(ArgType::File | ArgType::Path | ArgType::Dentry | ArgType::LinuxBinprm)
                if positive(filter.operator) =>
            {
                found.push(
                    "the same files under another path: hard links, bind mounts and other mounts of their file \
                     system"
                    .to_owned(),
                );
            }
            Some(ArgType::Sock | ArgType::Skb | ArgType::Socket | ArgType::Sockaddr)
                if matches!(filter.operator, Operator::DAddr | Operator::SAddr)
                    && filter.values.iter().all(|value| !value.contains(':')) =>
            {
                found.push("IPv6: only IPv4 addresses are listed".to_owned());
            }
            Some(ArgType::String | ArgType::Filename | ArgType::CharBuf) if matches!(&hook.target, HookTarget::Function { call, .. } if call.starts_with(SYSCALL_PREFIX)) =>
            {
                found.push(
                    "a string that the program changes after it entered the system call (the string is read from user \
                     memory)"
                    .to_owned(),
                );
            }
            _ => {}
        }
    }
    if selector.match_actions.iter().any(|action| action.kind == Some(ActionKind::NoPost)) {
        found.push("events that a selector with `NoPost` handles before the selectors below it".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::{assess::Checked, source::parse};

    use super::*;

    #[test]
    fn other_pods_are_those_that_the_scope_leaves_out() {
        let first = |scope: &str| {
            let text = format!(
                "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicyNamespaced\nmetadata: {{name: p, namespace: shop}}\nspec: \
                 {{{scope}kprobes: [{{call: sys_swapon}}]}}\n"
            );
            let policy = Checked::of(&parse(&text)[0]).expect("a policy").policy;
            let found = caveats(&policy, &Scope::of(&policy), false);
            found.into_iter().find(|caveat| caveat.contains("pods")).unwrap_or_default()
        };
        assert_eq!(
            first("podSelector: {matchLabels: {app: a}}, "),
            "other pods, and pods that lose the label"
        );
        assert_eq!(first(""), "pods of other namespaces");
    }
}
