//! Rules for actions: required arguments, allowed positions, effects.

use super::{
    located::{LocatedHook, LocatedPolicy},
    options,
};
use crate::{
    codes::{
        ACTION_FIELD, ACTION_PLACE, NO_ENFORCER, NOT_OVERRIDABLE, OVER_LIMIT, RATE_LIMIT, RETURN_ACTION,
        RETURN_FILTER,
    },
    diagnostic::{Diagnostic, FieldPath, Severity},
    model::{Action, ActionKind, ArgType, HookTarget, List, Policy, SECURITY_PREFIX, Section, Selector},
    nearest::nearest,
    values,
};

/// Actions of one selector.
const ACTIONS_MAX: usize = 3;
/// Greatest number of a signal (`_NSIG` of `include/uapi/asm-generic/signal.h`).
const SIGNAL_MAX: u32 = 64;
/// Greatest error number (`MAX_ERRNO` of `include/linux/err.h`).
const ERRNO_MAX: i64 = 4095;
const SCOPES: [&str; 3] = ["thread", "process", "global"];

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        for (selector, path) in place.selectors() {
            lengths(selector, path, found);
            for (name, i, action) in selector.actions() {
                let path = path.field(name).index(i);
                fields(action, &path, found);
                rate_limit(place, action, &path, found);
                position(places.policy, place, action, &path, found);
            }
            if !selector.match_return_actions.is_empty() && !place.hook.on_return {
                found.push(
                    Diagnostic::new(
                        &RETURN_FILTER,
                        path.field("matchReturnActions"),
                        "`matchReturnActions` requires `return: true`; without it, the actions are silently ignored",
                    )
                    .at_key(),
                );
            }
        }
    }
    hidden_enforcement(places, found);
}

fn lengths(selector: &Selector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    for (name, actions) in selector.action_lists() {
        if actions.len() > ACTIONS_MAX {
            found.push(
                Diagnostic::new(
                    &OVER_LIMIT,
                    path.field(name),
                    format!(
                        "{} actions in one selector; Tetragon accepts at most {ACTIONS_MAX} and rejects the policy",
                        actions.len()
                    ),
                )
                .at_key(),
            );
        }
    }
}

/// What an action needs.
fn fields(action: &Action, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let number = |name: &str| action.fields.get(name).and_then(|text| text.parse::<i64>().ok());
    let mut report = |field: &str, message: String, help: &str| {
        found.push(Diagnostic::new(&ACTION_FIELD, path.field(field), message).help(help));
    };
    match action.kind {
        Some(ActionKind::Signal) => match number("argSig") {
            Some(signal) if (1..=i64::from(SIGNAL_MAX)).contains(&signal) => {}
            Some(0) | None => report(
                "argSig",
                "`Signal` sends signal 0, which has no effect on the process".to_owned(),
                "write `argSig: 9` for SIGKILL or `argSig: 19` for SIGSTOP",
            ),
            Some(signal) => report("argSig", format!("invalid signal {signal}"), "valid signals are 1 to 64"),
        },
        Some(ActionKind::Override) => {
            let replaced = ["argRegs", "argNewSymbol", "argNewAddr", "argNewOffset"];
            let ways = replaced.iter().filter(|name| action.fields.contains_key(**name)).count();
            if ways > 1 {
                report(
                    "action",
                    "`Override` has more than one of `argRegs`, `argNewSymbol`, `argNewAddr` and `argNewOffset`".to_owned(),
                    "keep exactly one of them",
                );
            }
            match number("argError") {
                None | Some(0) if ways == 0 => report(
                    "argError",
                    "`Override` without an error number makes the call report success and do nothing".to_owned(),
                    "write `argError: -1` for \"operation not permitted\"",
                ),
                Some(error) if error < -ERRNO_MAX => report(
                    "argError",
                    format!("invalid error number {error}: expected -1 to -{ERRNO_MAX}"),
                    "-1 is \"operation not permitted\", -13 is \"permission denied\"",
                ),
                Some(value) if value > 0 => found.push(
                    Diagnostic::new(
                        &ACTION_FIELD,
                        path.field("argError"),
                        format!("the call will return {value}, which most programs treat as success; error numbers \
                                 are negative"),
                    )
                    .severity(Severity::Warning)
                    .help(format!("write `argError: -{value}`")),
                ),
                _ => {}
            }
        }
        _ => {}
    }
}

