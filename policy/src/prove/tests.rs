//! The prover against brute force, on domains that are small enough to try every value.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    diagnostic::FieldPath,
    labels::Subject,
    model::{
        Arg, ArgFilter, ArgType, Hook, LabelExpression, LabelOperator, LabelSelector, Operator, Selector,
    },
    values::address,
};

fn proved_empty(set: &Set) -> bool {
    Prover::default().is_empty(set)
}

type Domain = (i128, i128, bool);

fn domain() -> impl Strategy<Value = Domain> {
    prop::sample::select(vec![(-8_i128, 7_i128, false), (0, 15, false), (0, 15, true)])
}

fn int_set() -> impl Strategy<Value = IntSet> {
    domain().prop_flat_map(int_set_of)
}

/// One of the ways in which filters make sets.
fn int_set_of((min, max, optional): Domain) -> impl Strategy<Value = IntSet> {
    let way = 0_u8..4;
    let ranges = prop::collection::vec((-9_i128..17, 0_i128..4), 0..3);
    prop::collection::vec((way, ranges, 0_u64..16), 1..4).prop_map(move |parts| {
        let everything = IntSet::all(min, max, optional);
        let sets = parts.into_iter().map(|(way, ranges, mask)| {
            let ranges = ranges.into_iter().map(|(low, length)| (low, low + length)).collect();
            match way {
                0 => everything.within(ranges),
                1 => everything.outside(ranges),
                2 => everything.sharing(mask),
                _ => everything.avoiding(mask),
            }
        });
        sets.fold(everything.clone(), |all, set| all.intersect(&set))
    })
}

/// The values of all three domains, and none.
fn int_values() -> impl Iterator<Item = Option<i128>> {
    (-8..16).map(Some).chain([None])
}

/// The values that are in the domain of a set, as its complement sees it.
fn in_domain(set: &IntSet, value: Option<i128>) -> bool {
    set.everything().contains(value)
}

fn texts() -> impl Strategy<Value = TextSet> {
    let value = || "[ab]{1,2}";
    let atom = (0_u8..4, value()).prop_map(|(kind, value)| match kind {
        0 => Atom::Equal(value),
        1 => Atom::Prefix(value),
        2 => Atom::Postfix(value),
        _ => Atom::Contains(value),
    });
    let clause = (any::<bool>(), prop::collection::vec(atom, 1..4))
        .prop_map(|(negated, atoms)| TextSet::of(Clause { negated, atoms }));
    prop::collection::vec(clause, 1..4)
        .prop_map(|all| all.into_iter().fold(TextSet::everything(), |together, one| together.intersect(&one)))
}

