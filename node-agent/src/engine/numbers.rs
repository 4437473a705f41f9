//! The numbers that hooks are counted under in the kernel.
//!
//! A number belongs to one hook of one policy at one point, and never becomes another's. What a policy's next version
//! has at the point is the same hook if it selects the same events, wherever it is in the policy now, or if it is
//! plainly the one that was edited. Every other hook gets a new number: what is wrong with too many numbers is that they
//! take places in the kernel's tables until the last counts under them were read, and that is all.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use gatewatch_policy::plan::{HookPlan, HookPoint};
use serde::{Deserialize, Serialize};

use crate::{
    fingerprint::fingerprint,
    series::{Hooks, InPolicy},
};

/// How long a program that was replaced may still be on its way to a count.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// What makes a hook the same as one that an earlier version of its policy had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Which events it selects and what it does with them.
    meaning: u64,
    /// Where it is in the policy.
    origin: String,
}

impl Identity {
    fn of(hook: &HookPlan) -> Self {
        Self { meaning: fingerprint(&hook.selectors), origin: hook.origin.to_string() }
    }
}

/// A number, and whose it is.
#[derive(Clone, Debug)]
struct Known {
    id: u32,
    /// Not known of hooks that an agent of an earlier version has left.
    identity: Option<Identity>,
    /// The lane of the point that its hook is in, or was in last; none before it has run.
    lane: Option<u8>,
    /// Since when no hook has it.
    retired: Option<Instant>,
}

/// A number as it is saved.
pub(super) struct Number<'a> {
    pub(super) id: u32,
    /// Its policy and point.
    pub(super) point: &'a InPolicy<HookPoint>,
    /// What makes its hook the same, where that is known.
    pub(super) identity: Option<&'a Identity>,
    /// The lane that its hook is in, if it has run.
    pub(super) lane: Option<u8>,
    /// Whether a hook has it.
    pub(super) in_use: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: u32,
    known: BTreeMap<InPolicy<HookPoint>, Vec<Known>>,
}

impl Numbers {
    /// The numbers of a policy's hooks at a point, all of which are given, in their order. The same until
    /// [`keep`](Self::keep).
    pub(super) fn assign(&mut self, point: &InPolicy<HookPoint>, hooks: &[&HookPlan]) -> Vec<u32> {
        let known = self.known.entry(point.clone()).or_default();
        let wanted: Vec<Identity> = hooks.iter().map(|hook| Identity::of(hook)).collect();
        let mut numbers: Vec<Option<u32>> = vec![None; hooks.len()];
        match_by(known, &wanted, &mut numbers, Identity::clone);
        match_by(known, &wanted, &mut numbers, |identity| identity.meaning);
        if let Some((i, id)) = edited(known, &wanted, &numbers) {
            numbers[i] = Some(id);
        }
        let last = &mut self.last;
        numbers
            .into_iter()
            .zip(wanted)
            .map(|(number, identity)| {
                number.unwrap_or_else(|| {
                    *last += 1;
                    known.push(Known { id: *last, identity: Some(identity), lane: None, retired: None });
                    *last
                })
            })
            .collect()
    }

    /// The lane of a hook, if it is in one, and whether it selects the same events as when it was placed there.
    pub(super) fn placed(&self, id: u32, point: &InPolicy<HookPoint>, hook: &HookPlan) -> (Option<u8>, bool) {
        let Some(known) = self.known.get(point).into_iter().flatten().find(|known| known.id == id) else {
            return (None, false);
        };
        let meaning = Identity::of(hook).meaning;
        (known.lane, known.identity.as_ref().is_none_or(|identity| identity.meaning == meaning))
    }

