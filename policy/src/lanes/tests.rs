//! Lanes against the tables that are made of them, on generated hooks.

use gatewatch_abi::consts::MAX_LANES;
use proptest::prelude::*;

use super::{Candidate, fits_alone, place};
use crate::{
    diagnostic::FieldPath,
    match_tables::{self, Excess},
    model::NamespaceKind,
    plan::{ActionPlan, Evidence, Field, Filter, HookPlan, HookPoint, SelectorPlan, Test, TextOp, When},
};

fn point() -> HookPoint {
    HookPoint::Function { symbol: "f".to_owned(), when: When::Entry }
}

fn plan(selectors: Vec<SelectorPlan>) -> HookPlan {
    HookPlan {
        point: point(),
        origin: FieldPath::root(),
        args: Vec::new(),
        selectors,
        evidence: Evidence::default(),
    }
}

fn selector(filters: Vec<Filter>) -> SelectorPlan {
    SelectorPlan { filters, actions: ActionPlan::COUNT }
}

fn equal(field: Field, value: i128) -> Filter {
    Filter { field, test: Test::Int { negated: false, ranges: vec![(value, value)] } }
}

fn argument(index: u8) -> Field {
    Field::Arg { index, bits: 32, signed: true }
}

/// Everything that an event can be asked for.
fn field() -> impl Strategy<Value = Filter> {
    let kinds =
        [NamespaceKind::Uts, NamespaceKind::Ipc, NamespaceKind::Mnt, NamespaceKind::Net, NamespaceKind::User];
    let integer = prop_oneof![
        4 => (0_u8..6, prop::bool::ANY).prop_map(|(index, signed)| Field::Arg { index, bits: 32, signed }),
        1 => Just(Field::Pid),
        1 => Just(Field::NamespacePid),
        2 => prop::sample::select(kinds.to_vec()).prop_map(Field::Namespace),
    ];
    let ranges = prop_oneof![
        3 => (0_i128..50_000).prop_map(|value| vec![(value, value)]),
        1 => (0_i128..50_000, 1_i128..4).prop_map(|(low, more)| vec![(low, low + more)]),
    ];
    let text = prop_oneof![
        (0_u8..6).prop_map(Field::UserString),
        (0_u8..2).prop_map(Field::File),
        Just(Field::Binary)
    ];
    prop_oneof![
        6 => (integer.clone(), ranges, prop::bool::ANY)
            .prop_map(|(field, ranges, negated)| Filter { field, test: Test::Int { negated, ranges } }),
        1 => (integer, any::<u64>())
            .prop_map(|(field, mask)| Filter { field, test: Test::Mask { negated: false, mask } }),
        3 => (text, "/[ab]{1,3}", prop::sample::select(vec![TextOp::Equal, TextOp::Prefix, TextOp::Postfix])).prop_map(
            |(field, value, op)| Filter {
                field,
                test: Test::Text { negated: false, op, values: vec![value.into_bytes()], follow_children: false },
            }
        ),
        1 => "/[ab]{1,3}".prop_map(|value| Filter {
            field: Field::Binary,
            test: Test::Text { negated: false, op: TextOp::Equal, values: vec![value.into_bytes()], follow_children: true },
        }),
        1 => (0_u8..4).prop_map(|index| Filter {
            field: Field::DestinationAddress(index),
            test: Test::Address { negated: false, networks: Vec::new() },
        }),
    ]
}

fn hook() -> impl Strategy<Value = HookPlan> {
    let selector = prop::collection::vec(field(), 0..4).prop_map(selector);
    prop::collection::vec(selector, 1..4).prop_map(plan)
}

/// The tables of a lane.
fn tables(hooks: &[&HookPlan]) -> Result<(), Excess> {
    let hooks: Vec<match_tables::Hook<'_>> =
        (0..).zip(hooks).map(|(id, plan)| match_tables::Hook { id, policy: 0, plan }).collect();
    match_tables::build(&point(), &hooks, &[vec![true]], 6).map(drop)
}

