//! The tables against the reference evaluator, on generated plans and events.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{Excess, Hook, build};
use crate::{
    diagnostic::FieldPath,
    evaluate::{Event, Value, Verdict, evaluate},
    plan::{
        ActionPlan, Evidence, Field, Filter, HookPlan, HookPoint, Network, SelectorPlan, Test, TextOp, When,
    },
};

#[derive(Clone, Debug)]
struct Sample {
    values: HashMap<Field, Value>,
    ancestors: Vec<Vec<u8>>,
}

impl Event for Sample {
    fn value(&self, field: Field) -> Option<Value> {
        self.values.get(&field).cloned()
    }

    fn lineage(&self) -> Vec<Vec<u8>> {
        let mut all = self.ancestors.clone();
        if let Some(Value::Text(own)) = self.value(Field::Binary) {
            all.push(own);
        }
        all
    }
}

const SIGNED: Field = Field::Arg { index: 0, bits: 32, signed: true };
const UNSIGNED: Field = Field::Arg { index: 1, bits: 64, signed: false };

/// Few letters, so that strings begin and end alike.
fn text() -> impl Strategy<Value = Vec<u8>> {
    "[/ab]{1,4}".prop_map(String::into_bytes)
}

fn address() -> impl Strategy<Value = [u8; 16]> {
    prop_oneof![
        (0_u8..4, 0_u8..4).prop_map(|(a, b)| {
            let mut address = [0; 16];
            address[10..].copy_from_slice(&[0xff, 0xff, 10, a, 0, b]);
            address
        }),
        (0_u8..4).prop_map(|a| {
            let mut address = [0; 16];
            address[0] = 0xfd;
            address[15] = a;
            address
        })
    ]
}

fn network() -> impl Strategy<Value = Network> {
    (address(), 0_u8..=128).prop_map(|(address, prefix)| {
        let keep = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Network { address: (u128::from_be_bytes(address) & keep).to_be_bytes(), prefix }
    })
}

