//! The parts of a policy that rules check, each with its path.

use crate::{
    diagnostic::{FieldPath, Step},
    form_errors::FormErrors,
    macro_fields::macros_conflict,
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

/// The fields of a hook that its filters read.
const READ: [&str; 4] = ["args", "data", "return", "returnArg"];
/// The fields of an argument that no filter depends on.
const UNREAD: [&str; 3] = ["label", "maxData", "returnCopy"];

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

    /// Whether it is uncertain what a selector of a hook matches: its filters, its macros, and what the filters read.
    pub(super) fn filters_are_guess(&self, hook: &LocatedHook<'_>, index: usize) -> bool {
        let is_filter = |inside: &[Step]| !matches!(inside, [Step::Field(name), ..] if Selector::ACTION_FIELDS.contains(&&**name));
        let is_read = |inside: &[Step]| {
            let mut fields = inside.iter().filter_map(|step| match step {
                Step::Field(name) => Some(&**name),
                Step::Index(_) => None,
            });
            !fields.any(|name| UNREAD.contains(&name))
        };
        let macros = spec().field("selectorsMacros");
        let of_macro = |name: &String| self.guesses.touch_where(&macros.field(name), is_filter);
        let Some((selector, path)) = hook.selectors.get(index) else { return false };
        // A macro that could not be expanded.
        !selector.macros.is_empty()
            || self.guesses.touch_where(path, is_filter)
            || READ.iter().any(|field| self.guesses.touch_where(&hook.path.field(field), is_read))
            || hook.written.selectors.get(index).is_some_and(|written| {
                written.macros.iter().any(of_macro) || macros_conflict(&self.policy.spec, written)
            })
    }

    /// Whether it is uncertain what a selector of a hook does.
    pub(super) fn actions_are_guess(&self, hook: &LocatedHook<'_>, index: usize) -> bool {
        let path = hook.selectors.get(index).map(|(_, path)| path);
        path.is_some_and(|path| Selector::ACTION_FIELDS.iter().any(|field| self.is_guess(&path.field(field))))
    }

    /// Every selector of events, macros too.
    pub(super) fn selectors(&self) -> impl Iterator<Item = (&'a Selector, &FieldPath)> {
        let macros = self.macros.iter().map(|(selector, path)| (*selector, path));
        self.hooks.iter().flat_map(LocatedHook::selectors).chain(macros)
    }
}
