//! Totals by policy and hook: what was lost.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// One total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSample {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The label of the hook's point.
    pub hook: Arc<str>,
    /// The total.
    pub value: u64,
}

/// Folds numbers that may begin again into totals that never go down, one for each policy and label of its hooks. A number
/// is of a `K`: of a hook, or of all hooks of a policy at one point.
#[derive(Debug)]
pub struct HookTotals<K> {
    last: HashMap<K, u64>,
    totals: BTreeMap<(Arc<str>, Arc<str>), u64>,
}

impl<K> Default for HookTotals<K> {
    fn default() -> Self {
        Self { last: HashMap::new(), totals: BTreeMap::new() }
    }
}

/// [`HookTotals`] beyond the agent's end.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedTotals<K> {
    /// The number of each `K` at the last fold.
    pub(crate) last: Vec<(K, u64)>,
    /// Policy, hook, total.
    pub(crate) totals: Vec<(String, String, u64)>,
}

impl<K> Default for SavedTotals<K> {
    fn default() -> Self {
        Self { last: Vec::new(), totals: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash> HookTotals<K> {
    /// What the next agent has to know.
    pub fn save(&self) -> SavedTotals<K> {
        SavedTotals {
            last: self.last.iter().map(|(of, value)| (of.clone(), *value)).collect(),
            totals: self
                .totals
                .iter()
                .map(|((policy, hook), value)| (policy.to_string(), hook.to_string(), *value))
                .collect(),
        }
    }

    /// Continues where an earlier agent stopped.
    pub fn restore(&mut self, saved: SavedTotals<K>) {
        self.last = saved.last.into_iter().collect();
        self.totals = saved
            .totals
            .into_iter()
            .map(|(policy, hook, value)| ((policy.into(), hook.into()), value))
            .collect();
    }

    /// Adds the numbers. `labels` has the policy and the label of all that there may be numbers of: each has a total,
    /// from 0 on, so an alert on its growth sees the first step. Totals and numbers of all else go.
    pub fn fold(
        &mut self,
        numbers: impl IntoIterator<Item = (K, u64)>,
        labels: impl IntoIterator<Item = (K, (Arc<str>, Arc<str>))>,
    ) {
        let labels: HashMap<K, (Arc<str>, Arc<str>)> = labels.into_iter().collect();
        self.last.retain(|of, _| labels.contains_key(of));
        let before = std::mem::take(&mut self.totals);
        for name in labels.values() {
            let value = before.get(name).copied().unwrap_or(0);
            self.totals.entry(name.clone()).or_insert(value);
        }
        for (of, value) in numbers {
            if let Some(total) = labels.get(&of).and_then(|name| self.totals.get_mut(name)) {
                let last = self.last.entry(of).or_default();
                *total += value.checked_sub(*last).unwrap_or(value);
                *last = value;
            }
        }
    }

    /// The totals, sorted.
    pub fn samples(&self) -> Vec<HookSample> {
        self.totals
            .iter()
            .map(|((policy, hook), value)| HookSample {
                policy: policy.clone(),
                hook: hook.clone(),
                value: *value,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Hooks,
            tests::{everything, hook},
        },
        *,
    };

    fn totals(of: &HookTotals<u32>) -> Vec<String> {
        of.samples().iter().map(|s| format!("{} {} {}", s.policy, s.hook, s.value)).collect()
    }

    #[test]
    fn grow_and_go() {
        let mut hooks = Hooks::from([
            (1, hook("a", "f", &everything())),
            (2, hook("a", "f", &everything())),
            (3, hook("b", "f", &everything())),
        ]);
        let mut lost = HookTotals::default();
        let mut fold = |numbers: &[(u32, u64)], hooks: &Hooks| {
            let labels = hooks.iter().map(|(number, hook)| (*number, hook.labels()));
            lost.fold(numbers.iter().copied(), labels);
            totals(&lost)
        };
        assert_eq!(fold(&[], &hooks), ["a kprobe:f 0", "b kprobe:f 0"]);
        fold(&[(1, 3), (2, 4), (9, 100)], &hooks);
        assert_eq!(fold(&[(1, 3), (2, 5), (3, 1)], &hooks), ["a kprobe:f 8", "b kprobe:f 1"]);
        // A new generation of `a` under a new number.
        hooks.insert(4, hook("a", "f", &everything()));
        hooks.remove(&1);
        hooks.remove(&2);
        hooks.remove(&3);
        assert_eq!(fold(&[(4, 2)], &hooks), ["a kprobe:f 10"]);
        assert_eq!(fold(&[(4, 1)], &hooks), ["a kprobe:f 11"], "the number began again");
    }
}
