//! Values of records as arguments of events.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gatewatch_abi::{
    RecordSock,
    consts::SYSCALL_BY_32_BITS,
    record::consts::{ARG_CUT, ARG_NO_BUFFER, ARG_NO_ROOM, ARG_UNREADABLE, AS_NOTHING},
};
use gatewatch_events::{
    Argument, Value,
    argument::{
        kernel::{BpfCommand, SyscallId},
        objects::{
            CapabilityValue, File, Skb, Sock, Sockaddr, SockaddrUn, TruncatedBytes, capability_digits,
        },
    },
    text,
};
use gatewatch_policy::{
    model::ArgType,
    values::constants::{CAPABILITIES, FAMILIES, PROTOCOLS, TCP_STATES},
};

use super::RawValue;

/// `AF_UNIX`, `AF_INET` and `AF_INET6`, include/linux/socket.h.
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// `enum sock_type` of include/linux/net.h.
const SOCKET_TYPES: &[(&str, u32)] = &[
    ("SOCK_STREAM", 1),
    ("SOCK_DGRAM", 2),
    ("SOCK_RAW", 3),
    ("SOCK_RDM", 4),
    ("SOCK_SEQPACKET", 5),
    ("SOCK_DCCP", 6),
    ("SOCK_PACKET", 10),
];

/// An argument of this type, and whether it is all that there was.
pub(super) fn argument(ty: ArgType, label: Option<&str>, raw: &RawValue<'_>) -> (Argument, bool) {
    let (value, whole) = value(ty, raw);
    (Argument::new(value).labelled(label.unwrap_or_default()), whole)
}

fn value(ty: ArgType, raw: &RawValue<'_>) -> (Value, bool) {
    if !raw.is_read() {
        return (Value::error(format!("{}: {}", ty.name(), reason(raw))), false);
    }
    let value = read(ty, raw);
    let whole = raw.status != ARG_CUT && value.is_some();
    let unreadable = || Value::error(format!("{}: this version of the agent does not read it", ty.name()));
    (value.unwrap_or_else(unreadable), whole)
}

