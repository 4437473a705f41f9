//! The types that the BPF programs and the agent share.
//!
//! Everything here is `#[repr(C)]`, has no padding that is not named, and no pointers. The BPF programs are
//! built for another target, so a type that changes here changes the BPF programs and the agent at once; [`VERSION`] names the
//! layout for maps that outlive a process.
//!
//! * [`Layout`]: where the fields of the kernel's own structures lie on this node;
//! * [`MatcherConfig`]: the fields that one matcher reads, frozen before the program is loaded;
//! * [`CountKey`], [`Process`], [`Binary`] and the LPM keys: the contents of the maps.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
#![cfg_attr(not(feature = "user"), no_std)]

mod config;
mod hash;
mod layout;
mod maps;
pub mod record;
mod row;
mod shape;
pub mod shares;
mod task;

pub use config::{AddrSlot, FollowSlot, IntSlot, MatcherConfig, TextSlot, is_path};
pub use hash::{HOST_PROGRAM, binary_id, binary_ids, mix, named};
pub use layout::Layout;
pub use maps::{
    AddrKey, Binary, BitAction, CountKey, CountPlace, Enforced, ExactKey, Process, Running, Step, Task,
    TextKey, outcome_code, outcome_of_code,
};
pub use record::{
    ArgHead, BudgetKey, RateKey, RecordArg, RecordBit, RecordExec, RecordHead, RecordHook, RecordSock,
    RecorderConfig,
};
pub use row::{row_first, row_last, row_name, row_number};
pub use shape::Shape;
pub use shares::{
    Hierarchy, Limits, SHARE_COUNTS, SHARE_OF_HOST, SHARE_OF_POOL, SHARE_PROGRAMS, SHARE_RESERVE,
    SHARED_TABLES, Share, Sizes, one_more,
};
pub use task::{UNWATCHED_MASK, generation_slot, task_slot, unwatched_slot};

/// Constants of the tables: their sizes, and the codes in [`MatcherConfig`].
pub mod consts {
    /// Bits in one word of a bitmap of selectors.
    pub const WORD_BITS: u32 = 64;
    /// The most words that a bitmap has: 1,024 selectors on one kernel function.
    pub const MAX_WORDS: usize = 16;
    /// Selectors on one kernel function.
    pub const MAX_SELECTORS: usize = MAX_WORDS * WORD_BITS as usize;
    /// Counts that there can be at once, unless the agent sizes the tables by the node: the size of `COUNTS` and of `VALUES`.
    pub const PLACES: u32 = 16_384;
    /// Entries of `TASKS`, on each CPU. A power of two.
    pub const TASKS: u32 = 256;
    /// Numbers in `GENERATIONS`. A power of two.
    pub const GENERATIONS: usize = 64;
    /// Entries of a hook's table of cgroups that no policy watches, see [`unwatched_slot`](crate::unwatched_slot). A power of
    /// two.
    pub const UNWATCHED: usize = 512;
    /// Placeholders in `attach_fentry` and `attach_fexit` for the offsets of `task_struct.cgroups`, `css_set.dfl_cgrp`,
    /// `cgroup.kn` and `kernfs_node.id`: offsets of instructions, which the agent writes before it loads them.
    pub const CGROUP_STEPS: [i16; 4] = [0x7c01, 0x7c02, 0x7c03, 0x7c04];
    /// The name of a row without a bit.
    pub const NO_ROW: u32 = u32::MAX;

    /// Integer fields that one kernel function's policies may read together.
    pub const INT_SLOTS: usize = 8;
    /// String and path fields of one kernel function.
    pub const TEXT_SLOTS: usize = 3;
    /// Address fields of one kernel function.
    pub const ADDR_SLOTS: usize = 2;
    /// `followChildren` sets of one kernel function.
    pub const FOLLOW_SLOTS: usize = 4;
    /// Matchers of one hook point. Each costs every event of the function about as much as an empty program.
    pub const MAX_LANES: u8 = 8;
    /// `followChildren` sets of one node: a process has a bit for each. The other bits are [`FOLLOW_SERVICE`] and
    /// [`FOLLOW_AGENT`].
    pub const MAX_FOLLOW_SETS: usize = u64::BITS as usize - 2;
    /// Values that an integer slot compares without a map.
    pub const INLINE_VALUES: usize = 4;

    /// Values below this are looked up in an array.
    pub const DIRECT_VALUES: u64 = 1024;

