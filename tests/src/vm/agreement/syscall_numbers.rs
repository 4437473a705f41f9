//! Numbers of system calls: the BPF programs against the reference evaluator.

use gatewatch_policy::{
    evaluate::Value,
    plan::{Field, Filter, HookPoint, Test},
};
use proptest::prelude::*;

use super::{Made, POLICIES, agree, draw, hook};
use crate::calls;

/// What a call has as its number: with a bit if it is made as 32-bit programs do.
const SETUID: i128 = 105;
const SETGID: i128 = 106;
const SETUID_BY_32_BITS: i128 = (1 << 31) + 213;
const ALL: [i128; 3] = [SETUID, SETGID, SETUID_BY_32_BITS];

fn is_one_of(index: u8, negated: bool, numbers: Vec<i128>) -> Filter {
    let ranges = numbers.into_iter().map(|number| (number, number)).collect();
    Filter { field: Field::Syscall(index), test: Test::Int { negated, ranges } }
}

/// Both kinds of calls, in a record and as an argument.
pub(in crate::vm) fn syscall_numbers() {
    let (subsystem, event) = ("raw_syscalls".to_owned(), "sys_enter".to_owned());
    let record = HookPoint::Tracepoint { subsystem: subsystem.clone(), event: event.clone() };
    let raw = HookPoint::RawTracepoint { subsystem, event };
    for (point, index) in [(record, 4), (raw, 1)] {
        let numbers = proptest::sample::subsequence(
            vec![SETUID, SETGID, SETUID_BY_32_BITS, 213, (1 << 31) + 105],
            1..4,
        );
        let filter =
            (any::<bool>(), numbers).prop_map(move |(negated, numbers)| is_one_of(index, negated, numbers));
        let hooks = hook("", false, false, filter).prop_map(move |mut hook| {
            hook.point = point.clone();
            // The test makes other calls as well, of which it knows no number.
            let made = is_one_of(index, false, ALL.to_vec());
            hook.selectors.iter_mut().for_each(|selector| selector.filters.push(made.clone()));
            hook
        });
        agree("syscall64", hooks, POLICIES, |runner| {
            (0..60)
                .map(|_| {
                    let number = draw(runner, &proptest::sample::select(ALL.to_vec()));
                    match number {
                        SETUID => calls::setuid_root(1),
                        SETGID => calls::setgid(0, 1),
                        _ => calls::setuid_by_32_bits(0, 1),
                    }
                    Made::of([(Field::Syscall(index), Value::Int(number))])
                })
                .collect()
        });
    }
}