    /// The lanes of numbers whose hooks aren't in the first one.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (u32, &HookPoint, u8)> {
        let all = self.known.iter().flat_map(|(point, all)| all.iter().map(|known| (&point.at, known)));
        all.filter_map(|(point, known)| Some((known.id, point, known.lane.filter(|lane| *lane != 0)?)))
    }

    /// A hook runs under its number, in this lane.
    pub(super) fn keep(&mut self, id: u32, point: &InPolicy<HookPoint>, hook: &HookPlan, lane: u8) {
        if let Some(known) = self.known.get_mut(point).into_iter().flatten().find(|known| known.id == id) {
            known.identity = Some(Identity::of(hook));
            known.lane = Some(lane);
            known.retired = None;
        }
    }

    /// Takes the numbers from their hooks that aren't `in_use`. Those that don't `stay` for a while are forgotten and given
    /// back.
    pub(super) fn retire(&mut self, in_use: &Hooks, now: Instant, stay: impl Fn(u32) -> bool) -> Vec<u32> {
        for known in self.known.values_mut().flatten().filter(|known| !in_use.contains_key(&known.id)) {
            known.retired.get_or_insert(now);
        }
        self.remove(|known| known.retired.is_some() && !stay(known.id))
    }

    /// The numbers that no hook has any more and that mean something still.
    pub(super) fn retired(&self) -> impl Iterator<Item = u32> {
        self.known.values().flatten().filter(|known| known.retired.is_some()).map(|known| known.id)
    }

    /// Forgets numbers that no hook has, that nothing can be counted under any more, and that aren't `held`. Gives them
    /// back.
    pub(super) fn forget(&mut self, held: impl Fn(u32) -> bool, now: Instant) -> Vec<u32> {
        self.remove(|known| {
            let since = known.retired.map(|retired| now.saturating_duration_since(retired));
            since.is_some_and(|since| since >= ON_ITS_WAY) && !held(known.id)
        })
    }

    fn remove(&mut self, gone: impl Fn(&Known) -> bool) -> Vec<u32> {
        let mut removed = Vec::new();
        self.known.retain(|_, all| {
            removed.extend(all.extract_if(.., |known| gone(known)).map(|known| known.id));
            !all.is_empty()
        });
        removed
    }

    /// The highest number that was given.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// Every number with what is known of it.
    pub(super) fn all(&self) -> impl Iterator<Item = Number<'_>> {
        self.known.iter().flat_map(|(point, all)| {
            all.iter().map(move |known| Number {
                id: known.id,
                point,
                identity: known.identity.as_ref(),
                lane: known.lane,
                in_use: known.retired.is_none(),
            })
        })
    }

    /// Continues after an agent that has given numbers up to `last`.
    pub(super) fn continue_after(&mut self, last: u32) {
        self.last = self.last.max(last);
    }

    /// Takes over an earlier agent's number.
    pub(super) fn restore(
        &mut self,
        id: u32,
        point: InPolicy<HookPoint>,
        identity: Option<Identity>,
        (lane, in_use): (Option<u8>, bool),
        now: Instant,
    ) {
        self.continue_after(id);
        let retired = (!in_use).then_some(now);
        self.known.entry(point).or_default().push(Known { id, identity, lane, retired });
    }
}

/// Gives hooks without a number the numbers whose identities look the same by `key`, those in use first.
fn match_by<K: Eq + std::hash::Hash>(
    known: &[Known],
    wanted: &[Identity],
    numbers: &mut [Option<u32>],
    key: impl Fn(&Identity) -> K,
) {
    let taken: HashSet<u32> = numbers.iter().flatten().copied().collect();
    let mut free: HashMap<K, Vec<&Known>> = HashMap::new();
    for known in known.iter().filter(|known| !taken.contains(&known.id)) {
        if let Some(identity) = &known.identity {
            free.entry(key(identity)).or_default().push(known);
        }
    }
    // From the end: those in use, in the order of their numbers.
    for alike in free.values_mut() {
        alike.sort_by_key(|known| std::cmp::Reverse((known.retired.is_some(), known.id)));
    }
    for (number, identity) in numbers.iter_mut().zip(wanted).filter(|(number, _)| number.is_none()) {
        *number = free.get_mut(&key(identity)).and_then(Vec::pop).map(|known| known.id);
    }
}

