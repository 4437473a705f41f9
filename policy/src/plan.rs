//! A plan: a policy compiled for one kernel. What is written in a policy as text is here as values: integers as
//! sets of ranges, addresses as networks, names as numbers, and the function as the symbol that this kernel has.
//!
//! [`evaluate`](crate::evaluate) defines what a plan means; [`match_tables`](crate::match_tables) turns the plans of all
//! policies on one function into the tables of the BPF programs.

use gatewatch_abi::consts::{FORK_PIDS, WAY_STEPS};

use crate::{
    diagnostic::FieldPath,
    model::{ArgType, CapabilitySet, NamespaceKind, Operator},
};

pub use crate::{
    hook_point::{HookPoint, ProgramAddress, When},
    scope::{PodScope, Scope},
};

/// A policy compiled for one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The policy's name.
    pub name: String,
    /// Its namespace, for a namespaced one.
    pub namespace: Option<String>,
    /// Whom it watches.
    pub scope: Scope,
    /// What it watches.
    pub hooks: Vec<HookPlan>,
    /// Whether hooks are left out because this kernel lacks their functions, and the policy says to ignore that.
    pub partial: bool,
    /// Whether it only monitors, by its option `policy-mode`.
    pub monitor_mode: bool,
}

impl Plan {
    /// Whether it has actions that can be performed.
    pub fn enforces(&self) -> bool {
        self.hooks.iter().any(HookPlan::enforces)
    }

    /// Whether it has actions that are not performed.
    pub fn monitors(&self) -> bool {
        let mut selectors = self.hooks.iter().flat_map(|hook| &hook.selectors);
        selectors.any(|selector| selector.actions.monitored)
    }
}

/// One hook of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct HookPlan {
    /// Where it attaches.
    pub point: HookPoint,
    /// Where it is in the policy: `spec.kprobes[3]`.
    pub origin: FieldPath,
    /// The arguments that it declares, in the order of the policy.
    pub args: Vec<ArgPlan>,
    /// In the order of the policy; the first that matches takes the event.
    pub selectors: Vec<SelectorPlan>,
    /// What a record of its events has beside the arguments.
    pub evidence: Evidence,
}

/// What a record of a hook's event has beside the values of its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// `message` of the hook.
    pub message: Option<String>,
    /// `tags` of the hook.
    pub tags: Vec<String>,
    /// One for each of the hook's `args`.
    pub args: Vec<ArgEvidence>,
    /// The type of the result, if the policy declares it.
    pub result: Option<ArgType>,
}

/// How an argument is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgEvidence {
    /// `label` of the argument.
    pub label: Option<String>,
    /// The argument, from 0, that has the number of its bytes (`sizeArgIndex`).
    pub size: Option<u32>,
    /// Whether nothing can be read: this function does not have it, or the policy says how in a way that does not run here.
    pub unread: bool,
    /// Whether it is a pointer into the program's memory.
    pub user: bool,
}

impl HookPlan {
    /// Whether a selector has actions that can be performed.
    pub fn enforces(&self) -> bool {
        self.selectors.iter().any(|selector| selector.actions.enforces())
    }

    /// Whether a selector makes the call return an error.
    pub fn overrides(&self) -> bool {
        self.selectors.iter().any(|selector| selector.actions.error.is_some())
    }
}

/// One argument that a hook declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgPlan {
    /// Its place among the arguments of the point, from 0.
    pub index: u32,
    /// As what it is read.
    pub ty: ArgType,
}

/// One selector: matches when all filters do.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectorPlan {
    /// Filters; none matches every event.
    pub filters: Vec<Filter>,
    /// What is done with an event that it takes.
    pub actions: ActionPlan,
}

