//! What sits on a kernel function: a jump to the function's classifier. It stays while classifiers come and go, so
//! every event is looked at by exactly one of them.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_cgroup_id,
    macros::{fentry, fexit, kprobe, kretprobe, map},
    maps::ProgramArray,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use gatewatch_abi::consts;

/// The classifier. Until there is one, events pass.
#[map]
static CLASSIFIER: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Cgroups that no policy on this function watches, each at its id's last bits: written by the user half. Here, and not
/// in a map of its own, since a global is read without a look-up.
#[unsafe(no_mangle)]
static mut UNWATCHED: [u64; consts::UNWATCHED] = [0; consts::UNWATCHED];

/// Hands the event to the classifier, unless no policy watches the cgroup.
#[inline(always)]
fn classify<C: EbpfContext>(ctx: &C) {
    // SAFETY: no preconditions.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    let index = cgroup as usize & (consts::UNWATCHED - 1);
    // SAFETY: inside the array. Volatile: user space writes it.
    let unwatched = unsafe { (&raw const UNWATCHED).cast::<u64>().add(index).read_volatile() };
    if unwatched != cgroup {
        // SAFETY: the program in the map is of the same type, for the same function.
        unsafe { CLASSIFIER.tail_call(ctx, 0) };
    }
}

/// Entry, by kprobe.
#[kprobe]
pub fn attach_kprobe(ctx: ProbeContext) -> u32 {
    classify(&ctx);
    0
}

/// Return, by kretprobe.
#[kretprobe]
pub fn attach_kretprobe(ctx: RetProbeContext) -> u32 {
    classify(&ctx);
    0
}

/// Entry, by fentry.
#[fentry]
pub fn attach_fentry(ctx: FEntryContext) -> i32 {
    classify(&ctx);
    0
}

/// Return, by fexit.
#[fexit]
pub fn attach_fexit(ctx: FExitContext) -> i32 {
    classify(&ctx);
    0
}

/// The floor to measure against: a kprobe that does nothing.
#[kprobe]
pub fn empty_kprobe(_ctx: ProbeContext) -> u32 {
    0
}

/// The floor to measure against: an fentry that does nothing.
#[fentry]
pub fn empty_fentry(_ctx: FEntryContext) -> i32 {
    0
}

// Not by `gatewatch_ebpf::object!`: linking the library would bring all its maps into this object, and each function
// that is hooked would pay for them.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel gives some helpers only to programs under a licence compatible with its own.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