    /// Bytes of a string that an LPM key holds (256 bytes is the kernel's limit for a trie's data, see
    /// `LPM_DATA_SIZE_MAX` in `kernel/bpf/lpm_trie.c`; one names the slot).
    pub const TEXT_BYTES: usize = 255;
    /// Bytes of a string's end that a `Postfix` compares (Tetragon's limit is 127).
    pub const POSTFIX_BYTES: usize = 127;
    /// Bytes of a program's path that are kept; a longer one is cut.
    pub const BINARY_PATH_BYTES: usize = 504;
    /// Bytes of the buffer in which a path is put together (`PATH_MAX`).
    pub const PATH_BYTES: usize = 4096;

    /// Row 0 of every matcher: a cgroup that has no policy set yet; all selectors.
    pub const POLICY_SET_PENDING: u32 = 0;
    /// Row 1 of every matcher: the host's own processes.
    pub const POLICY_SET_HOST: u32 = 1;

    /// `IntSlot::source`: unused slot.
    pub const INT_NONE: u32 = 0;
    /// An argument of the function; `IntSlot::part` is one of `VALUE_*`.
    pub const INT_ARG: u32 = 1;
    /// The function's return value; `IntSlot::part` is one of `VALUE_*`.
    pub const INT_RETURN: u32 = 2;
    /// Thread group id in the initial pid namespace.
    pub const INT_PID: u32 = 3;
    /// Thread group id in the process's own pid namespace.
    pub const INT_NS_PID: u32 = 4;
    /// Inode number of a namespace; `IntSlot::part` is one of `NS_*`.
    pub const INT_NAMESPACE: u32 = 5;
    /// A capability set; `IntSlot::part` is one of `CAPS_*`.
    pub const INT_CAPABILITIES: u32 = 6;
    /// A part of a `struct sock` argument; `IntSlot::part` is one of `SOCK_*`.
    pub const INT_SOCK: u32 = 7;
    /// The type of a file; `IntSlot::part` is one of `TYPE_OF_*`.
    pub const INT_FILE_TYPE: u32 = 8;
    /// 1 where the process or an ancestor has one of the ids in `IntSlot::values`, else 0; `IntSlot::part` is not 0 where
    /// they are ids in the process's own pid namespace. Such a slot has another table than `TABLE_INLINE`.
    pub const INT_DESCENDS: u32 = 9;
    /// Something of the headers of a `struct sk_buff *` argument; `IntSlot::part` is one of `SOCK_*`, and not `SOCK_STATE`.
    pub const INT_SKB: u32 = 10;
    /// The capability set that an argument points to.
    pub const INT_CAPS_ARG: u32 = 11;
    /// The capabilities that are in the set that an argument points to, and not in that of the argument `IntSlot::part`.
    pub const INT_CAPS_GAINED: u32 = 12;
    /// A part of the socket of a `struct socket *` argument; `IntSlot::part` is one of `SOCK_*`.
    pub const INT_SOCKET: u32 = 13;
    /// `SOCK_SPORT` or `SOCK_FAMILY` of a `struct sockaddr *` argument, in the memory of the kernel or of the program.
    pub const INT_SOCKADDR: u32 = 14;
    /// An argument that is the number of a system call, with [`SYSCALL_BY_32_BITS`] where a program makes it as 32-bit
    /// programs do.
    pub const INT_SYSCALL: u32 = 15;
    /// See [`INT_SYSCALL`]. The numbers of both kinds of calls differ.
    pub const SYSCALL_BY_32_BITS: u64 = 1 << 31;

    /// A number at the end of a way, whose steps are in `IntSlot::values`. `IntSlot::arg` is where it begins (`FROM_*`), and
    /// `IntSlot::part` the bits before it in the bytes there. Such a slot has another table than `TABLE_INLINE`.
    pub const INT_WAY: u32 = 16;

    /// `TextSlot::way_from`: the value is an argument itself, and no way is followed.
    pub const FROM_NOWHERE: u32 = 0;
    /// A way begins at an argument that is a pointer: this and the argument's index.
    pub const FROM_ARG: u32 = 1;
    /// At the `task_struct` of the calling process.
    pub const FROM_TASK: u32 = 16;
    /// At the registers (`struct pt_regs`), for a system call those of the caller.
    pub const FROM_REGISTERS: u32 = 17;
    /// Steps of a way. A step is the bytes to add to the address, and [`WAY_FOLLOW`]; 0 is none.
    pub const WAY_STEPS: usize = 16;
    /// Steps in each word.
    pub const WAY_STEPS_EACH: usize = 4;
    /// A step after which the pointer at the address is followed.
    pub const WAY_FOLLOW: u64 = 1 << 15;

