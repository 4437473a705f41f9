//! Divides the hooks of each point among its lanes.

use std::collections::{BTreeMap, BTreeSet};

use gatewatch_abi::consts::{MAX_FOLLOW_SETS, MAX_LANES};
use gatewatch_policy::{
    lanes::{self, Candidate},
    match_tables::Excess,
    plan::{HookPoint, Plan},
};

use super::{Engine, Member, members::Members};
use crate::{bpf::Lane, policy_key::PolicyKey};

impl Engine {
    /// The first policy with which there are more sets of followed programs than a node can follow. Those that run come
    /// first.
    pub(super) fn follows_too_many(&self, wanted: &BTreeMap<PolicyKey, Plan>) -> Option<PolicyKey> {
        let (run, rest): (Vec<_>, Vec<_>) =
            wanted.iter().partition(|(key, plan)| self.plans.get(*key) == Some(*plan));
        let mut followed = BTreeSet::new();
        run.into_iter()
            .chain(rest)
            .find(|(_, plan)| {
                let new: BTreeSet<_> = lanes::followed(&plan.hooks).collect();
                let fits = followed.union(&new).count() <= MAX_FOLLOW_SETS;
                if fits {
                    followed.extend(new);
                }
                !fits
            })
            .map(|(key, _)| key.clone())
    }

    /// Gives each hook its lane. If there is none for one of them, the answer is its policy.
    pub(super) fn place(&self, members: Members) -> Result<BTreeMap<Lane, Vec<Member>>, (PolicyKey, Excess)> {
        let mut placed: BTreeMap<Lane, Vec<Member>> = BTreeMap::new();
        for (point, members) in members.single {
            let by_lsm = matches!(point, HookPoint::Function { .. });
            let (overriding, others): (Vec<_>, Vec<_>) =
                members.into_iter().partition(|member| by_lsm && member.plan.overrides());
            self.place_at(&point, others, |number| Lane::numbered(point.clone(), number), &mut placed)?;
            self.place_at(&point, overriding, |number| Lane::overriding(point.clone(), number), &mut placed)?;
        }
        for (points, members) in members.many {
            let Some(first) = points.first() else { continue };
            let lane = |number| {
                Lane::of_many(&points, number).unwrap_or_else(|| Lane::numbered(first.clone(), number))
            };
            self.place_at(first, members, lane, &mut placed)?;
        }
        Ok(placed)
    }

    /// Gives each hook at the same points its lane.
    fn place_at(
        &self,
        point: &HookPoint,
        members: Vec<Member>,
        lane: impl Fn(u8) -> Lane,
        placed: &mut BTreeMap<Lane, Vec<Member>>,
    ) -> Result<(), (PolicyKey, Excess)> {
        let overrides = lane(0).number >= MAX_LANES;
        let candidates: Vec<Candidate<'_>> = members
            .iter()
            .map(|member| {
                let of = member.policy.at(point.clone());
                let (lane, same) = self.numbers.placed(member.id, &of, &member.plan);
                // A lane of the other kind is none.
                let own = lane.filter(|number| Lane::is_overriding(*number) == overrides);
                let lane = own.map(|number| number % MAX_LANES);
                Candidate { plan: &member.plan, lane, same }
            })
            .collect();
        let numbers = lanes::place(&candidates)
            .map_err(|unplaced| (members[unplaced.index].policy.clone(), unplaced.excess))?;
        for (member, number) in members.into_iter().zip(numbers) {
            placed.entry(lane(number)).or_default().push(member);
        }
        Ok(())
    }
}
