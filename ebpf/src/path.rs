//! Paths by hand: names are gathered from a file's directory entry up to the root of the process's mount namespace, and
//! copied from there down.

mod root;

use aya_ebpf::helpers::{bpf_get_current_task, generated::bpf_probe_read_kernel};
use gatewatch_abi::consts::STAT_PATHS_CUT;

use self::root::{begin, begin_typed, field};
use crate::{
    frozen,
    globals::LAYOUT,
    memory::{self, masked},
    offset,
    scratch::{Buffer, LONGEST, NAMES, Name, Scratch},
    shared::note,
};

/// Components and mounts that are followed. A deeper path is cut, and counted as such.
const DEPTH: u32 = 96;
/// A number of a name is kept below [`NAMES`] by this.
const NAME_MASK: u32 = NAMES as u32 - 1;
/// The longest name of a component, `NAME_MAX`.
const NAME_MAX: u32 = 255;
/// `Scratch::done`: the root was reached.
const COMPLETE: u32 = 1;
/// `Scratch::done`: there was no room.
const CUT: u32 = 2;

/// Components that are followed by typed pointers; a deeper path is read without.
const TYPED_DEPTH: u64 = 16;

/// The place that a `struct path` names.
#[inline(always)]
pub fn place(path: u64) -> Place {
    Place { mount: memory::read(path + offset!(path_mnt)), dentry: memory::read(path + offset!(path_dentry)) }
}

/// Gathers the names of the path that ends at a place, from the root of the calling process's mount namespace on. They are
/// still to be copied. Returns false if there is no path or it is too deep.
#[inline(always)]
pub fn walk_from(place: Place, buffer: Buffer) -> bool {
    // SAFETY: no preconditions.
    walk_of(unsafe { bpf_get_current_task() }, place, buffer)
}

/// The same for another task, from the root of its mount namespace on.
///
/// The state of the loop is in the buffer and is read back volatile. With the state in registers the verifier
/// would follow every combination of values through all turns of the loop, and reject the program.
#[inline(always)]
pub fn walk_of(task: u64, place: Place, buffer: Buffer) -> bool {
    let scratch = buffer.as_ptr();
    // SAFETY: fields of a map's value.
    unsafe {
        begin(task, scratch);
        go_to(scratch, if place.mount == 0 { (*scratch).root_mount } else { place.mount });
        (*scratch).dentry = place.dentry;
        if place.dentry == 0 {
            return false;
        }
        rest(scratch);
        gathered(scratch)
    }
}

/// Where a path ends.
#[derive(Clone, Copy)]
pub struct Place {
    /// A `struct vfsmount`; 0: the one that the process's root is in.
    pub mount: u64,
    /// A `struct dentry`; 0: there is none.
    pub dentry: u64,
}

/// The same for a `struct path` of which the verifier knows that it is one: fields are then read by plain loads, which the
/// kernel makes safe, and not by a call each. `task`: so is the current task. A read under the shipped file policy costs half.
///
/// # Safety
///
/// `path` is a pointer that the verifier knows the type of.
#[inline(always)]
#[allow(clippy::cast_ptr_alignment, reason = "the kernel's structures are aligned")]
pub unsafe fn walk_typed(path: *const u8, task: bool, buffer: Buffer) -> bool {
    let scratch = buffer.as_ptr();
    // SAFETY: the caller's promise; and fields of a map's value.
    unsafe {
        if task {
            begin_typed(scratch);
        } else {
            begin(bpf_get_current_task(), scratch);
        }
        let mount = field(path, frozen!(LAYOUT.path_mnt));
        let mut dentry = field(path, frozen!(LAYOUT.path_dentry));
        if dentry.is_null() {
            return false;
        }
        let mount_root = field(mount, frozen!(LAYOUT.vfsmount_root)) as u64;
        let at_root = mount as u64 == (*scratch).root_mount;
        let root = (*scratch).root_dentry;
        for i in 0..TYPED_DEPTH {
            let this = dentry as u64;
            if at_root && this == root {
                core::ptr::write_volatile(&raw mut (*scratch).done, COMPLETE);
                break;
            }
            let parent = field(dentry, frozen!(LAYOUT.dentry_parent));
            if this == mount_root || this == parent as u64 {
                break;
            }
            let name = dentry.add(frozen!(LAYOUT.dentry_name) as usize);
            let len = name.add(frozen!(LAYOUT.qstr_len) as usize).cast::<u32>().read_volatile();
            put(scratch, i, len, field(name, frozen!(LAYOUT.qstr_name)) as u64);
            dentry = parent;
        }
        if core::ptr::read_volatile(&raw const (*scratch).done) == 0 {
            // Another mount, or very deep.
            (*scratch).mount = mount as u64;
            (*scratch).mount_root = mount_root;
            (*scratch).dentry = dentry as u64;
            rest(scratch);
        }
        gathered(scratch)
    }
}

