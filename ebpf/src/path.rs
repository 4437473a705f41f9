//! Paths by hand: from a file's directory entry up to the process's root.

use aya_ebpf::helpers::{
    bpf_get_current_task,
    generated::{bpf_get_current_task_btf, bpf_probe_read_kernel},
};
use gatewatch_abi::consts::STAT_PATHS_CUT;

use crate::{
    frozen,
    memory::{self, masked},
    offset,
    shared::note,
    spec::LAYOUT,
    text::{Buffer, END, START, Scratch, Text},
};

/// Components and mounts that are followed. A deeper path is cut, and counted as such.
const DEPTH: u32 = 96;
/// The longest name of a component, `NAME_MAX`.
const NAME_MAX: u32 = 255;
/// `Scratch::done`: the root was reached.
const COMPLETE: u32 = 1;
/// `Scratch::done`: there was no room.
const CUT: u32 = 2;

/// Components that are followed by typed pointers; a deeper path goes on without.
const TYPED_DEPTH: u32 = 16;

/// Puts the path of the `struct path` at `path` together, from its end, as the calling process sees it.
///
/// The state of the loop is in the buffer and is read back volatile. With the state in registers the verifier
/// would follow every combination of values through all turns of the loop, and refuse the program.
#[inline(always)]
pub fn walk(path: u64, buffer: Buffer) -> Option<Text> {
    let scratch = buffer.as_ptr();
    // SAFETY: fields of a map's value.
    unsafe {
        begin(scratch);
        go_to(scratch, memory::read(path + offset!(path_mnt)));
        (*scratch).dentry = memory::read(path + offset!(path_dentry));
        if (*scratch).dentry == 0 {
            return None;
        }
        rest(scratch);
        finish(scratch)
    }
}

/// The same for a `struct path` of which the verifier knows that it is one: fields are then read by plain loads, which the
/// kernel makes safe, and not by a call each. `task`: so is the current task. A file three components deep costs a third.
///
/// # Safety
///
/// `path` is a pointer that the verifier knows the type of.
#[inline(always)]
pub unsafe fn walk_typed(path: *const u8, task: bool, buffer: Buffer) -> Option<Text> {
    let scratch = buffer.as_ptr();
    // SAFETY: the caller's promise; and fields of a map's value.
    unsafe {
        if task {
            begin_typed(scratch);
        } else {
            begin(scratch);
        }
        let mount = field(path, frozen!(LAYOUT.path_mnt));
        let mut dentry = field(path, frozen!(LAYOUT.path_dentry));
        if dentry.is_null() {
            return None;
        }
        let mount_root = field(mount, frozen!(LAYOUT.vfsmount_root)) as u64;
        let at_root = mount as u64 == (*scratch).root_mount;
        let root = (*scratch).root_dentry;
        for _ in 0..TYPED_DEPTH {
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
            put(scratch, len & NAME_MAX, field(name, frozen!(LAYOUT.qstr_name)) as u64);
            dentry = parent;
            if core::ptr::read_volatile(&raw const (*scratch).done) != 0 {
                break;
            }
        }
        if core::ptr::read_volatile(&raw const (*scratch).done) == 0 {
            // Another mount, or very deep.
            (*scratch).mount = mount as u64;
            (*scratch).mount_root = mount_root;
            (*scratch).dentry = dentry as u64;
            rest(scratch);
        }
        finish(scratch)
    }
}

/// A pointer in a structure.
///
/// # Safety
///
/// `base` is a pointer that the verifier knows the type of, and the kernel's structure has a pointer at `offset`.
#[inline(always)]
unsafe fn field(base: *const u8, offset: u32) -> *const u8 {
    // SAFETY: the caller's promise.
    unsafe { base.add(offset as usize).cast::<*const u8>().read_volatile() }
}