fn rate_limit(place: &LocatedHook<'_>, action: &Action, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let limit = action.fields.get("rateLimit").filter(|text| !text.is_empty());
    let scope = action.fields.get("rateLimitScope").filter(|text| !text.is_empty());
    if let Some(limit) = limit {
        let at = path.field("rateLimit");
        if let Some(other) = action.kind.filter(|kind| *kind != ActionKind::Post) {
            found.push(Diagnostic::new(
                &RATE_LIMIT,
                at,
                format!(
                    "`rateLimit` works only with `Post`, not with `{other}`; Tetragon rejects the policy"
                ),
            ));
        } else if let Err(e) = values::interval(limit) {
            found.push(Diagnostic::new(&RATE_LIMIT, at, format!("{e}; Tetragon rejects the policy")));
        } else if scope.is_none()
            && place.hook.args.iter().any(|arg| matches!(arg.ty, ArgType::File | ArgType::Path))
        {
            found.push(
                Diagnostic::new(
                    &RATE_LIMIT,
                    at,
                    "the limit applies to each thread and file separately, so it does not limit a process that walks \
                     a directory",
                )
                .severity(Severity::Note)
                .help("write `rateLimitScope: process` or `global`"),
            );
        }
    }
    let Some(scope) = scope else { return };
    let at = path.field("rateLimitScope");
    if limit.is_none() {
        found.push(
            Diagnostic::new(&RATE_LIMIT, at, "`rateLimitScope` has no effect without `rateLimit`")
                .severity(Severity::Warning),
        );
    } else if !SCOPES.contains(&scope.as_str()) {
        let help = match nearest(scope, SCOPES) {
            Some(suggestion) => format!("did you mean `{suggestion}`?"),
            None => format!("expected one of `{}`", SCOPES.join("`, `")),
        };
        found
            .push(Diagnostic::new(&RATE_LIMIT, at, format!("unknown rate limit scope {scope:?}")).help(help));
    }
}

/// The places of an action.
fn position(
    policy: &Policy,
    place: &LocatedHook<'_>,
    action: &Action,
    path: &FieldPath,
    found: &mut Vec<Diagnostic>,
) {
    let at = path.field("action");
    let section = place.section;
    if let Some(kind) = action.kind.filter(|kind| !can_stand_in(*kind, section)) {
        found.push(Diagnostic::new(
            &ACTION_PLACE,
            at.clone(),
            format!("`{kind}` is not supported in `{section}`; Tetragon rejects the policy"),
        ));
        return;
    }
    // The schema takes these fields everywhere.
    let stack = ["kernelStackTrace", "userStackTrace"].into_iter().find(|field| action.is_set(field));
    let wrong = match section {
        Section::LsmHooks => stack,
        _ => Some("imaHash").filter(|field| action.is_set(field)),
    };
    if let Some(field) = wrong {
        found.push(Diagnostic::new(
            &ACTION_PLACE,
            path.field(field),
            format!("`{field}` is not supported in `{section}`; Tetragon rejects the policy"),
        ));
    }
    if action.kind == Some(ActionKind::NotifyEnforcer) && policy.spec.enforcers.is_empty() {
        found.push(
            Diagnostic::new(
                &NO_ENFORCER,
                at.clone(),
                "`NotifyEnforcer` requires `spec.enforcers`, which is missing; Tetragon rejects the policy",
            )
            .help("list the calls under `spec.enforcers`"),
        );
    }
    if action.kind == Some(ActionKind::Override) {
        overridable(policy, place, at, found);
    }
}

