//! The BPF programs against the reference evaluator: generated plans and events, run through both.

mod capabilities;
mod descriptors;
mod file_types;
mod packets;
mod paths;
mod sockets;
mod syscall_numbers;
mod unix_names;
mod ways;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use gatewatch_policy::{
    diagnostic::FieldPath,
    evaluate::{Event, Value, Verdict, evaluate},
    plan::{
        ActionPlan, Evidence, Field, Filter, HookPlan, HookPoint, Plan, Scope, SelectorPlan, Test, TextOp,
        When,
    },
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

pub(super) use self::{
    capabilities::capability_sets,
    descriptors::descriptors,
    file_types::file_types,
    packets::{fragments, packets},
    paths::{dentries, paths},
    sockets::{socket_arguments, sockets},
    syscall_numbers::syscall_numbers,
    unix_names::unix_names,
    ways::{of_arguments, of_the_process},
};
use super::this;
use crate::{
    calls,
    kernel::{Kernel, Way},
};

/// Sets of policies in each test.
const SETS: u64 = 4;
/// Policies in a set, each of its own seed.
const POLICIES: usize = 20;

/// An event as it was made.
#[derive(Clone, Debug, Default)]
struct Made {
    values: HashMap<Field, Value>,
}

impl Event for Made {
    fn value(&self, field: Field) -> Option<Value> {
        self.values.get(&field).cloned()
    }

    fn lineage(&self) -> Vec<Vec<u8>> {
        match self.value(Field::Binary) {
            Some(Value::Text(path)) => vec![path],
            _ => Vec::new(),
        }
    }
}

impl Made {
    fn of(values: impl IntoIterator<Item = (Field, Value)>) -> Self {
        let mut values: HashMap<Field, Value> = values.into_iter().collect();
        values.insert(Field::Pid, Value::Int(i128::from(std::process::id())));
        values.insert(Field::Binary, Value::Text(own_path()));
        Self { values }
    }
}

/// The same sequence of values on every run of one seed, so that a failure can be repeated.
fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn draw<T: std::fmt::Debug>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).expect("a value").current()
}

/// A hook with generated selectors.
fn hook(
    symbol: &str,
    syscall: bool,
    on_return: bool,
    filter: impl Strategy<Value = Filter> + 'static,
) -> impl Strategy<Value = HookPlan> {
    let (symbol, when) = (symbol.to_owned(), When::of(on_return));
    let point =
        if syscall { HookPoint::Syscall { symbol, when } } else { HookPoint::Function { symbol, when } };
    let selector =
        (proptest::collection::vec(filter, 0..4), prop::bool::weighted(0.8)).prop_map(|(filters, count)| {
            SelectorPlan { filters, actions: if count { ActionPlan::COUNT } else { ActionPlan::NONE } }
        });
    proptest::collection::vec(selector, 1..5).prop_map(move |selectors| HookPlan {
        point: point.clone(),
        origin: FieldPath::root().field("spec").field("kprobes").index(0),
        args: Vec::new(),
        selectors,
        evidence: Evidence::default(),
    })
}

thread_local! {
    /// The BPF programs, loaded once for each way of attaching.
    static KERNELS: RefCell<BTreeMap<Way, Kernel>> = const { RefCell::new(BTreeMap::new()) };
}

/// Lends the BPF programs that attaches in this way.
fn with_kernel(way: Way, f: impl FnOnce(&mut Kernel)) {
    KERNELS.with_borrow_mut(|kernels| {
        let kernel = kernels.entry(way).or_insert_with(|| Kernel::load_with(way));
        f(kernel);
        assert!(kernel.apply([]).is_empty());
    });
}

/// Runs sets of generated policies, makes the events, and compares. `events` makes them and says what they were.
fn agree(
    name: &str,
    hooks: impl Strategy<Value = HookPlan>,
    policies: usize,
    events: impl Fn(&mut TestRunner) -> Vec<Made>,
) {
    agree_by(&Way::used(), name, &hooks, policies, &events);
}

/// The same, attached in these ways.
fn agree_by(
    ways: &[Way],
    name: &str,
    hooks: &impl Strategy<Value = HookPlan>,
    policies: usize,
    events: &impl Fn(&mut TestRunner) -> Vec<Made>,
) {
    for way in ways {
        for seed in 0..SETS {
            with_kernel(*way, |kernel| {
                let place = format!("{name}, seed {seed}, by {}", way.name());
                agree_once(kernel, &place, &mut runner(seed), hooks, policies, events);
            });
        }
    }
}

