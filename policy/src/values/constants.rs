//! The kernel's named numbers that policies may use. All are part of its stable interface to programs.

use gatewatch_abi::consts::FILE_TYPE_SHIFT;

use super::ValueError;
use crate::nearest::nearest;

/// A table of names and numbers. Where a number has several names, the first is the one shown.
pub type Table = &'static [(&'static str, u32)];

/// Capabilities, from `include/uapi/linux/capability.h`.
pub static CAPABILITIES: Table = &[
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_DAC_READ_SEARCH", 2),
    ("CAP_FOWNER", 3),
    ("CAP_FSETID", 4),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SETPCAP", 8),
    ("CAP_LINUX_IMMUTABLE", 9),
    ("CAP_NET_BIND_SERVICE", 10),
    ("CAP_NET_BROADCAST", 11),
    ("CAP_NET_ADMIN", 12),
    ("CAP_NET_RAW", 13),
    ("CAP_IPC_LOCK", 14),
    ("CAP_IPC_OWNER", 15),
    ("CAP_SYS_MODULE", 16),
    ("CAP_SYS_RAWIO", 17),
    ("CAP_SYS_CHROOT", 18),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_SYS_PACCT", 20),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_BOOT", 22),
    ("CAP_SYS_NICE", 23),
    ("CAP_SYS_RESOURCE", 24),
    ("CAP_SYS_TIME", 25),
    ("CAP_SYS_TTY_CONFIG", 26),
    ("CAP_MKNOD", 27),
    ("CAP_LEASE", 28),
    ("CAP_AUDIT_WRITE", 29),
    ("CAP_AUDIT_CONTROL", 30),
    ("CAP_SETFCAP", 31),
    ("CAP_MAC_OVERRIDE", 32),
    ("CAP_MAC_ADMIN", 33),
    ("CAP_SYSLOG", 34),
    ("CAP_WAKE_ALARM", 35),
    ("CAP_BLOCK_SUSPEND", 36),
    ("CAP_AUDIT_READ", 37),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
    ("CAP_CHECKPOINT_RESTORE", 40),
];

/// Address families, from `include/linux/socket.h`.
pub static FAMILIES: Table = &[
    ("AF_UNSPEC", 0),
    ("AF_UNIX", 1),
    ("AF_LOCAL", 1),
    ("AF_INET", 2),
    ("AF_AX25", 3),
    ("AF_IPX", 4),
    ("AF_APPLETALK", 5),
    ("AF_NETROM", 6),
    ("AF_BRIDGE", 7),
    ("AF_ATMPVC", 8),
    ("AF_X25", 9),
    ("AF_INET6", 10),
    ("AF_ROSE", 11),
    ("AF_DECnet", 12),
    ("AF_NETBEUI", 13),
    ("AF_SECURITY", 14),
    ("AF_KEY", 15),
    ("AF_NETLINK", 16),
    ("AF_ROUTE", 16),
    ("AF_PACKET", 17),
    ("AF_ASH", 18),
    ("AF_ECONET", 19),
    ("AF_ATMSVC", 20),
    ("AF_RDS", 21),
    ("AF_SNA", 22),
    ("AF_IRDA", 23),
    ("AF_PPPOX", 24),
    ("AF_WANPIPE", 25),
    ("AF_LLC", 26),
    ("AF_IB", 27),
    ("AF_MPLS", 28),
    ("AF_CAN", 29),
    ("AF_TIPC", 30),
    ("AF_BLUETOOTH", 31),
    ("AF_IUCV", 32),
    ("AF_RXRPC", 33),
    ("AF_ISDN", 34),
    ("AF_PHONET", 35),
    ("AF_IEEE802154", 36),
    ("AF_CAIF", 37),
    ("AF_ALG", 38),
    ("AF_NFC", 39),
    ("AF_VSOCK", 40),
    ("AF_KCM", 41),
    ("AF_QIPCRTR", 42),
    ("AF_SMC", 43),
    ("AF_XDP", 44),
    ("AF_MCTP", 45),
];

