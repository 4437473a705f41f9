//! The program that is attached to a kernel function: a tail call of the function's matcher. It stays attached while
//! matchers are replaced, so exactly one matcher evaluates each event.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

use core::arch::asm;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_cgroup_id, generated::bpf_get_current_task_btf},
    macros::{fentry, fexit, kprobe, kretprobe, lsm, map, raw_tracepoint, tracepoint},
    maps::ProgramArray,
    programs::{
        FEntryContext, FExitContext, LsmContext, ProbeContext, RawTracePointContext, RetProbeContext,
        TracePointContext,
    },
};
use gatewatch_abi::{UNWATCHED_MASK, consts};

/// The matcher. Until there is one, events pass.
#[map]
static MATCHER: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Cgroups that no policy on this function watches, each at its [slot](gatewatch_abi::unwatched_slot): written by the
/// agent. Here, and not in a map of its own, since a global is read without a look-up.
#[unsafe(no_mangle)]
static mut UNWATCHED: [u64; consts::UNWATCHED] = [0; consts::UNWATCHED];

/// Tail-calls the matcher, unless no policy watches the cgroup.
#[inline(always)]
fn match_event<C: EbpfContext>(ctx: &C, cgroup: u64) {
    // SAFETY: inside the array, at a multiple of eight. Volatile: user space writes it.
    let unwatched = unsafe {
        (&raw const UNWATCHED).byte_add(cgroup as usize & UNWATCHED_MASK).cast::<u64>().read_volatile()
    };
    if unwatched != cgroup {
        // SAFETY: the program in the map is of the same type, for the same function.
        unsafe { MATCHER.tail_call(ctx, 0) };
    }
}

/// The id of the task's cgroup.
#[inline(always)]
fn cgroup() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_get_current_cgroup_id() }
}

/// The same without the call, which is most of what an event costs that no policy watches: what `task_dfl_cgroup`
/// (include/linux/cgroup.h) and `cgroup_id` do, by typed pointers, which the verifier follows. From Linux 6.4 on it knows
/// that these stay where they are, and each is a single instruction.
#[inline(always)]
fn cgroup_by_pointers() -> u64 {
    // SAFETY: no preconditions.
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    let set = pointed::<{ consts::CGROUP_STEPS[0] }>(task);
    let group = pointed::<{ consts::CGROUP_STEPS[1] }>(set);
    let node = pointed::<{ consts::CGROUP_STEPS[2] }>(group);
    pointed::<{ consts::CGROUP_STEPS[3] }>(node)
}

/// The eight bytes at an offset. Written out, since the agent looks for the instruction.
#[inline(always)]
fn pointed<const OFFSET: i16>(mut pointer: u64) -> u64 {
    // SAFETY: the verifier follows the pointer's type, and what can't be read is 0.
    unsafe {
        asm!("{pointer} = *(u64 *)({pointer} + {offset})", pointer = inout(reg) pointer, offset = const OFFSET, options(pure, readonly, nostack));
    }
    pointer
}

/// Entry, by fprobe.
#[kprobe]
pub fn attach_fprobe(ctx: ProbeContext) -> u32 {
    match_event(&ctx, cgroup_by_pointers());
    0
}

/// Entry, by kprobe; and by fprobe, where there are no typed pointers.
#[kprobe]
pub fn attach_kprobe(ctx: ProbeContext) -> u32 {
    match_event(&ctx, cgroup());
    0
}

/// Return, by kretprobe.
#[kretprobe]
pub fn attach_kretprobe(ctx: RetProbeContext) -> u32 {
    match_event(&ctx, cgroup());
    0
}

/// Entry, by fentry, on kernels without typed pointers to tasks.
#[fentry]
pub fn attach_fentry_by_helper(ctx: FEntryContext) -> i32 {
    match_event(&ctx, cgroup());
    0
}

/// Return, by fexit, on the same.
#[fexit]
pub fn attach_fexit_by_helper(ctx: FExitContext) -> i32 {
    match_event(&ctx, cgroup());
    0
}

/// Entry, by fentry.
#[fentry]
pub fn attach_fentry(ctx: FEntryContext) -> i32 {
    match_event(&ctx, cgroup_by_pointers());
    0
}

/// Return, by fexit.
#[fexit]
pub fn attach_fexit(ctx: FExitContext) -> i32 {
    match_event(&ctx, cgroup_by_pointers());
    0
}

/// A tracepoint.
#[tracepoint]
pub fn attach_tracepoint(ctx: TracePointContext) -> u32 {
    match_event(&ctx, cgroup_by_pointers());
    0
}

/// A tracepoint, on kernels without typed pointers to tasks.
#[tracepoint]
pub fn attach_tracepoint_by_helper(ctx: TracePointContext) -> u32 {
    match_event(&ctx, cgroup());
    0
}

/// A raw tracepoint.
#[raw_tracepoint]
pub fn attach_raw_tracepoint(ctx: RawTracePointContext) -> i32 {
    match_event(&ctx, cgroup_by_pointers());
    0
}

/// A raw tracepoint, on the same.
#[raw_tracepoint]
pub fn attach_raw_tracepoint_by_helper(ctx: RawTracePointContext) -> i32 {
    match_event(&ctx, cgroup());
    0
}

/// An LSM hook. 0 allows.
#[lsm]
pub fn attach_lsm(ctx: LsmContext) -> i32 {
    match_event(&ctx, cgroup_by_pointers());
    0
}

/// An LSM hook, on the same.
#[lsm]
pub fn attach_lsm_by_helper(ctx: LsmContext) -> i32 {
    match_event(&ctx, cgroup());
    0
}

/// The floor to measure against: a kprobe, or an fprobe, that does nothing.
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
