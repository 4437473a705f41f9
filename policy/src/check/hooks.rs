//! Rules for hooks that need no kernel.

use std::{borrow::Cow, collections::HashMap};

use super::{
    located::{LocatedHook, LocatedPolicy},
    split::unfiltered,
};
use crate::{
    codes::{DUPLICATE_HOOK, HOT_HOOK, LSM_NAME, RACY_HOOK, SYSCALL_NAME},
    compile::LSM_PREFIX,
    diagnostic::{Diagnostic, Edit, Fix},
    model::{Action, ArgType, Hook, HookTarget, List, SECURITY_PREFIX, SYSCALL_PREFIX, Section},
    syscall_name::{SyscallName, one_architecture},
};

/// Functions that every process calls all the time.
const HOT: [&str; 14] = [
    "sys_read",
    "sys_write",
    "sys_close",
    "sys_futex",
    "sys_epoll_wait",
    "sys_clock_gettime",
    "security_file_permission",
    "security_inode_permission",
    "security_task_getsecid_obj",
    "vfs_read",
    "vfs_write",
    "raw_syscalls/sys_enter",
    "raw_syscalls/sys_exit",
    "sched/sched_switch",
];

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    duplicates(places, found);
    for place in &places.hooks {
        names(place, found);
        hot(place, found);
        if !places.policy.monitors() {
            racy(place, found);
        }
    }
}

/// What a hook attaches to, for comparing and for showing.
fn name(hook: &Hook) -> Cow<'_, str> {
    match &hook.target {
        HookTarget::Function { call, .. } => call.into(),
        HookTarget::Tracepoint { subsystem, event, .. } => format!("{subsystem}/{event}").into(),
        HookTarget::Lsm { hook } => hook.into(),
        HookTarget::Uprobe { path, symbols, offsets, addrs, .. } => {
            format!("{path} {symbols:?} {offsets:?} {addrs:?}").into()
        }
        HookTarget::Usdt { path, provider, name } => format!("{path} {provider}/{name}").into(),
    }
}

fn field(hook: &Hook) -> &'static str {
    match hook.target {
        HookTarget::Function { .. } => "call",
        HookTarget::Tracepoint { .. } => "event",
        HookTarget::Lsm { .. } => "hook",
        HookTarget::Uprobe { .. } => "path",
        HookTarget::Usdt { .. } => "name",
    }
}

/// The same hook twice: an event that both select is counted twice, and Tetragon rejects the policy unless
/// `disable-kprobe-multi` is set.
fn duplicates(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    if places.hooks.len() < 2 {
        return;
    }
    let mut seen = HashMap::new();
    for place in &places.hooks {
        let key = (place.section.name(), name(place.hook), place.hook.on_return);
        if key.1.is_empty() {
            continue;
        }
        let shown = key.1.clone();
        if let Some(first) = seen.insert(key, &place.path) {
            found.push(
                Diagnostic::new(
                    &DUPLICATE_HOOK,
                    place.path.field(field(place.hook)),
                    format!(
                        "`{shown}` is already hooked by {first}: an event that both select counts twice, and Tetragon \
                         rejects the policy unless `disable-kprobe-multi` is set"
                    ),
                )
                .help("merge the selectors of both hooks into one of them"),
            );
        }
    }
}

fn names(place: &LocatedHook<'_>, found: &mut Vec<Diagnostic>) {
    match &place.hook.target {
        HookTarget::Function { call, syscall, syscall_written } => {
            let path = || place.path.field("call");
            if let Some(architecture) = SyscallName::parse(call).and_then(|name| name.architecture) {
                found.push(one_architecture(call, *syscall, architecture, path()));
            }
            // The compiler reports it for kprobes, because it knows the kernel's names too.
            let plain = !call.starts_with(SYSCALL_PREFIX)
                && !call.starts_with("__")
                && List::named_in(call).is_none();
            if place.section == Section::Fentries && *syscall && plain && !call.is_empty() {
                let reason = if *syscall_written { "" } else { " by default" };
                found.push(
                    Diagnostic::new(
                        &SYSCALL_NAME,
                        path(),
                        format!("`{call}` is not a system call, but `syscall` is true{reason}; no kernel has such a \
                                 function"),
                    )
                    .help("write `syscall: false`"),
                );
            }
        }
        HookTarget::Lsm { hook } => {
            let bare = hook.strip_prefix(SECURITY_PREFIX).or_else(|| hook.strip_prefix(LSM_PREFIX));
            if let Some(bare) = bare {
                let path = place.path.field("hook");
                found.push(
                    Diagnostic::new(
                        &LSM_NAME,
                        path.clone(),
                        format!("LSM hook names have no prefix: no kernel has `{LSM_PREFIX}{hook}`"),
                    )
                    .fix(Fix {
                        title: format!("write `{bare}`"),
                        path,
                        edit: Edit::Replace(bare.to_owned()),
                        safe: true,
                    }),
                );
            }
        }
        _ => {}
    }
}

