//! Filters and selectors that provably have no effect: they never match, always match, are implied by others, or
//! follow a selector that handles all of their events. See [`prove`](crate::prove).

use std::collections::BTreeSet;

use super::{
    located::{LocatedPolicy, spec},
    split::unfiltered,
};
use crate::{
    codes::{ALWAYS_HOLDS, DEAD_SELECTOR, NEVER_MATCHES, REDUNDANT_FILTER, SUBSUMED_SELECTOR},
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity},
    labels::{self as form, Subject},
    model::Selector,
    prove::{Allowed, Condition, Prover, allowed, labels, lower},
};

/// Selectors of a hook that are compared with each other, and filters of one selector. Tetragon takes five of either.
const COMPARED: usize = 32;

/// A selector that can match.
struct Live<'a> {
    index: usize,
    selector: &'a Selector,
    allowed: Allowed,
}

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let policy = places.policy;
    let prover = Prover::default();
    let mut reported = Vec::new();
    for place in &places.hooks {
        let mut before: Vec<Live<'_>> = Vec::new();
        let mut never_matching: Vec<Diagnostic> = Vec::new();
        for (index, (selector, path)) in place.selectors().take(COMPARED).enumerate() {
            // Whoever corrects a guess may have meant another one.
            if places.filters_are_guess(place, index) {
                continue;
            }
            let conditions = lower(place.hook, selector, path);
            if conditions.len() > COMPARED {
                continue;
            }
            if let Some(diagnostic) = never(&prover, &conditions) {
                never_matching.push(diagnostic);
                continue;
            }
            let useful = useful(&prover, conditions, &mut reported);
            // A single selector takes nothing from others.
            if place.selectors.len() < 2 || places.actions_are_guess(place, index) {
                continue;
            }
            let live = Live { index, selector, allowed: allowed(&useful) };
            reported.extend(dead(&prover, &before, &live, path));
            before.push(live);
        }
        // Without a selector that can match, the hook counts nothing, which is never intended.
        let nothing = never_matching.len() == place.selectors.len();
        reported.extend(
            never_matching.into_iter().map(
                |diagnostic| {
                    if nothing { hook_never_matches(diagnostic) } else { diagnostic }
                },
            ),
        );
    }
    for (of, name, selector) in [
        (Subject::Pod, "podSelector", &policy.spec.pod_selector),
        (Subject::Container, "containerSelector", &policy.spec.container_selector),
        (Subject::Node, "nodeSelector", &policy.spec.node_selector),
    ] {
        let Some(selector) = selector else { continue };
        let path = spec().field(name);
        if places.is_guess(&path) {
            continue;
        }
        let conditions = labels(of, selector, &path);
        // Its errors, contradictions too, are reported with the policy's scope.
        if conditions.len() <= COMPARED && form::check(selector, of, &path).is_empty() {
            useful(&prover, conditions, &mut reported);
        }
    }
    // A filter of a macro is reported once, however many selectors use it.
    let mut places = BTreeSet::new();
    reported.retain(|diagnostic| places.insert((diagnostic.code.id, diagnostic.path.clone())));
    found.append(&mut reported);
}

/// The reason why a selector can never match: a single filter, or two together.
fn never(prover: &Prover, conditions: &[Condition]) -> Option<Diagnostic> {
    for (i, condition) in conditions.iter().enumerate() {
        if prover.is_empty(&condition.set) {
            return Some(
                Diagnostic::new(
                    &NEVER_MATCHES,
                    condition.path.clone(),
                    "no value can pass this filter, so its selector never matches",
                )
                .help("correct the values, or remove the selector"),
            );
        }
        let same = || conditions[..i].iter().filter(|other| other.key == condition.key);
        let against = |other: &&Condition| prover.is_empty(&condition.set.intersect(&other.set));
        let pair = same().find(against).map(|other| format!("`{}`", tail(&other.path, &condition.path)));
        let all = || {
            let mut set = condition.set.clone();
            same().for_each(|other| set = set.intersect(&other.set));
            prover.is_empty(&set).then(|| "the filters before it".to_owned())
        };
        if let Some(other) = pair.or_else(all) {
            return Some(
                Diagnostic::new(
                    &NEVER_MATCHES,
                    condition.path.clone(),
                    format!(
                        "values that pass this filter cannot pass {other}, so the selector never matches"
                    ),
                )
                .help("all filters of a selector must match; for alternatives, use separate selectors"),
            );
        }
    }
    None
}

