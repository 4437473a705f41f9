//! Declared arguments: `args`, `data` and `returnArg`.

use super::located::{LocatedHook, LocatedPolicy};
use crate::{
    codes::{ARG_FIELD, ARG_INDEX, DUPLICATE_ARG, NO_EFFECT, OVER_LIMIT, UNTYPED_ARG},
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity},
    filter_rules::TYPE_HELP,
    model::{Arg, ArgType, DataSource, Hook, Section, Selector},
    target::Targets,
};

/// Arguments and data that one hook can have (`MAX_SELECTORS_ARGS` and the five slots of Tetragon's events).
const ARGS_MAX: usize = 5;
/// Steps of a `resolve` path.
const RESOLVE_MAX: usize = 10;
/// The last argument that can be a size; 0 is none.
const SIZE_INDEX_MAX: u32 = 15;

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        let hook = place.hook;
        for (i, arg) in hook.args.iter().enumerate() {
            let path = place.path.field("args").index(i);
            if let Some(source) = &arg.source {
                found.push(Diagnostic::new(
                    &ARG_FIELD,
                    path.field("source"),
                    format!("`source: {source}` is valid only in `data`; entries of `args` read the arguments of the \
                             call"),
                ));
            }
            typed(place, arg, &path, found);
            form(arg, &path, found);
            let before = &hook.args[..i];
            let same = |other: &&Arg| (other.index, &other.resolve) == (arg.index, &arg.resolve);
            if let Some(first) = before.iter().take(64).find(same) {
                let diagnostic = if is_filtered_by_index(hook, arg.index) {
                    Diagnostic::new(
                        &DUPLICATE_ARG,
                        path.field("index"),
                        format!("argument {} is declared twice, so a filter on it is ambiguous", arg.index),
                    )
                } else {
                    let message = format!(
                        "argument {} is declared twice; no filter reads it by `index`, so the count is right",
                        arg.index
                    );
                    Diagnostic::new(&DUPLICATE_ARG, path.field("index"), message).severity(Severity::Warning)
                };
                found.push(diagnostic.help("keep one of the two declarations").fix(Fix {
                    title: "remove this declaration".to_owned(),
                    path: path.clone(),
                    edit: Edit::Remove,
                    safe: first == arg && !names_positions(hook),
                }));
            }
            index(place, arg, &path, found);
        }
        ambiguous(place, found);
        for (i, arg) in hook.data.iter().enumerate() {
            let path = place.path.field("data").index(i);
            if let Some(source) =
                arg.source.as_deref().filter(|source| DataSource::from_name(source).is_none())
            {
                found.push(
                    Diagnostic::new(
                        &ARG_FIELD,
                        path.field("source"),
                        format!("unknown data source {source:?}"),
                    )
                    .help("use `current_task` or `pt_regs`"),
                );
            }
            form(arg, &path, found);
        }
        if let Some(arg) = &hook.return_arg {
            let path = place.path.field("returnArg");
            typed(place, arg, &path, found);
            form(arg, &path, found);
            if !hook.on_return {
                found.extend(unused_result(place, &path));
            }
        }
        let count = hook.args.len() + hook.data.len();
        if count > ARGS_MAX {
            found.push(
                Diagnostic::new(
                    &OVER_LIMIT,
                    place.path.field(if hook.args.len() > ARGS_MAX { "args" } else { "data" }),
                    format!("{count} entries in `args` and `data`; Tetragon reads at most {ARGS_MAX} and rejects the \
                             policy"),
                )
                .at_key()
                .severity(Severity::Warning),
            );
        }
    }
}

/// Whether a filter names an argument by its index, and not by its position in `args`.
fn is_filtered_by_index(hook: &Hook, index: u32) -> bool {
    let mut filters = hook.selectors.iter().flat_map(|selector| &selector.match_args);
    filters.any(|filter| filter.args.is_empty() && filter.index == index)
}

/// Whether a filter names an argument by its position in `args`, which changes if an entry before it is removed.
fn names_positions(hook: &Hook) -> bool {
    hook.selectors.iter().flat_map(|selector| &selector.match_args).any(|filter| !filter.args.is_empty())
}

