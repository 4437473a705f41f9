//! Buffers in which strings are assembled. Programs on one CPU share a few of them.
//!
//! Each buffer is claimed with [`memory::try_claim`], which says why that is needed on one CPU; a program that does not get
//! one tries the next.

use core::ptr;

use aya_ebpf::{macros::map, maps::PerCpuArray};
use gatewatch_abi::{
    Binary,
    consts::{PATH_BYTES, STAT_NESTED},
};

use crate::{memory, shared::note};

/// The buffers of each CPU.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::pinned(LEVELS, 0);

/// Buffers on each CPU: how many programs there can be in the middle of a string at a time.
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
    /// How many programs have claimed the buffer, or are about to find out that they can't.
    pub users: u64,
    /// Mount (`struct vfsmount *`) where the walk stands.
    pub mount: u64,
    /// The mount's root (`struct dentry *`).
    pub mount_root: u64,
    /// Directory entry where it stands.
    pub dentry: u64,
    /// The process's root: its mount.
    pub root_mount: u64,
    /// The directory entry at which a path begins; 0: at the topmost mount.
    pub root_dentry: u64,
    /// The last root that was found to be the one of a mount namespace: its mount.
    pub own_mount: u64,
    /// The same: its directory entry.
    pub own_dentry: u64,
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
    /// A program's path, as it is kept.
    pub binary: Binary,
    /// Room behind it: the verifier takes the next power of two for the bound of a copy.
    pub room: [u8; 8],
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
    let scratch = claim();
    if scratch.is_null() {
        note(STAT_NESTED);
        return false;
    }
    f(Buffer(scratch));
    // SAFETY: a map's value.
    unsafe { memory::release(&raw mut (*scratch).users) };
    true
}

/// A free buffer; null where there is none.
#[inline(always)]
fn claim() -> *mut Scratch {
    for level in 0..LEVELS {
        let Some(scratch) = SCRATCH.get_ptr_mut(level) else { break };
        // SAFETY: a map's value of this CPU.
        if unsafe { memory::try_claim(&raw mut (*scratch).users) } {
            return scratch;
        }
    }
    ptr::null_mut()
}
