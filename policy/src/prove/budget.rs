//! How long a search may take.

use std::cell::Cell;

/// Steps of search for one policy. A few hundred values against a few hundred take a hundredth of it.
const STEPS: u64 = 4_000_000;
/// Alternatives that one question may be split into.
pub(super) const ALTERNATIVES: usize = 4096;

/// The steps that are left.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<u64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: Cell::new(STEPS) }
    }
}

impl Budget {
    /// Takes steps off the budget; false where it is used up.
    pub(super) fn spend(&self, steps: usize) -> bool {
        let left = self.left.get().saturating_sub(steps as u64);
        self.left.set(left);
        left > 0
    }
}