/// Finds the process's root, and begins with an empty path.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
unsafe fn begin(scratch: *mut Scratch) {
    // SAFETY: the caller's promise.
    unsafe {
        let fs: u64 = memory::read(bpf_get_current_task() + offset!(task_fs));
        let root = fs + offset!(fs_root);
        (*scratch).root_mount = memory::read(root + offset!(path_mnt));
        (*scratch).root_dentry = memory::read(root + offset!(path_dentry));
        core::ptr::write_volatile(&raw mut (*scratch).offset, END);
        core::ptr::write_volatile(&raw mut (*scratch).done, 0);
    }
}

/// The same by plain loads.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
unsafe fn begin_typed(scratch: *mut Scratch) {
    // SAFETY: the caller's promise; the verifier knows the type of what the helper gives.
    unsafe {
        let task = bpf_get_current_task_btf() as *const u8;
        let root = field(task, frozen!(LAYOUT.task_fs)).add(frozen!(LAYOUT.fs_root) as usize);
        (*scratch).root_mount = field(root, frozen!(LAYOUT.path_mnt)) as u64;
        (*scratch).root_dentry = field(root, frozen!(LAYOUT.path_dentry)) as u64;
        core::ptr::write_volatile(&raw mut (*scratch).offset, END);
        core::ptr::write_volatile(&raw mut (*scratch).done, 0);
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

/// The path that was put together, if it is whole.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
unsafe fn finish(scratch: *mut Scratch) -> Option<Text> {
    // SAFETY: the caller's promise; offsets into `data` are masked.
    unsafe {
        if core::ptr::read_volatile(&raw const (*scratch).done) != COMPLETE {
            note(STAT_PATHS_CUT);
            return None;
        }
        let mut start = core::ptr::read_volatile(&raw const (*scratch).offset) & 0x1fff;
        if !(START..=END).contains(&start) {
            return None;
        }
        let data = (&raw mut (*scratch).data).cast::<u8>();
        if start == END {
            start = END - 1;
            *data.add(start as usize) = b'/';
        }
        *data.add(END as usize) = 0;
        Some(Text { start, len: END - start })
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
            let above: u64 = memory::read(this + offset!(mount_parent));
            if above != this && above != 0 {
                let point: u64 = memory::read(this + offset!(mount_mountpoint));
                core::ptr::write_volatile(&raw mut (*scratch).dentry, point);
                go_to(scratch, above + offset!(mount_mnt));
                return;
            }
            // The topmost mount; or a file without a place in the tree (memfd), whose own name is all there is.
            core::ptr::write_volatile(&raw mut (*scratch).done, COMPLETE);
            if core::ptr::read_volatile(&raw const (*scratch).offset) != END || is_slash(entry.name) {
                return;
            }
        }
        put(scratch, entry.len & NAME_MAX, entry.name);
        core::ptr::write_volatile(&raw mut (*scratch).dentry, entry.parent);
    }
}

/// Goes on in a mount.
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

/// Puts a slash and a name before what is there.
///
/// # Safety
///
/// `scratch` is a map's value, and `len` at most [`NAME_MAX`].
#[inline(always)]
unsafe fn put(scratch: *mut Scratch, len: u32, name: u64) {
    // SAFETY: `start` is at most END and at least START; `len` at most NAME_MAX, for which there is room after END.
    unsafe {
        let offset = core::ptr::read_volatile(&raw const (*scratch).offset) & 0x1fff;
        if offset > END || offset < START + len + 1 {
            // Longer than PATH_MAX.
            core::ptr::write_volatile(&raw mut (*scratch).done, CUT);
            return;
        }
        let start = offset - len - 1;
        if start > END {
            return;
        }
        let data = (&raw mut (*scratch).data).cast::<u8>();
        *data.add(start as usize) = b'/';
        bpf_probe_read_kernel(data.add(start as usize + 1).cast(), masked::<NAME_MAX>(len), name as *const _);
        core::ptr::write_volatile(&raw mut (*scratch).offset, start);
    }
}
