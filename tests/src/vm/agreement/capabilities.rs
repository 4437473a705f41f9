//! Sets of capabilities that are arguments: the BPF programs against the reference evaluator.

use gatewatch_policy::{
    evaluate::Value,
    plan::{Field, Filter, Test},
};
use proptest::prelude::*;

use super::{Made, POLICIES, agree, draw, hook};
use crate::calls;

/// `security_capset(new, old, effective, inheritable, permitted)`.
const EFFECTIVE: Field = Field::CapabilityArg(2);
const INHERITABLE: Field = Field::CapabilityArg(3);
const RAISED: Field = Field::CapabilitiesGained { old: 2, new: 3 };
const LOWERED: Field = Field::CapabilitiesGained { old: 3, new: 2 };

/// Sets of few capabilities, in both halves, so that they meet.
fn set() -> impl Strategy<Value = u64> {
    proptest::sample::subsequence(vec![0_u32, 5, 31, 32, 37], 0..4)
        .prop_map(|numbers| numbers.into_iter().fold(0, |set, number| set | 1 << number))
}

/// Equality, order, bits, and what one set has beyond another.
pub(in crate::vm) fn capability_sets() {
    let field = || prop_oneof![Just(EFFECTIVE), Just(INHERITABLE)];
    let filter = prop_oneof![
        2 => (field(), any::<bool>(), proptest::collection::vec((set(), prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]), 1..4))
            .prop_map(|(field, negated, ranges)| {
                let ranges =
                    ranges.into_iter().map(|(low, width)| (i128::from(low), i128::from(low.saturating_add(width))));
                Filter { field, test: Test::Int { negated, ranges: ranges.collect() } }
            }),
        2 => (field(), any::<bool>(), set())
            .prop_map(|(field, negated, mask)| Filter { field, test: Test::Mask { negated, mask } }),
        2 => prop_oneof![Just(RAISED), Just(LOWERED)].prop_map(|field| Filter {
            field,
            test: Test::Int { negated: false, ranges: vec![(1, u64::MAX.into())] },
        }),
    ];
    agree("capabilities", hook("security_capset", false, false, filter), POLICIES, |runner| {
        let event = |effective: u64, inheritable: u64| {
            let value = |set: u64| Value::Int(i128::from(set));
            Made::of([
                (EFFECTIVE, value(effective)),
                (INHERITABLE, value(inheritable)),
                (RAISED, value(inheritable & !effective)),
                (LOWERED, value(effective & !inheritable)),
            ])
        };
        let drawn = (0..100).map(|_| {
            let (effective, inheritable) = draw(runner, &(set(), set()));
            calls::capset(effective, inheritable);
            event(effective, inheritable)
        });
        let mut events: Vec<Made> = drawn.collect();
        // Reading the counts needs capabilities. To get them back is an event like the others.
        events.push(event(calls::capset_root(), 0));
        events
    });
}
