//! Addresses of IPv4 and IPv6.

/// `AF_INET`, include/linux/socket.h.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// An IPv4 address as one of IPv6: `::ffff:a.b.c.d`.
#[inline(always)]
pub fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]]
}