/// A hook that every process passes all the time, and a selector that takes every call.
fn hot(place: &LocatedHook<'_>, found: &mut Vec<Diagnostic>) {
    let name = name(place.hook);
    let bare = SyscallName::parse(&name).map_or(&*name, |name| name.portable);
    if HOT.contains(&bare) && (place.hook.selectors.is_empty() || place.hook.selectors.iter().any(unfiltered))
    {
        found.push(
            Diagnostic::new(
                &HOT_HOOK,
                place.path.field(field(place.hook)),
                format!("every process calls `{bare}` constantly, and no filter limits it: every call would be an event"),
            )
            .help("add `matchArgs` or `matchBinaries` to every selector"),
        );
    }
}

/// Enforcement at the entry of a system call by memory that the program can still write to.
fn racy(place: &LocatedHook<'_>, found: &mut Vec<Diagnostic>) {
    let HookTarget::Function { syscall: true, call, .. } = &place.hook.target else { return };
    let pointed = |index: u32| {
        place.hook.args.iter().any(|arg| {
            arg.index == index
                && matches!(
                    arg.ty,
                    ArgType::String
                        | ArgType::CharBuf
                        | ArgType::CharIovec
                        | ArgType::Sockaddr
                        | ArgType::SockaddrUn
                )
        })
    };
    for (selector, path) in place.selectors() {
        if !selector.match_actions.iter().any(Action::enforces) {
            continue;
        }
        if let Some(i) = selector.match_args.iter().position(|filter| pointed(filter.index)) {
            found.push(
                Diagnostic::new(
                    &RACY_HOOK,
                    path.field("matchArgs").index(i),
                    format!(
                        "`{call}` reads this argument from user memory again after the filter: another thread can \
                         change it in between and bypass the policy"
                    ),
                )
                .help("hook the `security_*` function or LSM hook behind it, which sees the kernel's own copy"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reported;

    #[test]
    fn duplicates() {
        let spec = "kprobes: [{call: sys_dup}, {call: sys_dup2}, {call: sys_dup}]";
        assert_eq!(reported(spec), ["GW207 spec.kprobes[2].call"]);
        assert_eq!(
            reported("lsmhooks: [{hook: file_open}, {hook: file_open}]"),
            ["GW207 spec.lsmhooks[1].hook"]
        );
        assert_eq!(reported("tracepoints: [{subsystem: a, event: b}, {subsystem: b, event: b}]"), [""; 0]);
    }

    #[test]
    fn names() {
        assert_eq!(reported("kprobes: [{call: __x64_sys_dup}]"), ["GW214 spec.kprobes[0].call"]);
        assert_eq!(reported("kprobes: [{call: __sys_setuid, syscall: false}]"), [""; 0]);
        assert_eq!(reported("fentries: [{call: tcp_connect}]"), ["GW203 spec.fentries[0].call"]);
        assert_eq!(reported("fentries: [{call: tcp_connect, syscall: false}, {call: sys_dup}]"), [""; 0]);
        assert_eq!(reported("lsmhooks: [{hook: security_file_open}]"), ["GW215 spec.lsmhooks[0].hook"]);
    }

    #[test]
    fn hot_hooks() {
        assert_eq!(reported("kprobes: [{call: sys_write}]"), ["GW208 spec.kprobes[0].call"]);
        assert_eq!(
            reported("tracepoints: [{subsystem: raw_syscalls, event: sys_enter}]"),
            ["GW208 spec.tracepoints[0].event"]
        );
        let filtered =
            "kprobes: [{call: sys_write, selectors: [{matchPIDs: [{operator: In, values: [1]}]}]}]";
        assert_eq!(reported(filtered), [""; 0]);
    }

    #[test]
    fn races() {
        let spec = |ty: &str| {
            format!(
                "podSelector: {{matchLabels: {{a: b}}}}\nkprobes: [{{call: sys_openat, args: [{{index: 1, type: {ty}}}], \
                 selectors: [{{matchArgs: [{{index: 1, operator: Equal, values: ['1']}}], matchActions: [{{action: Sigkill}}]}}]}}]"
            )
        };
        assert_eq!(reported(&spec("string")), ["GW210 spec.kprobes[0].selectors[0].matchArgs[0]"]);
        assert_eq!(reported(&spec("int")), [""; 0]);
    }
}
