//! Whether a policy fits beside the other policies of a cluster, on one kernel.
//!
//! The gate asks this before it admits a policy. An agent reports a policy that does not fit, but by then it is stored.

use std::collections::{BTreeMap, BTreeSet};

use gatewatch_abi::consts::{MAX_FOLLOW_SETS, MAX_LANES};

use super::{
    place::{Candidate, followed, place},
    usage::Needs,
};
use crate::{
    codes::TOO_MANY_FIELDS,
    diagnostic::Diagnostic,
    plan::{HookPlan, HookPoint, Plan},
};

/// What policies may take together.
#[derive(Clone, Copy)]
struct Limits {
    /// Lanes of one hook point.
    lanes: u8,
    /// Sets of programs whose children are followed.
    follow_sets: usize,
}

/// All policies. Agents place policies in the order in which these come, and no hook leaves its lane to make room. So they
/// may need more lanes than a division of all hooks at once: two are kept for that.
const ALL: Limits = Limits { lanes: MAX_LANES - 2, follow_sets: MAX_FOLLOW_SETS };
/// The policies of one namespace: a quarter of what a node has, so that no team takes the room of all others.
const NAMESPACE: Limits = Limits { lanes: MAX_LANES / 4, follow_sets: MAX_FOLLOW_SETS / 4 };

/// Reports if a policy does not fit beside others, with the policy that takes the most room. Cluster-wide policies are
/// placed before those of namespaces.
pub fn fits_beside(new: &Plan, others: &[&Plan]) -> Option<Diagnostic> {
    if let Some(namespace) = &new.namespace {
        let same: Vec<&Plan> =
            others.iter().filter(|other| other.namespace == new.namespace).copied().collect();
        let whose = format!("the policies of namespace `{namespace}`");
        let share =
            Beside { new, others: same, limits: NAMESPACE, whose, limit: ", the share of a namespace" };
        if let Some(found) = share.check() {
            return Some(found);
        }
    }
    let mut others = others.to_vec();
    others.sort_by_key(|plan| (&plan.namespace, &plan.name));
    Beside { new, others, limits: ALL, whose: "all policies".to_owned(), limit: "" }.check()
}

/// A policy beside some of the others.
struct Beside<'a> {
    new: &'a Plan,
    others: Vec<&'a Plan>,
    limits: Limits,
    whose: String,
    limit: &'static str,
}

impl<'a> Beside<'a> {
    fn check(&self) -> Option<Diagnostic> {
        self.follow_sets().or_else(|| {
            let points: BTreeSet<&HookPoint> = self.new.hooks.iter().map(|hook| &hook.point).collect();
            points.into_iter().find_map(|point| self.lanes(point))
        })
    }

    fn follow_sets(&self) -> Option<Diagnostic> {
        let mut known: BTreeSet<&[Vec<u8>]> = BTreeSet::new();
        for other in &self.others {
            known.extend(followed(&other.hooks));
        }
        let hook = self.new.hooks.iter().find(|hook| {
            let new = known.len();
            known.extend(followed(std::slice::from_ref(*hook)));
            known.len() > new && known.len() > self.limits.follow_sets
        })?;
        let sets = |plan: &Plan| followed(&plan.hooks).collect::<BTreeSet<_>>().len();
        let (whose, limit, most) = (&self.whose, self.limit, self.limits.follow_sets);
        let message = format!(
            "{whose} together follow the children of more than {most} program sets{limit}{}",
            self.largest(sets)
        );
        Some(self.diagnostic(hook, &message).help("use the same list of programs in several hooks"))
    }

    /// Whether the hooks at a point fit into its lanes.
    fn lanes(&self, point: &HookPoint) -> Option<Diagnostic> {
        let at = |plan: &'a Plan| plan.hooks.iter().filter(|hook| hook.point == *point);
        let mut hooks: Vec<&HookPlan> = self.others.iter().flat_map(|plan| at(plan)).collect();
        let before = lanes(&hooks);
        hooks.extend(at(self.new));
        let after = lanes(&hooks);
        // What is too much already is not this policy's fault if it takes no more.
        if after <= self.limits.lanes || after <= before {
            return None;
        }
        let (whose, limit, most) = (&self.whose, self.limit, self.limits.lanes);
        let fields = |plan: &Plan| {
            let hooks = plan.hooks.iter().filter(|hook| hook.point == *point);
            hooks.map(|hook| Needs::of(hook).slots() + hook.selectors.len()).sum()
        };
        let message = format!(
            "{whose} on `{}` together need more than {most} matchers{limit}{}",
            point.name(),
            self.largest(fields)
        );
        let help = "filter on the same fields as the other policies, or hook another function";
        Some(self.diagnostic(at(self.new).next()?, &message).help(help))
    }

    /// Names the other policy that takes the most. The author of a policy in a namespace may not be allowed to know what
    /// others have in theirs.
    fn largest(&self, takes: impl Fn(&Plan) -> usize) -> String {
        let by_size: BTreeMap<usize, &Plan> =
            self.others.iter().rev().map(|plan| (takes(plan), *plan)).collect();
        match by_size.last_key_value() {
            Some((size, plan))
                if *size > 0
                    && plan.namespace.is_some()
                    && self.new.namespace.is_some()
                    && plan.namespace != self.new.namespace =>
            {
                "; a policy of another namespace takes the most".to_owned()
            }
            Some((size, plan)) if *size > 0 => {
                let namespace = plan.namespace.as_deref().map(|name| format!("{name}/")).unwrap_or_default();
                format!("; policy `{namespace}{}` takes the most", plan.name)
            }
            _ => String::new(),
        }
    }

