//! The fields of an event that filters read.

use gatewatch_abi::consts::{FORK_PIDS, WAY_STEPS};

use crate::model::{CapabilitySet, NamespaceKind, Operator};

/// A field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// An integer argument of so many bits.
    Arg {
        /// Index of the argument.
        index: u8,
        /// 8, 16, 32 or 64.
        bits: u8,
        /// Whether it is signed.
        signed: bool,
    },
    /// An argument that is the number of a system call, with [`SYSCALL_BY_32_BITS`](gatewatch_abi::consts::SYSCALL_BY_32_BITS)
    /// where the program makes it as 32-bit programs do.
    Syscall(u8),
    /// The function's result.
    Return {
        /// 8, 16, 32 or 64.
        bits: u8,
        /// Whether it is signed.
        signed: bool,
    },
    /// Path of a `struct file *` argument.
    File(u8),
    /// Path of a `struct path *` argument.
    Path(u8),
    /// Path of a `struct dentry *` argument.
    Dentry(u8),
    /// Path of the program of a `struct linux_binprm *` argument.
    Binprm(u8),
    /// Type of the file of a `struct file *` argument: the bits of `i_mode & S_IFMT`, from bit 12 on.
    FileType(u8),
    /// The same of a `struct path *` argument.
    PathType(u8),
    /// A string argument in kernel memory.
    KernelString(u8),
    /// A string argument in user memory.
    UserString(u8),
    /// Path of the open file that an argument is the descriptor of.
    Descriptor(u8),
    /// Type of that file.
    DescriptorType(u8),
    /// The name of a Unix socket in a `struct sockaddr *` argument, in the memory of the kernel or of the program.
    UnixName {
        /// Index of the argument.
        index: u8,
        /// Index of the argument that has the address's length.
        length: Option<u8>,
    },
    /// The name of a `struct net_device *` argument.
    DeviceName(u8),
    /// A string in a tracepoint's data, whose place is in this field.
    TracepointString(u8),
    /// Source address of a `struct sock *` argument.
    SourceAddress(u8),
    /// Destination address.
    DestinationAddress(u8),
    /// Source port.
    SourcePort(u8),
    /// Destination port.
    DestinationPort(u8),
    /// `IPPROTO_*`.
    Protocol(u8),
    /// `AF_*`.
    Family(u8),
    /// `TCP_*` state.
    State(u8),
    /// A part of the socket of a `struct socket *` argument.
    Socket {
        /// Index of the argument.
        index: u8,
        /// Which part.
        part: SocketPart,
    },
    /// A part of a `struct sockaddr *` argument, in the kernel's memory or in the program's: its address and its port, which
    /// count as those of a source, or its family.
    Sockaddr {
        /// Index of the argument.
        index: u8,
        /// Which part.
        part: SocketPart,
    },
    /// Source address in the IP header of a `struct sk_buff *` argument.
    PacketSource(u8),
    /// Destination address there.
    PacketDestination(u8),
    /// `IPPROTO_*` of what the packet carries; of IPv6, behind the extension headers.
    PacketProtocol(u8),
    /// Source port in the header behind it, of TCP and of protocols with ports at the same place.
    PacketSourcePort(u8),
    /// Destination port there.
    PacketDestinationPort(u8),
    /// `AF_INET` or `AF_INET6`, by the header's version.
    PacketFamily(u8),
    /// An integer on a way through the kernel's structures (`resolve`).
    WayNumber {
        /// The way.
        way: Way,
        /// 1 to 64.
        bits: u8,
        /// Whether it is signed.
        signed: bool,
        /// Bits before it in the bytes at the end of the way, for a bit field.
        shift: u8,
    },
    /// A string or a path at the end of such a way.
    WayText {
        /// The way.
        way: Way,
        /// As what it is read.
        read: WayRead,
    },
    /// The path of the calling process's program.
    Binary,
    /// The process id (of the thread group) in the initial pid namespace.
    Pid,
    /// The process id in the process's own pid namespace.
    NamespacePid,
    /// 1 where the process or one of its ancestors has one of these ids, else 0. As seen from the process's own pid
    /// namespace, ancestors outside of it have the id 0.
    Descends {
        /// Ids in the process's own pid namespace, not in the initial one.
        namespaced: bool,
        /// The ids, sorted; what isn't needed is the last one again.
        pids: [u32; FORK_PIDS],
    },
    /// Inode number of one of the process's namespaces.
    Namespace(NamespaceKind),
    /// One of the process's capability sets, a bit for each capability.
    Capabilities(CapabilitySet),
    /// The capability set that an argument points to.
    CapabilityArg(u8),
    /// The capabilities that one argument's set has and another one's has not.
    CapabilitiesGained {
        /// Index of the argument with the set before.
        old: u8,
        /// Index of the argument with the set after.
        new: u8,
    },
}

/// A way through the kernel's structures to a value. The compiler takes it from the kernel's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Way {
    /// Where it begins.
    pub from: WayFrom,
    /// In each step, the bytes to add to the address, and [`WAY_FOLLOW`](gatewatch_abi::consts::WAY_FOLLOW) if there is a
    /// pointer then, which is the next address. 0 stands for none.
    pub steps: [u16; WAY_STEPS],
}

/// Where a way begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WayFrom {
    /// At what an argument points to.
    Argument(u8),
    /// At the `task_struct` of the calling process.
    Task,
    /// At the registers of a system call's caller, or of a user program.
    Registers,
}

/// What is at the end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WayRead {
    /// A string in the kernel's memory.
    String,
    /// A `struct file`.
    File,
    /// A `struct path`.
    Path,
    /// A `struct dentry`.
    Dentry,
    /// A `struct linux_binprm`.
    Binprm,
}

/// A part of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketPart {
    /// Source address.
    SourceAddress,
    /// Destination address.
    DestinationAddress,
    /// Source port.
    SourcePort,
    /// Destination port.
    DestinationPort,
    /// `IPPROTO_*`.
    Protocol,
    /// `AF_*`.
    Family,
    /// `TCP_*` state.
    State,
}

impl SocketPart {
    /// The part that an operator compares, if it compares one.
    pub(crate) const fn of(operator: Operator) -> Option<Self> {
        use Operator as O;
        Some(match operator {
            O::SAddr | O::NotSAddr => Self::SourceAddress,
            O::DAddr | O::NotDAddr => Self::DestinationAddress,
            O::SPort | O::NotSPort | O::SPortPriv | O::NotSPortPriv => Self::SourcePort,
            O::DPort | O::NotDPort | O::DPortPriv | O::NotDPortPriv => Self::DestinationPort,
            O::Protocol => Self::Protocol,
            O::Family => Self::Family,
            O::State => Self::State,
            _ => return None,
        })
    }

    /// Whether an operator on a part holds where the other operator on it doesn't.
    pub(crate) const fn is_negated(operator: Operator) -> bool {
        use Operator as O;
        matches!(
            operator,
            O::NotSAddr | O::NotDAddr | O::NotSPort | O::NotDPort | O::NotSPortPriv | O::NotDPortPriv
        )
    }
}

impl Field {
    /// Whether its value is an address.
    pub const fn is_address(self) -> bool {
        use SocketPart::{DestinationAddress, SourceAddress};
        match self {
            Self::SourceAddress(_)
            | Self::DestinationAddress(_)
            | Self::PacketSource(_)
            | Self::PacketDestination(_) => true,
            Self::Socket { part, .. } | Self::Sockaddr { part, .. } => {
                matches!(part, SourceAddress | DestinationAddress)
            }
            _ => false,
        }
    }
}