/// Whether Tetragon takes an action in a section.
const fn can_stand_in(kind: ActionKind, section: Section) -> bool {
    use ActionKind as A;
    match section {
        Section::LsmHooks => matches!(kind, A::Post | A::NoPost | A::Sigkill | A::Signal | A::Override),
        Section::Fentries => !kind.enforces() && !matches!(kind, A::Set),
        Section::Uprobes => !matches!(kind, A::GetUrl | A::DnsLookup | A::Set),
        Section::Usdts => !matches!(kind, A::GetUrl | A::DnsLookup),
        Section::Kprobes | Section::Tracepoints => !matches!(kind, A::Set),
    }
}

/// Only entries of system calls and `security_*` functions can be overridden.
fn overridable(policy: &Policy, place: &LocatedHook<'_>, at: FieldPath, found: &mut Vec<Diagnostic>) {
    let diagnostic = match (&place.hook.target, place.section) {
        (HookTarget::Function { call, .. }, _) if List::named_in(call).is_some() => return,
        (HookTarget::Function { call, .. }, _) if call.starts_with(SECURITY_PREFIX) => {
            let multi = !policy.spec.options.iter().any(|(name, value)| {
                name == options::DISABLE_KPROBE_MULTI && options::TRUE.contains(&value.as_str())
            });
            if !multi {
                return;
            }
            Diagnostic::new(
                &NOT_OVERRIDABLE,
                at,
                format!(
                    "without the option `disable-kprobe-multi`, Tetragon rejects an override of `{call}` on Linux 5.18 \
                     and later"
                ),
            )
            .help("add `{name: disable-kprobe-multi, value: \"true\"}` to `spec.options`")
        }
        (
            HookTarget::Function { syscall: true, .. } | HookTarget::Lsm { .. } | HookTarget::Uprobe { .. },
            _,
        ) => return,
        (target, section) => {
            let what = match target {
                HookTarget::Function { call, .. } => format!("`{call}`"),
                _ => format!("an entry of `{}`", section.name()),
            };
            Diagnostic::new(
                &NOT_OVERRIDABLE,
                at,
                format!(
                    "{what} cannot be overridden, only system calls and `security_*` functions can; Tetragon \
                         rejects the policy"
                ),
            )
            .help("hook the `security_*` function that makes the decision")
        }
    };
    found.push(diagnostic);
}

