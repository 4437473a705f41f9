//! Records: the ring buffer that they are read from, and the programs that record processes.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    time::Duration,
};

use aya::{
    Btf, Ebpf,
    maps::{MapData, RingBuf},
    programs::BtfTracePoint,
};

use super::{
    BpfPrograms, LoadError, Node,
    bpffs::{self, Pins},
    loader::{Loader, With},
    maps::take,
    objects,
    record_limits::RecordLimits,
    verified::verified_instructions,
};

/// Program and tracepoint.
const PROGRAMS: [(&str, &str); 3] = [
    ("record_fork", "sched_process_fork"),
    ("record_exec", "sched_process_exec"),
    ("record_exit", "sched_process_exit"),
];

/// Maps that all recorders of one agent share.
const PINNED: [&str; 3] = ["RECORDS", "RECORD_SPACES", "RECORD_BUDGETS"];

/// Maps of the recorder's object that its library brings and that no recorder uses.
pub(super) const SHARED_ENTRIES: [(&str, u32); 10] = [
    ("ROWS", 1),
    ("PAIRS", 1),
    ("ACTIONS", 1),
    ("EXACT", 1),
    ("BREAKS", 1),
    ("BINARY_ROWS", 1),
    ("PREFIX", 1),
    ("POSTFIX", 1),
    ("ADDRESSES", 1),
    ("RECORDER", 1),
];

/// The programs that record processes.
pub(super) struct ProcessRecords {
    ebpf: Ebpf,
}

impl ProcessRecords {
    /// Loads and attaches them. They end with the agent: what happens until the next one is found by it.
    pub(super) fn load(
        node: &Node,
        limits: &RecordLimits,
        pins: &Pins,
        (loader, btf): (&mut Loader, &Btf),
    ) -> Result<Self, LoadError> {
        // The recorders of an earlier agent have ended with it, and these may have other sizes.
        for map in PINNED {
            let path = pins.dir().join(map);
            bpffs::remove_all(&path).map_err(|source| LoadError::Pins { path, source })?;
        }
        let config = limits.config();
        let globals: &[(_, &[u8])] =
            &[("LAYOUT", bytemuck::bytes_of(&node.layout)), ("RECORDER_CONFIG", bytemuck::bytes_of(&config))];
        let entries = [
            ("RECORD_BITS", 1),
            ("RECORD_HOOKS", 1),
            ("RECORD_RATES", 1),
            ("DIRECT", 1),
            ("RECORDS", limits.ring_bytes),
        ];
        let entries: Vec<_> = entries.into_iter().chain(SHARED_ENTRIES).collect();
        let object = objects::built(objects::RECORDER)?;
        let realtime = node.interruptible.realtime_guard();
        let mut ebpf = loader.load("recording", object, &With { globals, entries: &entries })?;
        drop(realtime);
        for (name, tracepoint) in PROGRAMS {
            let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
            let failed = |source| LoadError::Program { program: name, target: tracepoint.to_owned(), source };
            let program: &mut BtfTracePoint = program.try_into().map_err(failed)?;
            program.load(tracepoint, btf).map_err(failed)?;
            program.attach().map_err(failed)?;
        }
        Ok(Self { ebpf })
    }

    /// The ring buffer; once.
    pub(super) fn take_ring(&mut self) -> Option<Ring> {
        match take::<RingBuf<MapData>>(&mut self.ebpf, "RECORDS") {
            Ok(ring) => Some(Ring { ring }),
            Err(error) => {
                tracing::error!(%error, "cannot read records");
                None
            }
        }
    }

    pub(super) fn verified_instructions(&self) -> Vec<(String, u32)> {
        verified_instructions(&self.ebpf)
    }
}

impl BpfPrograms {
    /// Whether events are recorded.
    pub fn has_records(&self) -> bool {
        self.node.records.is_some()
    }

    /// Where the cgroup v2 hierarchy is mounted, if it is.
    pub fn cgroups(&self) -> Option<&Path> {
        self.node.cgroups.as_deref()
    }

    /// The ring buffer that records are read from. Once; `None`: nothing is recorded.
    pub fn take_ring(&mut self) -> Option<Ring> {
        self.process_records.as_mut()?.take_ring()
    }
}

/// The ring buffer that all programs write their records into, for the one thread that reads it.
pub struct Ring {
    ring: RingBuf<MapData>,
}

impl Ring {
    /// Waits until there is a record, and not longer than this.
    pub fn wait(&self, at_most: Duration) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let fd: BorrowedFd<'_> = self.ring.as_fd();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let timeout = Timespec::try_from(at_most).ok();
        // Interrupted or not, the caller looks.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// Gives the next record to `f`; false: there is none.
    pub fn next(&mut self, f: impl FnOnce(&[u8])) -> bool {
        match self.ring.next() {
            Some(record) => {
                f(&record);
                true
            }
            None => false,
        }
    }
}

/// Where values are in a `struct pt_regs` (`ebpf/src/arch.rs` has the same places).
#[cfg(not(target_arch = "aarch64"))]
pub(super) mod registers {
    /// The function's result.
    pub(crate) const RESULT: u32 = 80;

    /// A function's argument.
    pub(crate) const fn argument(index: u32) -> u32 {
        match index {
            0 => 112,
            1 => 104,
            2 => 96,
            3 => 88,
            4 => 72,
            _ => 64,
        }
    }

    /// A system call's argument, for a call as 32-bit programs make them or for the usual one.
    pub(crate) const fn of_syscall(index: u32, by_32_bits: bool) -> u32 {
        match (index, by_32_bits) {
            (0, true) => 40,
            (1, true) => 88,
            (2, true) => 96,
            (3, true) => 104,
            (4, true) => 112,
            (_, true) => 32,
            (3, false) => 56,
            (index, false) => argument(index),
        }
    }
}

/// Where values are in a `struct pt_regs` (`ebpf/src/arch.rs` has the same places).
#[cfg(target_arch = "aarch64")]
pub(super) mod registers {
    /// The function's result.
    pub(crate) const RESULT: u32 = 0;

    /// A function's argument.
    pub(crate) const fn argument(index: u32) -> u32 {
        8 * index
    }

    /// A system call's argument.
    pub(crate) const fn of_syscall(index: u32, _by_32_bits: bool) -> u32 {
        8 * index
    }
}
