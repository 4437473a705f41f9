//! What limits records: the budget of a policy for each pod, and the `rateLimit` of a selector. Counts have no limits.

use aya_ebpf::{macros::map, maps::LruHashMap};
use gatewatch_abi::{
    BudgetKey, RateKey, RecordBit,
    record::consts::{BUDGETS, RATES, SCOPE_GLOBAL, SCOPE_PROCESS},
};
use gatewatch_ebpf::{frozen, memory};

use crate::RECORDER_CONFIG;

/// The number of the budget for records of processes. No policy has it.
pub const PROCESSES: u64 = 0;

/// How much of each budget is used, as the time until which it would be by the rate alone (the "virtual scheduling algorithm",
/// ITU-T I.371). A budget that was forgotten is whole again. A pod has an entry for each policy, however much it does.
#[map]
static RECORD_BUDGETS: LruHashMap<BudgetKey, u64> = LruHashMap::pinned(BUDGETS, 0);

/// When a record was last written, for `rateLimit`.
#[map]
static RECORD_RATES: LruHashMap<RateKey, u64> = LruHashMap::with_max_entries(RATES, 0);

/// Whether the budget has a record left at this time. It isn't taken.
#[inline(always)]
pub fn has(key: &BudgetKey, now: u64) -> bool {
    // SAFETY: a u64 that is copied at once.
    let used = unsafe { RECORD_BUDGETS.get(key) }.copied().unwrap_or(0);
    used <= now + frozen!(RECORDER_CONFIG.budget_burst)
}

/// Nanoseconds in which a budget grows by one record. That of processes, which is of no policy, grows faster.
#[inline(always)]
fn step(key: &BudgetKey) -> u64 {
    let step = frozen!(RECORDER_CONFIG.budget_step);
    if key.policy == PROCESSES { step / 10 } else { step }
}

/// Takes a record from the budget. Processors that do this at the same time may take a record more than there is.
#[inline(always)]
pub fn take(key: &BudgetKey, now: u64) {
    let step = step(key);
    match RECORD_BUDGETS.get_ptr_mut(key) {
        // SAFETY: a map's value.
        Some(used) => unsafe {
            if core::ptr::read_volatile(used) < now {
                core::ptr::write_volatile(used, now + step);
            } else {
                memory::add(used, step);
            }
        },
        None => {
            let _ = RECORD_BUDGETS.insert(key, now + step, 0);
        }
    }
}

/// The key under which records count as the same. `hash` is of their arguments, `ids` are process and thread.
#[inline(always)]
pub fn same(bit: &RecordBit, ids: u64, hash: u64) -> RateKey {
    let scope = match bit.scope {
        SCOPE_GLOBAL => 0,
        SCOPE_PROCESS => ids >> 32,
        _ => ids,
    };
    RateKey { of: u64::from(bit.hook) << 32 | u64::from(bit.selector), scope, arguments: hash }
}

/// Whether one that is the same was written less than `rate` nanoseconds ago.
#[inline(always)]
pub fn is_repeated(key: &RateKey, rate: u64, now: u64) -> bool {
    // SAFETY: a u64 that is copied at once.
    match unsafe { RECORD_RATES.get(key) }.copied() {
        Some(last) => now.wrapping_sub(last) < rate,
        None => false,
    }
}

/// One was written.
#[inline(always)]
pub fn wrote(key: &RateKey, now: u64) {
    let _ = RECORD_RATES.insert(key, now, 0);
}
