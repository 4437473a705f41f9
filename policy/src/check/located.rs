//! The parts of a policy that rules check, each with its path.

use crate::{
    diagnostic::FieldPath,
    form_errors::FormErrors,
    model::{Hook, Policy, Section, Selector},
};

/// One hook and its path.
pub(super) struct LocatedHook<'a> {
    pub(super) section: Section,
    pub(super) hook: &'a Hook,
    /// The hook as it is written, with the names of macros.
    pub(super) written: &'a Hook,
    pub(super) path: FieldPath,
    /// Its selectors and their paths.
    pub(super) selectors: Vec<(&'a Selector, FieldPath)>,
}

impl<'a> LocatedHook<'a> {
    fn of(section: Section, hook: &'a Hook, written: &'a Hook, path: FieldPath) -> Self {
        let selectors = if hook.selectors.is_empty() {
            Vec::new()
        } else {
            let list = path.field("selectors");
            hook.selectors.iter().enumerate().map(|(i, selector)| (selector, list.index(i))).collect()
        };
        Self { section, hook, written, path, selectors }
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
    /// Every hook.
    pub(super) hooks: Vec<LocatedHook<'a>>,
    /// `selectorsMacros`.
    pub(super) macros: Vec<(&'a Selector, FieldPath)>,
    /// The places that could not be read as they are written.
    guesses: &'a FormErrors,
}

impl<'a> LocatedPolicy<'a> {
    pub(super) fn of(written: &'a Policy, policy: &'a Policy, guesses: &'a FormErrors) -> Self {
        let mut hooks = Vec::new();
        for section in Section::ALL.iter().copied().filter(|s| !s.hooks(&policy.spec).is_empty()) {
            let list = spec().field(section.name());
            let both = section.hooks(&policy.spec).iter().zip(section.hooks(&written.spec)).enumerate();
            hooks.extend(
                both.map(|(i, (hook, written))| LocatedHook::of(section, hook, written, list.index(i))),
            );
        }
        let macros = policy.spec.selectors_macros.iter();
        let macros = macros.map(|(name, selector)| (selector, spec().field("selectorsMacros").field(name)));
        Self { policy, hooks, macros: macros.collect(), guesses }
    }

    /// Whether a part of the policy could not be read as it is written, so that nothing can be proved with it.
    pub(super) fn is_guess(&self, path: &FieldPath) -> bool {
        self.guesses.touch(path)
    }

    /// The same for a selector of a hook: itself, its macros, and what its filters read.
    pub(super) fn selector_is_guess(&self, hook: &LocatedHook<'_>, index: usize) -> bool {
        let read = ["args", "data", "return", "returnArg"];
        let macros = spec().field("selectorsMacros");
        hook.selectors.get(index).is_some_and(|(_, path)| self.is_guess(path))
            || read.iter().any(|field| self.is_guess(&hook.path.field(field)))
            || hook
                .written
                .selectors
                .get(index)
                .is_some_and(|selector| selector.macros.iter().any(|name| self.is_guess(&macros.field(name))))
    }

    /// Every selector of events, macros too.
    pub(super) fn selectors(&self) -> impl Iterator<Item = (&'a Selector, &FieldPath)> {
        let macros = self.macros.iter().map(|(selector, path)| (*selector, path));
        self.hooks.iter().flat_map(LocatedHook::selectors).chain(macros)
    }
}
