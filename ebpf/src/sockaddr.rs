//! The addresses of sockets that are arguments: `struct sockaddr *`. A system call has one in the program's memory, and the
//! kernel's functions behind it have the kernel's copy.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use gatewatch_abi::consts::{SOCK_FAMILY, STAT_STRINGS_UNREADABLE};

use crate::{
    arch::is_of_program,
    internet::{AF_INET, AF_INET6, mapped},
    shared::note,
};

/// Offset of `sin_addr` in a `struct sockaddr_in`, include/uapi/linux/in.h. Family and port are before it.
const V4_ADDRESS: u64 = 4;
/// Offset of `sin6_addr` in a `struct sockaddr_in6`, include/uapi/linux/in6.h.
const V6_ADDRESS: u64 = 8;

/// Family and port, the latter in network byte order.
type Head = [u16; 2];

/// The port or the family. `None`: the address cannot be read, or has no port.
#[inline(never)]
pub fn number(sockaddr: u64, part: u32) -> Option<u64> {
    let [family, number]: Head = read(sockaddr)?;
    match (part, family) {
        (SOCK_FAMILY, _) => Some(u64::from(family)),
        (_, AF_INET | AF_INET6) => Some(u64::from(u16::from_be(number))),
        _ => None,
    }
}

/// The address, IPv4 as `::ffff:a.b.c.d`. `None`: it is neither IPv4 nor IPv6.
#[inline(always)]
pub fn address(sockaddr: u64) -> Option<[u8; 16]> {
    let [family, _]: Head = read(sockaddr)?;
    match family {
        AF_INET => Some(mapped(read(sockaddr + V4_ADDRESS)?)),
        AF_INET6 => read(sockaddr + V6_ADDRESS),
        _ => None,
    }
}

/// The value at an address of the kernel or of the program.
#[inline(always)]
fn read<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let (to, size, from) = (value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
    let of_program = is_of_program(address);
    // SAFETY: the helpers check the address, and write zeros where they can't read. All types that are read are plain
    // integers or arrays of them.
    unsafe {
        let result = if of_program {
            bpf_probe_read_user(to, size, from)
        } else {
            bpf_probe_read_kernel(to, size, from)
        };
        if result == 0 {
            return Some(value.assume_init());
        }
    }
    // A call without an address has nothing to read.
    if of_program && address != 0 {
        note(STAT_STRINGS_UNREADABLE);
    }
    None
}
