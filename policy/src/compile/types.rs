//! Declared types and those of the kernel.

use gatewatch_kernel::{CType, Kind, Pointee};

use crate::{
    model::{Arg, ArgType},
    plan::Field,
};

/// The type by which an argument of the kernel's type is declared, where there is one that reads it.
pub(super) fn written(real: &CType) -> Option<ArgType> {
    Some(match &real.kind {
        Kind::Int { bits: 8, signed: true } => ArgType::Int8,
        Kind::Int { bits: 8, signed: false } | Kind::Bool => ArgType::Uint8,
        Kind::Int { bits: 16, signed: true } => ArgType::Int16,
        Kind::Int { bits: 16, signed: false } => ArgType::Uint16,
        Kind::Int { bits: 32, signed: true } | Kind::Enum { bits: 32, .. } => ArgType::Int,
        Kind::Int { bits: 32, signed: false } => ArgType::Uint32,
        Kind::Int { bits: 64, signed: true } => ArgType::Int64,
        Kind::Int { bits: 64, signed: false } => ArgType::Uint64,
        Kind::Pointer(Pointee::Char) => ArgType::String,
        Kind::Pointer(Pointee::Struct(name)) => match name.as_str() {
            "file" => ArgType::File,
            "path" => ArgType::Path,
            "dentry" => ArgType::Dentry,
            "linux_binprm" => ArgType::LinuxBinprm,
            "sock" => ArgType::Sock,
            "socket" => ArgType::Socket,
            "sockaddr" | "sockaddr_unsized" => ArgType::Sockaddr,
            "kernel_cap_struct" | "kernel_cap_t" => ArgType::KernelCapT,
            "sk_buff" => ArgType::Skb,
            "net_device" => ArgType::NetDevice,
            "cred" => ArgType::Cred,
            "module" => ArgType::Module,
            _ => return None,
        },
        _ => return None,
    })
}

/// What a declared type needs the kernel's type to be.
pub(super) enum Expected {
    Any,
    Int(u8),
    /// A pointer to a structure that has one of these names.
    Struct(&'static [&'static str]),
    Chars,
}

/// What a declared type needs.
pub(super) fn expected(ty: ArgType) -> Expected {
    match ty {
        ArgType::File => Expected::Struct(&["file"]),
        ArgType::Path => Expected::Struct(&["path"]),
        ArgType::Dentry => Expected::Struct(&["dentry"]),
        ArgType::LinuxBinprm => Expected::Struct(&["linux_binprm"]),
        ArgType::Sock => Expected::Struct(&["sock"]),
        ArgType::Socket => Expected::Struct(&["socket"]),
        ArgType::Skb => Expected::Struct(&["sk_buff"]),
        // 7.x has a type of its own for addresses of any size.
        ArgType::Sockaddr | ArgType::SockaddrUn => Expected::Struct(&["sockaddr", "sockaddr_unsized"]),
        // Since 6.3 the structure has no name but that of its typedef.
        ArgType::KernelCapT | ArgType::CapInheritable | ArgType::CapPermitted | ArgType::CapEffective => {
            Expected::Struct(&["kernel_cap_struct", "kernel_cap_t"])
        }
        ArgType::Cred => Expected::Struct(&["cred"]),
        ArgType::NetDevice => Expected::Struct(&["net_device"]),
        ArgType::Fd => Expected::Int(32),
        ArgType::UserNamespace => Expected::Struct(&["user_namespace"]),
        ArgType::Module => Expected::Struct(&["module"]),
        ArgType::Filename => Expected::Struct(&["filename"]),
        ArgType::Kiocb => Expected::Struct(&["kiocb"]),
        ArgType::LoadInfo => Expected::Struct(&["load_info"]),
        ArgType::String => Expected::Chars,
        _ => integer(ty).map_or(Expected::Any, |(bits, _)| Expected::Int(bits)),
    }
}

