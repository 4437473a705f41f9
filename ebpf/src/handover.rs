//! How a matcher hands a matched event over to its lane's recorder: what it knows of the event is put into a slot of the
//! CPU, and a tail call follows. The recorder finds the slot by its context, which no other program that runs on this CPU has.
//! Slots are claimed with [`memory::try_claim`].
//!
//! Only the acting matchers ([`Shaped::ACTS`](crate::shape::Shaped::ACTS)) contain this; the others count and no more.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    EbpfContext,
    macros::map,
    maps::{PerCpuArray, ProgramArray},
};
use gatewatch_abi::{
    CountKey, Task,
    consts::{ACTION_RECORD, MAX_WORDS, OVERFLOW, STAT_LOST},
    record::consts::{INTERRUPTED, LEDGER, NO_AGENT},
};

use crate::{
    context::Context,
    counting::ACTIONS,
    frozen,
    globals::CONFIG,
    memory, points,
    shared::{COUNTS, VALUES, note},
};

/// Slots of each CPU: how many programs there can be between the matcher and its recorder at a time.
pub const SLOTS: u32 = 4;
/// No slot.
pub const NO_SLOT: u32 = u32::MAX;

/// The recorder. Without one, nothing is recorded, which is counted.
#[map]
static RECORDER: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The slots.
#[map]
static RECORD_SLOTS: PerCpuArray<Slot> = PerCpuArray::pinned(SLOTS, 0);

/// What a matcher knows of an event.
#[repr(C)]
pub struct Slot {
    /// How many programs have claimed the slot, or are about to find out that they can't.
    pub users: u64,
    /// The address of the event's context.
    pub ctx: u64,
    /// The task's cgroup, as events are counted by it.
    pub cgroup: u64,
    /// The index of the hook point.
    pub point: u32,
    /// What was done to the process, as in `BitAction::flags`. Its error is the verdict that the program returns.
    pub done: u32,
    /// The selectors that match.
    pub words: [u64; MAX_WORDS],
}

/// A context that aya's functions take.
struct Raw(*mut c_void);

impl EbpfContext for Raw {
    #[inline(always)]
    fn as_ptr(&self) -> *mut c_void {
        self.0
    }
}

/// Claims a slot for this event, without matches; else [`NO_SLOT`].
///
/// # Safety
///
/// `task` is a map's value, or on the stack.
#[inline(always)]
pub unsafe fn claim<C: Context>(ctx: *mut c_void, task: *mut Task) -> u32 {
    for level in 0..SLOTS {
        let Some(slot) = RECORD_SLOTS.get_ptr_mut(level) else { break };
        // SAFETY: a map's value of this CPU; and the caller's promise.
        unsafe {
            if memory::try_claim(&raw mut (*slot).users) {
                ptr::write_volatile(&raw mut (*slot).cgroup, (*task).cgroup);
                ptr::write_volatile(&raw mut (*slot).point, point_of::<C>(task));
                for w in 0..MAX_WORDS {
                    if w as u32 >= frozen!(CONFIG.words) {
                        break;
                    }
                    ptr::write_volatile((&raw mut (*slot).words).cast::<u64>().add(w), 0);
                }
                ptr::write_volatile(&raw mut (*slot).ctx, ctx as u64);
                return level;
            }
        }
    }
    NO_SLOT
}

/// Enters what is left of a word, which has `first` as its first bit. Without a slot it is counted as not recorded.
///
/// # Safety
///
/// As [`claim`].
#[inline(always)]
pub unsafe fn enter<C: Context>(level: u32, bits: u64, first: u32, task: *mut Task) {
    let w = (first / 64) as usize;
    match RECORD_SLOTS.get_ptr_mut(level) {
        Some(slot) if w < MAX_WORDS => {
            // SAFETY: inside the array of a map's value, which is ours.
            unsafe { ptr::write_volatile((&raw mut (*slot).words).cast::<u64>().add(w), bits) }
        }
        _ => {
            // SAFETY: the caller's promise.
            not_recorded(bits, first, unsafe { point_of::<C>(task) }, INTERRUPTED);
        }
    }
}