/// The hook that was edited, and its number: one hook alone is new, one number alone has lost its hook, and either they
/// have the same place in the policy or there is no other hook at this point that it could be.
fn edited(known: &[Known], wanted: &[Identity], numbers: &[Option<u32>]) -> Option<(usize, u32)> {
    let in_use = || known.iter().filter(|known| known.retired.is_none());
    let mut new = numbers.iter().enumerate().filter(|(_, number)| number.is_none());
    let mut lost = in_use().filter(|known| !numbers.contains(&Some(known.id)));
    let (Some((i, _)), None) = (new.next(), new.next()) else { return None };
    let (Some(old), None) = (lost.next(), lost.next()) else { return None };
    let same_place = old.identity.as_ref().is_some_and(|identity| identity.origin == wanted[i].origin);
    let no_other = wanted.len() == 1 && in_use().count() == 1;
    (same_place || no_other).then_some((i, old.id))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gatewatch_policy::{
        diagnostic::FieldPath,
        plan::{ActionPlan, Evidence, Field, Filter, Scope, SelectorPlan, Test, When},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::series::Hook;

    fn point() -> InPolicy<HookPoint> {
        let at = HookPoint::Function { symbol: "f".to_owned(), when: When::Entry };
        InPolicy { namespace: None, policy: "p".to_owned(), at }
    }

    /// The hook at this place of the policy that looks for this value.
    fn hook(place: usize, value: i128) -> HookPlan {
        let test = Test::Int { negated: false, ranges: vec![(value, value)] };
        HookPlan {
            point: point().at,
            origin: FieldPath::root().field("spec").field("kprobes").index(place),
            args: Vec::new(),
            evidence: Evidence::default(),
            selectors: vec![SelectorPlan {
                filters: vec![Filter { field: Field::Pid, test }],
                actions: ActionPlan::COUNT,
            }],
        }
    }

    /// One version of the policy after the other.
    struct Policy {
        numbers: Numbers,
        now: Instant,
        in_use: Vec<u32>,
    }

    impl Policy {
        fn new() -> Self {
            Self { numbers: Numbers::default(), now: Instant::now(), in_use: Vec::new() }
        }

        /// Its hooks are at these places and look for these values.
        fn becomes(&mut self, hooks: &[(usize, i128)]) -> Vec<u32> {
            let plans: Vec<HookPlan> = hooks.iter().map(|(place, value)| hook(*place, *value)).collect();
            let plans: Vec<&HookPlan> = plans.iter().collect();
            let ids = self.numbers.assign(&point(), &plans);
            assert_eq!(self.numbers.assign(&point(), &plans), ids, "asked again");
            let scope = Arc::new(Scope::default());
            let mut hooks = Hooks::new();
            for (id, plan) in ids.iter().zip(plans) {
                self.numbers.keep(*id, &point(), plan, 0);
                let point = Arc::new(point().at);
                let hook = Hook { policy: "p".into(), namespace: None, point, scope: scope.clone() };
                hooks.insert(*id, hook);
            }
            assert_eq!(hooks.len(), ids.len(), "each hook has a number of its own");
            self.numbers.retire(&hooks, self.now, |_| true);
            self.in_use.clone_from(&ids);
            ids
        }
    }

    #[test]
    fn hooks_that_move_keep_their_numbers() {
        let mut policy = Policy::new();
        assert_eq!(policy.becomes(&[(0, 10), (1, 11), (2, 12)]), [1, 2, 3]);
        assert_eq!(policy.becomes(&[(0, 11), (1, 12)]), [2, 3], "the first was removed");
        assert_eq!(policy.becomes(&[(0, 13), (1, 11), (2, 12)]), [4, 2, 3], "another one is before them");
        assert_eq!(policy.becomes(&[(0, 12), (1, 11)]), [3, 2], "one was removed, the others changed places");
        // What one looked for, the other does: they have changed places, not meanings.
        assert_eq!(policy.becomes(&[(0, 11), (1, 12)]), [2, 3]);
    }

    #[test]
    fn the_hook_that_was_edited_keeps_its_number() {
        let mut policy = Policy::new();
        assert_eq!(policy.becomes(&[(3, 10)]), [1]);
        assert_eq!(policy.becomes(&[(1, 11)]), [1], "there is no other that it could be");
        assert_eq!(policy.becomes(&[(1, 11), (2, 12)]), [1, 2]);
        assert_eq!(policy.becomes(&[(1, 13), (2, 12)]), [1, 2], "edited in its place");
        assert_eq!(policy.becomes(&[(1, 12), (2, 14)]), [2, 3], "which one is new can't be told");
        assert_eq!(policy.becomes(&[(1, 15), (2, 16)]), [4, 5], "nor here");
    }

    #[test]
    fn hooks_that_are_the_same_have_two_numbers() {
        let mut policy = Policy::new();
        assert_eq!(policy.becomes(&[(0, 10), (1, 10)]), [1, 2]);
        assert_eq!(policy.becomes(&[(1, 10)]), [2]);
        assert_eq!(policy.becomes(&[(1, 10), (5, 10)]), [2, 1]);
    }

    #[test]
    fn a_number_is_forgotten_when_its_last_counts_were_read() {
        let mut policy = Policy::new();
        policy.becomes(&[(0, 10), (1, 11)]);
        policy.becomes(&[(0, 12), (1, 13)]);
        assert_eq!(policy.numbers.retired().collect::<Vec<_>>(), [1, 2]);
        assert!(policy.numbers.forget(|_| false, policy.now).is_empty(), "a program may be on its way");
        policy.now += ON_ITS_WAY;
        assert_eq!(policy.numbers.forget(|id| id == 2, policy.now), [1], "what is held back is the other's");
        assert_eq!(policy.becomes(&[(0, 11), (1, 13)]), [2, 4], "the same hook once more");
        assert_eq!(policy.becomes(&[(0, 10), (1, 13)]), [2, 4], "edited");
        assert_eq!(policy.becomes(&[(0, 10), (1, 13), (2, 14)]), [2, 4, 5], "and never 1 again");
    }

    #[test]
    fn hooks_of_an_earlier_version_go_on_where_they_are_alone() {
        let mut policy = Policy::new();
        policy.numbers.restore(7, point(), None, (Some(0), true), policy.now);
        assert_eq!(policy.becomes(&[(0, 10)]), [7]);
        let mut policy = Policy::new();
        policy.numbers.restore(7, point(), None, (Some(0), true), policy.now);
        policy.numbers.restore(8, point(), None, (Some(0), true), policy.now);
        assert_eq!(policy.becomes(&[(0, 10), (1, 11)]), [9, 10]);
        assert_eq!(policy.numbers.retired().collect::<Vec<_>>(), [7, 8]);
    }

    proptest! {
        /// Whatever becomes of a policy, a number that two versions share is that of hooks that mean the same, but for one
        /// that was edited.
        #[test]
        fn no_number_becomes_anothers(
            versions in prop::collection::vec(prop::collection::vec(0..5_i128, 0..6), 1..12)
        ) {
            let mut policy = Policy::new();
            let mut meanings: HashMap<u32, i128> = HashMap::new();
            for values in versions {
                let hooks: Vec<(usize, i128)> = values.iter().copied().enumerate().collect();
                let ids = policy.becomes(&hooks);
                let other = |(id, value): &(&u32, &i128)| meanings.get(id).is_some_and(|old| old != *value);
                prop_assert!(ids.iter().zip(&values).filter(other).count() <= 1);
                meanings.extend(ids.into_iter().zip(values));
            }
        }
    }
}
