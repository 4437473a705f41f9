//! Enforcing: what is done to a process beside counting its event.

use core::arch::asm;

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_send_signal},
    macros::map,
    maps::Array,
};
use gatewatch_abi::{
    Enforced, HOST_PROGRAM, Task,
    consts::{
        ACTION_ERROR_SHIFT, ACTION_HARMLESS, ACTION_OVERRIDE, ACTION_RECORD, ACTION_SIGNAL_SHIFT,
        ENFORCEMENT_IN_FORCE, FOLLOW_AGENT, FOLLOW_SERVICE, MODE_ENFORCE, MODE_OFF, OUTCOME_AGENT,
        OUTCOME_DONE, OUTCOME_INIT, OUTCOME_MONITOR, OUTCOME_PENDING, OUTCOME_SERVICE, OUTCOME_SETUP,
        OUTCOME_UNKNOWN, OUTCOMES, POLICY_SET_HOST, POLICY_SET_PENDING, STAT_LOST, STAT_SIGNALS_FAILED,
    },
};

use crate::{
    frozen,
    globals::CONFIG,
    shape::Shaped,
    shared::{ENFORCEMENT, add, note},
};

/// How the actions of each bit are performed.
#[map]
static ENFORCED: Array<Enforced> = Array::with_max_entries(1, 0);

/// The bits of a signal in `BitAction::flags`.
const SIGNAL: u32 = 0xff << ACTION_SIGNAL_SHIFT;
/// The bits of an error.
const ERROR: u32 = 0xffff << ACTION_ERROR_SHIFT;
/// `SIGKILL`, include/uapi/asm-generic/signal.h.
const SIGKILL: u32 = 9;

/// Adds what a selector that has taken the event wants to `before`, what the others want. `bit` is the selector's.
///
/// Only the acting matchers ([`Shaped::ACTS`]) contain this code. The verifier knows their configuration, and with one selector
/// the flags as well, and removes what they don't need.
///
/// # Safety
///
/// `task` is a map's value, or on the stack.
#[inline(always)]
pub unsafe fn wanted<S: Shaped>(before: u64, flags: u32, bit: u32, task: *mut Task) -> u64 {
    if !S::ACTS {
        return before;
    }
    let before =
        if frozen!(CONFIG.records) != 0 { before | u64::from(flags & ACTION_RECORD) } else { before };
    if flags <= ACTION_HARMLESS || frozen!(CONFIG.enforces) == 0 {
        return before;
    }
    // SAFETY: the caller's promise.
    let (policy_set, binary, follow) = unsafe { ((*task).policy_set, (*task).binary, (*task).follow) };
    decide(before << 32 | u64::from(flags), u64::from(policy_set) << 32 | u64::from(bit), binary, follow)
}

/// Decides whether the actions of a selector are performed, counts that, and gives what is wanted of the event with them:
/// in the form of `BitAction::flags`. `asked` has the selector's flags in its lower half, and what is wanted without them in
/// the upper one. `place` has the selector's bit, and above it the policy set of the task's cgroup.
///
/// A function that other objects could call, as its name says, is checked by the verifier once, and not for each of 1,024
/// bits.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn decide(asked: u64, place: u64, binary: u64, follow: u64) -> u64 {
    let (flags, before) = (asked as u32, asked >> 32);
    // First: whatever else is wrong, this switch works.
    let node = ENFORCEMENT.get(ENFORCEMENT_IN_FORCE).copied().unwrap_or(MODE_OFF);
    if node == MODE_OFF {
        return before;
    }
    let Some(enforced) = ENFORCED.get(place as u32) else {
        note(STAT_LOST);
        return before;
    };
    if enforced.mode == MODE_OFF {
        return before;
    }
    let mut outcome = spared(enforced.spares_setup != 0, (place >> 32) as u32, binary, follow);
    if outcome == OUTCOME_DONE && (node != MODE_ENFORCE || enforced.mode != MODE_ENFORCE) {
        outcome = OUTCOME_MONITOR;
    }
    let places = (&raw const enforced.places).cast::<u32>();
    if flags & SIGNAL != 0 {
        // SAFETY: an outcome is less than their number.
        add(unsafe { *places.add(outcome as usize) });
    }
    if flags & ACTION_OVERRIDE != 0 {
        // SAFETY: as above; those of the override follow.
        add(unsafe { *places.add((OUTCOMES + outcome) as usize) });
    }
    if outcome == OUTCOME_DONE { u64::from(stricter(before as u32, flags)) } else { before }
}

