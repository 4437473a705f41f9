//! Which program a process runs: the path of the file, and its id.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use gatewatch_abi::{Binary, consts::BINARY_PATH_BYTES, mix, named};

use crate::{
    frozen,
    globals::{HASH_KEY, HOST_MOUNTS},
    memory::{self, masked},
    offset, path,
    scratch::Buffer,
};

/// The id of the program in a `struct file`, by its path in a task's mount namespace; 0 where there is none. The path is then
/// in the buffer, see [`found`]; its owner is still to be set. The id is that of a container's program. Whether it is one of the
/// host's is for the caller to say, afterwards: the verifier would follow the path once for each answer.
#[inline(always)]
#[allow(clippy::cast_ptr_alignment, reason = "the path in a `Binary` begins at 16")]
pub fn identify(task: u64, file: u64, buffer: Buffer) -> u64 {
    if !path::walk_of(task, path::place(file + offset!(file_path)), buffer) {
        return 0;
    }
    let Some(len) = path::whole(buffer) else { return 0 };
    let binary = found(buffer);
    // SAFETY: fields of a map's value, which no other program has now; the length is bounded.
    unsafe {
        let words = (&raw mut (*binary).path).cast::<u64>();
        for i in 0..BINARY_PATH_BYTES / 8 {
            // Volatile, or the compiler makes a memset of it, which is a loop over bytes here.
            core::ptr::write_volatile(words.add(i), 0);
        }
        (*binary).len = len;
        let kept = if len > BINARY_PATH_BYTES as u32 { BINARY_PATH_BYTES as u32 } else { len };
        let from = (&raw const (*buffer.as_ptr()).data).cast();
        let kept = masked::<0x1ff>(u64::from(kept));
        bpf_probe_read_kernel((&raw mut (*binary).path).cast(), kept as u32, from);
        let mut id = mix(frozen!(HASH_KEY), u64::from(len));
        for i in 0..BINARY_PATH_BYTES / 8 {
            if i * 8 >= kept as usize {
                break;
            }
            id = mix(id, core::ptr::read_volatile(words.add(i)));
        }
        named(id)
    }
}

/// Where the path is that [`identify`] has found.
#[inline(always)]
pub fn found(buffer: Buffer) -> *mut Binary {
    // SAFETY: a field of a map's value.
    unsafe { &raw mut (*buffer.as_ptr()).binary }
}

/// Whether a task is in the host's mount namespace. Not where that isn't known, nor for a task that has left all namespaces
/// at its end.
#[inline(always)]
pub fn in_host_mounts(task: u64) -> bool {
    let host = frozen!(HOST_MOUNTS);
    let nsproxy: u64 = memory::read(task + offset!(task_nsproxy));
    let mounts: u64 = memory::read(nsproxy + offset!(nsproxy_mnt));
    host != 0 && u64::from(memory::read::<u32>(mounts + offset!(mnt_inum))) == host
}
