//! The parts of a policy that rules check, each with its path.

use crate::{
    diagnostic::FieldPath,
    model::{Hook, Policy, Section, Selector},
};

/// One hook and its path.
pub(super) struct LocatedHook<'a> {
    pub(super) section: Section,
    pub(super) hook: &'a Hook,
    pub(super) path: FieldPath,
    /// Its selectors and their paths.
    pub(super) selectors: Vec<(&'a Selector, FieldPath)>,
}

impl<'a> LocatedHook<'a> {
    pub(super) fn of(section: Section, hook: &'a Hook, path: FieldPath) -> Self {
        let selectors = if hook.selectors.is_empty() {
            Vec::new()
        } else {
            let list = path.field("selectors");
            hook.selectors.iter().enumerate().map(|(i, selector)| (selector, list.index(i))).collect()
        };
        Self { section, hook, path, selectors }
    }

    /// Its selectors and their paths.
    pub(super) fn selectors(&self) -> impl Iterator<Item = (&'a Selector, &FieldPath)> {
        self.selectors.iter().map(|(selector, path)| (*selector, path))
    }
}

/// `spec`.
pub(super) fn spec() -> FieldPath {
    FieldPath::root().field("spec")
}

/// A policy with the paths of its hooks and selectors, which nearly every rule needs. They are built once for all rules.
pub(super) struct LocatedPolicy<'a> {
    /// With its macros expanded.
    pub(super) policy: &'a Policy,
    /// As it is written.
    pub(super) written: &'a Policy,
    /// Every hook.
    pub(super) hooks: Vec<LocatedHook<'a>>,
    /// `selectorsMacros`.
    pub(super) macros: Vec<(&'a Selector, FieldPath)>,
}

impl<'a> LocatedPolicy<'a> {
    pub(super) fn of(written: &'a Policy, policy: &'a Policy) -> Self {
        let mut hooks = Vec::new();
        for section in Section::ALL.iter().copied().filter(|s| !s.hooks(&policy.spec).is_empty()) {
            let list = spec().field(section.name());
            let places = section.hooks(&policy.spec).iter().enumerate();
            hooks.extend(places.map(|(i, hook)| LocatedHook::of(section, hook, list.index(i))));
        }
        let macros = policy.spec.selectors_macros.iter();
        let macros = macros.map(|(name, selector)| (selector, spec().field("selectorsMacros").field(name)));
        Self { policy, written, hooks, macros: macros.collect() }
    }

    /// Every selector of events, macros too.
    pub(super) fn selectors(&self) -> impl Iterator<Item = (&'a Selector, &FieldPath)> {
        let macros = self.macros.iter().map(|(selector, path)| (*selector, path));
        self.hooks.iter().flat_map(LocatedHook::selectors).chain(macros)
    }
}