/// Why a process is spared, if it is; else `OUTCOME_DONE`. Nothing of it depends on what a container can choose: neither a
/// name nor a path. A program of the host is one that was executed in the host's mount namespace by another one.
#[inline(always)]
fn spared(spares_setup: bool, policy_set: u32, binary: u64, follow: u64) -> u32 {
    if follow & FOLLOW_AGENT != 0 {
        return OUTCOME_AGENT;
    }
    if policy_set == POLICY_SET_PENDING {
        return OUTCOME_PENDING;
    }
    let of_host = binary & HOST_PROGRAM != 0;
    if policy_set != POLICY_SET_HOST {
        return if of_host && spares_setup { OUTCOME_SETUP } else { OUTCOME_DONE };
    }
    if of_host && follow & FOLLOW_SERVICE != 0 {
        OUTCOME_SERVICE
    } else if bpf_get_current_pid_tgid() >> 32 == 1 {
        OUTCOME_INIT
    } else if binary == 0 {
        OUTCOME_UNKNOWN
    } else {
        OUTCOME_DONE
    }
}

/// What is done of the wishes of two selectors: the first error, and one signal, SIGKILL before any other.
#[inline(always)]
fn stricter(mut wanted: u32, flags: u32) -> u32 {
    if wanted & ACTION_OVERRIDE == 0 && flags & ACTION_OVERRIDE != 0 && flags & ERROR != 0 {
        wanted |= flags & (ACTION_OVERRIDE | ERROR);
    }
    if flags & SIGNAL == SIGKILL << ACTION_SIGNAL_SHIFT || wanted & SIGNAL == 0 {
        wanted = wanted & !SIGNAL | flags & SIGNAL;
    }
    wanted
}

/// Whether a selector that wants an event recorded has taken it.
#[inline(always)]
pub fn is_recorded(wanted: u64) -> bool {
    wanted as u32 & ACTION_RECORD != 0
}

/// Does once what all selectors want of an event. Returns the verdict: 0 allows the call, an error number is what it is to
/// return.
#[inline(always)]
pub fn perform(wanted: u64) -> i32 {
    if wanted <= u64::from(ACTION_HARMLESS) {
        return 0;
    }
    let signal = wanted as u32 >> ACTION_SIGNAL_SHIFT & 0xff;
    if signal != 0 {
        // SAFETY: no preconditions. The kernel sends none to its own threads, nor to a process that ends already.
        let sent = unsafe { bpf_send_signal(signal) };
        if sent != 0 {
            note(STAT_SIGNALS_FAILED);
        }
    }
    verdict(wanted)
}

/// The verdict of what is done.
#[inline(always)]
pub fn verdict(done: u64) -> i32 {
    let below = 0_u64.wrapping_sub(done >> ACTION_ERROR_SHIFT);
    let verdict: i64;
    // SAFETY: arithmetic on registers. Written out, since the verifier has to see that the result is an error number or 0
    // (`bpf_lsm_get_retval_range`), and of a negation it knows nothing.
    unsafe {
        asm!("{below} &= 4095", "{verdict} = 0", "{verdict} -= {below}", below = inout(reg) below => _,
            verdict = out(reg) verdict, options(pure, nomem, nostack));
    }
    verdict as i32
}
