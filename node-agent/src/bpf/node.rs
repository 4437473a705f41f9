//! What must be known of the node before anything is loaded, and what is to be remembered beyond the agent's end.

use std::path::PathBuf;

use gatewatch_abi::{Hierarchy, Layout, Sizes};
use gatewatch_kernel::host::{Features, Preemption, Support};

use super::{realtime::Interruptible, record_limits::RecordLimits, sizes::Processes};

/// What the BPF programs must know of the node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the kernel's structures have their fields.
    pub layout: Layout,
    /// Offsets of `task_struct.cgroups`, `css_set.dfl_cgrp`, `cgroup.kn` and `kernfs_node.id`, see
    /// [`cgroup_steps`](super::cgroup_steps); without them a helper is called, which takes longer.
    pub cgroup_steps: Option<[u32; 4]>,
    /// Where the kernel has what leads from a task to its cgroups, see [`hierarchy`](super::hierarchy).
    pub hierarchy: Hierarchy,
    /// Where the cgroup v2 hierarchy is mounted. `None`: no process that runs already counts as a pod's.
    pub cgroups: Option<PathBuf>,
    /// How many entries the shared tables have.
    pub sizes: Sizes,
    /// How many processes are followed, see [`Processes`](super::Processes).
    pub processes: Processes,
    /// How functions may be attached to.
    pub attach_types: AttachTypes,
    /// Why programs on LSM hooks are never called here.
    pub no_lsm: Option<&'static str>,
    /// Whether another task can come in the middle of a system call on a map.
    pub interruptible: Interruptible,
    /// How events are recorded; `None`: they are counted alone.
    pub records: Option<RecordLimits>,
    /// Where the maps are pinned: a folder of its own on a bpf file system.
    pub pins: PathBuf,
    /// Whether hooks and counts outlive this process, for another one that continues with them. If not, the folder is
    /// emptied first, and all goes when the [`BpfPrograms`](super::BpfPrograms) is dropped.
    pub keep: bool,
}

/// What is used instead of kprobes and kretprobes. A function that can't be attached to so is attached to by those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each way to attach is used or not, whatever the others are"
)]
pub struct AttachTypes {
    /// fentry, at a function's entry: a third of a kprobe's cost.
    pub fentry: bool,
    /// fprobe, at its entry, where fentry isn't used: three quarters of a kprobe's cost.
    pub fprobe: bool,
    /// One program at the entries of many functions by fprobe, instead of a kprobe for each.
    pub fprobe_many: bool,
    /// fexit, at its return: sees arguments and result together, which a kretprobe doesn't.
    pub fexit: bool,
}

impl AttachTypes {
    /// Kprobes and kretprobes everywhere.
    pub const PROBES: Self = Self { fentry: false, fprobe: false, fprobe_many: false, fexit: false };

    /// What is right for a kernel.
    ///
    /// A trampoline (fentry, fexit) lets its program run only once at a time on a processor (kernel/bpf/trampoline.c,
    /// `__bpf_prog_enter_recur`), and where the kernel is preemptible another task can come in the middle of it: all
    /// its calls of the function are then missed. Measured on Linux 7.3 with lazy preemption: thousands in 80,000. The
    /// programs of fprobe and kprobes run with preemption off, so entries are counted by these there. Returns are not,
    /// since a kretprobe does not see arguments; missed events are exported.
    ///
    /// Before Linux 6.19 an fprobe came to a function by the function graph tracer, which passes over tasks for which it had
    /// no memory when they were made (kernel/trace/fgraph.c, `ftrace_graph_init_task`). So kernels count as able to only from
    /// there on, see [`Features::fprobe`].
    ///
    /// Many functions share one program by fprobe also before Linux 6.14, since it came there by ftrace alone, too
    /// (kernel/trace/fprobe.c, `fprobe_handler`).
    pub fn choose(features: &Features) -> Self {
        let trampolines = !matches!(features.fentry, Support::No(_));
        let uninterrupted = matches!(features.preemption, Some(Preemption::None | Preemption::Voluntary));
        let fentry = trampolines && uninterrupted;
        Self {
            fentry,
            fprobe: !fentry && features.fprobe == Support::Yes,
            fprobe_many: features.fprobe_many == Support::Yes,
            fexit: trampolines,
        }
    }
}

/// Why programs on LSM hooks are never called on a kernel: they attach all the same, and would be silent.
pub fn why_no_lsm(features: &Features) -> Option<&'static str> {
    match features.lsm {
        Support::Yes => None,
        Support::No(reason) => Some(reason),
        Support::Unknown => {
            Some("/sys/kernel/security/lsm cannot be read, so it is not known whether `bpf` is in the list")
        }
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_kernel::host::Evidence;

    use super::*;

    #[test]
    fn what_no_call_gets_past_comes_first() {
        let on = |preempt, fprobe| {
            AttachTypes::choose(&Features::new(&Evidence {
                direct_calls: Some(true),
                fprobe_by_ftrace: fprobe,
                preempt: Some(preempt),
                ..Evidence::default()
            }))
        };
        let fentry = AttachTypes { fentry: true, fprobe: false, fprobe_many: true, fexit: true };
        assert_eq!(on("none (voluntary) full", Some(true)), fentry);
        let fprobe = AttachTypes { fentry: false, fprobe: true, fprobe_many: true, fexit: true };
        assert_eq!(on("full (lazy)", Some(true)), fprobe);
        assert_eq!(on("none voluntary (full)", Some(true)), fprobe);
        let kprobe = AttachTypes { fentry: false, fprobe: false, fprobe_many: false, fexit: true };
        assert_eq!(on("full (lazy)", Some(false)), kprobe);
        assert_eq!(on("full (lazy)", None), kprobe);
    }
}
