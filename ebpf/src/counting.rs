//! Counting what matched.

use core::num::NonZero;

use aya_ebpf::{helpers::bpf_get_current_task, macros::map, maps::Array};
use gatewatch_abi::{
    BitAction, CountKey, CountPlace, SHARE_COUNTS, SHARE_RESERVE, Task,
    consts::{ACTION_COUNT, OVERFLOW, POINTS_ONE, STAT_LOST, UNKNOWN},
    task_slot,
};

use crate::{
    context::Context,
    enforce, frozen,
    globals::CONFIG,
    points,
    shape::Shaped,
    shared::{BINARIES, COUNTS, FREE, NOEXIST, TASKS, add, note},
    shares::{self, pod_of_current},
};

/// What each bit does.
#[map]
pub static ACTIONS: Array<BitAction> = Array::with_max_entries(64, 0);

/// Counts each bit of a word that is left, once for each policy hook: the first selector takes the event. `APART`: for the
/// verifier's sake, see [`increment_apart`]. Adds what the selectors want to `wanted`, see [`enforce`].
///
/// # Safety
///
/// `task` is a map's value, or on the stack.
#[inline(never)]
unsafe fn count<C: Context, S: Shaped, const APART: bool>(
    mut bits: u64,
    first: u32,
    task: *mut Task,
    mut wanted: u64,
) -> u64 {
    // No more turns than there are bits: the verifier goes through all.
    for turn in 0..64 {
        if turn >= frozen!(CONFIG.bits) || bits == 0 {
            break;
        }
        let bit = lowest(bits);
        bits &= bits - 1;
        let Some(action) = ACTIONS.get(first + bit) else { continue };
        bits &= !action.siblings;
        // SAFETY: the caller's promise.
        wanted = unsafe { enforce::wanted::<S>(wanted, action.flags, first + bit, task) };
        if action.flags & ACTION_COUNT != 0 {
            // SAFETY: the caller's promise.
            let Some(hook) = (unsafe { number_at::<C>(action.hook, task) }) else { continue };
            if APART {
                // SAFETY: the caller's promise.
                let (cgroup, binary) = unsafe { ((*task).cgroup, (*task).binary) };
                if increment_apart(hook, cgroup, binary) == 0 {
                    // Not called there: the verifier adds up the stacks of functions that call each other.
                    count_first(cgroup, binary, hook);
                }
            } else {
                // SAFETY: the caller's promise.
                unsafe { increment(task, hook) }
            }
        }
    }
    wanted
}