/// Protocols, from `include/uapi/linux/in.h` and `in6.h`.
pub static PROTOCOLS: Table = &[
    ("IPPROTO_IP", 0),
    ("IPPROTO_ICMP", 1),
    ("IPPROTO_IGMP", 2),
    ("IPPROTO_IPIP", 4),
    ("IPPROTO_TCP", 6),
    ("IPPROTO_EGP", 8),
    ("IPPROTO_PUP", 12),
    ("IPPROTO_UDP", 17),
    ("IPPROTO_IDP", 22),
    ("IPPROTO_TP", 29),
    ("IPPROTO_DCCP", 33),
    ("IPPROTO_IPV6", 41),
    ("IPPROTO_ROUTING", 43),
    ("IPPROTO_FRAGMENT", 44),
    ("IPPROTO_RSVP", 46),
    ("IPPROTO_GRE", 47),
    ("IPPROTO_ESP", 50),
    ("IPPROTO_AH", 51),
    ("IPPROTO_ICMPV6", 58),
    ("IPPROTO_NONE", 59),
    ("IPPROTO_DSTOPTS", 60),
    ("IPPROTO_MTP", 92),
    ("IPPROTO_BEETPH", 94),
    ("IPPROTO_ENCAP", 98),
    ("IPPROTO_PIM", 103),
    ("IPPROTO_COMP", 108),
    ("IPPROTO_L2TP", 115),
    ("IPPROTO_SCTP", 132),
    ("IPPROTO_MH", 135),
    ("IPPROTO_UDPLITE", 136),
    ("IPPROTO_MPLS", 137),
    ("IPPROTO_ETHERNET", 143),
    ("IPPROTO_AGGFRAG", 144),
    ("IPPROTO_RAW", 255),
    ("IPPROTO_SMC", 256),
    ("IPPROTO_MPTCP", 262),
];

/// States of a TCP socket, from `include/net/tcp_states.h`.
pub static TCP_STATES: Table = &[
    ("TCP_ESTABLISHED", 1),
    ("TCP_SYN_SENT", 2),
    ("TCP_SYN_RECV", 3),
    ("TCP_FIN_WAIT1", 4),
    ("TCP_FIN_WAIT2", 5),
    ("TCP_TIME_WAIT", 6),
    ("TCP_CLOSE", 7),
    ("TCP_CLOSE_WAIT", 8),
    ("TCP_LAST_ACK", 9),
    ("TCP_LISTEN", 10),
    ("TCP_CLOSING", 11),
    ("TCP_NEW_SYN_RECV", 12),
    ("TCP_BOUND_INACTIVE", 13),
];

/// Types of files, as `S_IFMT` of `include/uapi/linux/stat.h` masks them out of a mode.
pub static FILE_TYPES: Table = &[
    ("sock", 0o140_000),
    ("socket", 0o140_000),
    ("lnk", 0o120_000),
    ("link", 0o120_000),
    ("reg", 0o100_000),
    ("regular", 0o100_000),
    ("blk", 0o060_000),
    ("block", 0o060_000),
    ("dir", 0o040_000),
    ("directory", 0o040_000),
    ("chr", 0o020_000),
    ("char", 0o020_000),
    ("fifo", 0o010_000),
    ("pipe", 0o010_000),
];

/// The number of a name.
pub fn number(table: Table, name: &str) -> Option<u32> {
    table.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The name of a number.
pub fn name(table: Table, number: u32) -> Option<&'static str> {
    table.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

fn named(table: Table, what: &'static str, text: &str) -> Result<u32, ValueError> {
    number(table, text).ok_or_else(|| ValueError::Unknown {
        text: text.to_owned(),
        what,
        nearest: suggestion(table, text),
    })
}

/// The name that is likely to be intended: the same without its prefix (`tcp` for `IPPROTO_TCP`), or the nearest.
fn suggestion(table: Table, text: &str) -> Option<&'static str> {
    let names = || table.iter().map(|(name, _)| *name);
    let bare = |name: &str| name.split_once('_').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(text));
    names().find(|name| bare(name)).or_else(|| nearest(text, names()))
}

fn named_or_number(table: Table, what: &'static str, text: &str, bits: u8) -> Result<u32, ValueError> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return named(table, what, text);
    }
    let number = super::integer_of(text, bits, false)?;
    u32::try_from(number).map_err(|_| ValueError::Huge(text.to_owned()))
}

