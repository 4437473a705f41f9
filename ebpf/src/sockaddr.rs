//! The addresses of sockets that are arguments: `struct sockaddr *`. A system call has one in the program's memory, and the
//! kernel's functions behind it have the kernel's copy.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use gatewatch_abi::consts::{SOCK_FAMILY, STAT_STRINGS_UNREADABLE};

use crate::{
    arch::{is_of_program, read_bytes},
    internet::{AF_INET, AF_INET6, mapped},
    memory::masked,
    scratch::Buffer,
    shared::note,
};

/// Offset of `sin_addr` in a `struct sockaddr_in`, include/uapi/linux/in.h. Family and port are before it.
const V4_ADDRESS: u64 = 4;
/// Offset of `sin6_addr` in a `struct sockaddr_in6`, include/uapi/linux/in6.h.
const V6_ADDRESS: u64 = 8;

/// `AF_UNIX`, include/linux/socket.h.
pub const AF_UNIX: u16 = 1;
/// Offset of `sun_path` in a `struct sockaddr_un`, include/uapi/linux/un.h.
const UNIX_NAME: u64 = 2;
/// `sizeof(struct sockaddr_un)`.
const UNIX_LENGTH: u64 = 110;

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

/// Brings the name of a Unix socket into the buffer, up to its first NUL, and gives its length. That of an abstract one
/// begins behind the NUL that marks it. `None`: the address is of another family, cannot be read, or has no name.
///
/// `length` is that of the whole address: what is behind it is not a part of the name (`unix_mkname_bsd`, `net/unix/af_unix.c`).
#[inline(always)]
pub fn name(sockaddr: u64, length: u32, buffer: Buffer) -> Option<u32> {
    let family: u16 = read(sockaddr)?;
    let length = u64::from(length);
    if family != AF_UNIX || length <= UNIX_NAME {
        return None;
    }
    let most = length.min(UNIX_LENGTH) - UNIX_NAME;
    let abstract_name = read::<u8>(sockaddr + UNIX_NAME)? == 0;
    let (from, most) =
        if abstract_name { (sockaddr + UNIX_NAME + 1, most - 1) } else { (sockaddr + UNIX_NAME, most) };
    // With the NUL that the helpers write.
    let size = masked::<0x7f>(most + 1) as u32;
    // SAFETY: a field of a map's value, with room for more than 128 bytes; the helpers check the address.
    let read = unsafe {
        let target = (&raw mut (*buffer.as_ptr()).data).cast::<c_void>();
        if is_of_program(sockaddr) {
            bpf_probe_read_user_str(target, size, from as *const _)
        } else {
            bpf_probe_read_kernel_str(target, size, from as *const _)
        }
    };
    if read <= 0 {
        note(STAT_STRINGS_UNREADABLE);
        return None;
    }
    Some((read as u32 - 1) & 0x7f)
}

/// The value at an address of the kernel or of the program.
#[inline(always)]
fn read<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helpers check the address, and write zeros where they can't read. All types that are read are plain
    // integers or arrays of them.
    unsafe {
        if read_bytes(value.as_mut_ptr().cast(), size_of::<T>() as u32, address) {
            return Some(value.assume_init());
        }
    }
    // A call without an address has nothing to read.
    if is_of_program(address) && address != 0 {
        note(STAT_STRINGS_UNREADABLE);
    }
    None
}