/// Every string of up to seven letters of which one is in no value: long enough for any beginning, any end, two parts
/// between them and letters to keep them apart.
fn all_texts() -> Vec<Option<String>> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..7 {
        last = last.iter().flat_map(|text| ["a", "b", "c"].map(|letter| format!("{text}{letter}"))).collect();
        all.extend(last.iter().cloned());
    }
    all.into_iter().map(Some).chain([None]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn integers_are_found_empty_exactly_where_nothing_is_in_them(set in int_set()) {
        let empty = !int_values().any(|value| set.contains(value));
        prop_assert_eq!(proved_empty(&Set::Ints(set)), empty);
    }

    #[test]
    fn the_complement_of_integers_is_what_is_not_in_them(set in int_set()) {
        let rest = set.complement();
        for value in int_values().filter(|value| in_domain(&set, *value)) {
            prop_assert_eq!(rest.iter().any(|part| part.contains(value)), !set.contains(value), "{:?}", value);
        }
    }

    #[test]
    fn integers_are_covered_exactly_where_all_of_them_are(
        sets in domain().prop_flat_map(|domain| prop::collection::vec(int_set_of(domain), 2..5))
    ) {
        let (first, others) = (&sets[0], &sets[1..]);
        let covered = int_values().filter(|v| first.contains(*v)).all(|v| others.iter().any(|o| o.contains(v)));
        let others: Vec<Set> = others.iter().cloned().map(Set::Ints).collect();
        let proved = Prover::default().covered(&Set::Ints(first.clone()), &others.iter().collect::<Vec<_>>());
        prop_assert_eq!(proved, covered);
    }

    /// In large domains not everything is proved, but nothing wrong.
    #[test]
    fn large_integers_are_never_wrongly_found_empty(low in any::<i32>(), length in 0_i128..1 << 40, mask: u64, none: u64, shift in 0_u32..64) {
        let all = IntSet::all(i64::MIN.into(), i64::MAX.into(), false);
        let (low, mask, none) = (i128::from(low), mask >> shift, none >> shift);
        let set = all.within(vec![(low, low + length)]).intersect(&all.sharing(mask)).intersect(&all.avoiding(none));
        if proved_empty(&Set::Ints(set.clone())) {
            for value in (low..=low + length).take(10_000).chain((low..=low + length).rev().take(10_000)) {
                prop_assert!(!set.contains(Some(value)), "{}", value);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn strings_are_found_empty_exactly_where_nothing_is_in_them(set in texts()) {
        let empty = !all_texts().iter().any(|text| set.contains(text.as_deref()));
        prop_assert_eq!(proved_empty(&Set::Text(set)), empty);
    }

    #[test]
    fn strings_are_covered_exactly_where_all_of_them_are(sets in prop::collection::vec(texts(), 2..4)) {
        let (first, others) = (&sets[0], &sets[1..]);
        let all = all_texts();
        let mut inside = all.iter().map(Option::as_deref).filter(|text| first.contains(*text));
        let covered = inside.all(|text| others.iter().any(|other| other.contains(text)));
        let others: Vec<Set> = others.iter().cloned().map(Set::Text).collect();
        let proved = Prover::default().covered(&Set::Text(first.clone()), &others.iter().collect::<Vec<_>>());
        prop_assert_eq!(proved, covered);
    }
}

fn hook(ty: ArgType) -> Hook {
    Hook { args: vec![Arg { index: 0, ty, ..Arg::default() }], ..Hook::default() }
}

/// The one set that a filter makes on the argument of a hook.
fn lowered(hook: &Hook, operator: Operator, values: &[&str]) -> Set {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    let filter = ArgFilter { index: 0, args: Vec::new(), operator, values };
    let selector = Selector { match_args: vec![filter], ..Selector::default() };
    let mut conditions = lower(hook, &selector, &FieldPath::root());
    assert_eq!(conditions.len(), 1);
    conditions.remove(0).set
}

#[test]
fn networks_of_both_families() {
    let socket = hook(ArgType::Sock);
    let set = |operator, values: &[&str]| lowered(&socket, operator, values);
    let prover = Prover::default();
    let covers = |small: &Set, large: &Set| prover.covered(small, &[large]);
    let ten = set(Operator::DAddr, &["10.0.0.0/8"]);
    let private = set(Operator::DAddr, &["10.0.0.0/9", "10.128.0.0/9", "fc00::/7"]);
    assert!(covers(&ten, &private) && !covers(&private, &ten));
    assert!(proved_empty(&ten.intersect(&set(Operator::NotDAddr, &["0.0.0.0/0"]))));
    // IPv6 networks are those of IPv6 addresses only.
    assert!(!covers(&ten, &set(Operator::DAddr, &["::/0"])));
    assert!(covers(&set(Operator::DAddr, &["2001:db8::1"]), &set(Operator::DAddr, &["::/0"])));
    // A unix socket has no address.
    assert!(!prover.is_everything(&set(Operator::DAddr, &["0.0.0.0/0", "::/0"])));
    let unequal = set(Operator::NotDAddr, &["0.0.0.0/0", "::/0"]);
    assert!(!proved_empty(&unequal));
    let ports = set(Operator::DPortPriv, &[]).intersect(&set(Operator::DPort, &["1024:65535"]));
    assert!(proved_empty(&ports));
}

proptest! {
    /// Every network against every other, by the addresses at its ends.
    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "the bits that are kept fit")]
    fn networks_are_ranges_of_addresses(a: u128, b: u128, v4: bool, lengths in (0_u8..=32, 0_u8..=32)) {
        let text = |n: u128, length: u8| {
            if v4 {
                format!("{}/{length}", std::net::Ipv4Addr::from((n & 0xc000_0003) as u32))
            } else {
                format!("{}/{length}", std::net::Ipv6Addr::from(n & (0xc000_0003 << 96)))
            }
        };
        let (a, b) = (text(a, lengths.0), text(b, lengths.1));
        let networks = |text: &str| address::network(text).unwrap().networks();
        let within = networks(&a).iter().all(|x| networks(&b).iter().any(|y| y.covers(x)));
        let socket = hook(ArgType::Sock);
        let set = |text: &str| lowered(&socket, Operator::SAddr, &[text]);
        let proved = Prover::default().covered(&set(&a), &[&set(&b)]);
        prop_assert_eq!(proved, within, "{} in {}", a, b);
    }
}

/// Selectors that are called taken never see an event first, for every event of a small world.
#[derive(Clone, Debug)]
struct World {
    number: i128,
    text: Option<String>,
}

fn selectors() -> impl Strategy<Value = Vec<Vec<(Key, Set)>>> {
    let number = int_set_of((0, 15, false));
    let condition = prop_oneof![
        number.prop_map(|set| (Key::Pid { namespaced: false }, Set::Ints(set))),
        texts().prop_map(|set| (Key::Program, Set::Text(set))),
    ];
    prop::collection::vec(prop::collection::vec(condition, 0..3), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_is_taken_is_never_first(selectors in selectors()) {
        let all: Vec<Allowed> = selectors
            .iter()
            .map(|conditions| {
                let conditions: Vec<Condition> = conditions
                    .iter()
                    .map(|(key, set)| Condition { key: key.clone(), set: set.clone(), path: FieldPath::root() })
                    .collect();
                allowed(&conditions)
            })
            .collect();
        let prover = Prover::default();
        let matches = |allowed: &Allowed, world: &World| {
            allowed.values().all(|set| match set {
                Set::Ints(set) => set.contains(Some(world.number)),
                Set::Text(set) => set.contains(world.text.as_deref()),
            })
        };
        let mut first = BTreeMap::new();
        for text in all_texts().into_iter().filter(|text| text.as_ref().is_none_or(|text| text.len() <= 5)) {
            for number in 0..16 {
                let world = World { number, text: text.clone() };
                if let Some(i) = all.iter().position(|allowed| matches(allowed, &world)) {
                    first.insert(i, world);
                }
            }
        }
        for (i, later) in all.iter().enumerate() {
            let earlier: Vec<&Allowed> = all[..i].iter().collect();
            if prover.never(later) || prover.takers(&earlier, later).is_some() {
                prop_assert!(!first.contains_key(&i), "selector {} sees {:?}", i, first[&i]);
            }
        }
    }
}

proptest! {
    #[test]
    fn label_selectors_allow_what_they_match(
        labels in prop::collection::btree_map("[ab]", "[xyz]", 0..3),
        written in prop::collection::btree_map("[ab]", "[xyz]", 0..2),
        expressions in prop::collection::vec(("[ab]", 0_usize..4, prop::collection::vec("[xyz]", 1..3)), 0..4),
    ) {
        let expressions = expressions.into_iter().map(|(key, operator, values)| LabelExpression {
            key, operator: LabelOperator::ALL[operator], values,
        });
        let selector = LabelSelector { match_labels: written, match_expressions: expressions.collect() };
        let conditions = super::labels(Subject::Pod, &selector, &FieldPath::root());
        let allowed = conditions.iter().all(|condition| match (&condition.key, &condition.set) {
            (Key::Label(_, key), Set::Text(set)) => set.contains(labels.get(key).map(String::as_str)),
            _ => false,
        });
        prop_assert_eq!(allowed, selector.matches(&labels));
    }
}

#[test]
fn the_search_ends() {
    let many = |from: usize| {
        let atoms = (from..from + 5000).map(|i| Atom::Prefix(format!("/{i}/"))).collect();
        Set::Text(TextSet::of(Clause { negated: false, atoms }))
    };
    let prover = Prover::default();
    // As it is, but only by trying each against all.
    assert!(!prover.covered(&many(0), &[&many(0)]));
    assert!(!prover.budget.spend(0));
    // Without a budget nothing is claimed any more.
    assert!(!prover.is_empty(&many(0).intersect(&many(10_000))));
}
