//! Outcomes of actions, by selector.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use gatewatch_abi::{
    consts::{
        OUTCOME_AGENT, OUTCOME_DONE, OUTCOME_INIT, OUTCOME_MONITOR, OUTCOME_PENDING, OUTCOME_SERVICE,
        OUTCOME_SETUP, OUTCOMES,
    },
    outcome_of_code,
};

use super::{Hook, Hooks};

/// How often the actions of a selector came to one outcome.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutcomeSample {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The policy's namespace; empty for a cluster-wide one.
    pub namespace: Arc<str>,
    /// The label of the hook's point. Of functions of a list that share a program it is the first one's.
    pub hook: Arc<str>,
    /// The number of the hook in its section.
    pub hook_index: u32,
    /// The number of the selector in its hook.
    pub selector: u32,
    /// The action and its outcome.
    pub at: Outcome,
    /// How often.
    pub value: u64,
}

/// An action and its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcome(u32);

impl Outcome {
    /// The value of Tetragon's label `action`: `signal`, `override` and those with `monitor_`. The ones with `pending_` and
    /// `spared_` are our own.
    pub const fn action(self) -> &'static str {
        let is_signal = self.0 < OUTCOMES;
        match (self.0 % OUTCOMES, is_signal) {
            (OUTCOME_DONE, true) => "signal",
            (OUTCOME_DONE, false) => "override",
            (OUTCOME_MONITOR, true) => "monitor_signal",
            (OUTCOME_MONITOR, false) => "monitor_override",
            (OUTCOME_PENDING, true) => "pending_signal",
            (OUTCOME_PENDING, false) => "pending_override",
            (_, true) => "spared_signal",
            (_, false) => "spared_override",
        }
    }

    /// Why a process was spared, if it was.
    pub const fn spared(self) -> Option<&'static str> {
        Some(match self.0 % OUTCOMES {
            OUTCOME_DONE | OUTCOME_MONITOR => return None,
            OUTCOME_PENDING => "pending",
            OUTCOME_AGENT => "agent",
            OUTCOME_SERVICE => "node-service",
            OUTCOME_SETUP => "container-setup",
            OUTCOME_INIT => "init",
            _ => "unknown-process",
        })
    }
}

/// What a total is about: everything of a sample but its value.
type Of = (Arc<str>, Arc<str>, Arc<str>, u32, u32, Outcome);

/// Folds the kernel's numbers into totals that never go down while their policy has the hook.
#[derive(Debug, Default)]
pub struct Outcomes {
    last: HashMap<(u32, u64), u64>,
    totals: BTreeMap<Of, u64>,
}

impl Outcomes {
    /// Adds the numbers, by the hook's number and a code of [`outcome_code`](gatewatch_abi::outcome_code). `indexes` has the
    /// numbers of hooks in their sections. Totals of hooks that are no more go.
    pub fn fold(
        &mut self,
        numbers: impl IntoIterator<Item = (u32, u64, u64)>,
        hooks: &Hooks,
        indexes: &HashMap<u32, u32>,
    ) {
        self.last.retain(|(hook, _), _| hooks.contains_key(hook));
        let names = |hook: &Hook| {
            let (policy, label) = hook.labels();
            (policy, hook.namespace.clone().unwrap_or_default(), label)
        };
        let there: std::collections::HashSet<_> = hooks.values().map(names).collect();
        self.totals.retain(|(policy, namespace, hook, ..), _| {
            there.contains(&(policy.clone(), namespace.clone(), hook.clone()))
        });
        for (number, code, value) in numbers {
            let Some(hook) = hooks.get(&number) else { continue };
            let last = self.last.entry((number, code)).or_default();
            // A number that is lower than before was deleted and begins again.
            let added = value.checked_sub(*last).unwrap_or(value);
            *last = value;
            let (policy, namespace, label) = names(hook);
            let (selector, at) = outcome_of_code(code);
            let index = indexes.get(&number).copied().unwrap_or_default();
            // From 0 on, so that an alert on its growth sees the first step.
            *self.totals.entry((policy, namespace, label, index, selector, Outcome(at))).or_default() +=
                added;
        }
    }

    /// The totals, sorted.
    pub fn samples(&self) -> Vec<OutcomeSample> {
        let sample =
            |((policy, namespace, hook, hook_index, selector, at), value): (&Of, &u64)| OutcomeSample {
                policy: policy.clone(),
                namespace: namespace.clone(),
                hook: hook.clone(),
                hook_index: *hook_index,
                selector: *selector,
                at: *at,
                value: *value,
            };
        self.totals.iter().map(sample).collect()
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_abi::{consts::OUTCOME_UNKNOWN, outcome_code};

    use super::{
        super::tests::{everything, hook},
        *,
    };

    #[test]
    fn totals_grow_and_go() {
        let mut hooks = Hooks::from([(1, hook("a", "f", &everything())), (2, hook("b", "f", &everything()))]);
        let indexes = HashMap::from([(1, 3)]);
        let mut outcomes = Outcomes::default();
        let monitored = outcome_code(1, OUTCOMES + OUTCOME_MONITOR);
        outcomes.fold(
            [(1, outcome_code(0, 0), 5), (1, monitored, 0), (2, 0, 1), (9, 0, 7)],
            &hooks,
            &indexes,
        );
        let read = |outcomes: &Outcomes| {
            let line = |s: OutcomeSample| {
                format!("{} {} {} {} {}", s.policy, s.hook_index, s.selector, s.at.action(), s.value)
            };
            outcomes.samples().into_iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(read(&outcomes), ["a 3 0 signal 5", "a 3 1 monitor_override 0", "b 0 0 signal 1"]);
        // The hook gets another number.
        hooks.insert(4, hook("a", "f", &everything()));
        hooks.remove(&1);
        hooks.remove(&2);
        outcomes.fold([(4, outcome_code(0, 0), 2)], &hooks, &HashMap::from([(4, 3)]));
        assert_eq!(read(&outcomes)[0], "a 3 0 signal 7");
        assert_eq!(outcomes.samples().len(), 2);
    }

    #[test]
    fn outcomes_have_words() {
        assert_eq!(Outcome(OUTCOMES + OUTCOME_PENDING).action(), "pending_override");
        assert_eq!(Outcome(OUTCOME_UNKNOWN).action(), "spared_signal");
        assert_eq!(Outcome(OUTCOME_UNKNOWN).spared(), Some("unknown-process"));
        assert_eq!(Outcome(OUTCOMES + OUTCOME_DONE).spared(), None);
    }
}
