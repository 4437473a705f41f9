//! What the engine remembers beyond the agent's end: the numbers that are in the kernel's maps, and what they stand for.
//! What is written here is part of what [`VERSION`](gatewatch_abi::VERSION) numbers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use gatewatch_policy::plan::{HookPoint, Scope};
use serde::{Deserialize, Serialize};

use super::{
    Engine, Member,
    numbers::{Identity, Numbers},
};
use crate::{
    bpf::{Lane, LoadError},
    policy_key::PolicyKey,
    series::{Hook, Hooks, InPolicy},
};

/// As it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    /// One more than the highest number that was given.
    next_id: u32,
    hooks: Vec<SavedHook>,
    gaps: Vec<(InPolicy<String>, u64)>,
    /// By number.
    policy_sets: Vec<BTreeSet<PolicyKey>>,
    /// In the order of their bits.
    follow: Vec<Vec<Vec<u8>>>,
}

/// A policy's hook and its number.
#[derive(Debug, Serialize, Deserialize)]
struct SavedHook {
    id: u32,
    of: InPolicy<HookPoint>,
    identity: Option<Identity>,
    /// The lane that it is in; none where it has never run.
    lane: Option<u8>,
    /// False: the policy has it no more, and its last counts may not have been read.
    in_use: bool,
    /// Whom the policy watched when it was last applied; none before that. What was counted by then is given to pods by
    /// this, whatever the policy says when the next agent reads it.
    scope: Option<Scope>,
}

/// What is read again.
#[derive(Debug, Default)]
struct Restored {
    numbers: Numbers,
    hooks: Hooks,
    gaps: HashMap<InPolicy<String>, u64>,
}

impl Saved {
    /// What the numbers stand for.
    fn restore(&mut self, now: Instant) -> Restored {
        let mut restored = Restored::default();
        restored.numbers.continue_after(self.next_id.saturating_sub(1));
        for saved in std::mem::take(&mut self.hooks) {
            if let Some(scope) = saved.scope {
                let hook = Hook {
                    policy: saved.of.policy.as_str().into(),
                    namespace: saved.of.namespace.as_deref().map(Into::into),
                    point: Arc::new(saved.of.at.clone()),
                    scope: Arc::new(scope),
                };
                restored.hooks.insert(saved.id, hook);
            }
            let placed = (saved.lane, saved.in_use);
            restored.numbers.restore(saved.id, saved.of, saved.identity, placed, now);
        }
        restored.gaps = std::mem::take(&mut self.gaps).into_iter().collect();
        restored
    }
}

impl Engine {
    /// Writes down what the numbers in the kernel's maps stand for: before anything is counted under a new one.
    pub(super) fn save(&self) -> Result<(), LoadError> {
        let saved = Saved {
            next_id: self.numbers.last() + 1,
            hooks: self
                .numbers
                .all()
                .map(|number| SavedHook {
                    id: number.id,
                    of: number.point.clone(),
                    identity: number.identity.cloned(),
                    lane: number.lane,
                    in_use: number.in_use,
                    scope: self.hooks.get(&number.id).map(|hook| (*hook.scope).clone()),
                })
                .collect(),
            gaps: self.gaps.iter().map(|(label, gap)| (label.clone(), *gap)).collect(),
            policy_sets: self.policy_sets.clone(),
            follow: self.bpf.follow_sets().to_vec(),
        };
        match serde_json::to_vec(&saved) {
            Ok(bytes) => self.bpf.save(&bytes),
            Err(error) => Err(LoadError::SavedState(error)),
        }
    }

