//! Totals by policy and kernel function: what a hook lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Hooks;

/// One total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSample {
    /// The policy's name.
    pub policy: Arc<str>,
    /// `kprobe:SYMBOL`.
    pub hook: Arc<str>,
    /// The total.
    pub value: u64,
}

/// Folds a number that the kernel keeps for each hook into totals that never go down, one for each policy and
/// function. Every hook of the table has one, from 0 on: so an alert on its growth sees the first step.
#[derive(Debug, Default)]
pub struct HookTotals {
    last: HashMap<u32, u64>,
    totals: BTreeMap<(Arc<str>, Arc<str>), u64>,
}

/// [`HookTotals`] beyond the agent's end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SavedTotals {
    last: Vec<(u32, u64)>,
    /// Policy, hook, total.
    totals: Vec<(String, String, u64)>,
}

impl HookTotals {
    /// What the next agent has to know.
    pub fn save(&self) -> SavedTotals {
        SavedTotals {
            last: self.last.iter().map(|(hook, value)| (*hook, *value)).collect(),
            totals: self
                .totals
                .iter()
                .map(|((policy, hook), value)| (policy.to_string(), hook.to_string(), *value))
                .collect(),
        }
    }

    /// Goes on where an earlier agent was.
    pub fn restore(&mut self, saved: SavedTotals) {
        self.last = saved.last.into_iter().collect();
        self.totals = saved
            .totals
            .into_iter()
            .map(|(policy, hook, value)| ((policy.into(), hook.into()), value))
            .collect();
    }

    /// Takes up the kernel's numbers, each hook once. Totals of what left the table go.
    pub fn fold(&mut self, numbers: impl IntoIterator<Item = (u32, u64)>, hooks: &Hooks) {
        self.last.retain(|hook, _| hooks.contains_key(hook));
        let names: HashMap<u32, (Arc<str>, Arc<str>)> =
            hooks.iter().map(|(number, hook)| (*number, (hook.policy.clone(), hook.label()))).collect();
        let wanted: HashSet<_> = names.values().collect();
        self.totals.retain(|name, _| wanted.contains(name));
        for name in wanted {
            self.totals.entry(name.clone()).or_default();
        }
        for (number, value) in numbers {
            if let Some(total) = names.get(&number).and_then(|name| self.totals.get_mut(name)) {
                let last = self.last.entry(number).or_default();
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
    use super::super::tests::{everything, hook};
    use super::*;

    fn totals(of: &HookTotals) -> Vec<String> {
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
        lost.fold([], &hooks);
        assert_eq!(totals(&lost), ["a kprobe:f 0", "b kprobe:f 0"]);
        lost.fold([(1, 3), (2, 4), (9, 100)], &hooks);
        lost.fold([(1, 3), (2, 5), (3, 1)], &hooks);
        assert_eq!(totals(&lost), ["a kprobe:f 8", "b kprobe:f 1"]);
        // A new generation of `a` under a new number.
        hooks.insert(4, hook("a", "f", &everything()));
        hooks.remove(&1);
        hooks.remove(&2);
        hooks.remove(&3);
        lost.fold([(4, 2)], &hooks);
        assert_eq!(totals(&lost), ["a kprobe:f 10"]);
        lost.fold([(4, 1)], &hooks);
        assert_eq!(totals(&lost), ["a kprobe:f 11"], "the number began again");
    }
}
