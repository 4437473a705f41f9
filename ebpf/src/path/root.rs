//! The root at which paths begin.

use aya_ebpf::helpers::generated::bpf_get_current_task_btf;

use crate::{frozen, globals::LAYOUT, memory, offset, scratch::Scratch};

/// A pointer in a structure.
///
/// # Safety
///
/// `base` is a pointer that the verifier knows the type of, and the kernel's structure has a pointer at `offset`.
#[inline(always)]
#[allow(clippy::cast_ptr_alignment, reason = "the kernel's structures are aligned")]
pub unsafe fn field(base: *const u8, offset: u32) -> *const u8 {
    // SAFETY: the caller's promise.
    unsafe { base.add(offset as usize).cast::<*const u8>().read_volatile() }
}

/// Finds a task's root, and begins with an empty path.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
pub unsafe fn begin(task: u64, scratch: *mut Scratch) {
    // SAFETY: the caller's promise.
    unsafe {
        let fs: u64 = memory::read(task + offset!(task_fs));
        let root = fs + offset!(fs_root);
        begin_at(scratch, memory::read(root + offset!(path_mnt)), memory::read(root + offset!(path_dentry)));
    }
}

/// The same by plain loads.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
pub unsafe fn begin_typed(scratch: *mut Scratch) {
    // SAFETY: the caller's promise; the verifier knows the type of what the helper gives.
    unsafe {
        let task = bpf_get_current_task_btf() as *const u8;
        let root = field(task, frozen!(LAYOUT.task_fs)).add(frozen!(LAYOUT.fs_root) as usize);
        let mount = field(root, frozen!(LAYOUT.path_mnt)) as u64;
        let dentry = field(root, frozen!(LAYOUT.path_dentry)) as u64;
        begin_at(scratch, mount, dentry);
    }
}

/// Begins with an empty path. The walk ends at the process's root, if that is the one of its mount namespace. A directory
/// that the process has chosen (chroot) is none: the walk then ends at the topmost mount.
///
/// A judgement costs two reads, and almost all processes on a CPU have the same few roots, so the last root that passed is
/// remembered. A mount that passed once and has been moved since (`pivot_root`, then chroot to the old root) is still taken
/// for a root: its paths stay what they were.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
unsafe fn begin_at(scratch: *mut Scratch, mount: u64, dentry: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        (*scratch).root_mount = mount;
        (*scratch).root_dentry = dentry;
        if mount != (*scratch).own_mount || dentry != (*scratch).own_dentry {
            if is_own(mount - offset!(mount_mnt), dentry) {
                (*scratch).own_mount = mount;
                (*scratch).own_dentry = dentry;
            } else {
                core::ptr::write_volatile(&raw mut (*scratch).root_dentry, 0);
            }
        }
        core::ptr::write_volatile(&raw mut (*scratch).count, 0);
        core::ptr::write_volatile(&raw mut (*scratch).done, 0);
    }
}

/// Mounts that can be on top of each other at the root of a namespace.
const STACKED: u32 = 4;

/// Whether a directory in a `struct mount` is the root of the mount's namespace: the root of the topmost mount, or of one that is on
/// top of that root, and so on. A namespace has `rootfs` below all other mounts, on Linux 7.x with another one below it
/// (`init_mount_tree`, fs/namespace.c), and `pivot_root` puts the new root where the old one was.
///
/// Not inlined: after it the verifier has one case, not two, for the walk that follows.
#[inline(never)]
fn is_own(mut this: u64, dentry: u64) -> bool {
    let mut mount = Mount::read(this);
    if mount.root != dentry {
        return false;
    }
    for _ in 0..STACKED {
        if mount.parent == this {
            return true;
        }
        let below = Mount::read(mount.parent);
        if below.root != mount.mountpoint {
            return false;
        }
        (this, mount) = (mount.parent, below);
    }
    false
}

/// What a `struct mount` says.
struct Mount {
    /// The `struct mount` that it is on; itself if there is none.
    parent: u64,
    /// The directory that it is on.
    mountpoint: u64,
    /// Its own root.
    root: u64,
}

impl Mount {
    #[inline(always)]
    fn read(mount: u64) -> Self {
        // They are neighbours on all kernels that were seen (fs/mount.h, `struct mount`, whose `struct vfsmount` begins with
        // the root): then one call reads all of them.
        let neighbours = frozen!(LAYOUT.mount_mountpoint) == frozen!(LAYOUT.mount_parent) + 8
            && frozen!(LAYOUT.mount_mnt) == frozen!(LAYOUT.mount_parent) + 16
            && frozen!(LAYOUT.vfsmount_root) == 0;
        if neighbours {
            let [parent, mountpoint, root]: [u64; 3] = memory::read(mount + offset!(mount_parent));
            return Self { parent, mountpoint, root };
        }
        Self {
            parent: memory::read(mount + offset!(mount_parent)),
            mountpoint: memory::read(mount + offset!(mount_mountpoint)),
            root: memory::read(mount + offset!(mount_mnt) + offset!(vfsmount_root)),
        }
    }
}