/// What keeps the last selector of a hook from matching.
fn hook_never_matches(mut diagnostic: Diagnostic) -> Diagnostic {
    diagnostic.message.push_str(", and with no other selector the hook matches no event");
    diagnostic.severity(Severity::Error)
}

/// The conditions that leave something out, after reporting those that don't.
fn useful(prover: &Prover, conditions: Vec<Condition>, found: &mut Vec<Diagnostic>) -> Vec<Condition> {
    let mut useful: Vec<Condition> = Vec::with_capacity(conditions.len());
    let remove = |condition: &Condition, safe| Fix {
        title: "remove the filter".to_owned(),
        path: condition.path.clone(),
        edit: Edit::Remove,
        safe,
    };
    for condition in conditions {
        if prover.is_everything(&condition.set) {
            found.push(
                Diagnostic::new(
                    &ALWAYS_HOLDS,
                    condition.path.clone(),
                    "every possible value passes this filter, so it has no effect",
                )
                // It may be intended.
                .fix(remove(&condition, false)),
            );
        } else {
            useful.push(condition);
        }
    }
    let mut i = 0;
    while i < useful.len() {
        let condition = &useful[i];
        let others = useful.iter().enumerate().filter(|(k, other)| *k != i && other.key == condition.key);
        let others: Vec<&Condition> = others.map(|(_, other)| other).collect();
        let together = others.iter().map(|other| other.set.clone()).reduce(|all, set| all.intersect(&set));
        if together.is_some_and(|set| prover.covered(&set, &[&condition.set])) {
            let by = tail(&others[0].path, &condition.path);
            found.push(
                Diagnostic::new(
                    &REDUNDANT_FILTER,
                    condition.path.clone(),
                    format!("every value that passes `{by}` also passes this filter, so it has no effect"),
                )
                .fix(remove(condition, true)),
            );
            useful.remove(i);
        } else {
            i += 1;
        }
    }
    useful
}