/// Follows the path from where it stands to the root.
#[inline(never)]
fn rest(scratch: *mut Scratch) {
    for _ in 0..DEPTH {
        // SAFETY: a map's value.
        unsafe {
            step(scratch);
            if core::ptr::read_volatile(&raw const (*scratch).done) != 0 {
                break;
            }
        }
    }
}

/// Whether the root was reached; then the path is a slash until names are copied.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
unsafe fn gathered(scratch: *mut Scratch) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if core::ptr::read_volatile(&raw const (*scratch).done) != COMPLETE {
            note(STAT_PATHS_CUT);
            return false;
        }
        let text = (&raw mut (*scratch).data).cast::<u8>();
        *text = b'/';
        *text.add(1) = 0;
        let root = core::ptr::read_volatile(&raw const (*scratch).count) == 0;
        core::ptr::write_volatile(&raw mut (*scratch).known, if root { 2 } else { 1 });
        true
    }
}

/// Copies all names, and gives the path's length. `None`: it is too long.
#[inline(always)]
pub fn whole(buffer: Buffer) -> Option<u32> {
    let scratch = buffer.as_ptr();
    // SAFETY: fields of a map's value.
    unsafe {
        for _ in 0..NAMES {
            if !copy_name(scratch) {
                break;
            }
        }
        // Behind the last name stands a NUL.
        let len = core::ptr::read_volatile(&raw const (*scratch).known) - 1;
        let cut = core::ptr::read_volatile(&raw const (*scratch).done) != COMPLETE;
        (!cut && len <= u64::from(LONGEST)).then_some(len as u32)
    }
}

/// Copies the next name, and puts a slash behind it, or behind the last one a NUL. False: there is none, or no room.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
pub unsafe fn copy_name(scratch: *mut Scratch) -> bool {
    // SAFETY: the number of the name and where it goes are bounded before they are used.
    unsafe {
        let count = core::ptr::read_volatile(&raw const (*scratch).count);
        if count == 0 {
            return false;
        }
        let left = masked::<NAME_MASK>(count - 1);
        let name = (&raw const (*scratch).names).cast::<Name>().add(left as usize);
        let len = masked::<NAME_MAX>(core::ptr::read_volatile(&raw const (*name).len));
        let known = core::ptr::read_volatile(&raw const (*scratch).known);
        if known > u64::from(LONGEST - NAME_MAX) && known + len > u64::from(LONGEST) {
            // Longer than PATH_MAX.
            core::ptr::write_volatile(&raw mut (*scratch).done, CUT);
            note(STAT_PATHS_CUT);
            return false;
        }
        if known > u64::from(LONGEST) {
            return false;
        }
        let to = (&raw mut (*scratch).data).cast::<u8>().add(known as usize);
        bpf_probe_read_kernel(to.cast(), len as u32, (*name).address as *const _);
        *to.add(len as usize) = if left == 0 { 0 } else { b'/' };
        core::ptr::write_volatile(&raw mut (*scratch).known, known + len + 1);
        core::ptr::write_volatile(&raw mut (*scratch).count, left);
        true
    }
}

