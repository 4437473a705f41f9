//! Sockets, their addresses, and packets.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use gatewatch_abi::{
    Layout, RecordSock,
    record::consts::{ARG_UNREADABLE, ARG_WHOLE, AS_SKB, AS_SOCKADDR},
};
use gatewatch_ebpf::{
    arch::read_bytes,
    frozen,
    globals::LAYOUT,
    internet::{AF_INET, AF_INET6},
    memory, offset,
    sockaddr::AF_UNIX,
};

use crate::space;

/// `sun_path` of a `struct sockaddr_un`, include/uapi/linux/un.h: its offset and its length.
const UNIX_PATH: (u64, u32) = (2, 108);
/// Protocols whose headers begin with both ports (include/uapi/linux/in.h): TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// A `struct sock`.
#[unsafe(no_mangle)]
#[inline(never)]
#[allow(clippy::cast_ptr_alignment, reason = "values begin at multiples of 8")]
pub extern "C" fn sock(level: u32, class: u32, sock: u64) -> u32 {
    let Some(space) = space::at(level) else { return 0 };
    let to = space::room(space).cast::<RecordSock>();
    if to.is_null() {
        space::put_no_room(space, class);
        return 0;
    }
    if sock == 0 {
        space::put_none(space, class, ARG_UNREADABLE);
        return 0;
    }
    let family: u16 = memory::read(sock + offset!(sock_family));
    // SAFETY: there is room.
    unsafe {
        (*to).cookie = sock;
        (*to).source = [0; 16];
        (*to).destination = [0; 16];
        (*to).source_port = 0;
        (*to).destination_port = 0;
        (*to).family = family;
        (*to).ty = memory::read(sock + offset!(sock_type));
        (*to).protocol = memory::read(sock + offset!(sock_protocol));
        (*to).state = u16::from(memory::read::<u8>(sock + offset!(sock_state)));
        (*to).mark = memory::read(sock + offset!(sock_mark));
        (*to).priority = memory::read(sock + offset!(sock_priority));
        (*to).hash = 0;
        if family == AF_INET || family == AF_INET6 {
            (*to).source_port = memory::read(sock + offset!(sock_num));
            (*to).destination_port = u16::from_be(memory::read(sock + offset!(sock_dport)));
        }
        let has_v6 = frozen!(LAYOUT.sock_v6_daddr) != Layout::ABSENT;
        if family == AF_INET {
            copy(&raw mut (*to).source, 4, sock + offset!(sock_rcv_saddr));
            copy(&raw mut (*to).destination, 4, sock + offset!(sock_daddr));
        } else if family == AF_INET6 && has_v6 {
            copy(&raw mut (*to).source, 16, sock + offset!(sock_v6_rcv_saddr));
            copy(&raw mut (*to).destination, 16, sock + offset!(sock_v6_daddr));
        }
    }
    let len = size_of::<RecordSock>();
    space::put(space, class, ARG_WHOLE, len as u32, len as u64);
    0
}

/// Copies bytes of the kernel's memory. What can't be read is 0.
///
/// # Safety
///
/// `to` is in a map's value, and `len` at most 16.
#[inline(always)]
unsafe fn copy(to: *mut [u8; 16], len: u32, from: u64) {
    // SAFETY: the caller's promise; the helper checks `from`.
    unsafe {
        bpf_probe_read_kernel(to.cast(), len, from as *const _);
    }
}

