//! Records: what a matched event was, beside its count. The recorder of a lane writes them into the ring buffer
//! `RECORDS`, and the agent reads them there.
//!
//! A record is a [`RecordHead`], then its arguments in the order of the policy. Each argument is an [`ArgHead`], then
//! its bytes, filled up to a multiple of 8.

/// What a recorder must know of its lane. Frozen before it is loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct RecorderConfig {
    /// Nanoseconds in which a policy's budget for a pod grows by one record.
    pub budget_step: u64,
    /// The burst: how many nanoseconds' worth of records an unused budget holds.
    pub budget_burst: u64,
}

/// What is recorded of a selector's events: one for each bit of the bitmaps.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct RecordBit {
    /// As in [`BitAction`](crate::BitAction).
    pub siblings: u64,
    /// Nanoseconds for which records that are the same are left out after one is written; 0: none is.
    pub rate: u64,
    /// The policy hook, as in [`BitAction`](crate::BitAction).
    pub hook: u32,
    /// `ACTION_*`.
    pub flags: u32,
    /// The index of its [`RecordHook`].
    pub of: u32,
    /// Its number among the selectors of its hook.
    pub selector: u32,
    /// `SCOPE_*`: whose records are compared for `rate`.
    pub scope: u32,
    /// Always 0.
    pub pad: u32,
}

/// What is recorded of a hook's events.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct RecordHook {
    /// The policy, whose budget it is.
    pub policy: u64,
    /// Arguments in `args`.
    pub count: u32,
    /// Always 0.
    pub pad: u32,
    /// What is read, in the order of the policy; the result last.
    pub args: [RecordArg; consts::RECORD_ARGS],
}

/// One value that is read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct RecordArg {
    /// `AS_*`: what it is read as.
    pub class: u32,
    /// Where its register's value is in the context, in bytes.
    pub offset: u32,
    /// Where it is in the `struct pt_regs` that is there, for a system call; else [`consts::DIRECT`].
    pub within: u32,
    /// Not 0: only the lower half of the register counts.
    pub half: u32,
    /// For a directory entry: where the `struct path` is in the context that is in the same mount. For bytes: where their number
    /// is. Else, or where there is none, [`consts::DIRECT`].
    pub beside: u32,
    /// Not 0: a string that is likelier in the program's memory.
    pub user: u32,
}

/// The beginning of each record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct RecordHead {
    /// Bytes of the record, with this.
    pub size: u32,
    /// `RECORD_*`.
    pub kind: u32,
    /// Nanoseconds since the machine started, those included in which it was suspended.
    pub time: u64,
    /// The id of the container's cgroup, or of the host's.
    pub cgroup: u64,
    /// The id of the pod's cgroup, or [`SHARE_OF_HOST`](crate::SHARE_OF_HOST).
    pub pod: u64,
    /// When the process was made, by the same clock as `time`: with its id it names a process.
    pub start: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The policy hook. Of a process that was made: its id, and `start` and `pid` are its parent's.
    pub hook: u32,
    /// The selector's number. Of a process that has ended: its exit code, as `wait` gives it.
    pub selector: u32,
    /// Of a process that was made: when. Of one that runs another program: where its arguments are, see [`RecordExec`].
    pub more: u64,
    /// How many arguments follow.
    pub args: u32,
    /// What was done to the process for all policies together, as in [`BitAction::flags`](crate::BitAction).
    pub flags: u32,
}

/// The beginning of an argument.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct ArgHead {
    /// `AS_*`.
    pub class: u16,
    /// `ARG_*`.
    pub status: u16,
    /// Bytes that follow.
    pub len: u32,
    /// Bytes that there were, where that is known.
    pub of: u64,
}

/// What `AS_SOCK` has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct RecordSock {
    /// The address of the `struct sock`, or for `AS_SKB` the packet's length.
    pub cookie: u64,
    /// Source address; IPv4 in the first four bytes.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// `AF_*`.
    pub family: u16,
    /// `SOCK_*`; of a packet 0.
    pub ty: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// `TCP_*` state; of a packet 0.
    pub state: u16,
    /// `sk_mark`, or the packet's.
    pub mark: u32,
    /// `sk_priority`, or the packet's.
    pub priority: u32,
    /// The packet's hash; of a socket 0.
    pub hash: u32,
}

/// What follows the head of a process that runs another program (`RECORD_EXEC`), before its arguments, which are: the file
/// name, the working directory, and all words of its command line, each ended by a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct RecordExec {
    /// When its parent was made.
    pub parent_start: u64,
    /// Effective capabilities.
    pub effective: u64,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Inheritable capabilities.
    pub inheritable: u64,
    /// Its parent.
    pub parent: u32,
    /// Its id in its own PID namespace.
    pub ns_pid: u32,
    /// Login user; `u32::MAX`: none.
    pub auid: u32,
    /// User and group by turns: real, saved, effective, of the file system (`struct cred`, include/linux/cred.h).
    pub ids: [u32; 8],
    /// `securebits`.
    pub securebits: u32,
    /// Inode numbers of its namespaces, by `NS_*`.
    pub namespaces: [u32; consts::NAMESPACES],
}

/// Key of `RECORD_BUDGETS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetKey {
    /// The policy.
    pub policy: u64,
    /// The pod: the id of its cgroup, or [`SHARE_OF_HOST`](crate::SHARE_OF_HOST).
    pub pod: u64,
}

/// Key of `RECORD_RATES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateKey {
    /// The hook in the upper half, the selector in the lower one.
    pub of: u64,
    /// The thread, the process or 0.
    pub scope: u64,
    /// What the arguments begin with.
    pub arguments: u64,
}

