//! Programs that do nothing, as the floor to measure against.

use std::os::fd::OwnedFd;

use aya::{
    Btf, Ebpf,
    programs::{FEntry, KProbe},
};
use gatewatch_agent::bpf::{empty_fprobe, empty_programs};

/// A program on a function; detached when dropped.
pub enum Empty {
    /// One that aya has attached.
    Aya(Ebpf),
    /// The link of an fprobe.
    Link(OwnedFd),
}

impl Empty {
    /// An empty kprobe program.
    pub fn kprobe(function: &str) -> Self {
        let mut ebpf = Ebpf::load(empty_programs()).expect("the object loads");
        let program: &mut KProbe =
            ebpf.program_mut("empty_kprobe").expect("in the object").try_into().expect("a kprobe");
        program.load().expect("an empty program");
        program.attach(function, 0).expect("the function can be probed");
        Self::Aya(ebpf)
    }

    /// An empty program for fprobe.
    pub fn fprobe(function: &str) -> Self {
        Self::Link(empty_fprobe(function).expect("the function can be probed"))
    }

    /// An empty fentry program; `None` where the kernel doesn't let one be attached.
    pub fn fentry(function: &str) -> Option<Self> {
        let btf = Btf::from_sys_fs().ok()?;
        let mut ebpf = Ebpf::load(empty_programs()).expect("the object loads");
        let program: &mut FEntry =
            ebpf.program_mut("empty_fentry").expect("in the object").try_into().expect("fentry");
        program.load(function, &btf).ok()?;
        program.attach().ok()?;
        Some(Self::Aya(ebpf))
    }
}
