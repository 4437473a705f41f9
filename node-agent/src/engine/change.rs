//! A change of policies: first everything is loaded, which takes as long as the verifier does, then it is put in use,
//! which takes some writes to maps. Only the second step excludes readers of counts.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Instant,
};

use gatewatch_abi::consts::{POLICY_SET_HOST, POLICY_SET_PENDING};
use gatewatch_policy::{match_tables::Tables, plan::Plan};

use super::{Engine, Failure, Member};
use crate::{
    bpf::{Lane, LoadError, Prepared, Reader},
    policy_key::PolicyKey,
};

/// The policies that are to run, and those that turned out to be not loadable.
#[derive(Debug, Default)]
pub struct Candidates {
    /// To run.
    pub plans: BTreeMap<PolicyKey, Plan>,
    /// Not loadable as they are. Those that run stay in `plans` as they run.
    pub failed: BTreeMap<PolicyKey, Failure>,
}

impl Candidates {
    /// A policy can't be loaded as it is. The version of it that runs stays, so that a change of a policy never ends its
    /// counting; if that is the version that can't be loaded, there is none.
    pub(super) fn leave_out(
        &mut self,
        key: PolicyKey,
        failure: Failure,
        running: &BTreeMap<PolicyKey, Plan>,
    ) {
        match running.get(&key).filter(|plan| self.plans.get(&key) != Some(plan)) {
            Some(plan) => self.plans.insert(key.clone(), plan.clone()),
            None => self.plans.remove(&key),
        };
        self.failed.insert(key, failure);
    }
}

/// Matchers that are loaded and not in use yet, see [`Engine::load`].
pub struct Change {
    candidates: Candidates,
    lanes: BTreeMap<Lane, Vec<Member>>,
    prepared: Vec<(Lane, Prepared, Tables)>,
}

impl Engine {
    /// Loads what these policies, and no others, need to run. The verifier takes its time for that, and nothing is in use
    /// yet: the policies that run continue to count as they do. Policies that can't be loaded are in
    /// [`Candidates::failed`], and stay as they run.
    ///
    /// All matchers of a change are loaded before the first is installed, so no policy ever runs in part.
    pub fn load(&mut self, mut candidates: Candidates) -> Change {
        loop {
            self.policy_sets[POLICY_SET_PENDING as usize] = candidates.plans.keys().cloned().collect();
            self.policy_sets[POLICY_SET_HOST as usize] = candidates
                .plans
                .iter()
                .filter(|(_, plan)| plan.scope.host)
                .map(|(key, _)| key.clone())
                .collect();
            if let Some(key) = self.follows_too_many(&candidates.plans) {
                candidates.leave_out(key, LoadError::FollowSets.into(), &self.plans);
                continue;
            }
            let members = self.members(&candidates.plans);
            let lanes = match self.place(members) {
                Ok(lanes) => lanes,
                Err((key, excess)) => {
                    candidates.leave_out(key, excess.into(), &self.plans);
                    continue;
                }
            };
            match self.prepare(&lanes).and_then(|prepared| self.named(&lanes).map(|()| prepared)) {
                Ok(prepared) => return Change { candidates, lanes, prepared },
                Err((lane, failure)) => match self.culprit(&lane, &lanes[&lane]) {
                    Some((key, failure)) => candidates.leave_out(key, failure, &self.plans),
                    None => self.give_up(&lane, failure, &mut candidates),
                },
            }
        }
    }

    /// Saves the meaning of new numbers: the next agent must know it before the kernel counts under them.
    fn named(&self, lanes: &BTreeMap<Lane, Vec<Member>>) -> Result<(), (Lane, Failure)> {
        match (self.save(), lanes.keys().next()) {
            (Err(error), Some(lane)) => Err((lane.clone(), error.into())),
            _ => Ok(()),
        }
    }

