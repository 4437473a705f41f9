//! Where a kernel function finds its arguments, and whose memory an address is, and which programs make a call: the
//! only file that knows the processor.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};

use crate::{memory, offset};

/// Offsets in `struct pt_regs` of the six argument registers of a C function, and of the result's register.
#[cfg(not(bpf_target_arch = "aarch64"))]
pub mod regs {
    // arch/x86/include/asm/ptrace.h, struct pt_regs; the order is the System V ABI's: di, si, dx, cx, r8, r9.
    /// Argument 0.
    pub const ARG0: usize = 112;
    /// Argument 1.
    pub const ARG1: usize = 104;
    /// Argument 2.
    pub const ARG2: usize = 96;
    /// Argument 3.
    pub const ARG3: usize = 88;
    /// Argument 4.
    pub const ARG4: usize = 72;
    /// Argument 5.
    pub const ARG5: usize = 64;
    /// The result: ax.
    pub const RESULT: usize = 80;
    /// The instruction pointer: ip.
    pub const POINTER: usize = 128;
    /// Argument 3 of a system call: r10 instead of cx, which the instruction `syscall` overwrites.
    pub const SYSCALL_ARG3: usize = 56;
    /// Argument 0 of a 32-bit program's system call: ebx, then ecx, edx, esi, edi, ebp.
    pub const IA32_ARG0: usize = 40;
    /// Argument 1 of it.
    pub const IA32_ARG1: usize = 88;
    /// Argument 2 of it.
    pub const IA32_ARG2: usize = 96;
    /// Argument 3 of it.
    pub const IA32_ARG3: usize = 104;
    /// Argument 4 of it.
    pub const IA32_ARG4: usize = 112;
    /// Argument 5 of it.
    pub const IA32_ARG5: usize = 32;
}

/// Offsets in `struct pt_regs` of the six argument registers of a C function, and of the result's register.
#[cfg(bpf_target_arch = "aarch64")]
pub mod regs {
    // arch/arm64/include/asm/ptrace.h: x0 to x30 come first.
    /// Argument 0.
    pub const ARG0: usize = 0;
    /// Argument 1.
    pub const ARG1: usize = 8;
    /// Argument 2.
    pub const ARG2: usize = 16;
    /// Argument 3.
    pub const ARG3: usize = 24;
    /// Argument 4.
    pub const ARG4: usize = 32;
    /// Argument 5.
    pub const ARG5: usize = 40;
    /// The result: x0.
    pub const RESULT: usize = 0;
    /// The instruction pointer: pc, after x0 to x30 and sp.
    pub const POINTER: usize = 256;
    /// Argument 3 of a system call.
    pub const SYSCALL_ARG3: usize = 24;
    /// Argument 0 of a system call of a 32-bit program on x86, which this processor does not run.
    pub const IA32_ARG0: usize = ARG0;
    /// Argument 1 of it.
    pub const IA32_ARG1: usize = ARG1;
    /// Argument 2 of it.
    pub const IA32_ARG2: usize = ARG2;
    /// Argument 3 of it.
    pub const IA32_ARG3: usize = ARG3;
    /// Argument 4 of it.
    pub const IA32_ARG4: usize = ARG4;
    /// Argument 5 of it.
    pub const IA32_ARG5: usize = ARG5;
}

/// Whether a task is in a system call that it made as 32-bit programs do: `TS_COMPAT` in the status of the thread,
/// `arch/x86/include/asm/thread_info.h`.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
pub fn calls_by_32_bits(task: u64) -> bool {
    memory::read::<u32>(task + offset!(task_thread_status)) & 2 != 0
}

/// Whether a task runs a 32-bit program: `TIF_32BIT`, `arch/arm64/include/asm/thread_info.h`.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub fn calls_by_32_bits(task: u64) -> bool {
    memory::read::<u64>(task + offset!(task_thread_flags)) >> 22 & 1 != 0
}

/// Whether an address is of the program's memory, and not of the kernel's, which is the upper half.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
pub fn is_of_program(address: u64) -> bool {
    address >> 63 == 0
}

/// Whether an address is of the program's memory, and not of the kernel's. The upper byte may be a tag, so this is the bit
/// below it.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub fn is_of_program(address: u64) -> bool {
    address >> 55 & 1 == 0
}

/// Reads `len` bytes at an address of the program's memory or of the kernel's, and tells whether that was possible. Otherwise
/// it writes zeros, as the helpers do.
///
/// # Safety
///
/// There is room for `len` bytes at `to`.
#[inline(always)]
pub unsafe fn read_bytes(to: *mut u8, len: u32, address: u64) -> bool {
    // SAFETY: the caller's promise; the helpers check the address.
    unsafe {
        if is_of_program(address) {
            bpf_probe_read_user(to.cast(), len, address as *const _) == 0
        } else {
            bpf_probe_read_kernel(to.cast(), len, address as *const _) == 0
        }
    }
}