/// Continues with the recorder, which returns the verdict. Comes back only if there is none: then that is counted.
///
/// # Safety
///
/// As [`claim`].
#[inline(always)]
pub unsafe fn hand_over<C: Context>(ctx: *mut c_void, level: u32, task: *mut Task, done: u64) {
    let Some(slot) = RECORD_SLOTS.get_ptr_mut(level) else { return };
    // SAFETY: a map's value, which is ours.
    unsafe { ptr::write_volatile(&raw mut (*slot).done, done as u32 & !ACTION_RECORD) }
    // SAFETY: the program in the map is of the same type, for the same function.
    unsafe { RECORDER.tail_call(&Raw(ctx), 0) };
    // SAFETY: the caller's promise.
    let point = unsafe { point_of::<C>(task) };
    for w in 0..MAX_WORDS {
        if w as u32 >= frozen!(CONFIG.words) {
            break;
        }
        let Some(slot) = RECORD_SLOTS.get_ptr_mut(level) else { break };
        // SAFETY: inside the array of a map's value.
        let bits = unsafe { ptr::read_volatile((&raw const (*slot).words).cast::<u64>().add(w)) };
        not_recorded(bits, w as u32 * 64, point, NO_AGENT);
    }
    release(level);
}

/// Takes the slot of the event with this context, and gives its level; else [`NO_SLOT`].
#[inline(always)]
pub fn find(ctx: u64) -> u32 {
    for level in 0..SLOTS {
        let Some(slot) = RECORD_SLOTS.get_ptr_mut(level) else { break };
        // SAFETY: a map's value.
        if unsafe { ptr::read_volatile(&raw const (*slot).ctx) } == ctx {
            return level;
        }
    }
    NO_SLOT
}

/// The slot at a level.
#[inline(always)]
pub fn slot(level: u32) -> Option<*mut Slot> {
    RECORD_SLOTS.get_ptr_mut(level)
}

/// Frees a slot.
#[inline(always)]
pub fn release(level: u32) {
    if let Some(slot) = RECORD_SLOTS.get_ptr_mut(level) {
        // SAFETY: a map's value, which is ours until the second line.
        unsafe {
            ptr::write_volatile(&raw mut (*slot).ctx, 0);
            memory::release(&raw mut (*slot).users);
        }
    }
}

/// The index of the event's hook point.
///
/// # Safety
///
/// As [`claim`].
#[inline(always)]
unsafe fn point_of<C: Context>(task: *mut Task) -> u32 {
    // SAFETY: the caller's promise.
    if C::SEVERAL { unsafe { ptr::read_volatile(&raw const (*task).point) } } else { 0 }
}

/// Counts the hooks of a word whose events are not recorded. As `increment_apart`, a function that the verifier checks once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn not_recorded(mut bits: u64, first: u32, point: u32, reason: u32) -> u32 {
    for turn in 0..64 {
        if turn >= frozen!(CONFIG.bits) || bits == 0 {
            break;
        }
        let bit = bits.trailing_zeros() & 63;
        bits &= bits - 1;
        let Some(action) = ACTIONS.get(first + bit) else { continue };
        bits &= !action.siblings;
        if action.flags & ACTION_RECORD != 0 {
            match points::number(action.hook, point) {
                Some(hook) => enter_ledger(hook, reason),
                None => note(STAT_LOST),
            }
        }
    }
    0
}

/// Adds one to what became of a hook's records. The agent has made the count.
#[inline(always)]
pub fn enter_ledger(hook: u32, reason: u32) {
    let key = CountKey { cgroup: OVERFLOW, binary: LEDGER + u64::from(reason), hook, pad: 0 };
    // SAFETY: a u32 that is copied at once.
    let place = unsafe { COUNTS.get(key) }.map(|count| count.place);
    match place.and_then(|place| VALUES.get_ptr_mut(place)) {
        // SAFETY: a map's value. Another program on this CPU may come in between.
        Some(value) => unsafe { memory::add(value, 1) },
        None => note(STAT_LOST),
    }
}