/// A `struct sockaddr`, in the kernel's memory or in the program's. Family, address and port; of a unix socket, its name behind
/// these.
#[unsafe(no_mangle)]
#[inline(never)]
#[allow(clippy::cast_ptr_alignment, reason = "values begin at multiples of 8")]
pub extern "C" fn sockaddr(level: u32, address: u64) -> u32 {
    let Some(space) = space::at(level) else { return 0 };
    let to = space::room(space).cast::<RecordSock>();
    if to.is_null() {
        space::put_no_room(space, AS_SOCKADDR);
        return 0;
    }
    let mut len = size_of::<RecordSock>() as u32;
    // SAFETY: there is room for all of it; the helpers check the address.
    unsafe {
        let mut head = [0_u16; 2];
        if !read_bytes(head.as_mut_ptr().cast(), 4, address) {
            space::put_none(space, AS_SOCKADDR, ARG_UNREADABLE);
            return 0;
        }
        let [family, port] = head;
        to.cast::<[u64; 8]>().write_volatile([0; 8]);
        (*to).family = family;
        let mut read_all = true;
        if family == AF_INET || family == AF_INET6 {
            (*to).source_port = u16::from_be(port);
            let (at, bytes) = if family == AF_INET { (4, 4) } else { (8, 16) };
            read_all = if bytes == 4 {
                read_bytes((&raw mut (*to).source).cast(), 4, address + at)
            } else {
                read_bytes((&raw mut (*to).source).cast(), 16, address + at)
            };
        } else if family == AF_UNIX {
            let name = to.add(1).cast::<u8>();
            // It may be shorter, and what is behind it not there.
            if read_bytes(name, UNIX_PATH.1, address + UNIX_PATH.0) {
                len += UNIX_PATH.1;
            }
        }
        if !read_all {
            space::put_none(space, AS_SOCKADDR, ARG_UNREADABLE);
            return 0;
        }
    }
    space::put(space, AS_SOCKADDR, ARG_WHOLE, len, u64::from(len));
    0
}

/// A `struct sk_buff`: what its IP header and the ports behind it say.
#[unsafe(no_mangle)]
#[inline(never)]
#[allow(clippy::cast_ptr_alignment, reason = "values begin at multiples of 8")]
pub extern "C" fn skb(level: u32, skb: u64) -> u32 {
    let Some(space) = space::at(level) else { return 0 };
    let to = space::room(space).cast::<RecordSock>();
    if to.is_null() {
        space::put_no_room(space, AS_SKB);
        return 0;
    }
    if skb == 0 {
        space::put_none(space, AS_SKB, ARG_UNREADABLE);
        return 0;
    }
    let head: u64 = memory::read(skb + offset!(skb_head));
    let header = head + u64::from(memory::read::<u16>(skb + offset!(skb_network_header)));
    let version = memory::read::<u8>(header) >> 4;
    // SAFETY: there is room.
    unsafe {
        to.cast::<[u64; 8]>().write_volatile([0; 8]);
        (*to).cookie = u64::from(memory::read::<u32>(skb + offset!(skb_len)));
        (*to).mark = memory::read(skb + offset!(skb_mark));
        (*to).priority = memory::read(skb + offset!(skb_priority));
        (*to).hash = memory::read(skb + offset!(skb_hash));
        let protocol: u8 = match version {
            4 => {
                (*to).family = AF_INET;
                copy(&raw mut (*to).source, 4, header + 12);
                copy(&raw mut (*to).destination, 4, header + 16);
                memory::read(header + 9)
            }
            6 => {
                (*to).family = AF_INET6;
                copy(&raw mut (*to).source, 16, header + 8);
                copy(&raw mut (*to).destination, 16, header + 24);
                memory::read(header + 6)
            }
            _ => 0,
        };
        (*to).protocol = u16::from(protocol);
        let transport = memory::read::<u16>(skb + offset!(skb_transport_header));
        // `u16::MAX`: it isn't known yet (`skb_transport_header_was_set`, include/linux/skbuff.h).
        if transport != u16::MAX && WITH_PORTS.contains(&protocol) {
            let [source, destination]: [u16; 2] = memory::read(head + u64::from(transport));
            (*to).source_port = u16::from_be(source);
            (*to).destination_port = u16::from_be(destination);
        }
    }
    let len = size_of::<RecordSock>();
    space::put(space, AS_SKB, ARG_WHOLE, len as u32, len as u64);
    0
}
