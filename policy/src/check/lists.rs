//! `lists` and the references to them.

use super::located::{LocatedPolicy, spec};
use crate::{
    codes::BAD_LIST,
    compile::{bad_pattern, missing_pattern, not_a_syscall, pattern, unknown_list},
    diagnostic::{Diagnostic, Edit, FieldPath},
    model::{ArgFilter, HookTarget, List, ListType, Operator},
    nearest::nearest,
    syscall_name::SyscallName,
    target::Targets,
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let policy = places.policy;
    let lists = &policy.spec.lists;
    for (i, list) in lists.iter().enumerate() {
        let path = spec().field("lists").index(i);
        definition(list, &path, found);
        if lists[..i].iter().take(64).any(|other| other.name == list.name) {
            found.push(Diagnostic::new(
                &BAD_LIST,
                path.field("name"),
                format!("duplicate list name `{}`: `list:{0}` would refer to only one of them", list.name),
            ));
        }
    }
    for place in &places.hooks {
        if let HookTarget::Function { call, .. } = &place.hook.target {
            named(lists, call, || place.path.field("call"), found);
        }
    }
    for (i, calls) in policy.spec.enforcers.iter().enumerate() {
        for (k, call) in calls.iter().enumerate() {
            named(lists, call, || spec().field("enforcers").index(i).field("calls").index(k), found);
        }
    }
    for (selector, path) in places.selectors() {
        for (name, filters) in [
            ("matchArgs", &selector.match_args),
            ("matchData", &selector.match_data),
            ("matchReturnArgs", &selector.match_return_args),
        ] {
            for (i, filter) in filters.iter().enumerate() {
                in_filter(lists, filter, || path.field(name).index(i), found);
            }
        }
    }
}

fn definition(list: &List, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let mut report = |field: &str, message: String, help: &str| {
        found.push(Diagnostic::new(&BAD_LIST, path.field(field), message).help(help));
    };
    let generated = list.ty.filter(|ty| ty.is_generated());
    if let Some(ty) = generated
        && !list.values.is_empty()
    {
        report(
            "values",
            format!("a list of type `{ty}` generates its own values; every node rejects the policy"),
            "remove the values or the type",
        );
    }
    if list.ty == Some(ListType::GeneratedFtrace) && list.pattern.as_ref().is_none_or(String::is_empty) {
        found.push(missing_pattern(path.field("pattern")));
    }
    if let (Some(ListType::GeneratedFtrace), Some(text)) = (list.ty, &list.pattern)
        && let Err(why) = pattern(text)
    {
        found.push(bad_pattern(text, &why, path.field("pattern")));
    }
    let mut report = |field: &str, message: String, help: &str| {
        found.push(Diagnostic::new(&BAD_LIST, path.field(field), message).help(help));
    };
    if list.ty != Some(ListType::GeneratedFtrace) && list.pattern.is_some() {
        report(
            "pattern",
            "`pattern` works only in lists of type `generated_ftrace`; it is ignored here".to_owned(),
            "remove it",
        );
    }
    if generated.is_none() && list.values.is_empty() {
        report("values", format!("the list `{}` is empty", list.name), "add values");
    }
    if list.validated {
        found.push(
            Diagnostic::new(
                &BAD_LIST,
                path.field("validated"),
                "`validated: true` disables Tetragon's check of the list, so it accepts names that no kernel has",
            )
            .targets(Targets::TETRAGON)
            .help("remove it"),
        );
    }
    if list.ty == Some(ListType::Syscalls) {
        for (i, value) in list.values.iter().enumerate() {
            if !is_syscall(value) {
                found.push(not_a_syscall(value, path.field("values").index(i)));
            }
        }
    }
}

/// Whether a value names a system call: `sys_x`, `i386/sys_x`, or the entry of one architecture.
fn is_syscall(value: &str) -> bool {
    match value.split_once('/') {
        Some(("x64" | "i386" | "arm64" | "arm32", name)) => {
            SyscallName::parse(name).is_some_and(|name| name.architecture.is_none())
        }
        Some(_) => false,
        None => SyscallName::parse(value).is_some(),
    }
}

fn named(lists: &[List], value: &str, path: impl FnOnce() -> FieldPath, found: &mut Vec<Diagnostic>) {
    let Some(name) = List::named_in(value) else { return };
    if lists.iter().any(|list| list.name == name) {
        return;
    }
    let diagnostic = unknown_list(name, path());
    found.push(match nearest(name, lists.iter().take(64).map(|list| list.name.as_str())) {
        Some(suggestion) => {
            let meant = format!("list:{suggestion}");
            let edit = Edit::Replace(serde_json::Value::from(meant.as_str()).to_string());
            diagnostic.did_you_mean(&meant, edit)
        }
        None => diagnostic.help("define it under `lists`"),
    });
}

fn in_filter(lists: &[List], filter: &ArgFilter, path: impl Fn() -> FieldPath, found: &mut Vec<Diagnostic>) {
    for (i, value) in filter.values.iter().enumerate().filter(|(_, value)| List::named_in(value).is_some()) {
        if matches!(filter.operator, Operator::InMap | Operator::NotInMap) {
            named(lists, value, || path().field("values").index(i), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reported;

    fn with(list: &str) -> Vec<String> {
        reported(&format!("lists: [{list}]\nkprobes: [{{call: 'list:l', message: ok}}]"))
    }

    #[test]
    fn definitions() {
        assert_eq!(
            with("{name: l, type: syscalls, values: [sys_dup, i386/sys_dup, __x64_sys_dup]}"),
            [""; 0]
        );
        assert_eq!(with("{name: l, type: generated_syscalls}"), [""; 0]);
        assert_eq!(with("{name: l, values: []}"), ["GW015 spec.lists[0].values"]);
        assert_eq!(with("{name: l, type: generated_syscalls, values: [a]}"), ["GW015 spec.lists[0].values"]);
        assert_eq!(with("{name: l, type: generated_ftrace}"), ["GW015 spec.lists[0].pattern"]);
        assert_eq!(with("{name: l, values: [a], pattern: b}"), ["GW015 spec.lists[0].pattern"]);
        assert_eq!(with("{name: l, values: [a], validated: true}"), ["GW015 spec.lists[0].validated"]);
        assert_eq!(with("{name: l, type: syscalls, values: [dup]}"), ["GW015 spec.lists[0].values[0]"]);
        assert_eq!(with("{name: l, values: [a]}, {name: l, values: [b]}"), ["GW015 spec.lists[1].name"]);
    }

    #[test]
    fn names_must_be_defined() {
        assert_eq!(with("{name: k, values: [a]}"), ["GW015 spec.kprobes[0].call"]);
    }
}