/// Filters by an index that several entries of `args` have. They are evaluated on the first of them.
fn ambiguous(place: &LocatedHook<'_>, found: &mut Vec<Diagnostic>) {
    let args = &place.hook.args;
    for (selector, path) in place.selectors() {
        for (i, filter) in selector.match_args.iter().enumerate().filter(|(_, f)| f.args.is_empty()) {
            let mut named = args.iter().take(64).enumerate().filter(|(_, arg)| arg.index == filter.index);
            let (Some((first, arg)), Some((second, other))) = (named.next(), named.next()) else { continue };
            // The same argument twice is reported as an error of its declarations.
            if arg.resolve == other.resolve {
                continue;
            }
            let path = path.field("matchArgs").index(i).field("index");
            found.push(
                Diagnostic::new(
                    &DUPLICATE_ARG,
                    path,
                    format!(
                        "`index: {}` is ambiguous: `args[{first}]` and `args[{second}]` both have it, and the filter \
                         is evaluated on the first",
                        filter.index
                    ),
                )
                .severity(Severity::Warning)
                .help(format!("write `args: [{first}]` or `args: [{second}]`, the position in `args`")),
            );
        }
    }
}

/// `returnArg` of a hook that isn't evaluated when the function returns. With filters or actions on the result, which
/// need `return: true`, that is reported of them.
fn unused_result(place: &LocatedHook<'_>, path: &FieldPath) -> Option<Diagnostic> {
    let used = |selector: &Selector| {
        !selector.match_return_args.is_empty() || !selector.match_return_actions.is_empty()
    };
    if place.selectors().any(|(selector, _)| used(selector)) {
        return None;
    }
    let diagnostic =
        Diagnostic::new(&NO_EFFECT, path.clone(), "`returnArg` has no effect without `return: true`");
    Some(
        diagnostic
            .severity(Severity::Warning)
            .targets(Targets::BOTH)
            .at_key()
            .help(
                "write `return: true` to evaluate the hook when the function returns, or remove `returnArg`",
            )
            .fix(Fix {
                title: "remove `returnArg`".to_owned(),
                path: path.clone(),
                edit: Edit::Remove,
                safe: true,
            }),
    )
}

/// `auto`, which an omitted type is, works for tracepoints alone: these describe their fields.
fn typed(place: &LocatedHook<'_>, arg: &Arg, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let reason = match (place.section, arg.ty) {
        (Section::Kprobes | Section::Fentries | Section::LsmHooks, ArgType::Auto)
            if arg.resolve.is_none() =>
        {
            "`type` is `auto` (the default), which works only for tracepoints"
        }
        (Section::Kprobes | Section::Fentries | Section::LsmHooks, ArgType::Syscall64) => {
            "`syscall64` works only for the first field of the tracepoints raw_syscalls/*"
        }
        (_, ArgType::ConstBuf) => {
            "`const_buf` cannot be written in a policy; Tetragon uses it for arrays in tracepoints"
        }
        _ => return,
    };
    found.push(
        Diagnostic::new(&UNTYPED_ARG, path.field("type"), format!("{reason}; Tetragon rejects the policy"))
            .help(TYPE_HELP),
    );
}

/// Fields that only some types have.
fn form(arg: &Arg, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let buffer = matches!(arg.ty, ArgType::CharBuf | ArgType::CharIovec);
    if buffer && arg.size_arg_index == 0 && !arg.return_copy {
        found.push(
            Diagnostic::new(
                &ARG_FIELD,
                path.field("type"),
                format!(
                    "the length of the `{}` is unknown without `sizeArgIndex` or `returnCopy`; its value is empty, and \
                     a filter has nothing to compare",
                    arg.ty
                ),
            )
            .severity(Severity::Warning)
            .help("add `sizeArgIndex: N` (the first argument is 1), or `returnCopy: true` if the return value is the \
                   length"),
        );
    }
    if arg.size_arg_index > SIZE_INDEX_MAX {
        found.push(Diagnostic::new(
            &ARG_FIELD,
            path.field("sizeArgIndex"),
            format!("invalid `sizeArgIndex` {}: expected 1 to {SIZE_INDEX_MAX}", arg.size_arg_index),
        ));
    }
    if arg.max_data && arg.ty != ArgType::CharBuf {
        found.push(
            Diagnostic::new(
                &ARG_FIELD,
                path.field("maxData"),
                format!("`maxData` works only for `char_buf` and is ignored for a `{}`", arg.ty),
            )
            .severity(Severity::Warning),
        );
    }
    if let Some(resolve) = &arg.resolve {
        let steps = resolve.split('.').count();
        if steps > RESOLVE_MAX || resolve.split('.').any(str::is_empty) {
            found.push(Diagnostic::new(
                &ARG_FIELD,
                path.field("resolve"),
                format!("invalid `resolve` path {resolve:?}: expected 1 to {RESOLVE_MAX} field names separated by dots"),
            ));
        }
    }
}