    /// Puts what was loaded in use. Takes no longer than some writes to maps. The counts of now must have been read: from
    /// here on the numbers of the kernel mean what the new [`view`](Self::view) says. Policies that stay the same count
    /// without a gap.
    ///
    /// Gives what must be loaded instead if the kernel rejects a part.
    pub fn commit(
        &mut self,
        change: Change,
        now: Instant,
    ) -> Result<BTreeMap<PolicyKey, Failure>, Candidates> {
        let Change { mut candidates, lanes, prepared } = change;
        self.note_stopped(&lanes);
        // A hook that joins many others, or leaves them, must not be counted by both programs.
        if let Err(error) = self.bpf.pause(|lane| lanes.contains_key(lane)) {
            tracing::warn!(%error, "cannot stop programs that are to be removed; until they are, events may be counted twice");
        }
        if let Err((lane, failure)) = self.install(prepared, &lanes) {
            self.give_up(&lane, failure, &mut candidates);
            // What was stopped is loaded again where it is still wanted.
            self.installed.retain(|lane, _| lanes.contains_key(lane));
            return Err(candidates);
        }
        self.rename(candidates.plans, &lanes, now);
        self.note_moved(&lanes);
        self.applied = true;
        Ok(candidates.failed)
    }

    /// Notes the hooks whose lanes end with a change: from now on they do not count.
    fn note_stopped(&mut self, lanes: &BTreeMap<Lane, Vec<Member>>) {
        let now = Instant::now();
        let ended = self.installed.iter().filter(|(lane, _)| !lanes.contains_key(lane));
        for (id, _) in ended.flat_map(|(_, installed)| &installed.members).flat_map(Member::points) {
            // After a change that failed it is stopped still.
            self.stopped.entry(id).or_insert(now);
        }
    }

    /// Adds to the gaps how long hooks did not count that are in another lane now. The kernel waits for a grace period when
    /// a tail call gets another program, so this is tens of milliseconds.
    fn note_moved(&mut self, lanes: &BTreeMap<Lane, Vec<Member>>) {
        let stopped = std::mem::take(&mut self.stopped);
        let mut gaps: BTreeMap<_, u64> = BTreeMap::new();
        for member in lanes.values().flatten() {
            for (id, point) in member.points() {
                if let Some(since) = stopped.get(&id) {
                    // Rounded up, so that no gap is 0.
                    let gap =
                        u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
                    let known = gaps.entry(member.policy.at(point.label())).or_default();
                    *known = gap.max(*known);
                }
            }
        }
        for (label, gap) in gaps {
            *self.gaps.entry(label).or_default() += gap;
        }
    }

    /// Removes from the kernel what no policy uses after a [`commit`](Self::commit), but for counts.
    pub fn detach_unused(&mut self) {
        let lanes: BTreeSet<Lane> = self.installed.keys().cloned().collect();
        self.bpf.retain(|lane| lanes.contains(lane));
    }

    /// Removes the counts under numbers without a meaning: those that a [`commit`](Self::commit) or
    /// [`forget_numbers`](Self::forget_numbers) left, and those of an earlier agent that was killed before it removed
    /// them. Call it after [`detach_unused`](Self::detach_unused), or programs could count again. After an error the
    /// next call tries again.
    pub fn remove_unused(&mut self, reader: &mut Reader) {
        if !self.applied || !self.has_unused {
            return;
        }
        let known: HashSet<u32> = self.numbers.all().map(|number| number.id).collect();
        match self.bpf.remove_hooks(|hook| !known.contains(&hook), reader) {
            Ok(()) => self.has_unused = false,
            Err(error) => tracing::warn!(%error, "cannot remove the counts of deleted hooks"),
        }
    }

    /// Saves the meaning of the numbers, and frees the sets of programs that no policy follows any more.
    pub fn finish(&mut self) {
        let followed: HashSet<&Vec<Vec<u8>>> =
            self.installed.values().flat_map(|installed| &installed.tables.follow).collect();
        let freed = self.bpf.free_follow_sets(|set| followed.contains(set));
        if let Err(error) = self.save() {
            tracing::error!(%error, "cannot save the meaning of the kernel's numbers");
        }
        if freed && let Err(error) = self.bpf.clear_free_follow_sets() {
            tracing::error!(%error, "cannot clear the marks of programs that are no longer followed");
        }
    }
}
