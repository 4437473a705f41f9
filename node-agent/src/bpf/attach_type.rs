//! The ways in which a program is attached to a function, and the names of each.

use std::path::Path;

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
}

impl AttachType {
    pub(super) const ALL: [Self; 8] = [
        Self::Fentry,
        Self::Fexit,
        Self::Fprobe,
        Self::Kprobe,
        Self::Kretprobe,
        Self::Tracepoint,
        Self::RawTracepoint,
        Self::Lsm,
    ];

    /// Whether it is at a kernel function.
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
        }
    }

    /// The program that is attached to the function. `typed`: it may follow typed pointers.
    pub(super) const fn stub(self, typed: bool) -> &'static str {
        match (self, typed) {
            (Self::Fentry, true) => "attach_fentry",
            (Self::Fexit, true) => "attach_fexit",
            (Self::Fentry, false) => "attach_fentry_by_helper",
            (Self::Fexit, false) => "attach_fexit_by_helper",
            (Self::Fprobe, true) => "attach_fprobe",
            (Self::Fprobe, false) | (Self::Kprobe, _) => "attach_kprobe",
            (Self::Kretprobe, _) => "attach_kretprobe",
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
            Self::Fprobe | Self::Kprobe | Self::Kretprobe => "match_kprobe",
            Self::Tracepoint => "match_tracepoint",
            Self::RawTracepoint => "match_raw_tracepoint",
            Self::Lsm => "match_lsm",
        }
    }

    /// Whether this kernel can keep such a hook of so many functions when the process that made it ends. Perf's probes have
    /// links since 5.15, one for each function.
    pub(super) fn can_be_kept(self, functions: usize) -> bool {
        match self {
            Self::Fentry | Self::Fexit | Self::Fprobe | Self::RawTracepoint | Self::Lsm => true,
            Self::Tracepoint => aya::features().bpf_perf_link(),
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
        matches!(self, Self::Fentry | Self::Fexit | Self::RawTracepoint | Self::Lsm)
    }
}
