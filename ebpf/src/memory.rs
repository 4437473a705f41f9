//! Reading the kernel's memory.

use core::{arch::asm, mem::MaybeUninit, ptr};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// Keeps the bits of `value` that are in `MASK`. The compiler would leave out an `&` that it can prove to change
/// nothing; the verifier, which forgets bounds where two ways through a program meet, needs to see it right before
/// the value is used.
#[inline(always)]
pub fn masked<const MASK: u32>(mut value: u64) -> u64 {
    // SAFETY: an operation on one register.
    unsafe {
        asm!("{value} &= {mask}", value = inout(reg) value, mask = const MASK, options(pure, nomem, nostack));
    };
    value
}

/// The value at a kernel address; zeros where it can't be read.
#[inline(always)]
pub fn read<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address, and writes zeros where it can't read (`bpf_probe_read_kernel_common`,
    // kernel/trace/bpf_trace.c), so its result isn't asked for: a branch for each call is what the verifier would have to
    // follow. All types that are read are plain integers or arrays of them, for which zeros are a value.
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        value.assume_init()
    }
}

/// The value at a kernel address; `None` where it can't be read. For values of which zeros are one like any other.
#[inline(always)]
pub fn try_read<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address, and writes zeros where it can't read.
    unsafe {
        let result =
            bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        if result == 0 { Some(value.assume_init()) } else { None }
    }
}

/// Adds to a number that others add to at the same time. 2^64 - 1 takes one away.
///
/// # Safety
///
/// `number` is in a map's value.
#[inline(always)]
pub unsafe fn add(number: *mut u64, more: u64) {
    // SAFETY: the caller's promise. Written out, since older kernels know no form that gives the old number.
    unsafe {
        asm!("lock *(u64 *)({number} + 0) += {more}", number = in(reg) number, more = in(reg) more, options(nostack));
    }
}

/// Claims what `users` counts the users of, and tells whether that succeeded: no other program has it.
///
/// A program can be interrupted at any instruction by another one on its CPU, and the other one by the first: programs of
/// fexit, and on recent kernels of tracepoints, can be preempted. So the counter is only ever added to. A program that finds
/// it at exactly 1 after adding 1 has what it counts; every other program takes its 1 away again. Only one program can find
/// 1, since the counter is above 1 for all others until that one is done. Every addition has its subtraction, in whatever
/// order they happen, so nothing stays claimed.
///
/// # Safety
///
/// `users` is in a map's value of this CPU.
#[inline(always)]
pub unsafe fn try_claim(users: *mut u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        add(users, 1);
        if ptr::read_volatile(users) == 1 {
            return true;
        }
        release(users);
    }
    false
}

/// Gives back what was claimed by [`try_claim`].
///
/// # Safety
///
/// As [`try_claim`].
#[inline(always)]
pub unsafe fn release(users: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { add(users, u64::MAX) }
}

/// Eight bytes at a kernel address. Not inlined, where many of them would each have a place on the stack.
#[inline(never)]
pub fn read_word(address: u64) -> u64 {
    read(address)
}