/// Whether earlier selectors take all that this one would match.
fn dead(prover: &Prover, before: &[Live<'_>], later: &Live<'_>, path: &FieldPath) -> Option<Diagnostic> {
    let name = |i: usize| format!("`selectors[{}]`", before[i].index);
    let all = before.iter().position(|live| live.allowed.is_empty());
    let takers = match all {
        Some(i) => vec![i],
        None => {
            prover.takers(&before.iter().map(|live| &live.allowed).collect::<Vec<_>>(), &later.allowed)?
        }
    };
    let (code, why) = match (all, takers.as_slice()) {
        (Some(i), _) => {
            (&DEAD_SELECTOR, format!("{} has no effective filter and matches every call", name(i)))
        }
        (None, [i]) if before[*i].allowed == later.allowed => {
            (&SUBSUMED_SELECTOR, format!("{} has the same filters and comes first", name(*i)))
        }
        (None, [i]) => (
            &SUBSUMED_SELECTOR,
            format!("{} has weaker filters and matches everything that this one matches", name(*i)),
        ),
        (None, several) => {
            let names: Vec<String> = several.iter().map(|i| name(*i)).collect();
            (
                &SUBSUMED_SELECTOR,
                format!("{} together match everything that this one matches", names.join(" and ")),
            )
        }
    };
    let same_actions = |i: &usize| {
        let (a, b) = (before[*i].selector, later.selector);
        a.match_actions == b.match_actions && a.match_return_actions == b.match_return_actions
    };
    let fix = Fix {
        title: "remove the selector".to_owned(),
        path: path.clone(),
        edit: Edit::Remove,
        // With other actions, another effect is intended.
        safe: takers.iter().all(same_actions),
    };
    let only_actions = all.is_some_and(|i| unfiltered(before[i].selector));
    let help = if only_actions {
        "the first selector that matches handles the event: remove the dash between the two if they are one selector, \
         or else put this one first"
    } else {
        "the first selector that matches handles the event: put the narrower one first, or remove it"
    };
    let diagnostic = Diagnostic::new(code, path.clone(), format!("this selector is never reached: {why}"));
    Some(diagnostic.help(help).fix(fix))
}

/// A place as it is called from another in the same selector: `matchArgs[0]`.
fn tail(path: &FieldPath, from: &FieldPath) -> String {
    let common = path.0.iter().zip(&from.0).take_while(|(a, b)| a == b).count();
    // At least the list and the position in it.
    let keep = common.min(path.0.len().saturating_sub(2));
    FieldPath(path.0[keep..].to_vec()).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{reported, reported_all};

    const A: &str = "matchArgs: [{index: 0, operator: Equal, values: ['1']}]";
    const AB: &str =
        "matchArgs: [{index: 1, operator: GT, values: ['2']}, {index: 0, operator: Equal, values: ['1']}]";
    const B: &str = "matchPIDs: [{operator: In, values: [1]}]";

    fn hook(selectors: &[&str]) -> String {
        let list = selectors.iter().map(|s| format!("{{{s}}}")).collect::<Vec<_>>().join(", ");
        format!(
            "kprobes: [{{call: sys_dup, message: ok, args: [{{index: 0, type: int}}, {{index: 1, type: uint32}}, \
             {{index: 2, type: file}}], selectors: [{list}]}}]"
        )
    }

    fn with(selectors: &[&str]) -> Vec<String> {
        reported(&hook(selectors))
    }

    /// Filters of one selector, each as (index, operator, values).
    fn filters(list: &[(u8, &str, &str)]) -> Vec<String> {
        let list: Vec<String> = list
            .iter()
            .map(|(index, operator, values)| {
                format!("{{index: {index}, operator: {operator}, values: [{values}]}}")
            })
            .collect();
        reported_all(&hook(&[&format!("matchArgs: [{}]", list.join(", "))]))
    }

    #[test]
    fn what_is_taken_is_dead() {
        let dead = |i: usize| format!("GW309 spec.kprobes[0].selectors[{i}]");
        let taken = |i: usize| format!("GW318 spec.kprobes[0].selectors[{i}]");
        assert_eq!(with(&[A, B]), [""; 0]);
        assert_eq!(with(&[AB, A]), [""; 0]);
        assert_eq!(with(&[A, AB]), [taken(1)]);
        assert_eq!(with(&[A, B, A]), [taken(2)]);
        // What takes all of them makes the filter before it useless, too.
        assert_eq!(with(&[A, "", B]), ["GW321 spec.kprobes[0].selectors[1]".to_owned(), dead(2)]);
        assert_eq!(with(&["matchActions: [{action: NoPost}]", "matchActions: [{action: Post}]"]), [dead(1)]);
    }

    #[test]
    fn several_selectors_can_take_what_none_of_them_takes_alone() {
        let arg = |operator: &str, value: &str| {
            format!("matchArgs: [{{index: 0, operator: {operator}, values: ['{value}']}}]")
        };
        let [low, high, two] = [arg("LT", "5"), arg("GT", "1"), arg("Equal", "2")];
        assert_eq!(with(&[&low, &high, B]), ["GW318 spec.kprobes[0].selectors[2]"]);
        assert_eq!(with(&[&two, &low, &high]), [""; 0]);
        assert_eq!(with(&[&low, &two]), ["GW318 spec.kprobes[0].selectors[1]"]);
    }

    #[test]
    fn what_cannot_be_never_matches() {
        let at = |i: usize| vec![format!("GW315 spec.kprobes[0].selectors[0].matchArgs[{i}]")];
        assert_eq!(filters(&[(1, "GT", "'4294967295'")]), at(0));
        assert_eq!(filters(&[(0, "Mask", "'0'")]), at(0));
        assert_eq!(filters(&[(0, "Equal", "'1'"), (0, "GT", "'1'")]), at(1));
        assert_eq!(filters(&[(2, "Prefix", "/etc/, /usr/"), (2, "NotPrefix", "/etc, /usr")]), at(1));
        assert_eq!(filters(&[(2, "Prefix", "/etc/"), (2, "Equal", "/usr/a, /opt/a")]), at(1));
        assert_eq!(filters(&[(2, "Prefix", "/etc/"), (2, "Postfix", ".so")]), [""; 0]);
        assert_eq!(
            with(&[
                "matchCapabilities: [{operator: In, values: [CAP_BPF]}, {operator: NotIn, values: [CAP_BPF]}]"
            ])
            .last()
            .map(String::as_str),
            Some("GW315 spec.kprobes[0].selectors[0].matchCapabilities[1]")
        );
    }

    #[test]
    fn what_leaves_nothing_out_is_said() {
        assert_eq!(
            filters(&[(1, "InRange", "'0:4294967295'")]),
            ["GW316 spec.kprobes[0].selectors[0].matchArgs[0]"]
        );
        assert_eq!(
            filters(&[(0, "GT", "'5'"), (0, "GT", "'3'")]),
            ["GW317 spec.kprobes[0].selectors[0].matchArgs[1]"]
        );
        assert_eq!(
            filters(&[(2, "Prefix", "/etc/ssh/"), (2, "Prefix", "/etc/, /usr/")]),
            ["GW317 spec.kprobes[0].selectors[0].matchArgs[1]"]
        );
    }

    #[test]
    fn labels_are_looked_at_too() {
        let policy = |labels: &str| reported_all(&format!("podSelector: {{{labels}}}\n{}", hook(&[A])));
        let both = "matchLabels: {app: shop}, matchExpressions: [{key: app, operator: Exists}]";
        assert_eq!(policy(both), ["GW317 spec.podSelector.matchExpressions[0]"]);
        assert_eq!(policy("matchExpressions: [{key: app, operator: NotIn, values: [db]}]"), [""; 0]);
        let pods = |values: &str| {
            format!(
                "matchWorkloads: {{podSelector: {{matchExpressions: [{{key: app, operator: In, values: [{values}]}}]}}}}"
            )
        };
        assert_eq!(with(&[&pods("a"), &pods("a, b")]), [""; 0]);
        assert_eq!(with(&[&pods("a, b"), &pods("a")]), ["GW318 spec.kprobes[0].selectors[1]"]);
        let unnarrowed = "matchWorkloads: {containerSelector: {}}";
        assert_eq!(with(&[unnarrowed, &pods("a")]), [""; 0]);
    }

    #[test]
    fn macros_are_part_of_the_selector() {
        let policy = |macros: &str| {
            reported(&format!(
                "selectorsMacros: {{m: {{{macros}}}}}\nkprobes: [{{call: sys_dup, args: [{{index: 0, type: int}}], \
                 selectors: [{{macros: [m], matchArgs: [{{index: 0, operator: Equal, values: ['1']}}]}}, {{{A}}}]}}]"
            ))
        };
        assert_eq!(policy("matchPIDs: [{operator: In, values: [1]}]"), [""; 0]);
        assert_eq!(policy("matchActions: [{action: NoPost}]"), ["GW318 spec.kprobes[0].selectors[1]"]);
    }
}
