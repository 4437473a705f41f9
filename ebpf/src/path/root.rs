//! The root at which paths begin.

use aya_ebpf::helpers::{bpf_get_current_task, generated::bpf_get_current_task_btf};

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

/// Finds the process's root, and begins with an empty path. The walk ends at the root; a root that the process has chosen
/// (chroot) is none.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
pub unsafe fn begin(scratch: *mut Scratch) {
    // SAFETY: the caller's promise.
    unsafe {
        let fs: u64 = memory::read(bpf_get_current_task() + offset!(task_fs));
        let root = fs + offset!(fs_root);
        (*scratch).root_mount = memory::read(root + offset!(path_mnt));
        (*scratch).root_dentry = memory::read(root + offset!(path_dentry));
        judge_root(scratch);
        core::ptr::write_volatile(&raw mut (*scratch).count, 0);
        core::ptr::write_volatile(&raw mut (*scratch).done, 0);
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
        (*scratch).root_mount = field(root, frozen!(LAYOUT.path_mnt)) as u64;
        (*scratch).root_dentry = field(root, frozen!(LAYOUT.path_dentry)) as u64;
        judge_root(scratch);
        core::ptr::write_volatile(&raw mut (*scratch).count, 0);
        core::ptr::write_volatile(&raw mut (*scratch).done, 0);
    }
}

/// Forgets the dentry of a root that isn't the one of the process's mount namespace: paths would begin at a directory that
/// the process has chosen by chroot. The walk then ends at the topmost mount.
///
/// The namespace's root is the topmost mount, or the one on top of its root: a namespace has `rootfs` below all others
/// (`init_mount_tree`, fs/namespace.c), and `pivot_root` puts the new root where the old one was.
///
/// # Safety
///
/// `scratch` is a map's value.
#[inline(always)]
unsafe fn judge_root(scratch: *mut Scratch) {
    // SAFETY: the caller's promise.
    unsafe {
        let this = core::ptr::read_volatile(&raw const (*scratch).root_mount) - offset!(mount_mnt);
        let mount = Mount::read(this);
        let mut own = mount.root == core::ptr::read_volatile(&raw const (*scratch).root_dentry);
        if own && mount.parent != this {
            let above = Mount::read(mount.parent);
            own = above.parent == mount.parent && above.root == mount.mountpoint;
        }
        if !own {
            core::ptr::write_volatile(&raw mut (*scratch).root_dentry, 0);
        }
    }
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
