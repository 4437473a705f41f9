//! The numbers of a matcher that is attached to several hook points, and the maps of integers, in which they are.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use gatewatch_abi::{
    ExactKey,
    consts::{POINT_SLOT, POINTS_ONE},
};

use crate::{frozen, globals::CONFIG};

/// Integers that are looked up by value.
#[map]
pub static EXACT: HashMap<ExactKey, u32> = HashMap::with_max_entries(1, 0);
/// Rows of small integers, by value. After them, the numbers of hooks at several points.
#[map]
pub static DIRECT: Array<u32> = Array::with_max_entries(1, 0);

/// The index of the hook point at this instruction.
#[inline(never)]
pub fn by_address(address: u64) -> Option<u32> {
    let key = ExactKey { value: address, slot: POINT_SLOT, pad: 0 };
    // SAFETY: a u32 that is copied at once.
    unsafe { EXACT.get(key) }.copied()
}

/// The number that a hook is counted under at a point. `None`: the agent has not named this point.
#[inline(always)]
pub fn number(hook: u32, point: u32) -> Option<u32> {
    if frozen!(CONFIG.points) == POINTS_ONE {
        Some(hook)
    } else {
        DIRECT.get(hook.wrapping_add(point)).copied()
    }
}
