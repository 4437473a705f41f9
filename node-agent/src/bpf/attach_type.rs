//! The ways in which a program is attached to a function, and the names of each.

use std::path::Path;

use aya_obj::generated::bpf_attach_type;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttachType {
    Fentry,
    Fexit,
    /// A link of the type `BPF_TRACE_KPROBE_MULTI`, with one function or many.
    Fprobe,
    Kprobe,
    Kretprobe,
    Tracepoint,
    RawTracepoint,
    Lsm,
    /// Its program is attached to files, see [`Uprobes`](super::Uprobes): as an event of perf.
    Uprobe,
    Uretprobe,
    /// The same by a link of the type `BPF_TRACE_UPROBE_MULTI`.
    UprobeMulti,
    UretprobeMulti,
}

impl AttachType {
    pub(super) const ALL: [Self; 12] = [
        Self::Fentry,
        Self::Fexit,
        Self::Fprobe,
        Self::Kprobe,
        Self::Kretprobe,
        Self::Tracepoint,
        Self::RawTracepoint,
        Self::Lsm,
        Self::Uprobe,
        Self::Uretprobe,
        Self::UprobeMulti,
        Self::UretprobeMulti,
    ];

    /// Whether it is at a function, so that the program gets its registers or arguments.
    pub(super) const fn is_function(self) -> bool {
        !matches!(self, Self::Tracepoint | Self::RawTracepoint | Self::Lsm)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Fprobe => "fprobe",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::Tracepoint => "tracepoint",
            Self::RawTracepoint => "raw_tracepoint",
            Self::Lsm => "lsm",
            Self::Uprobe => "uprobe",
            Self::Uretprobe => "uretprobe",
            Self::UprobeMulti => "uprobe_multi",
            Self::UretprobeMulti => "uretprobe_multi",
        }
    }

    /// Whether its program is attached to files of user programs, later and by others.
    pub(super) const fn is_at_files(self) -> bool {
        matches!(self, Self::Uprobe | Self::Uretprobe | Self::UprobeMulti | Self::UretprobeMulti)
    }

    /// The type of the links that its programs are loaded for, where they have to say so.
    pub(super) const fn links(self) -> Option<bpf_attach_type> {
        match self {
            Self::Fprobe => Some(bpf_attach_type::BPF_TRACE_KPROBE_MULTI),
            Self::UprobeMulti | Self::UretprobeMulti => Some(bpf_attach_type::BPF_TRACE_UPROBE_MULTI),
            _ => None,
        }
    }

    /// Whether registers have no arguments any more when its program runs.
    pub(super) const fn has_no_arguments(self) -> bool {
        matches!(self, Self::Kretprobe | Self::Uretprobe | Self::UretprobeMulti)
    }

    /// The program that is attached to the function. `typed`: it may follow typed pointers.
    pub(super) const fn attached_program(self, typed: bool) -> &'static str {
        match (self, typed) {
            (Self::Fentry, true) => "attach_fentry",
            (Self::Fexit, true) => "attach_fexit",
            (Self::Fentry, false) => "attach_fentry_by_helper",
            (Self::Fexit, false) => "attach_fexit_by_helper",
            (Self::Fprobe | Self::Uprobe | Self::UprobeMulti, true) => "attach_fprobe",
            (Self::Fprobe | Self::Uprobe | Self::UprobeMulti, false) | (Self::Kprobe, _) => "attach_kprobe",
            (Self::Kretprobe | Self::Uretprobe | Self::UretprobeMulti, _) => "attach_kretprobe",
            (Self::Tracepoint, true) => "attach_tracepoint",
            (Self::Tracepoint, false) => "attach_tracepoint_by_helper",
            (Self::RawTracepoint, true) => "attach_raw_tracepoint",
            (Self::RawTracepoint, false) => "attach_raw_tracepoint_by_helper",
            (Self::Lsm, true) => "attach_lsm",
            (Self::Lsm, false) => "attach_lsm_by_helper",
        }
    }

    pub(super) const fn matcher(self) -> &'static str {
        match self {
            Self::Fentry => "match_fentry",
            Self::Fexit => "match_fexit",
            Self::Tracepoint => "match_tracepoint",
            Self::RawTracepoint => "match_raw_tracepoint",
            Self::Lsm => "match_lsm",
            _ => "match_kprobe",
        }
    }

    /// The program that records what the matcher has counted.
    pub(super) const fn recorder(self) -> &'static str {
        match self {
            Self::Fentry => "record_fentry",
            Self::Fexit => "record_fexit",
            Self::Tracepoint => "record_tracepoint",
            Self::RawTracepoint => "record_raw_tracepoint",
            Self::Lsm => "record_lsm",
            _ => "record_kprobe",
        }
    }

    /// Whether this kernel can keep such a hook of so many functions when the process that made it ends. Perf's probes have
    /// links since 5.15, one for each function.
    pub(super) fn can_be_kept(self, functions: usize) -> bool {
        match self {
            Self::Fentry | Self::Fexit | Self::Fprobe | Self::RawTracepoint | Self::Lsm => true,
            Self::Tracepoint => aya::features().bpf_perf_link(),
            Self::Uprobe | Self::Uretprobe | Self::UprobeMulti | Self::UretprobeMulti => false,
            Self::Kprobe | Self::Kretprobe if functions > 1 => false,
            // Where perf has no such device, probes are made by the tracing file system, and have no links either.
            Self::Kprobe | Self::Kretprobe => {
                aya::features().bpf_perf_link()
                    && Path::new("/sys/bus/event_source/devices/kprobe/type").exists()
            }
        }
    }

    /// Whether another task can come in the middle of its program, where the kernel is preemptible.
    pub(super) const fn is_interruptible(self) -> bool {
        // Uprobes since Linux 6.0 (include/linux/bpf.h, `bpf_prog_run_array_uprobe`).
        matches!(self, Self::Fentry | Self::Fexit | Self::RawTracepoint | Self::Lsm) || self.is_at_files()
    }
}