fn agree_once(
    kernel: &mut Kernel,
    place: &str,
    runner: &mut TestRunner,
    hooks: &impl Strategy<Value = HookPlan>,
    policies: usize,
    events: &impl Fn(&mut TestRunner) -> Vec<Made>,
) {
    let plans: Vec<Plan> = (0..policies)
        .map(|i| Plan {
            name: format!("p{i:03}"),
            namespace: None,
            scope: Scope { host: true, pods: None },
            hooks: vec![draw(runner, hooks)],
            partial: false,
            monitor_mode: false,
        })
        .collect();
    let failed = kernel.apply(plans.clone());
    // Policies that read too many fields together are rejected; most must run for this to mean anything.
    assert!(failed.len() * 2 < policies, "{place}: {failed:?}");
    let before = kernel.counts();
    let events = events(runner);
    let after = kernel.counts();
    let refused = |plan: &Plan| failed.keys().any(|key| key.name == plan.name);
    for plan in plans.iter().filter(|plan| !refused(plan)) {
        let count = |counts: &BTreeMap<String, u64>| counts.get(&plan.name).copied().unwrap_or(0);
        let counted = count(&after) - count(&before);
        let matching: Vec<&Made> = events
            .iter()
            .filter(|event| matches!(evaluate(&plan.hooks[0], *event), Verdict::Counted(_)))
            .collect();
        assert_eq!(
            counted,
            matching.len() as u64,
            "{place}: the kernel and the reference differ on {plan:#?}\nof {} events these match: {matching:#?}",
            events.len(),
        );
    }
}

const GID: Field = Field::Arg { index: 0, bits: 32, signed: false };
const SIGNED: Field = Field::Arg { index: 0, bits: 32, signed: true };
const NARROW: Field = Field::Arg { index: 0, bits: 16, signed: false };

/// Values around which filters and events lie, so that they meet.
fn id() -> impl Strategy<Value = u32> {
    prop_oneof![
        0_u32..12,
        Just(0x7fff_ffff),
        Just(0x8000_0000),
        Just(0xffff_fffe),
        (0_u32..16).prop_map(|bit| 1 << (2 * bit)),
        0xfff0_u32..0x1_0010,
    ]
}

fn id_filter() -> impl Strategy<Value = Filter> {
    let field = prop_oneof![Just(GID), Just(SIGNED), Just(NARROW)];
    let ranges = proptest::collection::vec((id(), prop_oneof![Just(0_u32), 0_u32..3, any::<u32>()]), 1..8);
    prop_oneof![
        4 => (field, any::<bool>(), ranges).prop_map(|(field, negated, ranges)| {
            let value = |id: u32| match field {
                SIGNED => i128::from(id.cast_signed()),
                NARROW => i128::from(id & 0xffff),
                _ => i128::from(id),
            };
            let top = match field { SIGNED => i128::from(i32::MAX), NARROW => 0xffff, _ => i128::from(u32::MAX) };
            let ranges = ranges
                .into_iter()
                .map(|(low, width)| (value(low), (value(low) + i128::from(width)).min(top)))
                .collect();
            Filter { field, test: Test::Int { negated, ranges } }
        }),
        1 => (any::<bool>(), id()).prop_map(|(negated, mask)| Filter {
            field: GID,
            test: Test::Mask { negated, mask: u64::from(mask) },
        }),
        1 => any::<bool>().prop_map(|negated| Filter {
            field: Field::Pid,
            test: Test::Int { negated, ranges: vec![(i128::from(std::process::id()), i128::from(std::process::id()))] },
        }),
        1 => (any::<bool>(), binary_values()).prop_map(|(negated, (op, values))| Filter {
            field: Field::Binary,
            test: Test::Text { negated, op, values, follow_children: false },
        }),
    ]
}

/// The path of this program, as records and filters have it.
fn own_path() -> Vec<u8> {
    this().as_os_str().as_bytes().to_vec()
}

/// Takes the events of this program alone: others on the machine make the same calls.
fn by_this_program() -> Filter {
    let values = vec![own_path()];
    let test = Test::Text { negated: false, op: TextOp::Equal, values, follow_children: false };
    Filter { field: Field::Binary, test }
}