/// Tetragon looks for enforcement in `matchActions` alone, and runs a policy without it as a mere monitor.
fn hidden_enforcement(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let all = || places.hooks.iter().flat_map(LocatedHook::selectors);
    if places.policy.monitors() {
        return;
    }
    if all().any(|(selector, _)| selector.match_actions.iter().any(Action::enforces)) {
        return;
    }
    for (selector, path) in all() {
        if let Some(i) = selector.match_return_actions.iter().position(Action::enforces) {
            found.push(Diagnostic::new(
                &RETURN_ACTION,
                path.field("matchReturnActions").index(i).field("action"),
                "Tetragon looks for enforcement only in `matchActions`, so it would run this policy as a monitor",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{reported, reported_all};

    /// A hook of system call dup with these actions, for some pods.
    fn with(actions: &str) -> Vec<String> {
        reported(&format!("{SCOPE}kprobes: [{{call: sys_dup, selectors: [{{matchActions: [{actions}]}}]}}]"))
    }

    const SCOPE: &str = "podSelector: {matchLabels: {a: b}}\n";
    const PLACE: &str = "spec.kprobes[0].selectors[0].matchActions";

    #[test]
    fn what_actions_need() {
        for good in [
            "{action: Signal, argSig: 9}",
            "{action: Override, argError: -1}",
            "{action: Post, rateLimit: 5m}",
            "{action: Post, rateLimit: '5', rateLimitScope: global}",
        ] {
            assert_eq!(with(good), [""; 0], "{good}");
        }
        for (bad, expected) in [
            ("{action: Signal}", "GW505 {}[0].argSig"),
            ("{action: Signal, argSig: 65}", "GW505 {}[0].argSig"),
            ("{action: Override}", "GW505 {}[0].argError"),
            ("{action: Override, argError: 1}", "GW505 {}[0].argError"),
            ("{action: Override, argNewSymbol: a, argNewAddr: 1}", "GW505 {}[0].action"),
            ("{action: Post, rateLimit: fast}", "GW407 {}[0].rateLimit"),
            ("{action: NoPost, rateLimit: 5m}", "GW407 {}[0].rateLimit"),
            ("{action: Post, rateLimitScope: global}", "GW407 {}[0].rateLimitScope"),
            ("{action: Post, rateLimit: 5m, rateLimitScope: node}", "GW407 {}[0].rateLimitScope"),
            ("{action: Set}", "GW506 {}[0].action"),
            ("{action: NotifyEnforcer}", "GW503 {}[0].action"),
            ("{action: Post}, {action: Post}, {action: Post}, {action: Post}", "GW404 {}"),
        ] {
            assert_eq!(with(bad), [expected.replace("{}", PLACE)], "{bad}");
        }
    }

    #[test]
    fn overrides() {
        let on = |hook: &str| {
            reported(
                &format!("{SCOPE}{hook}")
                    .replace('$', "selectors: [{matchActions: [{action: Override, argError: -1}]}]"),
            )
        };
        assert_eq!(
            on("kprobes: [{call: fd_install, syscall: false, $}]"),
            [format!("GW502 {PLACE}[0].action")]
        );
        assert_eq!(
            on("kprobes: [{call: security_file_open, syscall: false, $}]"),
            [format!("GW502 {PLACE}[0].action")]
        );
        assert_eq!(
            on(
                "kprobes: [{call: security_file_open, syscall: false, $}]\noptions: [{name: disable-kprobe-multi, value: 'true'}]"
            ),
            [""; 0]
        );
        assert_eq!(on("lsmhooks: [{hook: file_open, $}]"), [""; 0]);
        assert_eq!(on("tracepoints: [{subsystem: a, event: b, $}]").len(), 1);
        assert_eq!(
            on("fentries: [{call: sys_dup, $}]"),
            ["GW506 spec.fentries[0].selectors[0].matchActions[0].action"]
        );
    }

    #[test]
    fn returns() {
        let with = |ret: &str| {
            reported(&format!(
                "{SCOPE}kprobes: [{{call: sys_dup, {ret} selectors: [{{matchReturnActions: [{{action: Sigkill}}]}}]}}]"
            ))
        };
        let place = "spec.kprobes[0].selectors[0].matchReturnActions";
        assert_eq!(
            with("return: true, returnArg: {index: 0, type: int},"),
            [format!("GW313 {place}[0].action")]
        );
        assert_eq!(with(""), [format!("GW308 {place}"), format!("GW313 {place}[0].action")]);
    }

    #[test]
    fn enforcer_calls() {
        let with = |calls: &str| reported(&format!("enforcers: [{calls}]\nkprobes: [{{call: sys_dup}}]"));
        assert_eq!(with("{calls: [sys_dup, security_file_open, i386/sys_dup]}"), [""; 0]);
        assert_eq!(with("{calls: [dup]}"), ["GW503 spec.enforcers[0].calls[0]"]);
        assert_eq!(with("{calls: [sys_dup]}, {calls: [sys_dup]}"), ["GW404 spec.enforcers[1]"]);
    }

    #[test]
    fn limits_of_files_are_explained() {
        let spec = "kprobes: [{call: security_file_open, syscall: false, message: ok, args: [{index: 0, type: file}], \
                    selectors: [{matchActions: [{action: Post, rateLimit: 1m}]}]}]";
        assert_eq!(reported_all(spec), [format!("GW407 {PLACE}[0].rateLimit")]);
    }
}