/// Why a value is missing.
fn reason(raw: &RawValue<'_>) -> &'static str {
    match (raw.class, raw.status) {
        (AS_NOTHING, _) => "values of this type, or at this place, are not recorded",
        (_, ARG_NO_ROOM) => "the record has no room left; its values before took 12,000 bytes",
        (_, ARG_NO_BUFFER) => "all buffers of the processor were in use",
        (_, ARG_UNREADABLE) => "it could not be read: the address is invalid, or the page is not in memory",
        _ => "it could not be read",
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a register has the value in its lower bits"
)]
fn read(ty: ArgType, raw: &RawValue<'_>) -> Option<Value> {
    let number = || raw.fixed::<u64>();
    let string = || text(raw.bytes);
    let file = || File { path: string(), ..File::default() };
    Some(match ty {
        ArgType::Int => Value::Int(number()? as i32),
        ArgType::Int8 => Value::Int((number()? as i8).into()),
        ArgType::Int16 => Value::Int((number()? as i16).into()),
        ArgType::Uint8 => Value::Uint((number()? as u8).into()),
        ArgType::Uint16 => Value::Uint((number()? as u16).into()),
        ArgType::Uint32 => Value::Uint(number()? as u32),
        ArgType::Int64 => Value::Long(number()? as i64),
        ArgType::Uint64 | ArgType::SizeT | ArgType::Auto => Value::Size(number()?),
        ArgType::String | ArgType::Filename | ArgType::DataLoc | ArgType::NetDevice => {
            Value::String(string())
        }
        ArgType::CharBuf if raw.status == ARG_CUT => {
            Value::TruncatedBytes(TruncatedBytes { bytes_arg: raw.bytes.to_vec(), orig_size: raw.of })
        }
        ArgType::CharBuf => Value::Bytes(raw.bytes.to_vec()),
        ArgType::File | ArgType::Fd | ArgType::Kiocb => Value::File(file()),
        ArgType::Path | ArgType::Dentry => Value::Path(file()),
        ArgType::LinuxBinprm => Value::LinuxBinprm(file()),
        ArgType::Sock | ArgType::Socket => Value::Sock(Box::new(sock(&raw.fixed()?))),
        ArgType::Skb => Value::Skb(Box::new(skb(&raw.fixed()?))),
        ArgType::Sockaddr | ArgType::SockaddrUn => sockaddr(raw)?,
        ArgType::KernelCapT => Value::KernelCap(capability_digits(number()?)),
        ArgType::CapInheritable => Value::CapInheritable(capability_digits(number()?)),
        ArgType::CapPermitted => Value::CapPermitted(capability_digits(number()?)),
        ArgType::CapEffective => Value::CapEffective(capability_digits(number()?)),
        ArgType::Capability => {
            let number = number()? as i32;
            let name = u32::try_from(number).ok().and_then(|number| name(CAPABILITIES, number));
            Value::Capability(CapabilityValue { value: Some(number), name: name.unwrap_or_default() })
        }
        ArgType::BpfCmd => Value::BpfCmd(BpfCommand(number()? as u32)),
        ArgType::Syscall64 => {
            let number = number()?;
            let abi = match (number & SYSCALL_BY_32_BITS != 0, cfg!(target_arch = "aarch64")) {
                (false, false) => "x64",
                (true, false) => "i386",
                (false, true) => "arm64",
                (true, true) => "arm32",
            };
            let id = (number & !SYSCALL_BY_32_BITS) as u32;
            Value::SyscallId(SyscallId { id, abi: abi.to_owned() })
        }
        _ => return None,
    })
}

/// The name of a number in a table; its digits where there is none.
fn named(names: &[(&str, u32)], number: u32) -> String {
    name(names, number).unwrap_or_else(|| number.to_string())
}

fn name(names: &[(&str, u32)], number: u32) -> Option<String> {
    names.iter().find(|(_, known)| *known == number).map(|(name, _)| (*name).to_owned())
}

fn address(family: u16, bytes: [u8; 16]) -> String {
    match family {
        AF_INET => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])).to_string(),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(bytes)).to_string(),
        _ => String::new(),
    }
}

fn sock(sock: &RecordSock) -> Sock {
    Sock {
        family: named(FAMILIES, sock.family.into()),
        kind: named(SOCKET_TYPES, sock.ty.into()),
        protocol: named(PROTOCOLS, sock.protocol.into()),
        mark: sock.mark,
        priority: sock.priority,
        saddr: address(sock.family, sock.source),
        daddr: address(sock.family, sock.destination),
        sport: sock.source_port.into(),
        dport: sock.destination_port.into(),
        cookie: sock.cookie,
        state: named(TCP_STATES, sock.state.into()),
    }
}

fn skb(skb: &RecordSock) -> Skb {
    Skb {
        hash: skb.hash,
        len: u32::try_from(skb.cookie).unwrap_or(u32::MAX),
        priority: skb.priority,
        mark: skb.mark,
        saddr: address(skb.family, skb.source),
        daddr: address(skb.family, skb.destination),
        sport: skb.source_port.into(),
        dport: skb.destination_port.into(),
        proto: skb.protocol.into(),
        protocol: named(PROTOCOLS, skb.protocol.into()),
        family: named(FAMILIES, skb.family.into()),
        ..Skb::default()
    }
}

fn sockaddr(raw: &RawValue<'_>) -> Option<Value> {
    let known: RecordSock = raw.fixed()?;
    let family = named(FAMILIES, known.family.into());
    if known.family == AF_UNIX {
        let name = raw.bytes.get(size_of::<RecordSock>()..).unwrap_or_default();
        return Some(Value::SockaddrUn(SockaddrUn { family, path: unix_path(name) }));
    }
    let addr = address(known.family, known.source);
    Some(Value::Sockaddr(Sockaddr { family, addr, port: known.source_port.into() }))
}

