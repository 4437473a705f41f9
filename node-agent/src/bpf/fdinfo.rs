//! Numbers that the kernel reports in the fdinfo of a program or a map.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd as _},
};

use aya::programs::ProgramFd;

/// Events that a program did not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// The program was running on that CPU already, in a task that had been interrupted.
    pub recursion: u64,
}

/// Reads `recursion_misses` of an attached program (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`; 5.12 and later).
pub(super) fn missed(program: &ProgramFd) -> Missed {
    Missed { recursion: number(program, "recursion_misses:") }
}

/// Bytes of the kernel's memory that a program or a map takes.
pub(super) fn memory_of(object: &impl AsFd) -> u64 {
    number(object, "memlock:")
}

/// One number; 0 where the kernel does not report it.
fn number(object: &impl AsFd, name: &str) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", object.as_fd().as_raw_fd());
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