    /// A number, as the function's prototype has it.
    pub const VALUE_NUMBER: u32 = 0;
    /// A pointer, by the function's prototype. The verifier allows no arithmetic on it where it knows its type.
    pub const VALUE_POINTER: u32 = 1;

    /// `MatcherConfig::syscall`: no system call.
    pub const SYSCALL_NOT: u32 = 0;
    /// A system call by its usual entry.
    pub const SYSCALL_NATIVE: u32 = 1;
    /// A system call by its entry for 32-bit programs, with the arguments in the registers of these.
    pub const SYSCALL_32_BIT: u32 = 2;

    /// `MatcherConfig::points`: one.
    pub const POINTS_ONE: u32 = 0;
    /// Several, and the cookie of the attachment is the point's index.
    pub const POINTS_BY_COOKIE: u32 = 1;
    /// Several, and `EXACT` has the point's index for the instruction pointer, under the slot [`POINT_SLOT`].
    pub const POINTS_BY_ADDRESS: u32 = 2;
    /// [`ExactKey::slot`](crate::ExactKey) of instruction pointers: no integer slot has this number.
    pub const POINT_SLOT: u32 = 8;
    const _: () = assert!(POINT_SLOT as usize == INT_SLOTS);

    /// Of the file of a `struct file *` argument.
    pub const TYPE_OF_FILE: u32 = 0;
    /// Of the file of a `struct path *` argument.
    pub const TYPE_OF_PATH: u32 = 1;
    /// Of the open file that an argument is the descriptor of.
    pub const TYPE_OF_DESCRIPTOR: u32 = 2;
    /// Where the type begins in `i_mode` (`S_IFMT` of `include/uapi/linux/stat.h`).
    pub const FILE_TYPE_SHIFT: u32 = 12;
    /// Ids that one slot of `INT_DESCENDS` compares.
    pub const FORK_PIDS: usize = INLINE_VALUES;
    /// Processes that such a slot checks: the process itself, its parent, and so on.
    pub const FORK_LEVELS: u32 = 32;

    /// `IntSlot::table`: up to [`INLINE_VALUES`] comparisons.
    pub const TABLE_INLINE: u32 = 0;
    /// The `EXACT` hash map.
    pub const TABLE_HASH: u32 = 1;
    /// Sorted break points in `BREAKS`.
    pub const TABLE_RANGE: u32 = 2;
    /// A row per bit of the value.
    pub const TABLE_MASK: u32 = 3;
    /// The array `DIRECT`, by the value.
    pub const TABLE_DIRECT: u32 = 4;

    /// UTS namespace.
    pub const NS_UTS: u32 = 0;
    /// IPC namespace.
    pub const NS_IPC: u32 = 1;
    /// Mount namespace.
    pub const NS_MNT: u32 = 2;
    /// Pid namespace that the process lives in.
    pub const NS_PID: u32 = 3;
    /// Pid namespace that its children will live in.
    pub const NS_PID_FOR_CHILDREN: u32 = 4;
    /// Network namespace.
    pub const NS_NET: u32 = 5;
    /// Time namespace.
    pub const NS_TIME: u32 = 6;
    /// Time namespace of its children.
    pub const NS_TIME_FOR_CHILDREN: u32 = 7;
    /// Cgroup namespace.
    pub const NS_CGROUP: u32 = 8;
    /// User namespace.
    pub const NS_USER: u32 = 9;

    /// Effective capabilities.
    pub const CAPS_EFFECTIVE: u32 = 0;
    /// Permitted capabilities.
    pub const CAPS_PERMITTED: u32 = 1;
    /// Inheritable capabilities.
    pub const CAPS_INHERITABLE: u32 = 2;

    /// Source port, host byte order.
    pub const SOCK_SPORT: u32 = 0;
    /// Destination port, host byte order.
    pub const SOCK_DPORT: u32 = 1;
    /// `IPPROTO_*`.
    pub const SOCK_PROTOCOL: u32 = 2;
    /// `AF_*`.
    pub const SOCK_FAMILY: u32 = 3;
    /// `TCP_*` state.
    pub const SOCK_STATE: u32 = 4;

