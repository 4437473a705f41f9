//! Programs that do nothing, as the floor to measure against.

use aya::{
    Btf, Ebpf,
    programs::{FEntry, KProbe},
};
use gatewatch_agent::kernel_half::empty_programs;

/// A program on a function; detached when dropped.
pub struct Empty(#[allow(dead_code, reason = "held, so that it stays attached")] Ebpf);

impl Empty {
    /// An empty kprobe program.
    pub fn kprobe(function: &str) -> Self {
        let mut ebpf = Ebpf::load(empty_programs()).expect("the object loads");
        let program: &mut KProbe =
            ebpf.program_mut("empty_kprobe").expect("in the object").try_into().expect("a kprobe");
        program.load().expect("an empty program");
        program.attach(function, 0).expect("the function can be probed");
        Self(ebpf)
    }

    /// An empty fentry program; `None` where the kernel doesn't let one be attached.
    pub fn fentry(function: &str) -> Option<Self> {
        let btf = Btf::from_sys_fs().ok()?;
        let mut ebpf = Ebpf::load(empty_programs()).expect("the object loads");
        let program: &mut FEntry =
            ebpf.program_mut("empty_fentry").expect("in the object").try_into().expect("fentry");
        program.load(function, &btf).ok()?;
        program.attach().ok()?;
        Some(Self(ebpf))
    }
}