fn binary_values() -> impl Strategy<Value = (TextOp, Vec<Vec<u8>>)> {
    let own = own_path();
    let (start, end) = (own[..10].to_vec(), own[own.len() - 6..].to_vec());
    prop_oneof![
        Just((TextOp::Equal, vec![own.clone(), b"/usr/bin/sudo".to_vec()])),
        Just((TextOp::Equal, vec![b"/usr/bin/sudo".to_vec()])),
        Just((TextOp::Prefix, vec![start, b"/usr/local/bin/other".to_vec()])),
        Just((TextOp::Prefix, vec![b"/bin/".to_vec()])),
        Just((TextOp::Postfix, vec![end])),
        Just((TextOp::Postfix, vec![b"/nothing".to_vec(), b"x".to_vec()])),
    ]
}

fn make_ids(runner: &mut TestRunner) -> Vec<Made> {
    let ids: Vec<u32> = (0..150).map(|_| draw(runner, &id())).collect();
    ids.into_iter()
        .map(|id| {
            calls::setgid(id, 1);
            Made::of([
                (GID, Value::Int(i128::from(id))),
                (SIGNED, Value::Int(i128::from(id.cast_signed()))),
                (NARROW, Value::Int(i128::from(id & 0xffff))),
            ])
        })
        .collect()
}

/// Integers of several types, masks, process ids, programs.
pub(super) fn integers() {
    agree("int", hook("__sys_setgid", false, false, id_filter()), POLICIES, make_ids);
    calls::setgid(0, 1);
}

/// One selector alone on a function: its action is in the program.
pub(super) fn one_selector() {
    let one = hook("__sys_setgid", false, false, id_filter()).prop_map(|mut hook| {
        hook.selectors.truncate(1);
        hook
    });
    agree("one", one, 1, make_ids);
    calls::setgid(0, 1);
}

/// So many policies that a row has two words, or several.
pub(super) fn many_policies() {
    let equal = || {
        (any::<bool>(), id()).prop_map(|(negated, id)| Filter {
            field: GID,
            test: Test::Int { negated, ranges: vec![(i128::from(id), i128::from(id))] },
        })
    };
    let masked = (any::<bool>(), id())
        .prop_map(|(negated, id)| Filter { field: GID, test: Test::Mask { negated, mask: u64::from(id) } });
    let equal_or_masked = prop_oneof![3 => equal(), 1 => masked];
    // One to four selectors each: 90 or so.
    agree("two words", hook("__sys_setgid", false, false, equal_or_masked), 36, make_ids);
    agree("many", hook("__sys_setgid", false, false, equal()), 150, make_ids);
    calls::setgid(0, 1);
}

const NAME: Field = Field::UserString(0);
const RESULT: Field = Field::Return { bits: 64, signed: true };

/// Strings in user memory, and results.
pub(super) fn strings_and_results() {
    let name = || "/[ab/]{0,6}".prop_map(String::into_bytes);
    let op = prop_oneof![Just(TextOp::Equal), Just(TextOp::Prefix), Just(TextOp::Postfix)];
    let text =
        (any::<bool>(), op, proptest::collection::vec(name(), 1..5)).prop_map(|(negated, op, values)| {
            Filter { field: NAME, test: Test::Text { negated, op, values, follow_children: false } }
        });
    let result = (any::<bool>(), prop_oneof![Just(0_i128), Just(-2), Just(-20), Just(-1)])
        .prop_map(|(negated, v)| Filter { field: RESULT, test: Test::Int { negated, ranges: vec![(v, v)] } });
    let make = move |runner: &mut TestRunner| -> Vec<Made> {
        (0..100)
            .map(|_| {
                let path = draw(runner, &name());
                let result = match calls::chdir(Path::new(std::ffi::OsStr::from_bytes(&path))) {
                    Ok(()) => 0,
                    Err(error) => -i128::from(error.raw_os_error().expect("a number")),
                };
                Made::of([(NAME, Value::Text(path)), (RESULT, Value::Int(result))])
            })
            .collect()
    };
    let prefix = crate::kernel::host().profile.syscall_symbol("sys_chdir");
    agree("string", hook(&prefix, true, false, text.clone()), POLICIES, make);
    // A kretprobe sees the result only.
    agree("result alone", hook(&prefix, true, true, result.clone()), POLICIES, make);
    agree_by(
        &[Way::Trampolines],
        "result",
        &hook(&prefix, true, true, prop_oneof![text, result]),
        POLICIES,
        &make,
    );
    calls::chdir(Path::new("/")).expect("the root");
}