    /// `TextSlot::source`: unused slot.
    pub const TEXT_NONE: u32 = 0;
    /// Path of a `struct file *` argument.
    pub const TEXT_FILE: u32 = 1;
    /// A `struct path *` argument.
    pub const TEXT_PATH: u32 = 2;
    /// Path of the file in a `struct linux_binprm *` argument.
    pub const TEXT_BINPRM: u32 = 3;
    /// A `char *` argument in kernel memory.
    pub const TEXT_KERNEL: u32 = 4;
    /// A `char *` argument in user memory.
    pub const TEXT_USER: u32 = 5;
    /// The path of the process's own program.
    pub const TEXT_BINARY: u32 = 6;
    /// A `struct dentry *` argument.
    pub const TEXT_DENTRY: u32 = 7;
    /// A string in a tracepoint's data. The field has its place: an offset in the low 16 bits.
    pub const TEXT_FIELD: u32 = 8;
    /// Path of the open file that an argument is the descriptor of.
    pub const TEXT_DESCRIPTOR: u32 = 9;
    /// The name in a `struct sockaddr_un *` argument, in the memory of the kernel or of the program.
    pub const TEXT_UNIX: u32 = 10;
    /// The name of a `struct net_device *` argument.
    pub const TEXT_DEVICE: u32 = 11;

    /// `TextSlot::len_arg`: no argument has the length of the socket's address.
    pub const LENGTH_UNKNOWN: u32 = u32::MAX;

    /// `TextSlot::mount_arg`: the directory entry is in the mount that the process's root is in.
    pub const MOUNT_OF_ROOT: u32 = u32::MAX;

    /// `TextSlot::tables`: the slot has entries in `PREFIX`.
    pub const TEXT_HAS_PREFIX: u32 = 1;
    /// `TextSlot::tables`: the slot has entries in `POSTFIX`.
    pub const TEXT_HAS_POSTFIX: u32 = 2;

    /// `TextSlot::typed`: it doesn't.
    pub const TYPED_NOT: u32 = 0;
    /// It does.
    pub const TYPED_ARG: u32 = 1;
    /// It does, and the kernel has the helper that gives the current task with its type (Linux 5.11).
    pub const TYPED_TASK: u32 = 2;

    /// `AddrSlot::source`: unused slot.
    pub const ADDR_NONE: u32 = 0;
    /// Source address of a `struct sock *` argument.
    pub const ADDR_SOCK_SOURCE: u32 = 1;
    /// Destination address of a `struct sock *` argument.
    pub const ADDR_SOCK_DESTINATION: u32 = 2;
    /// Source address of a `struct sk_buff *` argument.
    pub const ADDR_SKB_SOURCE: u32 = 3;
    /// Destination address of a `struct sk_buff *` argument.
    pub const ADDR_SKB_DESTINATION: u32 = 4;
    /// Source address of the socket of a `struct socket *` argument.
    pub const ADDR_SOCKET_SOURCE: u32 = 5;
    /// Destination address of the socket of a `struct socket *` argument.
    pub const ADDR_SOCKET_DESTINATION: u32 = 6;
    /// The address in a `struct sockaddr *` argument.
    pub const ADDR_SOCKADDR: u32 = 7;

    /// `STATS`: a process that `PROCESSES` had no room for.
    pub const STAT_PROCESSES_FULL: u32 = 0;
    /// `STATS`: a program that `BINARIES` had no room for, or its pod no share of.
    pub const STAT_BINARIES_FULL: u32 = 1;
    /// `STATS`: a path with more components than are followed, or one that could not be read.
    pub const STAT_PATHS_CUT: u32 = 2;
    /// `STATS`: an event that found all buffers of its CPU in use.
    pub const STAT_NESTED: u32 = 3;
    /// `STATS`: a cgroup that `CGROUP_PATHS` had no room for.
    pub const STAT_CGROUPS_FULL: u32 = 4;
    /// `STATS`: a count that even the overflow counter of its hook could not take.
    pub const STAT_LOST: u32 = 5;

    /// `STATS`: a string or a socket's address in the program's memory that was not there to be read (a page that isn't
    /// loaded yet).
    pub const STAT_STRINGS_UNREADABLE: u32 = 6;
    /// `STATS`: a pod that `PODS` had no room for.
    pub const STAT_PODS_FULL: u32 = 7;
    /// `STATS`: a signal that the kernel did not send: to a thread of its own, or to a process that ends already.
    pub const STAT_SIGNALS_FAILED: u32 = 8;
    /// `STATS`: a record of a process that was made, runs a program or has ended, for which there was no room or no budget.
    pub const STAT_PROCESS_RECORDS: u32 = 9;
    /// Number of statistics.
    pub const STATS: u32 = 10;

