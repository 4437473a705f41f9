//! System calls on maps that no other task comes in the middle of.
//!
//! While a system call reads or writes an element of a map, the kernel runs no program of a kprobe on that CPU
//! (kernel/bpf/syscall.c, `bpf_disable_instrumentation`; `kernel/trace/bpf_trace.c`, `trace_call_bpf`). That is right
//! for the call itself, which must not be traced while it holds a lock. But where the kernel is preemptible, another
//! task can come before the call has ended, and everything that this task does until its time is over goes by
//! uncounted: measured on Linux 7.3 with lazy preemption, 356 events of 4 million while a policy was changed nine times.
//! A real-time task is not interrupted by ordinary ones, so the agent is one for as long as such calls take.

use std::sync::atomic::{AtomicBool, Ordering};

use gatewatch_kernel::host::{Features, Preemption};

/// Whether this kernel lets another task come in the middle of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruptible(bool);

impl Interruptible {
    /// What is right for a kernel. One of which it isn't known is taken for one that does.
    pub fn new(features: &Features) -> Self {
        Self(!matches!(features.preemption, Some(Preemption::None | Preemption::Voluntary)))
    }

    /// Whether it does.
    pub(super) const fn is_so(self) -> bool {
        self.0
    }

    /// No ordinary task runs on this thread's CPU before what this gives is dropped, where that could do harm.
    pub(super) fn realtime_guard(self) -> RealtimeGuard {
        static WARNED: AtomicBool = AtomicBool::new(false);
        if !self.0 {
            return RealtimeGuard { raised: false };
        }
        let raised = schedule(libc::SCHED_FIFO, 1);
        if !raised && !WARNED.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "this process cannot become a real-time task (it has no CAP_SYS_NICE, or its cgroup has no real-time \
                 budget): events can be missed while it reads and writes its maps; gatewatch_events_missed_total \
                 counts them"
            );
        }
        RealtimeGuard { raised }
    }
}

/// See [`Interruptible::realtime_guard`]. For map operations alone: the verifier's work is too long for it.
#[derive(Debug)]
pub(super) struct RealtimeGuard {
    raised: bool,
}

impl Drop for RealtimeGuard {
    fn drop(&mut self) {
        if self.raised {
            schedule(libc::SCHED_OTHER, 0);
        }
    }
}

/// Sets how this thread is scheduled; false if the kernel rejects it.
#[allow(unsafe_code, reason = "no maintained crate sets a thread's policy without touching its nice value")]
fn schedule(policy: i32, priority: i32) -> bool {
    // SAFETY: all zeros is a value of this plain structure, which has more fields in some C libraries.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: the thread is this one, and the structure lives until the call returns.
    unsafe { libc::pthread_setschedparam(libc::pthread_self(), policy, &raw const parameters) == 0 }
}