/// Constants of records.
pub mod consts {
    /// Values of one hook: five arguments that the language has, the result, and room.
    pub const RECORD_ARGS: usize = 8;
    /// [`RecordArg::within`](super::RecordArg): nowhere.
    pub const DIRECT: u32 = u32::MAX;

    /// Bytes of the ring buffer, unless the agent's options have another number.
    pub const RING_BYTES: u32 = 1 << 20;
    /// Budgets: pods times policies of a node, of which the oldest is forgotten.
    pub const BUDGETS: u32 = 8_192;
    /// What a recorder remembers for `rateLimit`.
    pub const RATES: u32 = 4_096;
    /// The most bytes of one string or path, with its NUL; a buffer has one less.
    pub const VALUE_BYTES: u32 = 4_096;
    /// Namespaces of a process.
    pub const NAMESPACES: usize = 10;

    /// An event of a policy.
    pub const RECORD_HOOK: u32 = 1;
    /// A process runs another program.
    pub const RECORD_EXEC: u32 = 2;
    /// A process has ended.
    pub const RECORD_EXIT: u32 = 3;
    /// A process was made.
    pub const RECORD_FORK: u32 = 4;

    /// No way to read it here.
    pub const AS_NOTHING: u32 = 0;
    /// Eight bytes: a number, an address.
    pub const AS_NUMBER: u32 = 1;
    /// A C string.
    pub const AS_STRING: u32 = 2;
    /// The path of a `struct file *`.
    pub const AS_FILE: u32 = 3;
    /// A `struct path *`.
    pub const AS_PATH: u32 = 4;
    /// A `struct dentry *`.
    pub const AS_DENTRY: u32 = 5;
    /// The path of the file of a `struct linux_binprm *`.
    pub const AS_BINPRM: u32 = 6;
    /// A `struct sock *`.
    pub const AS_SOCK: u32 = 7;
    /// A `struct socket *`; its socket is recorded.
    pub const AS_SOCKET: u32 = 8;
    /// A `struct sockaddr *`, as `RecordSock` with source and port, and its bytes behind it if it is a unix socket's.
    pub const AS_SOCKADDR: u32 = 9;
    /// A `struct sk_buff *`.
    pub const AS_SKB: u32 = 10;
    /// Eight bytes that the argument points to.
    pub const AS_POINTED: u32 = 11;
    /// The number of a system call, see `SYSCALL_BY_32_BITS`.
    pub const AS_SYSCALL: u32 = 12;
    /// A string in a tracepoint's data.
    pub const AS_FIELD_STRING: u32 = 13;
    /// Bytes in the program's memory, or the kernel's.
    pub const AS_BYTES: u32 = 14;
    /// The name of a `struct filename *`.
    pub const AS_FILENAME: u32 = 15;
    /// The path of the file of a `struct kiocb *`.
    pub const AS_KIOCB: u32 = 16;
    /// The path of the file that is open under a file descriptor of the process.
    pub const AS_FD: u32 = 17;
    /// A `struct cred *`, as the part of `RecordExec` from `effective` on.
    pub const AS_CRED: u32 = 18;

    /// It is as it was.
    pub const ARG_WHOLE: u16 = 0;
    /// It is longer than what is here.
    pub const ARG_CUT: u16 = 1;
    /// It could not be read.
    pub const ARG_UNREADABLE: u16 = 2;
    /// There was no room left in the record.
    pub const ARG_NO_ROOM: u16 = 3;
    /// All buffers were in use.
    pub const ARG_NO_BUFFER: u16 = 4;

    /// `rateLimit` compares records of the same thread.
    pub const SCOPE_THREAD: u32 = 0;
    /// Of the same process.
    pub const SCOPE_PROCESS: u32 = 1;
    /// Of all.
    pub const SCOPE_GLOBAL: u32 = 2;

    /// [`CountKey::binary`](crate::CountKey) beside a cgroup of `OVERFLOW`: what became of a hook's records begins here, and
    /// [`WRITTEN`] and so on are added.
    pub const LEDGER: u64 = 1;
    /// Records in the ring buffer.
    pub const WRITTEN: u32 = 0;
    /// Left out by the selector's `rateLimit`.
    pub const RATE_LIMIT: u32 = 1;
    /// Beyond the budget of policy and pod.
    pub const BUDGET: u32 = 2;
    /// The ring buffer had no room.
    pub const BUFFER_FULL: u32 = 3;
    /// All buffers of the processor were in use.
    pub const INTERRUPTED: u32 = 4;
    /// No agent was there to record it.
    pub const NO_AGENT: u32 = 5;
    /// How many there are.
    pub const LEDGER_ENTRIES: u32 = 6;
}

#[cfg(feature = "user")]
mod user {
    #![allow(unsafe_code, reason = "aya::Pod is unsafe to implement")]
    use super::{BudgetKey, RateKey, RecordBit, RecordHook};

    macro_rules! pod {
        ($($type:ty),*) => {$(
            // SAFETY: `repr(C)`, `Copy`, only integers and arrays of them, no implicit padding.
            unsafe impl aya::Pod for $type {}
        )*};
    }
    pod!(BudgetKey, RateKey, RecordBit, RecordHook);
}

const _: () = assert!(size_of::<RecorderConfig>() == 16);
const _: () = assert!(size_of::<RecordBit>() == 40);
const _: () = assert!(size_of::<RecordArg>() == 24);
const _: () = assert!(size_of::<RecordHead>() == 72);
const _: () = assert!(size_of::<ArgHead>() == 16);
const _: () = assert!(size_of::<RecordSock>() == 64);
const _: () = assert!(size_of::<RecordExec>() == 120);