    /// [`CountKey::cgroup`](crate::CountKey) and `binary` of a hook's overflow counter, which the agent
    /// creates with the hook. As `binary` beside a cgroup: events of programs that the pod has no share left for.
    pub const OVERFLOW: u64 = u64::MAX;
    /// [`CountKey::cgroup`](crate::CountKey) of the outcomes of a selector's actions. The agent creates them with the hook;
    /// `binary` is [`outcome_code`](crate::outcome_code).
    pub const ENFORCED: u64 = u64::MAX - 1;
    /// [`CountKey::binary`](crate::CountKey) beside a cgroup of [`OVERFLOW`]: events of processes that `PROCESSES` doesn't
    /// have, at a point whose policies ask for programs.
    pub const UNKNOWN: u64 = 0;

    /// `BitAction::flags`: the selector's action counts (it is not `NoPost`).
    pub const ACTION_COUNT: u32 = 1;
    /// `BitAction::flags`: the selector's events are recorded as well.
    pub const ACTION_RECORD: u32 = 2;
    /// `BitAction::flags`: the call is to return an error, the one at [`ACTION_ERROR_SHIFT`]. Without an error there, this is
    /// counted as in monitor mode, because the hook point cannot return one.
    pub const ACTION_OVERRIDE: u32 = 4;
    /// Where the signal begins that is sent to the process, 8 bits; 0: none.
    pub const ACTION_SIGNAL_SHIFT: u32 = 8;
    /// Where the error begins that the call is to return: an `i16`, which is negative.
    pub const ACTION_ERROR_SHIFT: u32 = 16;
    /// Flags up to this one only count or report.
    pub const ACTION_HARMLESS: u32 = 3;

    /// `ENFORCEMENT` and [`Enforced::mode`](crate::Enforced): no action is performed, nor is it counted that it would be.
    pub const MODE_OFF: u32 = 0;
    /// No action is performed; it is counted that it would be.
    pub const MODE_MONITOR: u32 = 1;
    /// Actions are performed.
    pub const MODE_ENFORCE: u32 = 2;

    /// Index in `ENFORCEMENT` of the mode that the BPF programs read.
    pub const ENFORCEMENT_IN_FORCE: u32 = 0;
    /// Index of the mode that a person has held the node to, and 1; 0: none.
    pub const ENFORCEMENT_HELD: u32 = 1;
    /// Index of the mode that the agent is configured to.
    pub const ENFORCEMENT_CONFIGURED: u32 = 2;

    /// Outcome of an action: performed.
    pub const OUTCOME_DONE: u32 = 0;
    /// Not performed, because of a mode, or because the hook point cannot.
    pub const OUTCOME_MONITOR: u32 = 1;
    /// Not performed, because the pod of the cgroup isn't known yet.
    pub const OUTCOME_PENDING: u32 = 2;
    /// Not performed on the agent itself.
    pub const OUTCOME_AGENT: u32 = 3;
    /// Not performed on a service of the node, such as kubelet or the container runtime, or on a process that it made.
    pub const OUTCOME_SERVICE: u32 = 4;
    /// Not performed on the container runtime while it sets up a container, in the pod's cgroup.
    pub const OUTCOME_SETUP: u32 = 5;
    /// Not performed on the first process of the host.
    pub const OUTCOME_INIT: u32 = 6;
    /// Not performed on a process of the host of which it isn't known what it runs.
    pub const OUTCOME_UNKNOWN: u32 = 7;
    /// Outcomes of one action.
    pub const OUTCOMES: u32 = 8;
    /// Actions that have outcomes: a signal, then an override.
    pub const ENFORCING_ACTIONS: u32 = 2;

    /// A bit of [`Process::follow`](crate::Process): the process is a service of the node, or a descendant of one. It means
    /// nothing in a pod's cgroup, nor for what isn't a program of the host.
    pub const FOLLOW_SERVICE: u64 = 1 << 63;
    /// The same: the process is the agent.
    pub const FOLLOW_AGENT: u64 = 1 << 62;
}

/// Numbers the meaning of everything that outlives an agent in pinned maps, what the agents themselves write there
/// included. Shapes of maps need no number: the folder's name has a hash of them as well.
pub const VERSION: u32 = 7;

/// Earlier numbers under which the maps mean the same, so that an agent continues with what these have left.
pub const CONTINUED: [u32; 0] = [];
