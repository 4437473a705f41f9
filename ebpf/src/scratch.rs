//! Buffers in which strings are put together, one for each level of nesting on a CPU.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use gatewatch_abi::consts::{PATH_BYTES, STAT_NESTED};

use crate::shared::note;

/// Buffers to put paths together in, one for each level of nesting on a CPU.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::pinned(LEVELS, 0);

/// How many of the buffers are in use on this CPU.
#[map]
pub static NESTING: PerCpuArray<u32> = PerCpuArray::pinned(1, 0);

/// Buffers on each CPU: a program can be interrupted by another one.
pub const LEVELS: u32 = 4;
/// Bytes of the longest string, without its NUL; a mask, since it is one less than a power of two.
pub const LONGEST: u32 = PATH_BYTES as u32 - 1;

/// Names that there is room for: a power of two above what is followed.
pub const NAMES: usize = 128;

/// The name of a component, in the kernel's memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Name {
    /// Where it is.
    pub address: u64,
    /// Its bytes.
    pub len: u64,
}

/// A buffer for one string, and the state of the loop that puts a path together.
#[repr(C)]
pub struct Scratch {
    /// Mount (`struct vfsmount *`) where the walk stands.
    pub mount: u64,
    /// The mount's root (`struct dentry *`).
    pub mount_root: u64,
    /// Directory entry where it stands.
    pub dentry: u64,
    /// The process's root: its mount.
    pub root_mount: u64,
    /// The process's root: its directory entry.
    pub root_dentry: u64,
    /// How many bytes of the path are known: its next name comes behind them.
    pub known: u64,
    /// How many bytes of the string have been looked up.
    pub next: u64,
    /// The number of the last [`Step`].
    pub from: u64,
    /// Where the steps behind it are.
    pub to: u64,
    /// The row of the last entry that has ended.
    pub row: u32,
    /// Not 0: the walk is at its end, see `path.rs`.
    pub done: u32,
    /// How many of `names` are still to be copied.
    pub count: u64,
    /// Names of components, the last one of the path first.
    pub names: [Name; NAMES],
    /// The string, with room for one more name.
    pub data: [u8; PATH_BYTES + 256],
    /// The key of a postfix: the string backwards.
    pub reversed: [u8; 264],
}

/// A [`Scratch`] that was lent to us: see [`with_scratch`].
#[derive(Clone, Copy)]
pub struct Buffer(*mut Scratch);

impl Buffer {
    /// Its address, a map's value.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut Scratch {
        self.0
    }
}

/// Lends a buffer of this CPU to `f`; without one that is free, `f` isn't called.
#[inline(always)]
pub fn with_scratch(f: impl FnOnce(Buffer)) -> bool {
    let Some(nesting) = NESTING.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own slot; a program that interrupts this one restores it before it returns.
    let level = unsafe { core::ptr::read_volatile(nesting) };
    if level >= LEVELS {
        note(STAT_NESTED);
        return false;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(level) else { return false };
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(nesting, level + 1) };
    f(Buffer(scratch));
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(nesting, level) };
    true
}
