//! Records what matched events were, and which processes there are.
//!
//! A matcher hands an event over by a tail call, when it is counted (`gatewatch_ebpf::handover`). From there on nothing
//! depends on how the hook is attached: a value's register has an offset in the context, which the agent gives, and is read as
//! memory. So all programs here share their functions, and each of these is one that other objects could call: the verifier
//! checks such a function once.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

mod event;
mod hooks;
mod limits;
mod processes;
mod sockets;
mod space;
mod values;

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, fentry, fexit, kprobe, lsm, raw_tracepoint, tracepoint},
    programs::{
        BtfTracePointContext, FEntryContext, FExitContext, LsmContext, ProbeContext, RawTracePointContext,
        TracePointContext,
    },
};
use gatewatch_abi::RecorderConfig;
use gatewatch_ebpf::{enforce, handover, memory};

/// See [`RecorderConfig`].
#[unsafe(no_mangle)]
static RECORDER_CONFIG: RecorderConfig = RecorderConfig { budget_step: 0, budget_burst: 0 };

/// Records the event with this context. Gives what was done to its process, as in `BitAction::flags`.
#[inline(always)]
fn record(ctx: &impl EbpfContext) -> u64 {
    let level = handover::find(ctx.as_ptr() as u64);
    let Some(slot) = handover::slot(level) else { return 0 };
    // SAFETY: a map's value, which is ours until all is recorded.
    let done = unsafe { core::ptr::read_volatile(&raw const (*slot).done) };
    event::all(level);
    u64::from(done)
}

#[kprobe]
pub fn record_kprobe(ctx: ProbeContext) -> u32 {
    record(&ctx);
    0
}

#[fentry]
pub fn record_fentry(ctx: FEntryContext) -> i32 {
    record(&ctx);
    0
}

#[fexit]
pub fn record_fexit(ctx: FExitContext) -> i32 {
    record(&ctx);
    0
}

#[tracepoint]
pub fn record_tracepoint(ctx: TracePointContext) -> u32 {
    record(&ctx);
    0
}

#[raw_tracepoint]
pub fn record_raw_tracepoint(ctx: RawTracePointContext) -> i32 {
    record(&ctx);
    0
}

/// An LSM hook, which returns the verdict.
#[lsm]
pub fn record_lsm(ctx: LsmContext) -> i32 {
    enforce::verdict(record(&ctx))
}

/// An argument as a number: the verifier knows the type of the pointer, and passes only numbers to functions that it checks
/// once.
#[inline(always)]
fn number(ctx: &BtfTracePointContext, index: u64) -> u64 {
    memory::read(ctx.as_ptr() as u64 + 8 * index)
}

/// A new task: `TP_PROTO(struct task_struct *parent, struct task_struct *child)`.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn record_fork(ctx: BtfTracePointContext) -> i32 {
    processes::fork(number(&ctx, 0), number(&ctx, 1));
    0
}

/// A process runs another program: `TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn record_exec(ctx: BtfTracePointContext) -> i32 {
    processes::exec(number(&ctx, 2));
    0
}

/// A task ends: `TP_PROTO(struct task_struct *p)`.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn record_exit(ctx: BtfTracePointContext) -> i32 {
    processes::exit(number(&ctx, 0));
    0
}

gatewatch_ebpf::object!();