fn ranges(min: i128, max: i128) -> impl Strategy<Value = Vec<(i128, i128)>> {
    let near = prop_oneof![Just(min), Just(max), -3_i128..8, Just(min + 1), Just(max - 1)];
    proptest::collection::vec((near, 0_i128..3), 1..4).prop_map(move |ranges| {
        ranges.into_iter().map(|(low, width)| (low.max(min), (low + width).max(min).min(max))).collect()
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let op = prop_oneof![Just(TextOp::Equal), Just(TextOp::Prefix), Just(TextOp::Postfix)];
    let texts = || proptest::collection::vec(text(), 1..4);
    prop_oneof![
        (any::<bool>(), ranges(i128::from(i32::MIN), i128::from(i32::MAX)))
            .prop_map(|(negated, ranges)| Filter { field: SIGNED, test: Test::Int { negated, ranges } }),
        (any::<bool>(), ranges(0, i128::from(u64::MAX)))
            .prop_map(|(negated, ranges)| Filter { field: UNSIGNED, test: Test::Int { negated, ranges } }),
        (any::<bool>(), prop_oneof![0_u64..16, any::<u64>()])
            .prop_map(|(negated, mask)| Filter { field: UNSIGNED, test: Test::Mask { negated, mask } }),
        (any::<bool>(), op, texts(), prop_oneof![Just(Field::File(0)), Just(Field::Binary)]).prop_map(
            |(negated, op, values, field)| Filter {
                field,
                test: Test::Text { negated, op, values, follow_children: false }
            }
        ),
        (any::<bool>(), prop_oneof![Just(vec![b"/a".to_vec()]), Just(vec![b"/b".to_vec(), b"/ab".to_vec()])])
            .prop_map(|(negated, values)| Filter {
                field: Field::Binary,
                test: Test::Text { negated, op: TextOp::Equal, values, follow_children: true }
            }),
        (any::<bool>(), proptest::collection::vec(network(), 1..4)).prop_map(|(negated, networks)| Filter {
            field: Field::DestinationAddress(2),
            test: Test::Address { negated, networks }
        }),
    ]
}

fn hook() -> impl Strategy<Value = HookPlan> {
    let selector = (proptest::collection::vec(filter(), 0..4), prop::bool::weighted(0.8)).prop_map(
        |(filters, count)| SelectorPlan {
            filters,
            actions: if count { ActionPlan::COUNT } else { ActionPlan::NONE },
        },
    );
    proptest::collection::vec(selector, 1..5).prop_map(plan)
}

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

fn sample() -> impl Strategy<Value = Sample> {
    let int = |min: i128, max: i128| prop_oneof![4 => (-4_i128..10).prop_map(move |v| v.max(min)), 1 => Just(min), 1 => Just(max)];
    (
        proptest::option::of(int(i128::from(i32::MIN), i128::from(i32::MAX))),
        int(0, i128::from(u64::MAX)),
        proptest::option::of(text()),
        proptest::option::of(prop_oneof![text(), Just(b"/a".to_vec()), Just(b"/ab".to_vec())]),
        proptest::option::of(address()),
        proptest::collection::vec(text(), 0..3),
    )
        .prop_map(|(signed, unsigned, file, binary, address, ancestors)| {
            let mut values = HashMap::new();
            values.insert(UNSIGNED, Value::Int(unsigned));
            values.extend(signed.map(|v| (SIGNED, Value::Int(v))));
            // A path begins with a slash.
            values.extend(file.map(|v| (Field::File(0), Value::Text([b"/".as_slice(), &v].concat()))));
            values.extend(binary.map(|v| (Field::Binary, Value::Text(v))));
            values.extend(address.map(|v| (Field::DestinationAddress(2), Value::Address(v))));
            Sample { values, ancestors }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]
    #[test]
    fn tables_agree_with_the_reference(
        hooks in proptest::collection::vec(hook(), 1..40),
        samples in proptest::collection::vec(sample(), 1..8),
    ) {
        let list: Vec<Hook<'_>> =
            (100..)
            .zip(hooks.iter().enumerate())
            .map(|(id, (policy, plan))| Hook { id, policy, plan })
            .collect();
        let all = vec![true; hooks.len()];
        let odd: Vec<bool> = (0..hooks.len()).map(|i| i % 2 == 1).collect();
        // Several masks on one argument in one selector take a slot each: more than there are is refused.
        let tables = match build(&point(), &list, &[all, odd.clone()], 3) {
            Ok(tables) => tables,
            Err(excess) => {
                prop_assert!(matches!(excess, Excess::Integers | Excess::Selectors), "{excess}");
                return Ok(());
            }
        };
        for sample in samples {
            let expected: Vec<u32> = list
                .iter()
                .filter(|hook| matches!(evaluate(hook.plan, &sample), Verdict::Counted(_)))
                .map(|hook| hook.id)
                .collect();
            prop_assert_eq!(&tables.simulate(0, &sample), &expected);
            let watched: Vec<u32> =
                expected.into_iter().filter(|id| odd[*id as usize - 100]).collect();
            prop_assert_eq!(&tables.simulate(1, &sample), &watched);
        }
    }
}

#[test]
fn a_few_values_need_no_map() {
    let plan = plan(vec![SelectorPlan {
        filters: vec![Filter { field: SIGNED, test: Test::Int { negated: true, ranges: vec![(0, 0)] } }],
        actions: ActionPlan::COUNT,
    }]);
    let tables = build(&point(), &[Hook { id: 1, policy: 0, plan: &plan }], &[vec![true]], 1).unwrap();
    assert_eq!(tables.config.words, 1);
    assert_eq!(tables.config.ints[0].table, gatewatch_abi::consts::TABLE_INLINE);
    assert_eq!((tables.config.ints[0].count, tables.config.ints[0].values[0]), (1, 0));
    assert!(tables.exact.is_empty() && tables.breaks.is_empty());
}

#[test]
fn selectors_of_one_hook_share_a_word() {
    let plan = |n| plan(vec![SelectorPlan { filters: Vec::new(), actions: ActionPlan::COUNT }; n]);
    let plans: Vec<HookPlan> = (0..30).map(|_| plan(5)).collect();
    let hooks: Vec<Hook<'_>> =
        (0..).zip(plans.iter().enumerate()).map(|(id, (policy, plan))| Hook { id, policy, plan }).collect();
    let tables = build(&point(), &hooks, &[vec![true; 30]], 0).unwrap();
    assert_eq!(tables.config.words, 3);
    for (i, action) in tables.actions.iter().enumerate().filter(|(_, action)| action.flags != 0) {
        assert_eq!(action.siblings.count_ones(), 5, "bit {i}");
        assert!(action.siblings >> (i % 64) & 1 == 1);
    }
    let many: Vec<HookPlan> = (0..300).map(|_| plan(5)).collect();
    let hooks: Vec<Hook<'_>> = many.iter().map(|plan| Hook { id: 0, policy: 0, plan }).collect();
    assert_eq!(build(&point(), &hooks, &[], 0).unwrap_err(), Excess::Selectors);
}

#[test]
fn the_point_says_where_arguments_are() {
    let plan = plan(vec![SelectorPlan { filters: Vec::new(), actions: ActionPlan::COUNT }]);
    let hooks = [Hook { id: 1, policy: 0, plan: &plan }];
    let call = HookPoint::Syscall { symbol: "__x64_sys_setuid".to_owned(), when: When::Entry };
    let syscall = |point| build(point, &hooks, &[], 1).unwrap().config.syscall;
    assert_eq!((syscall(&point()), syscall(&call)), (0, 1));
}