/// What is done with an event that a selector takes. Each action is a field of its own: they don't exclude each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ActionPlan {
    /// Whether it is counted (`Post`). If not, the event is only taken from later selectors (`NoPost`).
    pub count: bool,
    /// Whether the selector has actions that are not performed: what they would be done to is counted.
    pub monitored: bool,
    /// The signal that is sent to the process (`Sigkill` and `Signal`), 1 to 64.
    pub signal: Option<u8>,
    /// Whether it has `Override`.
    pub overrides: bool,
    /// The error that the call returns because of that, -1 to -4095. `None` if the hook point cannot return one.
    pub error: Option<i16>,
    /// Whether it is recorded, and how often.
    pub record: Option<RecordPlan>,
}

/// How the events that a selector takes are recorded. Its limits have no effect on counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordPlan {
    /// Nanoseconds for which records that are the same are left out after one is written (`rateLimit`); 0: none is.
    pub rate: u64,
    /// Which records are compared for that.
    pub scope: RateScope,
}

/// `rateLimitScope`: which records count as the same if their arguments are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RateScope {
    /// Those of one thread.
    #[default]
    Thread,
    /// Those of one process.
    Process,
    /// All.
    Global,
}

impl ActionPlan {
    /// It is counted and recorded: what a selector without actions does.
    pub const COUNT: Self =
        Self { count: true, record: Some(RecordPlan { rate: 0, scope: RateScope::Thread }), ..Self::NONE };
    /// It is taken from later selectors, and nothing else.
    pub const NONE: Self =
        Self { count: false, monitored: false, signal: None, overrides: false, error: None, record: None };

    /// Whether it has actions that can be performed.
    pub const fn enforces(&self) -> bool {
        self.signal.is_some() || self.error.is_some()
    }

    /// Whether it has a signal or an override, performed or only counted.
    pub const fn acts(&self) -> bool {
        self.signal.is_some() || self.overrides
    }

    /// What is done for an event that both take, see [`evaluate`](crate::evaluate): the first error, and one signal, SIGKILL
    /// before any other.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let signal = if other.signal == Some(SIGKILL) { other.signal } else { self.signal.or(other.signal) };
        Self { signal, error: self.error.or(other.error), ..self }
    }
}

/// The number of SIGKILL (`include/uapi/asm-generic/signal.h`).
pub const SIGKILL: u8 = 9;

/// One condition on one field of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The field that is read.
    pub field: Field,
    /// What must hold. A negated test holds where the field has no value; any other one doesn't.
    pub test: Test,
}

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
    /// A string in a tracepoint's record, whose place is in this field.
    RecordString(u8),
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
    /// In each step, the bytes to add to the address, and [`WAY_FOLLOW`](gatewatch_abi::consts::WAY_FOLLOW) if there is a pointer then, which is the next address.
    /// 0 is no step.
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

/// What must hold for a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// An integer in (or, negated, in none of) these inclusive ranges, sorted and disjoint.
    Int {
        /// Holds where it isn't in the ranges.
        negated: bool,
        /// Inclusive.
        ranges: Vec<(i128, i128)>,
    },
    /// An integer that shares a bit with the mask (or, negated, none).
    Mask {
        /// Holds where no bit is shared.
        negated: bool,
        /// The bits.
        mask: u64,
    },
    /// A string that equals, begins with or ends with one of these.
    Text {
        /// Holds where none of them does.
        negated: bool,
        /// How to compare.
        op: TextOp,
        /// Not empty, each without a NUL.
        values: Vec<Vec<u8>>,
        /// Only for [`Field::Binary`]: an ancestor's program counts as well as the process's own.
        follow_children: bool,
    },
    /// An address in one of these networks.
    Address {
        /// Holds where it is in none of them.
        negated: bool,
        /// IPv4 networks are `::ffff:a.b.c.d/96+n`.
        networks: Vec<Network>,
    },
}

/// How strings are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextOp {
    /// The whole string.
    Equal,
    /// Its beginning.
    Prefix,
    /// Its end.
    Postfix,
}

/// A network of IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// The address, host bits 0.
    pub address: [u8; 16],
    /// Bits that count, 0 to 128.
    pub prefix: u8,
}