/// The name of a unix socket: a path up to its NUL, or `@` and an abstract name, which begins with a NUL.
fn unix_path(name: &[u8]) -> String {
    let until_nul = |bytes: &[u8]| text(bytes.split(|byte| *byte == 0).next().unwrap_or_default());
    match name {
        [0, rest @ ..] if rest.first().is_some_and(|byte| *byte != 0) => format!("@{}", until_nul(rest)),
        name => until_nul(name),
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::bytes_of;
    use gatewatch_abi::record::consts::{ARG_WHOLE, AS_NUMBER, AS_SOCK, AS_SOCKADDR, AS_STRING};

    use super::*;

    fn raw(class: u32, status: u16, bytes: &[u8]) -> RawValue<'_> {
        RawValue { class, status, of: bytes.len() as u64, bytes }
    }

    fn json(ty: ArgType, raw: &RawValue<'_>) -> String {
        serde_json::to_string(&argument(ty, None, raw).0).unwrap()
    }

    #[test]
    fn numbers_have_the_width_of_their_type() {
        let register = 0xffff_ffff_ffff_ff85_u64.to_le_bytes();
        let raw = raw(AS_NUMBER, ARG_WHOLE, &register);
        for (ty, expected) in [
            (ArgType::Int, r#"{"int_arg":-123}"#),
            (ArgType::Int8, r#"{"int_arg":-123}"#),
            (ArgType::Uint8, r#"{"uint_arg":133}"#),
            (ArgType::Uint16, r#"{"uint_arg":65413}"#),
            (ArgType::Uint32, r#"{"uint_arg":4294967173}"#),
            (ArgType::Int64, r#"{"long_arg":"-123"}"#),
            (ArgType::Uint64, r#"{"size_arg":"18446744073709551493"}"#),
        ] {
            assert_eq!(json(ty, &raw), expected);
        }
    }

    #[test]
    fn a_value_that_is_not_there_says_why() {
        for (ty, raw, part) in [
            (ArgType::Cred, raw(AS_NOTHING, ARG_UNREADABLE, &[]), "are not recorded"),
            (ArgType::String, raw(AS_STRING, ARG_UNREADABLE, &[]), "not in memory"),
            (ArgType::String, raw(AS_STRING, ARG_NO_ROOM, &[]), "no room left"),
        ] {
            let (value, whole) = argument(ty, Some("l"), &raw);
            assert!(!whole);
            assert_eq!(value.label, "l");
            let Some(Value::Error(error)) = value.value else { panic!("{value:?}") };
            assert!(error.message.starts_with(ty.name()) && error.message.contains(part), "{error:?}");
        }
    }

    #[test]
    fn sockets_and_addresses() {
        let mut known =
            RecordSock { family: AF_INET, ty: 1, protocol: 6, destination_port: 443, ..Default::default() };
        known.destination[..4].copy_from_slice(&[10, 0, 0, 9]);
        let text = json(ArgType::Sock, &raw(AS_SOCK, ARG_WHOLE, bytes_of(&known)));
        for part in ["\"AF_INET\"", "SOCK_STREAM", "IPPROTO_TCP", "\"10.0.0.9\"", "\"dport\":443"] {
            assert!(text.contains(part), "{text}");
        }
        let unix = RecordSock { family: AF_UNIX, ..RecordSock::default() };
        let named = [bytes_of(&unix), b"/run/x\0rest"].concat();
        assert!(json(ArgType::Sockaddr, &raw(AS_SOCKADDR, ARG_WHOLE, &named)).contains("\"/run/x\""));
        let named = [bytes_of(&unix), b"\0name\0"].concat();
        assert!(json(ArgType::Sockaddr, &raw(AS_SOCKADDR, ARG_WHOLE, &named)).contains("\"@name\""));
    }

    #[test]
    fn text_is_valid_whatever_the_bytes_are() {
        let text = json(ArgType::String, &raw(AS_STRING, ARG_WHOLE, b"a\xff\n\"b"));
        assert_eq!(text, "{\"string_arg\":\"a\u{fffd}\\n\\\"b\"}");
    }
}
