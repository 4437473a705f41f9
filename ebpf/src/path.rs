//! Paths by hand: from a file's directory entry up to the process's root.

use aya_ebpf::helpers::{bpf_get_current_task, generated::bpf_probe_read_kernel};
use gatewatch_abi::consts::STAT_PATHS_CUT;

use crate::{
    memory::{self, masked},
    offset,
    shared::note,
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

/// Puts the path of the `struct path` at `path` together, from its end, as the calling process sees it.
///
/// The state of the loop is in the buffer and is read back volatile. With the state in registers the verifier
/// would follow every combination of values through all turns of the loop, and refuse the program.
#[inline(always)]
pub fn walk(path: u64, buffer: Buffer) -> Option<Text> {
    let scratch = buffer.as_ptr();
    // SAFETY: fields of a map's value; offsets into `data` are masked.
    unsafe {
        let fs: u64 = memory::read(bpf_get_current_task() as u64 + offset!(task_fs));
        let root = fs + offset!(fs_root);
        (*scratch).mount = memory::read(path + offset!(path_mnt));
        (*scratch).dentry = memory::read(path + offset!(path_dentry));
        (*scratch).root_mount = memory::read(root + offset!(path_mnt));
        (*scratch).root_dentry = memory::read(root + offset!(path_dentry));
        (*scratch).offset = END;
        (*scratch).done = 0;
        if (*scratch).dentry == 0 {
            return None;
        }
        for _ in 0..DEPTH {
            step(scratch);
            if core::ptr::read_volatile(&raw const (*scratch).done) != 0 {
                break;
            }
        }
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
        let parent: u64 = memory::read(dentry + offset!(dentry_parent));
        let mount_root: u64 = memory::read(mount + offset!(vfsmount_root));
        if dentry == mount_root || dentry == parent {
            let this = mount - offset!(mount_mnt);
            let above: u64 = memory::read(this + offset!(mount_parent));
            if above != this && above != 0 {
                let point: u64 = memory::read(this + offset!(mount_mountpoint));
                core::ptr::write_volatile(&raw mut (*scratch).dentry, point);
                core::ptr::write_volatile(&raw mut (*scratch).mount, above + offset!(mount_mnt));
                return;
            }
            // The topmost mount; or a file without a place in the tree (memfd), whose own name is all there is.
            core::ptr::write_volatile(&raw mut (*scratch).done, COMPLETE);
            if core::ptr::read_volatile(&raw const (*scratch).offset) != END || is_slash(dentry) {
                return;
            }
        }
        prepend(scratch, dentry);
        core::ptr::write_volatile(&raw mut (*scratch).dentry, parent);
    }
}

/// Whether the entry is a file system's root, whose name is a slash.
#[inline(always)]
fn is_slash(dentry: u64) -> bool {
    let name: u64 = memory::read(dentry + offset!(dentry_name) + offset!(qstr_name));
    memory::read::<u8>(name) == b'/'
}

/// Puts a slash and the entry's name before what is there.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
unsafe fn prepend(scratch: *mut Scratch, dentry: u64) {
    let qstr = dentry + offset!(dentry_name);
    let len = memory::read::<u32>(qstr + offset!(qstr_len)) & NAME_MAX;
    let name: u64 = memory::read(qstr + offset!(qstr_name));
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
