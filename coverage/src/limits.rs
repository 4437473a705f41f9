//! The work that a query may cost, and the names that its answer may contain.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fmt,
};

use gatewatch_policy::model::LabelSelector;

use crate::terms::is_synthetic;

/// The namespaces that hints may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hints {
    /// All. The reader may read all namespaces.
    #[default]
    AllNamespaces,
    /// The one of the object. Its author may have no access to others.
    OwnNamespace,
}

/// A check that is left out when the work of a query is spent. None of them decides whether coverage is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// Labels of the object that are likely typos.
    LabelTypos,
    /// Labels that are on the object and not on its pods.
    MisplacedLabels,
    /// Workloads of the same application that differ.
    RelatedWorkloads,
    /// Pods that the policy misses because of a likely typo.
    MissedPods,
    /// Values that the policy excludes and no pod has.
    ExcludedValues,
    /// Hooks that another policy has too.
    DuplicateHooks,
    /// The reason why the policy selects nothing.
    EmptySelection,
}

impl Hint {
    /// The name in messages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LabelTypos => "label typos",
            Self::MisplacedLabels => "misplaced labels",
            Self::RelatedWorkloads => "related workloads",
            Self::MissedPods => "missed pods",
            Self::ExcludedValues => "excluded values",
            Self::DuplicateHooks => "duplicate hooks",
            Self::EmptySelection => "empty selection",
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The limits of one query. Work is counted in comparisons of words of usual length (about a microsecond at most), so a
/// query has the same answer on every machine.
#[derive(Debug)]
pub struct Limits {
    left: Cell<u64>,
    hints: Hints,
    skipped: RefCell<BTreeSet<Hint>>,
}

impl Limits {
    /// At most this number of comparisons, and these names.
    pub fn new(comparisons: u64, hints: Hints) -> Self {
        Self { left: Cell::new(comparisons), hints, skipped: RefCell::default() }
    }

    /// No limits, for callers with access to all namespaces.
    pub fn none() -> Self {
        Self::new(u64::MAX, Hints::AllNamespaces)
    }

    /// The checks that were left out because the work was spent.
    pub fn skipped(&self) -> Vec<Hint> {
        self.skipped.borrow().iter().copied().collect()
    }

    /// Takes the cost of a part of a check. If less is left, nothing is left for other parts either.
    pub(crate) fn allows(&self, hint: Hint, comparisons: usize) -> bool {
        let left = self.left.get();
        let rest = left.checked_sub(comparisons as u64);
        // Without a limit nothing is counted.
        self.left.set(if left == u64::MAX { left } else { rest.unwrap_or(0) });
        if rest.is_none() {
            self.skipped.borrow_mut().insert(hint);
        }
        rest.is_some()
    }

    /// Whether hints may name this namespace, for an object of `own`. A cluster-wide object has none.
    pub(crate) fn may_name_others(&self, own: Option<&str>) -> bool {
        self.hints == Hints::AllNamespaces || own.is_none()
    }

    /// Whether hints may contain this selector: it does not name another namespace.
    pub(crate) fn may_show(&self, selector: &LabelSelector) -> bool {
        self.hints == Hints::AllNamespaces
            || !(selector.match_labels.iter().any(|(key, _)| is_synthetic(key))
                || selector.match_expressions.iter().any(|e| is_synthetic(&e.key)))
    }
}

/// The comparisons of a word with this number of others. A longer word takes longer, in proportion to the square of its
/// length.
pub(crate) fn comparisons(word: &str, others: usize) -> usize {
    const USUAL: usize = 12;
    let relative = word.len().div_ceil(USUAL).max(1);
    others.saturating_mul(relative * relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spent_work_is_reported() {
        let limits = Limits::new(10, Hints::OwnNamespace);
        assert!(limits.allows(Hint::LabelTypos, 4) && limits.allows(Hint::MissedPods, 6));
        assert!(!limits.allows(Hint::MissedPods, 1) && !limits.allows(Hint::LabelTypos, 1));
        assert_eq!(limits.skipped(), [Hint::LabelTypos, Hint::MissedPods]);
        let none = Limits::none();
        assert!((0..3).all(|_| none.allows(Hint::LabelTypos, usize::MAX)) && none.skipped().is_empty());
    }

    #[test]
    fn a_long_word_counts_as_many() {
        assert_eq!(comparisons("web", 100), 100);
        assert_eq!(comparisons(&"x".repeat(63), 100), 3600);
    }
}