    fn diagnostic(&self, hook: &HookPlan, message: &str) -> Diagnostic {
        let message = format!("{message}, so nodes might not load policy `{}`", self.new.name);
        Diagnostic::new(&TOO_MANY_FIELDS, hook.origin.field("selectors"), message).at_key()
    }
}

/// How many lanes hooks need; one more than there may be if they do not fit.
fn lanes(hooks: &[&HookPlan]) -> u8 {
    let candidates: Vec<Candidate<'_>> = hooks.iter().map(|hook| Candidate::new(hook)).collect();
    place(&candidates).map_or(MAX_LANES + 1, |lanes| lanes.into_iter().max().map_or(0, |last| last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnostic::FieldPath,
        plan::{ActionPlan, Evidence, Field, Filter, Scope, SelectorPlan, Test, TextOp, When},
    };

    fn policy(namespace: Option<&str>, name: &str, filters: Vec<Filter>) -> Plan {
        let point = HookPoint::Function { symbol: "f".to_owned(), when: When::Entry };
        let selectors = vec![SelectorPlan { filters, actions: ActionPlan::COUNT }];
        let origin = FieldPath::root().field("spec").field("kprobes").index(0);
        Plan {
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            scope: Scope::default(),
            hooks: vec![HookPlan {
                point,
                origin,
                args: Vec::new(),
                selectors,
                evidence: Evidence::default(),
            }],
            partial: false,
            monitor_mode: false,
        }
    }

    /// A policy that fills a lane: eight integers that no other one has.
    fn full(namespace: Option<&str>, number: u32) -> Plan {
        let field = |i| Field::Descends { namespaced: false, pids: [number * 8 + i; 4] };
        let test = || Test::Int { negated: false, ranges: vec![(1, 1)] };
        let filters = (0..8).map(|i| Filter { field: field(i), test: test() }).collect();
        policy(namespace, &format!("p{number}"), filters)
    }

    /// A policy that follows the children of one program.
    fn following(namespace: Option<&str>, number: usize) -> Plan {
        let values = vec![format!("/{number}").into_bytes()];
        let test = Test::Text { negated: false, op: TextOp::Equal, values, follow_children: true };
        policy(namespace, &format!("p{number}"), vec![Filter { field: Field::Binary, test }])
    }

    fn said(new: &Plan, others: &[Plan]) -> Option<String> {
        fits_beside(new, &others.iter().collect::<Vec<_>>()).map(|found| found.to_string())
    }

    #[test]
    fn policies_that_need_too_many_lanes_together() {
        let others: Vec<Plan> = (0..6).map(|number| full(None, number)).collect();
        assert_eq!(said(&full(None, 5), &others[..5]), None);
        assert_eq!(said(&full(None, 5), &others), None, "the same fields");
        let found = said(&full(None, 6), &others).unwrap();
        assert!(found.contains("all policies on `f` together need more than 6 matchers"), "{found}");
        assert!(found.contains("policy `p0` takes the most"), "{found}");
        // Without fields of its own it needs no lane of its own.
        assert_eq!(said(&policy(None, "small", Vec::new()), &others), None);
    }

    #[test]
    fn a_namespace_has_its_share() {
        let others: Vec<Plan> = (0..2).map(|number| full(Some("red"), number)).collect();
        let found = said(&full(Some("red"), 2), &others).unwrap();
        assert!(
            found.contains(
                "the policies of namespace `red` on `f` together need more than 2 matchers, the share of"
            ),
            "{found}"
        );
        assert!(found.contains("policy `red/p0` takes the most"), "{found}");
        assert_eq!(said(&full(Some("blue"), 2), &others), None);
        assert_eq!(said(&full(None, 2), &others), None);
    }

    #[test]
    fn an_author_reads_nothing_of_other_namespaces() {
        // More than a share each: policies of before there were shares, or of the cluster in the first place.
        let others: Vec<Plan> = (0..6).map(|number| full(Some("red"), number)).collect();
        let found = said(&full(Some("blue"), 6), &others).unwrap();
        assert!(found.contains("; a policy of another namespace takes the most"), "{found}");
        assert!(!found.contains("red") && !found.contains("p0"), "{found}");
        let found = said(&full(None, 6), &others).unwrap();
        assert!(found.contains("policy `red/p0` takes the most"), "{found}");
    }

    #[test]
    fn policies_that_follow_too_many_sets_together() {
        // Four sets a lane: each has a function of its own.
        let at = |mut plan: Plan, number: usize| {
            plan.hooks[0].point = HookPoint::Function { symbol: format!("f{number}"), when: When::Entry };
            plan
        };
        let others: Vec<Plan> = (0..62).map(|number| at(following(None, number), number)).collect();
        assert_eq!(said(&at(following(None, 61), 62), &others), None, "a set that others follow");
        let found = said(&at(following(None, 62), 62), &others).unwrap();
        assert!(
            found.contains("all policies together follow the children of more than 62 program sets"),
            "{found}"
        );
        let others: Vec<Plan> = (0..15).map(|number| at(following(Some("red"), number), number)).collect();
        let found = said(&at(following(Some("red"), 15), 15), &others).unwrap();
        assert!(found.contains("more than 15 program sets, the share of a namespace"), "{found}");
        assert_eq!(said(&at(following(Some("blue"), 16), 16), &others), None);
    }
}
