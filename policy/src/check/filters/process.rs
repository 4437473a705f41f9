//! Filters on the calling process, and on changes of its namespaces and capabilities.

use crate::{
    codes::{BAD_TEXT, OPERATOR_TYPE, UNKNOWN_CONSTANT},
    diagnostic::{Diagnostic, FieldPath},
    filter_rules::{bad_text, no_values, unreadable},
    model::{BinaryFilter, CapabilityFilter, NamespaceKind, Operator, Selector},
    nearest::nearest,
    synonyms::{WordKind, synonym},
    values::{self, constants},
};

/// Longest path of a program that Tetragon takes.
const PATH_MAX: usize = 255;

/// Filters on the calling process, of hooks that the compiler doesn't judge.
pub(super) fn process(selector: &Selector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    programs(&selector.match_binaries, path, "matchBinaries", found);
    for (i, _) in selector.match_pids.iter().enumerate().filter(|(_, filter)| filter.values.is_empty()) {
        found.push(no_values(&path.field("matchPIDs").index(i)));
    }
    for (i, filter) in selector.match_namespaces.iter().enumerate() {
        let path = path.field("matchNamespaces").index(i);
        if filter.values.is_empty() {
            found.push(no_values(&path));
        }
        for (k, value) in filter.values.iter().enumerate() {
            if let Err(e) = values::namespace(value) {
                found.push(unreadable(&UNKNOWN_CONSTANT, &e, path.field("values").index(k)));
            }
        }
    }
    capabilities(&selector.match_capabilities, path, "matchCapabilities", found);
}

/// `matchParentBinaries`, `matchNamespaceChanges`, `matchCapabilityChanges`: of every hook.
pub(super) fn changes(selector: &Selector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    programs(&selector.match_parent_binaries, path, "matchParentBinaries", found);
    capabilities(&selector.match_capability_changes, path, "matchCapabilityChanges", found);
    for (i, (_, kinds)) in selector.match_namespace_changes.iter().enumerate() {
        let path = path.field("matchNamespaceChanges").index(i);
        if kinds.is_empty() {
            found.push(no_values(&path));
        }
        for (k, kind) in kinds.iter().enumerate().filter(|(_, kind)| NamespaceKind::from_name(kind).is_none())
        {
            let diagnostic = Diagnostic::new(
                &UNKNOWN_CONSTANT,
                path.field("values").index(k),
                format!("unknown namespace kind {kind:?}; every node rejects the policy"),
            );
            let meaning =
                synonym(WordKind::Namespace, kind, NamespaceKind::NAMES).map(|meaning| meaning.help);
            let near = || nearest(kind, NamespaceKind::NAMES.iter().copied());
            found.push(match meaning.or_else(|| near().map(|near| format!("did you mean `{near}`?"))) {
                Some(help) => diagnostic.help(help),
                None => diagnostic.help(format!("expected one of `{}`", NamespaceKind::NAMES.join("`, `"))),
            });
        }
    }
}

fn capabilities(filters: &[CapabilityFilter], path: &FieldPath, name: &str, found: &mut Vec<Diagnostic>) {
    for (i, filter) in filters.iter().enumerate() {
        let path = path.field(name).index(i);
        if filter.values.is_empty() {
            found.push(no_values(&path));
        }
        for (k, value) in filter.values.iter().enumerate() {
            if let Err(e) = constants::capability(value) {
                found.push(unreadable(&UNKNOWN_CONSTANT, &e, path.field("values").index(k)));
            }
        }
    }
}

fn programs(filters: &[BinaryFilter], path: &FieldPath, name: &str, found: &mut Vec<Diagnostic>) {
    for (i, filter) in filters.iter().enumerate() {
        let path = path.field(name).index(i);
        if filter.values.is_empty() {
            found.push(no_values(&path));
        }
        let whole = matches!(filter.operator, Operator::In | Operator::NotIn);
        if filter.follow_children && !whole {
            found.push(Diagnostic::new(
                &OPERATOR_TYPE,
                path.field("followChildren"),
                format!("`followChildren` works only with In and NotIn, not with {}", filter.operator),
            ));
        }
        let from_start = !matches!(filter.operator, Operator::Postfix | Operator::NotPostfix);
        for (k, value) in filter.values.iter().enumerate() {
            let reason = if from_start && !value.starts_with('/') {
                Some(format!(
                    "`{value}` is not an absolute path; programs are matched by absolute path, so it never matches"
                ))
            } else if whole && value.len() > PATH_MAX {
                Some(format!(
                    "the value has {} bytes; a program path can have at most {PATH_MAX} here",
                    value.len()
                ))
            } else {
                bad_text(filter.operator, value)
            };
            if let Some(reason) = reason {
                found.push(Diagnostic::new(&BAD_TEXT, path.field("values").index(k), reason));
            }
        }
    }
}