/// Arguments that can be read: by position for calls, by field for tracepoints.
fn index(place: &LocatedHook<'_>, arg: &Arg, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let raw = matches!(place.hook.target, crate::model::HookTarget::Tracepoint { raw: true, .. });
    let limit = match place.section {
        Section::Fentries | Section::LsmHooks | Section::Uprobes => 4,
        Section::Tracepoints if raw => 5,
        // The compiler judges kprobes by the function's own prototype; a tracepoint has any number of fields.
        Section::Kprobes | Section::Tracepoints | Section::Usdts => return,
    };
    if arg.index > limit {
        found.push(Diagnostic::new(
            &ARG_INDEX,
            path.field("index"),
            format!("argument {} cannot be read: expected an index from 0 to {limit}", arg.index),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reported;

    fn kprobe(args: &str) -> Vec<String> {
        reported(&format!("kprobes: [{{call: sys_dup, args: [{args}]}}]"))
    }

    #[test]
    fn types() {
        assert_eq!(kprobe("{index: 0, type: int}"), [""; 0]);
        assert_eq!(kprobe("{index: 0}"), ["GW211 spec.kprobes[0].args[0].type"]);
        assert_eq!(kprobe("{index: 0, type: syscall64}"), ["GW211 spec.kprobes[0].args[0].type"]);
        assert_eq!(reported("tracepoints: [{subsystem: a, event: b, args: [{index: 9}]}]"), [""; 0]);
    }

    #[test]
    fn declarations() {
        assert_eq!(
            kprobe("{index: 0, type: int}, {index: 0, type: int}"),
            ["GW212 spec.kprobes[0].args[1].index"]
        );
        assert_eq!(kprobe("{index: 0, type: file}, {index: 0, type: int, resolve: f_mode}"), [""; 0]);
        assert_eq!(
            reported("kprobes: [{call: sys_dup, returnArg: {index: 0, type: int}}]"),
            ["GW403 spec.kprobes[0].returnArg"]
        );
        assert_eq!(
            reported("kprobes: [{call: sys_dup, return: true, returnArg: {index: 0, type: int}}]"),
            [""; 0]
        );
        assert_eq!(kprobe("{index: 0, type: char_buf}"), ["GW213 spec.kprobes[0].args[0].type"]);
        assert_eq!(kprobe("{index: 0, type: char_buf, returnCopy: true}"), [""; 0]);
        assert_eq!(kprobe("{index: 0, type: char_buf, sizeArgIndex: 3}"), [""; 0]);
        assert_eq!(
            kprobe("{index: 0, type: char_buf, sizeArgIndex: 16}"),
            ["GW213 spec.kprobes[0].args[0].sizeArgIndex"]
        );
        assert_eq!(kprobe("{index: 0, type: int, maxData: true}"), ["GW213 spec.kprobes[0].args[0].maxData"]);
        assert_eq!(kprobe("{index: 0, type: int, resolve: a..b}"), ["GW213 spec.kprobes[0].args[0].resolve"]);
        assert_eq!(
            kprobe("{index: 0, type: int, source: pt_regs}"),
            ["GW213 spec.kprobes[0].args[0].source"]
        );
        assert_eq!(
            reported("lsmhooks: [{hook: file_open, args: [{index: 5, type: int}]}]"),
            ["GW204 spec.lsmhooks[0].args[0].index"]
        );
        let six = (0..6).map(|i| format!("{{index: {i}, type: int}}")).collect::<Vec<_>>().join(", ");
        assert_eq!(kprobe(&six), ["GW404 spec.kprobes[0].args"]);
    }

    #[test]
    fn data() {
        let with = |source: &str| {
            reported(&format!(
                "kprobes: [{{call: sys_dup, data: [{{index: 0, type: int, source: {source}, resolve: pid}}]}}]"
            ))
        };
        assert_eq!(with("current_task"), [""; 0]);
        assert_eq!(with("task"), ["GW213 spec.kprobes[0].data[0].source"]);
    }
}
