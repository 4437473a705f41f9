//! Packets: the headers of a `struct sk_buff *`. It is an argument of functions before and after these are there, so nothing
//! is taken from its other fields: the version is that of the header itself.

use gatewatch_abi::consts::{SOCK_DPORT, SOCK_PROTOCOL, SOCK_SPORT};

use crate::{
    internet::{AF_INET, AF_INET6, mapped},
    memory, offset,
};

/// Offsets in a `struct iphdr`, include/uapi/linux/ip.h. The destination follows the source.
const V4_FRAGMENT: u64 = 6;
const V4_PROTOCOL: u64 = 9;
const V4_SOURCE: u64 = 12;
/// `IP_OFFSET`, include/net/ip.h: which part of a datagram this is.
const V4_OFFSET: u16 = 0x1fff;
/// Offsets in a `struct ipv6hdr`, include/uapi/linux/ipv6.h, and its size.
const V6_NEXT_HEADER: u64 = 6;
const V6_SOURCE: u64 = 8;
const V6_LENGTH: u64 = 40;
/// Extension headers that are followed: as many as Tetragon follows.
const V6_EXTENSIONS: usize = 7;
/// `IP6_OFFSET`, include/net/ipv6.h.
const V6_OFFSET: u16 = 0xfff8;

/// Numbers of protocols and of IPv6's extension headers: include/uapi/linux/in.h, include/net/ipv6.h.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// Reads a field of a packet's headers. `None` if the packet is not IP, or if a port is asked for and the packet has none: its
/// protocol has no ports, or it is a later fragment of a datagram.
#[inline(never)]
pub fn number(skb: u64, part: u32) -> Option<u64> {
    let header = ip_header(skb);
    let version = version(header);
    let family = match version {
        4 => AF_INET,
        6 => AF_INET6,
        _ => return None,
    };
    if !matches!(part, SOCK_PROTOCOL | SOCK_SPORT | SOCK_DPORT) {
        return Some(u64::from(family));
    }
    let payload = if version == 4 { of_v4(header) } else { of_v6(header) };
    let protocol = payload as u8;
    if part == SOCK_PROTOCOL {
        return Some(u64::from(protocol));
    }
    let distance = payload >> 8;
    // The two ports are the first of all fields in each of these.
    if distance == 0 || !matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE) {
        return None;
    }
    let place = header + distance + if part == SOCK_SPORT { 0 } else { 2 };
    Some(u64::from(u16::from_be(memory::read(place))))
}

/// What an IPv4 packet carries: the protocol in the low byte, and above it the distance from the IP header to the protocol's,
/// 0 where the latter is in an earlier part of the datagram.
#[inline(always)]
fn of_v4(header: u64) -> u64 {
    let protocol = u64::from(memory::read::<u8>(header + V4_PROTOCOL));
    let fragment = u16::from_be(memory::read(header + V4_FRAGMENT));
    // In words of four bytes.
    let distance = u64::from(memory::read::<u8>(header) & 15) * 4;
    if fragment & V4_OFFSET == 0 { protocol | distance << 8 } else { protocol }
}

/// The same of an IPv6 packet, behind its extension headers.
#[inline(never)]
fn of_v6(header: u64) -> u64 {
    let mut protocol: u8 = memory::read(header + V6_NEXT_HEADER);
    let mut distance = V6_LENGTH;
    let mut later_part = false;
    for _ in 0..V6_EXTENSIONS {
        let [next, units]: [u8; 2] = memory::read(header + distance);
        let units = u64::from(units);
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => (units + 1) * 8,
            AUTHENTICATION => (units + 2) * 4,
            FRAGMENT => {
                let offset = u16::from_be(memory::read(header + distance + 2));
                later_part = later_part || offset & V6_OFFSET != 0;
                8
            }
            _ => break,
        };
        protocol = next;
        distance += length;
        if later_part {
            break;
        }
    }
    u64::from(protocol) | if later_part { 0 } else { distance << 8 }
}

/// An address in the IP header of a packet, IPv4 as `::ffff:a.b.c.d`. `None`: the header is of another protocol.
#[inline(always)]
pub fn address(skb: u64, source: bool) -> Option<[u8; 16]> {
    let header = ip_header(skb);
    match version(header) {
        4 => Some(mapped(memory::read(header + if source { V4_SOURCE } else { V4_SOURCE + 4 }))),
        6 => Some(memory::read(header + if source { V6_SOURCE } else { V6_SOURCE + 16 })),
        _ => None,
    }
}

/// The address of a packet's network header.
#[inline(always)]
fn ip_header(skb: u64) -> u64 {
    let head: u64 = memory::read(skb + offset!(skb_head));
    head + u64::from(memory::read::<u16>(skb + offset!(skb_network_header)))
}

/// The first four bits of an IP header.
#[inline(always)]
fn version(header: u64) -> u8 {
    memory::read::<u8>(header) >> 4
}
