//! Reading the kernel's memory.

use core::arch::asm;

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Keeps the bits of `value` that are in `MASK`. The compiler would leave out an `&` that it can prove to change
/// nothing; the verifier, which forgets bounds where two ways through a program meet, needs to see it right before
/// the value is used.
#[inline(always)]
pub fn masked<const MASK: u32>(value: u32) -> u32 {
    let mut value = u64::from(value);
    // SAFETY: an operation on one register.
    unsafe {
        asm!("{value} &= {mask}", value = inout(reg) value, mask = const MASK, options(pure, nomem, nostack));
    };
    value as u32
}

/// The value at a kernel address; zeros where it can't be read.
#[inline(always)]
pub fn read<T: Copy>(address: u64) -> T {
    // SAFETY: the helper checks the address; all types that are read are plain integers or arrays of them, for
    // which zeros are a value.
    unsafe { bpf_probe_read_kernel(address as *const T).unwrap_or_else(|_| core::mem::zeroed()) }
}

/// Eight bytes at a kernel address. Not inlined, where many of them would each have a place on the stack.
#[inline(never)]
pub fn read_word(address: u64) -> u64 {
    read(address)
}
