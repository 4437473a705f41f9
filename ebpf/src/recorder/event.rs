//! Records of events that policies have matched.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use gatewatch_abi::{
    BudgetKey,
    consts::{ACTION_RECORD, MAX_WORDS, STAT_LOST},
    mix,
    record::consts::{BUDGET, BUFFER_FULL, INTERRUPTED, RATE_LIMIT, RECORD_ARGS, RECORD_HOOK, WRITTEN},
};
use gatewatch_ebpf::{
    frozen,
    globals::CONFIG,
    handover::{self, enter_ledger},
    points,
    shared::note,
};

use crate::{
    hooks::{RECORD_BITS, RECORD_HOOKS},
    limits,
    space::{self, HEAD, NO_SPACE, Space},
    values,
};

/// Bytes of an argument that `rateLimit` compares, as Tetragon does (`rate_limit`, bpf/process/basic.h there).
const COMPARED: u64 = 40;

/// Writes a record for each hook that took the event in a slot, and frees the slot.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn all(slot: u32) -> u32 {
    let level = space::claim();
    let Some(of) = handover::slot(slot) else { return 0 };
    // SAFETY: maps' values.
    unsafe {
        if let Some(space) = space::at(level) {
            (*space).ctx = (*of).ctx;
        }
        for w in 0..MAX_WORDS {
            if w as u32 >= frozen!(CONFIG.words) {
                break;
            }
            let mut bits = core::ptr::read_volatile((&raw const (*of).words).cast::<u64>().add(w));
            let point = (*of).point;
            for turn in 0..64 {
                if turn >= frozen!(CONFIG.bits) || bits == 0 {
                    break;
                }
                let bit = bits.trailing_zeros() & 63;
                bits &= bits - 1;
                let number = w as u32 * 64 + bit;
                let Some(what) = RECORD_BITS.get(number) else { continue };
                bits &= !what.siblings;
                if what.flags & ACTION_RECORD != 0 {
                    one(level, number, slot, point);
                }
            }
        }
    }
    if level != NO_SPACE {
        space::release(level);
    }
    handover::release(slot);
    0
}

/// Writes one record, and enters what became of it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn one(level: u32, bit: u32, slot: u32, point: u32) -> u32 {
    let Some(what) = RECORD_BITS.get(bit) else { return 0 };
    match points::number(what.hook, point) {
        Some(hook) => enter_ledger(hook, attempt(level, bit, slot, hook)),
        None => note(STAT_LOST),
    }
    0
}

/// Writes a record if there is room and budget: what became of it.
#[inline(always)]
fn attempt(level: u32, bit: u32, slot: u32, hook: u32) -> u32 {
    let (Some(space), Some(slot), Some(what)) =
        (space::at(level), handover::slot(slot), RECORD_BITS.get(bit))
    else {
        return INTERRUPTED;
    };
    let Some(of) = RECORD_HOOKS.get(what.of) else { return INTERRUPTED };
    let budget = BudgetKey { policy: of.policy, pod: space::record_pod() };
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if !limits::has(&budget, now) {
        return BUDGET;
    }
    // SAFETY: maps' values.
    unsafe {
        let head = space::begin(space, RECORD_HOOK, (*slot).cgroup, budget.pod);
        (*head).hook = hook;
        (*head).selector = what.selector;
        (*head).args = of.count;
    }
    for i in 0..RECORD_ARGS as u32 {
        if i >= of.count {
            break;
        }
        let place = space::place(space);
        values::value(level, what.of, i);
        if what.rate != 0 {
            compare(space, place);
        }
    }
    if what.rate == 0 {
        return sent(space, &budget, now);
    }
    // SAFETY: a map's value.
    let (ids, hash) = unsafe {
        let head = space::head_of(space);
        (u64::from((*head).pid) << 32 | u64::from((*head).tid), (*space).hash)
    };
    let key = limits::same(what, ids, hash);
    if limits::is_repeated(&key, what.rate, now) {
        return RATE_LIMIT;
    }
    let result = sent(space, &budget, now);
    if result == WRITTEN {
        limits::wrote(&key, now);
    }
    result
}

#[inline(always)]
fn sent(space: *mut Space, budget: &BudgetKey, now: u64) -> u32 {
    if !space::send(space) {
        return BUFFER_FULL;
    }
    limits::take(budget, now);
    WRITTEN
}

/// Adds the value at a place to what is compared.
#[inline(always)]
fn compare(space: *mut Space, place: u64) {
    let end = space::place(space);
    // SAFETY: a field of a map's value.
    let mut hash = unsafe { (*space).hash };
    for i in 0..(HEAD + COMPARED) / 8 {
        if place + 8 * i >= end {
            break;
        }
        hash = mix(hash, space::word(space, place + 8 * i));
    }
    // SAFETY: as above.
    unsafe { (*space).hash = hash }
}
