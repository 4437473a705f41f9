//! The hooks of policies, with their numbers: at one point each, or at many points with one matcher.
//!
//! A list can have hundreds of functions. A program and a matcher for each would take minutes to load, and megabytes of the
//! kernel's memory. So the functions of a list whose hooks select the same events share one program, which is attached to all
//! of them, and one matcher. It costs an event more than a program of its own by fentry would, so few functions share none.

use std::collections::{BTreeMap, HashMap};

use gatewatch_policy::plan::{HookPlan, HookPoint, Plan, When};

use super::{Engine, Member};
use crate::{bpf::Lane, fingerprint::fingerprint, policy_key::PolicyKey};

/// The fewest functions that share a matcher.
const FEWEST: usize = 16;

/// The hooks of all policies.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Those at one point, by the point.
    pub(super) single: BTreeMap<HookPoint, Vec<Member>>,
    /// Those at many points, by the points, which are in order.
    pub(super) many: BTreeMap<Vec<HookPoint>, Vec<Member>>,
}

/// What hooks of a policy that share a matcher have in common: their place in the policy, what they select, and how arguments
/// are read.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Common {
    origin: String,
    selectors: u64,
    is_syscall: bool,
    is_ia32: bool,
}

impl Common {
    /// `None`: such a hook shares no matcher. At a return, only programs of their own see arguments.
    fn of(hook: &HookPlan) -> Option<Self> {
        let shares = hook.point.symbol().is_some() && hook.point.when() == When::Entry;
        shares.then(|| Self {
            origin: hook.origin.to_string(),
            selectors: fingerprint(&hook.selectors),
            is_syscall: hook.point.is_syscall(),
            is_ia32: hook.point.is_ia32(),
        })
    }
}

/// The points of a lane with these members, which have the same ones.
pub(super) fn points(members: &[Member]) -> Vec<HookPoint> {
    members.first().into_iter().flat_map(Member::points).map(|(_, point)| point.clone()).collect()
}

impl Engine {
    /// The hooks of the policies that are wanted, with their numbers.
    pub(super) fn members(&mut self, wanted: &BTreeMap<PolicyKey, Plan>) -> Members {
        let mut members = Members::default();
        for (key, plan) in wanted {
            let monitor_mode = plan.monitor_mode;
            let mut by_point: BTreeMap<&HookPoint, Vec<&HookPlan>> = BTreeMap::new();
            for hook in &plan.hooks {
                by_point.entry(&hook.point).or_default().push(hook);
            }
            // In the order of the points.
            let mut numbered: Vec<(u32, &HookPlan)> = Vec::with_capacity(plan.hooks.len());
            for (point, hooks) in by_point {
                numbered.extend(self.numbers.assign(&key.at(point.clone()), &hooks).into_iter().zip(hooks));
            }
            let (single, many) = divide(numbered);
            for (id, hook) in single {
                let more = Vec::new();
                let member = Member { id, policy: key.clone(), plan: hook.clone(), monitor_mode, more };
                members.single.entry(hook.point.clone()).or_default().push(member);
            }
            for hooks in many {
                let Some(((id, first), rest)) = hooks.split_first() else { continue };
                let more = rest.iter().map(|(id, hook)| (*id, hook.point.clone())).collect();
                let member =
                    Member { id: *id, policy: key.clone(), plan: (*first).clone(), monitor_mode, more };
                let points = member.points().map(|(_, point)| point.clone()).collect();
                members.many.entry(points).or_default().push(member);
            }
        }
        members
    }

    /// The lanes of the hooks that aren't in the first one of their points.
    pub(super) fn other_lanes(&self) -> HashMap<u32, Lane> {
        let mut lanes: HashMap<u32, Lane> = self
            .numbers
            .lanes()
            .map(|(id, point, number)| (id, Lane::numbered(point.clone(), number)))
            .collect();
        for (lane, installed) in self.installed.iter().filter(|(lane, _)| lane.many.is_some()) {
            for (id, _) in installed.members.iter().flat_map(Member::points) {
                lanes.insert(id, lane.clone());
            }
        }
        lanes
    }
}

/// A hook and its number.
type Numbered<'a> = (u32, &'a HookPlan);

/// Divides a policy's hooks, which are in the order of their points, into those at one point, and those that share a matcher.
fn divide(hooks: Vec<Numbered<'_>>) -> (Vec<Numbered<'_>>, Vec<Vec<Numbered<'_>>>) {
    let mut alike: BTreeMap<Common, Vec<Numbered<'_>>> = BTreeMap::new();
    let mut single = Vec::new();
    for (id, hook) in hooks {
        match Common::of(hook) {
            Some(common) => alike.entry(common).or_default().push((id, hook)),
            None => single.push((id, hook)),
        }
    }
    let (many, few): (Vec<_>, Vec<_>) = alike.into_values().partition(|hooks| hooks.len() >= FEWEST);
    single.extend(few.into_iter().flatten());
    (single, many)
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::{
        diagnostic::FieldPath,
        plan::{ActionPlan, Evidence, SelectorPlan},
    };

    use super::*;

    fn hooks(number: usize, when: When) -> Vec<HookPlan> {
        let hook = |i| HookPlan {
            point: HookPoint::Function { symbol: format!("f{i:03}"), when },
            origin: FieldPath::root().field("spec").field("kprobes").index(0),
            args: Vec::new(),
            evidence: Evidence::default(),
            selectors: vec![SelectorPlan { filters: Vec::new(), actions: ActionPlan::COUNT }],
        };
        (0..number).map(hook).collect()
    }

    /// How many hooks are alone, and how many each of the others has.
    fn divided(hooks: &[HookPlan]) -> (usize, Vec<usize>) {
        let (single, many) = divide((1..).zip(hooks).collect());
        (single.len(), many.iter().map(Vec::len).collect())
    }

    #[test]
    fn many_functions_of_a_list_share_a_matcher() {
        assert_eq!(divided(&hooks(FEWEST - 1, When::Entry)), (FEWEST - 1, vec![]));
        assert_eq!(divided(&hooks(FEWEST, When::Entry)), (0, vec![FEWEST]));
        assert_eq!(divided(&hooks(FEWEST, When::Return)), (FEWEST, vec![]));
    }

    #[test]
    fn functions_that_are_matched_differently_share_none() {
        let mut others = hooks(2 * FEWEST + 1, When::Entry);
        for hook in &mut others[..FEWEST] {
            hook.selectors[0].actions = ActionPlan::NONE;
        }
        others[FEWEST].origin = FieldPath::root();
        assert_eq!(divided(&others), (1, vec![FEWEST, FEWEST]));
    }
}