/// The hooks of each lane.
fn divided<'a>(hooks: &'a [HookPlan], lanes: &[u8]) -> Vec<Vec<&'a HookPlan>> {
    let of =
        |lane| hooks.iter().zip(lanes).filter(move |(_, of)| **of == lane).map(|(hook, _)| hook).collect();
    (0..MAX_LANES).map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Eighty policies with hooks on a dozen functions: all have a lane, and each lane has tables.
    #[test]
    fn eighty_policies_on_a_dozen_functions(
        policies in prop::collection::vec(prop::collection::vec((0_usize..12, hook()), 1..3), 80)
    ) {
        for function in 0..12 {
            let hooks: Vec<HookPlan> = policies
                .iter()
                .flatten()
                .filter(|(of, hook)| *of == function && fits_alone(hook).is_ok())
                .map(|(_, hook)| hook.clone())
                .collect();
            let candidates: Vec<Candidate<'_>> = hooks.iter().map(Candidate::new).collect();
            let lanes = place(&candidates);
            prop_assert!(lanes.is_ok(), "{} hooks: {lanes:?}", hooks.len());
            for lane in divided(&hooks, &lanes.unwrap()) {
                prop_assert_eq!(tables(&lane), Ok(()));
            }
        }
    }

    /// What is the same stays where it is, whatever comes and goes around it.
    #[test]
    fn hooks_stay_in_their_lanes(
        before in prop::collection::vec(hook(), 1..30),
        after in prop::collection::vec(hook(), 1..10),
        gone in prop::collection::vec(any::<bool>(), 30),
    ) {
        let fits = |hook: &HookPlan| fits_alone(hook).is_ok();
        let before: Vec<HookPlan> = before.into_iter().filter(fits).collect();
        let Ok(first) = place(&before.iter().map(Candidate::new).collect::<Vec<_>>()) else { return Ok(()) };
        let stay = before.iter().zip(&first).zip(&gone).filter(|(_, gone)| !**gone);
        let mut hooks: Vec<(HookPlan, Option<u8>)> =
            stay.map(|((hook, lane), _)| (hook.clone(), Some(*lane))).collect();
        // New ones between them.
        for (i, hook) in after.into_iter().filter(fits).enumerate() {
            hooks.insert((i * 3).min(hooks.len()), (hook, None));
        }
        let candidates: Vec<Candidate<'_>> =
            hooks.iter().map(|(plan, lane)| Candidate { plan, lane: *lane, same: lane.is_some() }).collect();
        let Ok(lanes) = place(&candidates) else { return Ok(()) };
        for ((_, was), lane) in hooks.iter().zip(&lanes) {
            prop_assert!(was.is_none_or(|was| was == *lane));
        }
    }
}

#[test]
fn what_fits_together_is_in_one_lane() {
    let hooks: Vec<HookPlan> =
        (0..1_000).map(|value| plan(vec![selector(vec![equal(argument(0), value + 5_000)])])).collect();
    let lanes = place(&hooks.iter().map(Candidate::new).collect::<Vec<_>>()).unwrap();
    assert!(lanes.iter().all(|lane| *lane == 0));
    assert_eq!(tables(&hooks.iter().collect::<Vec<_>>()), Ok(()));
}

#[test]
fn a_thousand_selectors_over_many_fields() {
    let fields: Vec<Field> = (0..6)
        .flat_map(|index| [8, 16, 32, 64].map(|bits| Field::Arg { index, bits, signed: false }))
        .collect();
    let hooks: Vec<HookPlan> = (0..1_024)
        .map(|i| {
            plan(vec![selector(vec![equal(fields[i % fields.len()], i128::try_from(i).unwrap() % 200)])])
        })
        .collect();
    let lanes = place(&hooks.iter().map(Candidate::new).collect::<Vec<_>>()).unwrap();
    let divided = divided(&hooks, &lanes);
    assert_eq!(divided.iter().filter(|lane| !lane.is_empty()).count(), fields.len().div_ceil(8));
    assert!(divided.iter().all(|lane| tables(lane).is_ok()));
}

#[test]
fn more_than_all_lanes_hold() {
    let full = |i: u8| {
        let filters = (0..8).map(|field| {
            equal(Field::Descends { namespaced: false, pids: [u32::from(i) * 8 + field; 4] }, 1)
        });
        plan(vec![selector(filters.collect())])
    };
    let hooks: Vec<HookPlan> = (0..=MAX_LANES).map(full).collect();
    let candidates: Vec<Candidate<'_>> = hooks.iter().map(Candidate::new).collect();
    let all_but_one = place(&candidates[1..]).unwrap();
    assert_eq!(all_but_one, (0..MAX_LANES).collect::<Vec<_>>());
    let unplaced = place(&candidates).unwrap_err();
    assert_eq!((unplaced.index, unplaced.excess), (usize::from(MAX_LANES), Excess::Lanes));
}

#[test]
fn a_changed_hook_makes_way() {
    let six = plan(vec![selector((0..6).map(|i| equal(argument(i), 1)).collect())]);
    let three = plan(vec![selector(vec![
        equal(Field::Pid, 1),
        equal(Field::NamespacePid, 1),
        equal(Field::Namespace(NamespaceKind::Net), 1),
    ])]);
    let two = plan(vec![selector(vec![equal(Field::Pid, 1), equal(Field::NamespacePid, 1)])]);
    let first = |plan, same| Candidate { plan, lane: Some(0), same };
    assert_eq!(place(&[first(&six, true), first(&two, false)]), Ok(vec![0, 0]), "it fits");
    assert_eq!(place(&[first(&six, true), first(&three, false)]), Ok(vec![0, 1]));
    assert_eq!(place(&[first(&three, false), first(&six, true)]), Ok(vec![1, 0]), "whatever its place");
    // The other one's lane is of no use, and it goes back only when it is changed again.
    let second = Candidate { plan: &two, lane: Some(1), same: true };
    assert_eq!(place(&[first(&six, true), second]), Ok(vec![0, 1]));
}
