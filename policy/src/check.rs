//! Rules that hold on every kernel: one function per rule, one file per subject.
//!
//! [`compile`](crate::compile) checks what it translates: the operators, values and arguments of `kprobes`. These
//! rules check the rest, and the filters that `compile` does not support yet.

mod actions;
mod args;
mod budget;
mod bytes;
pub(crate) mod classes;
mod egress;
mod enforcers;
mod entries;
mod exec;
mod expressions;
pub(crate) mod filters;
pub(crate) mod hooks;
mod links;
mod lists;
mod macros;
mod options;
pub(crate) mod path_values;
mod paths;
mod reach;
mod scope;
mod sections;
mod sockets;
mod split;
mod texts;

use crate::{
    diagnostic::{Diagnostic, FieldPath},
    model::{Hook, Policy, Section, Selector},
};

/// Every rule.
const RULES: &[fn(&Places<'_>, &mut Vec<Diagnostic>)] = &[
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

/// Checks a policy; diagnostics come rule by rule.
pub(crate) fn check(policy: &Policy) -> Vec<Diagnostic> {
    let places = Places::of(policy);
    let mut found = Vec::new();
    for rule in RULES {
        rule(&places, &mut found);
    }
    found
}

/// One hook and where it stands.
struct Place<'a> {
    section: Section,
    hook: &'a Hook,
    path: FieldPath,
    /// Its selectors and where they stand.
    selectors: Vec<(&'a Selector, FieldPath)>,
}

impl<'a> Place<'a> {
    fn of(section: Section, hook: &'a Hook, path: FieldPath) -> Self {
        let selectors = if hook.selectors.is_empty() {
            Vec::new()
        } else {
            let list = path.field("selectors");
            hook.selectors.iter().enumerate().map(|(i, selector)| (selector, list.index(i))).collect()
        };
        Self { section, hook, path, selectors }
    }

    /// Its selectors and where they stand.
    fn selectors(&self) -> impl Iterator<Item = (&'a Selector, &FieldPath)> {
        self.selectors.iter().map(|(selector, path)| (*selector, path))
    }
}

/// `spec`.
fn spec() -> FieldPath {
    FieldPath::root().field("spec")
}

/// A policy and the places in it that nearly every rule goes through, found once for all rules.
struct Places<'a> {
    policy: &'a Policy,
    /// Every hook.
    hooks: Vec<Place<'a>>,
    /// `selectorsMacros`.
    macros: Vec<(&'a Selector, FieldPath)>,
}

impl<'a> Places<'a> {
    fn of(policy: &'a Policy) -> Self {
        let mut hooks = Vec::new();
        for section in Section::ALL.iter().copied().filter(|s| !s.hooks(&policy.spec).is_empty()) {
            let list = spec().field(section.name());
            let places = section.hooks(&policy.spec).iter().enumerate();
            hooks.extend(places.map(|(i, hook)| Place::of(section, hook, list.index(i))));
        }
        let macros = policy.spec.selectors_macros.iter();
        let macros = macros.map(|(name, selector)| (selector, spec().field("selectorsMacros").field(name)));
        Self { policy, hooks, macros: macros.collect() }
    }

    /// Every selector of events, macros too.
    fn selectors(&self) -> impl Iterator<Item = (&'a Selector, &FieldPath)> {
        let macros = self.macros.iter().map(|(selector, path)| (*selector, path));
        self.hooks.iter().flat_map(Place::selectors).chain(macros)
    }
}

#[cfg(test)]
mod testing {
    use super::Diagnostic;
    use crate::{read, source};

    /// What the rules say of a policy with this under `spec`, written from the first column.
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
        super::check(&policy.unwrap())
    }

    /// The same as `CODE path`, notes left out.
    pub(super) fn said(spec: &str) -> Vec<String> {
        let severe = |d: &Diagnostic| d.severity > crate::diagnostic::Severity::Note;
        check_spec(spec).iter().filter(|d| severe(d)).map(|d| format!("{} {}", d.code.id, d.path)).collect()
    }

    /// Notes too.
    pub(super) fn said_all(spec: &str) -> Vec<String> {
        check_spec(spec).iter().map(|d| format!("{} {}", d.code.id, d.path)).collect()
    }
}
