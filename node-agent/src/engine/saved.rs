//! What the engine remembers beyond the agent's end: the numbers that are in the kernel's maps, and what they stand for.
//! What is written here is part of what [`VERSION`](gatewatch_abi::VERSION) numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gatewatch_policy::plan::Scope;
use serde::{Deserialize, Serialize};

use super::{Engine, PolicyKey};
use crate::{
    kernel_half::{LoadError, Site},
    series::Hook,
};

/// As it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    next_id: u32,
    ids: Vec<SavedId>,
    /// By number.
    classes: Vec<BTreeSet<PolicyKey>>,
    /// In the order of their bits.
    follow: Vec<Vec<Vec<u8>>>,
}

/// A policy's hook and its number.
#[derive(Debug, Serialize, Deserialize)]
struct SavedId {
    id: u32,
    policy: PolicyKey,
    site: Site,
    nth: usize,
    /// Whom the policy watched when it was last applied; none before that. What was counted by then is given to pods by
    /// this, whatever the policy says when the next agent reads it.
    scope: Option<Scope>,
    /// Milliseconds in which nobody counted for it.
    gap: u64,
}

impl SavedId {
    fn hook(&self) -> Option<Hook> {
        Some(Hook {
            policy: self.policy.name.as_str().into(),
            namespace: self.policy.namespace.as_deref().map(Into::into),
            symbol: self.site.0.as_str().into(),
            scope: self.scope.clone()?.into(),
        })
    }
}

impl Engine {
    /// Writes down what the numbers in the kernel's maps stand for: before anything is counted under a new one.
    pub(super) fn save(&self) -> Result<(), LoadError> {
        let saved = Saved {
            next_id: self.next_id,
            ids: self
                .ids
                .iter()
                .map(|((policy, site, nth), id)| SavedId {
                    id: *id,
                    policy: policy.clone(),
                    site: site.clone(),
                    nth: *nth,
                    scope: self.hooks.get(id).map(|hook| (*hook.scope).clone()),
                    gap: self.gaps.get(id).copied().unwrap_or(0),
                })
                .collect(),
            classes: self.classes.clone(),
            follow: self.kernel.follow_sets().to_vec(),
        };
        match serde_json::to_vec(&saved) {
            Ok(bytes) => self.kernel.save(&bytes),
            Err(error) => Err(LoadError::Memory(error)),
        }
    }

    /// Goes on with the numbers of an earlier agent.
    pub(super) fn restore(&mut self) -> Result<(), LoadError> {
        let Some(bytes) = self.kernel.saved()? else { return Ok(()) };
        let saved: Saved = serde_json::from_slice(&bytes).map_err(LoadError::Memory)?;
        self.next_id = saved.next_id.max(1);
        self.gaps = saved.ids.iter().filter(|id| id.gap > 0).map(|id| (id.id, id.gap)).collect();
        self.hooks = Arc::new(saved.ids.iter().filter_map(|id| Some((id.id, id.hook()?))).collect());
        self.ids = saved.ids.into_iter().map(|id| ((id.policy, id.site, id.nth), id.id)).collect();
        if saved.classes.len() >= self.classes.len() {
            self.classes = saved.classes;
        }
        self.kernel.restore_follow_sets(saved.follow)?;
        self.cgroups = self.kernel.cgroup_classes()?.into_iter().collect();
        self.before = self.ids.values().copied().collect();
        self.restored = true;
        Ok(())
    }

    /// Notes how long nobody counted for hooks that an earlier agent had and that could not stay when it ended. To be
    /// called once, when the first policies are installed.
    pub(super) fn note_gaps(&mut self, sites: &BTreeMap<Site, Vec<u32>>) {
        let before = std::mem::take(&mut self.before);
        let Some(away) = self.kernel.away() else { return };
        for (site, ids) in sites {
            if self.kernel.adopted(site) {
                continue;
            }
            // Where the earlier agent's maps had another layout, nothing is known of its hooks: all may have been there.
            for id in ids.iter().filter(|id| !self.restored || before.contains(id)) {
                *self.gaps.entry(*id).or_default() += away;
            }
        }
    }
}