/// Reads the name of a capability, `CAP_*`, as its number.
pub fn capability(text: &str) -> Result<u32, ValueError> {
    named(CAPABILITIES, "capability", text)
}

/// Reads a set of capabilities, a bit for each: names joined by commas, or the bits as a number.
pub fn capabilities(text: &str) -> Result<u64, ValueError> {
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        let bits = super::integer_of(text, 64, false)?;
        return u64::try_from(bits).map_err(|_| ValueError::Huge(text.to_owned()));
    }
    text.split(',').try_fold(0, |set, name| Ok(set | 1 << capability(name.trim())?))
}

/// Reads an address family: `AF_*` or its number (16 bits, as `sk_family` is).
pub fn family(text: &str) -> Result<u32, ValueError> {
    named_or_number(FAMILIES, "address family", text, 16)
}

/// Reads a protocol: `IPPROTO_*` or its number (16 bits, as `sk_protocol` is).
pub fn protocol(text: &str) -> Result<u32, ValueError> {
    named_or_number(PROTOCOLS, "protocol", text, 16)
}

/// Reads a TCP state: `TCP_*` or its number (8 bits, as `skc_state` is).
pub fn tcp_state(text: &str) -> Result<u32, ValueError> {
    named_or_number(TCP_STATES, "TCP state", text, 8)
}

/// Reads a file's type, as its `S_IF*` bits.
pub fn file_type(text: &str) -> Result<u32, ValueError> {
    named(FILE_TYPES, "file type", text)
}

/// The same as a small number, as [`Field::FileType`](crate::plan::Field::FileType) has it.
pub fn file_type_number(text: &str) -> Result<u32, ValueError> {
    file_type(text).map(|bits| bits >> FILE_TYPE_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_and_complete() {
        assert_eq!(CAPABILITIES.len(), 41);
        for (i, (name, number)) in CAPABILITIES.iter().enumerate() {
            assert_eq!(*number as usize, i, "{name}");
        }
        for table in [FAMILIES, PROTOCOLS, TCP_STATES] {
            assert!(table.is_sorted_by_key(|(_, number)| *number));
            for (i, (name, _)) in table.iter().enumerate() {
                assert!(table.iter().skip(i + 1).all(|(other, _)| other != name), "{name} twice");
            }
        }
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(capability("CAP_SYS_ADMIN"), Ok(21));
        assert_eq!(capabilities("CAP_CHOWN,CAP_KILL"), Ok(0x21));
        assert_eq!(capabilities("CAP_CHOWN, CAP_CHECKPOINT_RESTORE"), Ok(1 << 40 | 1));
        assert_eq!(capabilities("0xffffffffffffffff"), Ok(u64::MAX));
        for wrong in ["CAP_CHOWN,", "SYS_ADMIN", "", "-1", "CAP_CHOWN,5"] {
            assert!(capabilities(wrong).is_err(), "{wrong}");
        }
        assert_eq!(family("AF_INET6"), Ok(10));
        assert_eq!(family("2"), Ok(2));
        assert_eq!(protocol("IPPROTO_UDP"), Ok(17));
        assert_eq!(protocol("0x6"), Ok(6));
        assert_eq!(tcp_state("TCP_LISTEN"), Ok(10));
        assert_eq!(file_type("socket"), Ok(0o140_000));
        assert_eq!(name(FAMILIES, 1), Some("AF_UNIX"));
        assert!(tcp_state("256").is_err());
        assert!(family("-1").is_err());
    }

    #[test]
    fn unknown_names_say_what_was_meant() {
        let sentence = capability("CAP_SYSADMIN").unwrap_err().to_string();
        assert_eq!(sentence, "unknown capability \"CAP_SYSADMIN\"; did you mean `CAP_SYS_ADMIN`?");
        assert_eq!(family("TCP").unwrap_err().to_string(), "unknown address family \"TCP\"");
        assert_eq!(
            protocol("tcp").unwrap_err().to_string(),
            "unknown protocol \"tcp\"; did you mean `IPPROTO_TCP`?"
        );
    }
}
