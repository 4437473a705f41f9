//! Rules that hold on every kernel: one function per rule, one file per subject.
//!
//! [`compile`](crate::compile) checks what it translates: the operators, values and arguments of `kprobes`. These
//! rules check the rest, and the filters that `compile` does not support yet.

mod actions;
mod args;
mod budget;
mod bytes;
mod egress;
mod enforcers;
mod entries;
mod exec;
mod expressions;
mod filters;
mod hooks;
mod links;
mod lists;
mod located;
mod macros;
mod options;
mod path_values;
mod paths;
mod reach;
mod scope;
mod sections;
mod sockets;
mod split;
mod texts;

use self::located::LocatedPolicy;
use crate::{diagnostic::Diagnostic, expand::Expanded, form_errors::FormErrors, model::Policy};

/// Every rule.
const RULES: &[fn(&LocatedPolicy<'_>, &mut Vec<Diagnostic>)] = &[
    texts::check,
    scope::check,
    sections::check,
    options::check,
    lists::check,
    macros::check,
    hooks::check,
    exec::check,
    split::check,
    args::check,
    filters::check,
    entries::check,
    paths::check,
    path_values::check,
    links::check,
    expressions::check,
    reach::check,
    bytes::check,
    budget::check,
    enforcers::check,
    actions::check,
    sockets::check,
    egress::check,
];

/// Checks a policy as it is written, and with its macros expanded; diagnostics come rule by rule. `guesses` are the places
/// that could not be read as they are written.
pub(crate) fn check(written: &Policy, expanded: &Expanded<'_>, guesses: &FormErrors) -> Vec<Diagnostic> {
    let places = LocatedPolicy::of(written, &expanded.policy, guesses);
    let mut found: Vec<Diagnostic> = expanded.problem.iter().cloned().collect();
    for rule in RULES {
        rule(&places, &mut found);
    }
    expanded.moved.restore(found)
}

#[cfg(test)]
mod testing {
    use super::Diagnostic;
    use crate::{expand::Expanded, form_errors::FormErrors, read, source};

    /// The findings of the rules on a policy with this under `spec`, written from the first column.
    pub(super) fn check_spec(spec: &str) -> Vec<Diagnostic> {
        let spec = spec.trim().replace('\n', "\n  ");
        check_text(&format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: p\nspec:\n  {spec}\n"
        ))
    }

    pub(super) fn check_text(text: &str) -> Vec<Diagnostic> {
        let documents = source::parse(text);
        assert_eq!(documents.len(), 1);
        assert!(documents[0].findings.is_empty(), "{:?}", documents[0].findings);
        let (policy, found) = read::read(&documents[0]);
        assert!(found.is_empty(), "{found:?}");
        let policy = policy.unwrap();
        super::check(&policy, &Expanded::of(&policy), &FormErrors::default())
    }

    /// The same as `CODE path`, notes left out.
    pub(super) fn reported(spec: &str) -> Vec<String> {
        let severe = |d: &Diagnostic| d.severity > crate::diagnostic::Severity::Note;
        check_spec(spec).iter().filter(|d| severe(d)).map(|d| format!("{} {}", d.code.id, d.path)).collect()
    }

    /// Notes too.
    pub(super) fn reported_all(spec: &str) -> Vec<String> {
        check_spec(spec).iter().map(|d| format!("{} {}", d.code.id, d.path)).collect()
    }
}