/// One component, or one mount: sets `done` at the root.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
unsafe fn step(scratch: *mut Scratch) {
    // SAFETY: fields of a map's value; the offset into `data` is bounded before it is used.
    unsafe {
        let mount = core::ptr::read_volatile(&raw const (*scratch).mount);
        let dentry = core::ptr::read_volatile(&raw const (*scratch).dentry);
        if dentry == core::ptr::read_volatile(&raw const (*scratch).root_dentry)
            && mount == core::ptr::read_volatile(&raw const (*scratch).root_mount)
        {
            core::ptr::write_volatile(&raw mut (*scratch).done, COMPLETE);
            return;
        }
        let entry = Entry::read(dentry);
        if dentry == core::ptr::read_volatile(&raw const (*scratch).mount_root) || dentry == entry.parent {
            let this = mount - offset!(mount_mnt);
            // Not by `Mount::read`: before Linux 6.8 a stack of 72 bytes counts as 96 here, and the largest matcher has no
            // more than 64.
            let above: u64 = memory::read(this + offset!(mount_parent));
            if above != this && above != 0 {
                let mountpoint: u64 = memory::read(this + offset!(mount_mountpoint));
                core::ptr::write_volatile(&raw mut (*scratch).dentry, mountpoint);
                go_to(scratch, above + offset!(mount_mnt));
                return;
            }
            // The topmost mount; or a file without a place in the tree (memfd), whose own name is all there is.
            core::ptr::write_volatile(&raw mut (*scratch).done, COMPLETE);
            if core::ptr::read_volatile(&raw const (*scratch).count) != 0 || is_slash(entry.name) {
                return;
            }
        }
        let count = core::ptr::read_volatile(&raw const (*scratch).count);
        put(scratch, masked::<NAME_MASK>(count), entry.len, entry.name);
        core::ptr::write_volatile(&raw mut (*scratch).dentry, entry.parent);
    }
}

/// Continues in a mount.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
unsafe fn go_to(scratch: *mut Scratch, mount: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        core::ptr::write_volatile(&raw mut (*scratch).mount, mount);
        let root = memory::read(mount + offset!(vfsmount_root));
        core::ptr::write_volatile(&raw mut (*scratch).mount_root, root);
    }
}

/// What a directory entry says.
struct Entry {
    parent: u64,
    len: u32,
    name: u64,
}

impl Entry {
    #[inline(always)]
    fn read(dentry: u64) -> Self {
        // The parent and the name are neighbours on all kernels that were seen (include/linux/dcache.h, `struct dentry`
        // and `struct qstr`): then one call reads both.
        let neighbours = frozen!(LAYOUT.dentry_name) == frozen!(LAYOUT.dentry_parent) + 8
            && frozen!(LAYOUT.qstr_len) == 4
            && frozen!(LAYOUT.qstr_name) == 8;
        if neighbours {
            let [parent, hash_len, name]: [u64; 3] = memory::read(dentry + offset!(dentry_parent));
            return Self { parent, len: (hash_len.to_le() >> 32) as u32, name };
        }
        let qstr = dentry + offset!(dentry_name);
        Self {
            parent: memory::read(dentry + offset!(dentry_parent)),
            len: memory::read(qstr + offset!(qstr_len)),
            name: memory::read(qstr + offset!(qstr_name)),
        }
    }
}

/// Whether the name is that of a file system's root, a slash.
#[inline(always)]
fn is_slash(name: u64) -> bool {
    memory::read::<u8>(name) == b'/'
}

/// Remembers a name, and that there are so many.
///
/// # Safety
///
/// `scratch` is a map's value, and `number` below [`NAMES`].
#[inline(always)]
unsafe fn put(scratch: *mut Scratch, number: u64, len: u32, address: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        let name = (&raw mut (*scratch).names).cast::<Name>().add(number as usize);
        core::ptr::write_volatile(&raw mut (*name).address, address);
        core::ptr::write_volatile(&raw mut (*name).len, u64::from(len));
        core::ptr::write_volatile(&raw mut (*scratch).count, number + 1);
    }
}
