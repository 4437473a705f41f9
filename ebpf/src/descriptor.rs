//! Files by their descriptors.

use aya_ebpf::helpers::bpf_get_current_task;

use crate::{memory, offset};

/// The `struct file` of an open descriptor of the calling process; 0 where none is open under this number. As
/// `files_lookup_fd_raw` (include/linux/fdtable.h), without its lock: another thread can close it at the same time.
#[inline(never)]
pub fn file(descriptor: u64) -> u64 {
    // The kernel, too, takes the lower half of a system call's argument.
    let descriptor = descriptor as u32;
    // SAFETY: no preconditions.
    let task = unsafe { bpf_get_current_task() } as u64;
    let files: u64 = memory::read(task + offset!(task_files));
    let table: u64 = memory::read(files + offset!(files_fdt));
    if descriptor >= memory::read::<u32>(table + offset!(fdt_max_fds)) {
        return 0;
    }
    let open: u64 = memory::read(table + offset!(fdt_fd));
    memory::read(open + 8 * u64::from(descriptor))
}