/// Bits and sign of an integer type.
pub(super) const fn integer(ty: ArgType) -> Option<(u8, bool)> {
    Some(match ty {
        ArgType::Int | ArgType::BpfCmd => (32, true),
        ArgType::Int8 => (8, true),
        ArgType::Uint8 => (8, false),
        ArgType::Int16 => (16, true),
        ArgType::Uint16 => (16, false),
        ArgType::Uint32 => (32, false),
        ArgType::Int64 => (64, true),
        ArgType::Uint64 | ArgType::SizeT => (64, false),
        _ => return None,
    })
}

/// The part of an argument that a filter reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Readable {
    /// An integer.
    Int {
        /// Where it is.
        field: Field,
        /// 8 to 64.
        bits: u8,
        /// Whether it is signed.
        signed: bool,
    },
    /// A string or a path.
    Text(Field),
    /// A socket: argument index.
    Sock(u8),
    /// A `struct socket *`: argument index.
    Socket(u8),
    /// A `struct sockaddr *`: argument index.
    Address(u8),
    /// A `struct sockaddr_un *`: argument index, and that of the address's length.
    Unix(u8, Option<u8>),
    /// A packet: argument index.
    Packet(u8),
    /// The number of a system call: argument index.
    Syscall(u8),
    /// A set of capabilities: argument index.
    Capabilities(u8),
    /// A buffer without a length: always empty.
    Empty,
    /// A type that filters don't look into.
    Opaque,
    /// Nothing: the declaration is wrong, which is reported, as an error if a filter reads it.
    Misdeclared,
}

impl Readable {
    /// An integer that is narrower in the kernel: the rest of the register is undefined.
    pub(super) fn narrowed(self, real: &CType) -> Self {
        let Self::Int { field: Field::Arg { index, .. }, bits, signed } = self else { return self };
        let (narrow, sign) = match real.kind {
            Kind::Int { bits, signed } => (u32::from(bits), signed),
            Kind::Bool => (8, false),
            _ => return self,
        };
        match u8::try_from(narrow) {
            Ok(narrow) if narrow < bits => {
                Self::Int { field: Field::Arg { index, bits: narrow, signed: sign }, bits, signed }
            }
            _ => self,
        }
    }
}

/// What a filter on a declared argument can read.
pub(super) fn readable(arg: &Arg, index: u8, syscall: bool) -> Readable {
    if arg.resolve.is_some() {
        return Readable::Opaque;
    }
    if let Some((bits, signed)) = integer(arg.ty) {
        return Readable::Int { field: Field::Arg { index, bits, signed }, bits, signed };
    }
    match arg.ty {
        ArgType::CharBuf | ArgType::CharIovec if arg.size_arg_index == 0 && !arg.return_copy => {
            Readable::Empty
        }
        ArgType::String if syscall => Readable::Text(Field::UserString(index)),
        ArgType::String => Readable::Text(Field::KernelString(index)),
        ArgType::File => Readable::Text(Field::File(index)),
        ArgType::Path => Readable::Text(Field::Path(index)),
        ArgType::LinuxBinprm => Readable::Text(Field::Binprm(index)),
        ArgType::Dentry => Readable::Text(Field::Dentry(index)),
        ArgType::Sock => Readable::Sock(index),
        ArgType::Sockaddr => Readable::Address(index),
        ArgType::SockaddrUn => Readable::Unix(index, None),
        ArgType::Fd => Readable::Text(Field::Descriptor(index)),
        // No system call has a pointer to the kernel's own structures.
        ArgType::NetDevice if !syscall => Readable::Text(Field::DeviceName(index)),
        // No system call has a pointer to the kernel's own structures.
        ArgType::Socket if !syscall => Readable::Socket(index),
        ArgType::Skb => Readable::Packet(index),
        // No system call has a pointer to the kernel's own sets.
        ArgType::KernelCapT | ArgType::CapInheritable | ArgType::CapPermitted | ArgType::CapEffective
            if !syscall =>
        {
            Readable::Capabilities(index)
        }
        _ => Readable::Opaque,
    }
}