/// Counts a word of what is left. Most events leave one bit, which needs no loop. Adds what the selectors want to `wanted`.
///
/// # Safety
///
/// `task` is a map's value, or on the stack.
#[inline(always)]
pub unsafe fn count_word<C: Context, S: Shaped, const APART: bool>(
    bits: u64,
    first: u32,
    task: *mut Task,
    wanted: u64,
) -> u64 {
    let (bit, hook, flags) = if frozen!(CONFIG.bits) == 1 {
        (0, frozen!(CONFIG.only.hook), frozen!(CONFIG.only.flags))
    } else if bits.is_power_of_two() {
        let bit = first + lowest(bits);
        let Some(action) = ACTIONS.get(bit) else { return wanted };
        (bit, action.hook, action.flags)
    } else {
        // SAFETY: the caller's promise.
        return unsafe { count::<C, S, APART>(bits, first, task, wanted) };
    };
    if flags & ACTION_COUNT != 0 {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(hook) = number_at::<C>(hook, task) {
                increment(task, hook);
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { enforce::wanted::<S>(wanted, flags, bit, task) }
}

/// The number of a hook at the event's point, which `event` has written into `task` if there are several.
///
/// # Safety
///
/// `task` is a map's value, or on the stack.
#[inline(always)]
unsafe fn number_at<C: Context>(hook: u32, task: *mut Task) -> Option<u32> {
    if !C::SEVERAL || frozen!(CONFIG.points) == POINTS_ONE {
        return Some(hook);
    }
    // SAFETY: the caller's promise.
    let number = points::number(hook, unsafe { core::ptr::read_volatile(&raw const (*task).point) });
    if number.is_none() {
        note(STAT_LOST);
    }
    number
}

/// The same as [`increment`] for a count that there is: 1; else 0. A function that other objects could call, as its name
/// says, is checked by the verifier once, and not for each of 1,024 bits; so it can be given numbers alone, and finds what is
/// remembered of the task again, which `event` has just made sure of.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn increment_apart(hook: u32, cgroup: u64, binary: u64) -> u32 {
    let mut hot = core::ptr::null_mut();
    if frozen!(CONFIG.remember) != 0 {
        // SAFETY: no preconditions.
        let task = unsafe { bpf_get_current_task() };
        if let Some(known) = TASKS.get_ptr_mut(task_slot(task)) {
            // SAFETY: a map's value.
            unsafe {
                if (*known).task == task && (*known).cgroup == cgroup && (*known).binary == binary {
                    hot = (&raw mut (*known).hot).cast::<u64>().add((hook & 1) as usize);
                }
            }
        }
    }
    if !hot.is_null() {
        // SAFETY: a map's value.
        let place = remembered(unsafe { core::ptr::read_volatile(hot) }, hook);
        if place != NOWHERE {
            add(place);
            return 1;
        }
    }
    let place = known(&CountKey { cgroup, binary, hook, pad: 0 });
    if place == NOWHERE {
        return 0;
    }
    if !hot.is_null() {
        // SAFETY: as above.
        unsafe { remember(hot, hook, place) };
    }
    add(place);
    1
}

/// The number of the lowest bit that is set; there is one. (The compiler multiplies and looks into a table, as the processor's
/// instruction isn't to be had.)
#[inline(always)]
fn lowest(bits: u64) -> u32 {
    NonZero::new(bits).map_or(0, NonZero::<u64>::trailing_zeros)
}

/// No place.
const NOWHERE: u32 = u32::MAX;

/// The place that is remembered, if it is this hook's.
#[inline(always)]
fn remembered(hot: u64, hook: u32) -> u32 {
    // 0 stands for nothing: places are remembered by one more.
    if (hot >> 32) as u32 == hook { (hot as u32).wrapping_sub(1) } else { NOWHERE }
}

/// Remembers a place for the task's next event.
///
/// # Safety
///
/// `hot` is in a map's value, or on the stack.
#[inline(always)]
unsafe fn remember(hot: *mut u64, hook: u32, place: u32) {
    // One for which there was no room is looked for again.
    let value = if place == NOWHERE { 0 } else { u64::from(hook) << 32 | u64::from(place + 1) };
    // SAFETY: the caller's promise.
    unsafe { core::ptr::write_volatile(hot, value) }
}

/// Adds one to the hook's count for this task's cgroup and program.
///
/// # Safety
///
/// `task` is a map's value, or on the stack.
#[inline(always)]
unsafe fn increment(task: *mut Task, hook: u32) {
    // SAFETY: the caller's promise; inside the array.
    unsafe {
        let hot = (&raw mut (*task).hot).cast::<u64>().add((hook & 1) as usize);
        let place = remembered(core::ptr::read_volatile(hot), hook);
        if place == NOWHERE {
            let place = search((*task).cgroup, (*task).binary, hook);
            remember(hot, hook, place);
        } else {
            add(place);
        }
    }
}

/// The place of a count that there is; else [`NOWHERE`].
#[inline(always)]
fn known(key: &CountKey) -> u32 {
    // SAFETY: a u32 that is copied at once.
    unsafe { COUNTS.get(key) }.map_or(NOWHERE, |count| count.place)
}

/// Adds one to a count that isn't remembered, and gives its place. For the stack's sake not inlined.
#[inline(never)]
fn search(cgroup: u64, binary: u64, hook: u32) -> u32 {
    let place = known(&CountKey { cgroup, binary, hook, pad: 0 });
    if place == NOWHERE {
        return count_first(cgroup, binary, hook);
    }
    add(place);
    place
}

/// Makes a count, from the share of the current task's pod, and adds one. Where the share is used up, or where the pod had no
/// share left for the program's path, the events of all such programs have one count for each hook and cgroup, for which
/// each pod has a reserve; where that is used up, too, the hook's overflow counter, which was made with the hook. Gives the
/// place, but none for the overflow counter.
///
/// As [`increment_apart`], a function that the verifier checks once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_first(cgroup: u64, binary: u64, hook: u32) -> u32 {
    let pod = pod_of_current();
    // One key for all: each of its own would take room on the stack.
    let mut key = CountKey { cgroup, binary, hook, pad: 0 };
    let has_name = binary == 0 || BINARIES.get_ptr(binary).is_some();
    let mut place: u32;
    if has_name && shares::take::<SHARE_COUNTS>(pod) {
        place = insert::<SHARE_COUNTS>(&key, pod);
    } else {
        key.binary = OVERFLOW;
        place = known(&key);
        if place == NOWHERE && shares::take::<SHARE_RESERVE>(pod) {
            place = insert::<SHARE_RESERVE>(&key, pod);
        }
    }
    if place == NOWHERE {
        key.cgroup = OVERFLOW;
        key.binary = OVERFLOW;
        add(known(&key));
    } else {
        add(place);
    }
    place
}

/// Makes a count that was taken from a pod's share.
#[inline(always)]
fn insert<const TABLE: usize>(key: &CountKey, pod: u64) -> u32 {
    let Ok(Some(place)) = FREE.pop() else {
        shares::give_back::<TABLE>(pod);
        return NOWHERE;
    };
    if COUNTS.insert(key, CountPlace { owner: pod, place, pad: 0 }, NOEXIST).is_ok() {
        return place;
    }
    // Another CPU was quicker.
    let _ = FREE.push(place, 0);
    shares::give_back::<TABLE>(pod);
    known(key)
}

/// Counts an event of a process that isn't known, under the first hook of this function's policies: the agent knows which
/// others the event was for.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_unknown(point: u32) -> u32 {
    let hook = if frozen!(CONFIG.bits) == 1 {
        frozen!(CONFIG.only.hook)
    } else {
        ACTIONS.get(0).map_or(0, |action| action.hook)
    };
    let Some(hook) = points::number(hook, point) else {
        note(STAT_LOST);
        return 0;
    };
    let key = CountKey { cgroup: OVERFLOW, binary: UNKNOWN, hook, pad: 0 };
    let mut place = known(&key);
    if place == NOWHERE
        && let Ok(Some(free)) = FREE.pop()
    {
        if COUNTS.insert(key, CountPlace { owner: OVERFLOW, place: free, pad: 0 }, NOEXIST).is_err() {
            let _ = FREE.push(free, 0);
        }
        place = known(&key);
    }
    if place == NOWHERE {
        place = known(&CountKey { cgroup: OVERFLOW, binary: OVERFLOW, hook, pad: 0 });
    }
    add(place);
    0
}