    /// Continues with the numbers of an earlier agent.
    pub(super) fn restore(&mut self) -> Result<(), LoadError> {
        let Some(bytes) = self.bpf.saved()? else { return Ok(()) };
        let mut saved: Saved = serde_json::from_slice(&bytes).map_err(LoadError::SavedState)?;
        let Restored { numbers, hooks, gaps } = saved.restore(Instant::now());
        self.before = numbers
            .all()
            .filter(|number| number.in_use)
            .filter_map(|number| {
                let InPolicy { namespace, policy, at } = number.point.clone();
                let at = Lane::numbered(at, number.lane?);
                Some(InPolicy { namespace, policy, at })
            })
            .collect();
        (self.numbers, self.hooks, self.gaps) = (numbers, Arc::new(hooks), gaps);
        if saved.policy_sets.len() >= self.policy_sets.len() {
            self.policy_sets = saved.policy_sets;
        }
        self.bpf.restore_follow_sets(saved.follow)?;
        self.cgroups = self.bpf.cgroup_policy_sets()?.into_iter().collect();
        self.restored = true;
        Ok(())
    }

    /// Notes how long nothing counted for hooks that an earlier agent had and that could not stay when it ended. To be
    /// called once, when the first policies are installed.
    pub(super) fn note_gaps(&mut self, lanes: &BTreeMap<Lane, Vec<Member>>) {
        let before = std::mem::take(&mut self.before);
        let Some(away) = self.bpf.away() else { return };
        let mut labels = BTreeSet::new();
        for (lane, members) in lanes.iter().filter(|(lane, _)| !self.bpf.adopted(lane)) {
            // Where the earlier agent's maps had another layout, nothing is known of its hooks: all may have been there.
            for member in members {
                let was_there = |point: &&HookPoint| {
                    let at = Lane::numbered((*point).clone(), lane.number);
                    !self.restored || before.contains(&member.policy.at(at))
                };
                let there = member.points().map(|(_, point)| point).filter(was_there);
                labels.extend(there.map(|point| member.policy.at(point.label())));
            }
        }
        if !labels.is_empty() {
            let hooks = labels.len();
            tracing::warn!(
                milliseconds = away,
                hooks,
                "no agent counted since the one before ended: hooks could not stay, or it had another layout"
            );
        }
        for label in labels {
            *self.gaps.entry(label).or_default() += away;
        }
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::plan::When;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let hook = |id, policy: &str, symbol: &str, (lane, in_use, scope)| SavedHook {
            id,
            of: InPolicy {
                namespace: Some("test".to_owned()),
                policy: policy.to_owned(),
                at: HookPoint::Function { symbol: symbol.to_owned(), when: When::Return },
            },
            identity: None,
            lane,
            in_use,
            scope,
        };
        let host = || Some(Scope { host: true, ..Scope::default() });
        let label = InPolicy { namespace: None, policy: "uid".to_owned(), at: "kprobe:f".to_owned() };
        let saved = Saved {
            next_id: 9,
            hooks: vec![
                hook(3, "uid", "f", (Some(0), true, host())),
                hook(5, "uid", "f", (Some(2), false, host())),
                hook(6, "new", "g", (None, true, None)),
            ],
            gaps: vec![(label.clone(), 500)],
            ..Saved::default()
        };
        let bytes = serde_json::to_vec(&saved).unwrap();
        let mut saved: Saved = serde_json::from_slice(&bytes).unwrap();
        let again = saved.restore(Instant::now());
        let mut hooks: Vec<(u32, bool)> =
            again.hooks.iter().map(|(id, hook)| (*id, hook.scope.host)).collect();
        hooks.sort_unstable();
        assert_eq!(hooks, [(3, true), (5, true)]);
        assert_eq!(again.gaps, HashMap::from([(label, 500)]));
        let lanes: BTreeMap<_, _> = again.numbers.all().map(|number| (number.id, number.lane)).collect();
        assert_eq!(lanes.into_iter().collect::<Vec<_>>(), [(3, Some(0)), (5, Some(2)), (6, None)]);
        assert_eq!(again.numbers.retired().collect::<Vec<_>>(), [5]);
        assert_eq!(again.numbers.last(), 8);
    }
}
