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
    upgrade::{self, SavedId},
};

/// As it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    /// One more than the highest number that was given.
    next_id: u32,
    #[serde(default)]
    hooks: Vec<SavedHook>,
    #[serde(default)]
    gaps: Vec<(InPolicy<String>, u64)>,
    /// By number.
    #[serde(rename = "classes")]
    policy_sets: Vec<BTreeSet<PolicyKey>>,
    /// In the order of their bits.
    follow: Vec<Vec<Vec<u8>>>,
    /// The hooks, where an agent of layout 4 has written them.
    #[serde(default, skip_serializing)]
    ids: Vec<SavedId>,
}

/// A policy's hook and its number.
#[derive(Debug, Serialize, Deserialize)]
struct SavedHook {
    id: u32,
    of: InPolicy<HookPoint>,
    identity: Option<Identity>,
    /// The lane that it is in; none where it has never run. Agents that knew no lanes had the first one.
    #[serde(default = "first_lane")]
    lane: Option<u8>,
    /// False: the policy has it no more, and its last counts may not have been read.
    in_use: bool,
    /// Whom the policy watched when it was last applied; none before that. What was counted by then is given to pods by
    /// this, whatever the policy says when the next agent reads it.
    scope: Option<Scope>,
}

#[allow(clippy::unnecessary_wraps, reason = "the default of a field")]
const fn first_lane() -> Option<u8> {
    Some(0)
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
        let mut gaps = Vec::new();
        let earlier = std::mem::take(&mut self.ids).into_iter().map(|saved| {
            gaps.push((saved.id, saved.gap));
            let at = upgrade::point(saved.site.0, saved.site.1);
            let PolicyKey { namespace, name } = saved.policy;
            let of = InPolicy { namespace, policy: name, at };
            SavedHook { id: saved.id, of, identity: None, lane: Some(0), in_use: true, scope: saved.scope }
        });
        for saved in earlier.chain(std::mem::take(&mut self.hooks)) {
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
        restored.gaps = upgrade::gaps(&gaps, &restored.hooks);
        restored.gaps.extend(std::mem::take(&mut self.gaps));
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
            ids: Vec::new(),
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
                let at = Lane { point: at, number: number.lane? };
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
            let was_there =
                |member: &&Member| !self.restored || before.contains(&member.policy.at(lane.clone()));
            labels
                .extend(members.iter().filter(was_there).map(|member| member.policy.at(lane.point.label())));
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
    use super::*;

    /// As an agent of layout 4 has written it.
    const LAYOUT_4: &str = r#"{"next_id":9,"ids":[
        {"id":3,"policy":{"namespace":null,"name":"exec"},"site":["__x64_sys_execve",false],"nth":0,
         "scope":{"host":true,"pods":{"namespace":null,"pods":null,"containers":null}},"gap":0},
        {"id":5,"policy":{"namespace":"test","name":"uid"},"site":["__sys_setuid",false],"nth":0,
         "scope":{"host":false,"pods":null},"gap":300},
        {"id":6,"policy":{"namespace":"test","name":"uid"},"site":["__sys_setuid",true],"nth":0,
         "scope":{"host":false,"pods":null},"gap":500},
        {"id":8,"policy":{"namespace":null,"name":"new"},"site":["tcp_connect",false],"nth":1,"scope":null,"gap":0}],
        "classes":[[{"namespace":null,"name":"exec"}],[]],"follow":[[[47,97]]]}"#;

    #[test]
    fn what_layout_4_has_left_means_the_same() {
        let mut saved: Saved = serde_json::from_str(LAYOUT_4).unwrap();
        let Restored { numbers, hooks, gaps } = saved.restore(Instant::now());
        let shown: Vec<String> = hooks
            .iter()
            .map(|(id, hook)| format!("{id} {:?} {} {}", hook.namespace, hook.policy, hook.point.file_name()))
            .collect();
        assert_eq!(
            shown,
            [
                "3 None exec syscall~entry~__x64_sys_execve",
                "5 Some(\"test\") uid function~entry~__sys_setuid",
                "6 Some(\"test\") uid function~return~__sys_setuid",
            ]
        );
        assert!(hooks[&3].scope.host && !hooks[&5].scope.host);
        assert_eq!(numbers.last(), 8);
        let mut ids: Vec<u32> =
            numbers.all().map(|number| if number.in_use { number.id } else { 0 }).collect();
        ids.sort_unstable();
        assert_eq!(ids, [3, 5, 6, 8]);
        let label = InPolicy {
            namespace: Some("test".to_owned()),
            policy: "uid".to_owned(),
            at: "kprobe:__sys_setuid".to_owned(),
        };
        assert_eq!(gaps.get(&label), Some(&500));
        assert_eq!((saved.policy_sets.len(), saved.follow), (2, vec![vec![b"/a".to_vec()]]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut first: Saved = serde_json::from_str(LAYOUT_4).unwrap();
        let Restored { numbers, hooks, gaps } = first.restore(Instant::now());
        let mut saved = Saved {
            next_id: 9,
            hooks: numbers
                .all()
                .map(|number| SavedHook {
                    id: number.id,
                    of: number.point.clone(),
                    identity: number.identity.cloned(),
                    lane: (number.id != 6).then_some(2),
                    in_use: number.id != 5,
                    scope: hooks.get(&number.id).map(|hook| (*hook.scope).clone()),
                })
                .collect(),
            gaps: gaps.clone().into_iter().collect(),
            ..Saved::default()
        };
        let bytes = serde_json::to_vec(&saved).unwrap();
        saved = serde_json::from_slice(&bytes).unwrap();
        let again = saved.restore(Instant::now());
        assert_eq!((again.hooks, again.gaps), (hooks, gaps));
        let lanes = again.numbers.all().map(|number| (number.id, number.lane)).collect::<BTreeMap<_, _>>();
        assert_eq!(
            lanes.into_iter().collect::<Vec<_>>(),
            [(3, Some(2)), (5, Some(2)), (6, None), (8, Some(2))]
        );
        assert_eq!(again.numbers.retired().collect::<Vec<_>>(), [5]);
        assert_eq!(again.numbers.last(), 8);
    }
}
