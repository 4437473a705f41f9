//! The bodies of records that policies cause.

use gatewatch_policy::hook_point::ProgramAddress;
use serde::{Deserialize, Serialize};

use crate::{
    argument::Argument,
    json::{bytes, decimal, proto_enum, unset},
    process::Process,
};

/// The processes of a record, which every body has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processes {
    /// The process. `tetra -o compact` ends at a record without it.
    pub process: Process,
    /// Its parent.
    #[serde(skip_serializing_if = "unset")]
    pub parent: Option<Box<Process>>,
    /// The parent's ancestors, nearest first, with `--enable-ancestors`.
    #[serde(skip_serializing_if = "unset")]
    pub ancestors: Vec<Process>,
    /// Gatewatch's own: the parts that are missing.
    #[serde(skip_serializing_if = "unset")]
    pub incomplete: Vec<Incomplete>,
}

/// A part that a record should have, but has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Incomplete {
    /// The pod of the process: its cgroup stayed unknown for the time that a record can wait.
    Pod,
    /// The pod of the process: too many records waited for their pods.
    PodQueueFull,
    /// The process is not in the table of processes: only its id and start time are known.
    Process,
    /// The parent is not in the table of processes.
    Parent,
    /// The function's result is missing: its process ended first, or the agent lost the return.
    Return,
    /// An argument was cut, or could not be read.
    Arguments,
    /// A stack trace was lost.
    StackTrace,
    /// A part that a later version of Gatewatch names.
    #[serde(other)]
    Other,
}

/// The policy that caused a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Match {
    /// `metadata.name` of the policy.
    #[serde(skip_serializing_if = "unset")]
    pub policy_name: String,
    /// Gatewatch's own: `metadata.namespace` of a `TracingPolicyNamespaced`.
    #[serde(skip_serializing_if = "unset")]
    pub policy_namespace: String,
    /// Gatewatch's own: the selector that took the event.
    #[serde(skip_serializing_if = "unset")]
    pub selector: Option<Selector>,
    /// What was done with the event: the last action that ran. `Post` where the selector has no other.
    #[serde(skip_serializing_if = "unset")]
    pub action: Action,
    /// Gatewatch's own: whether the action took effect.
    #[serde(skip_serializing_if = "unset")]
    pub mode: Option<Mode>,
    /// The hook's `message`.
    #[serde(skip_serializing_if = "unset")]
    pub message: String,
    /// The hook's `tags`.
    #[serde(skip_serializing_if = "unset")]
    pub tags: Vec<String>,
}

/// Where in a policy the selector is that took an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selector {
    /// The field path of the hook, such as `spec.kprobes[3]`.
    #[serde(skip_serializing_if = "unset")]
    pub hook: String,
    /// The index in the hook's `selectors`; `None` for a hook without selectors.
    #[serde(skip_serializing_if = "unset")]
    pub index: Option<u32>,
    /// The selector's `label`.
    #[serde(skip_serializing_if = "unset")]
    pub label: String,
}

/// Whether a policy's actions take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The action took effect.
    Enforce,
    /// The policy is in monitor mode: the action is named, but was not done.
    Monitor,
}

/// An action, as Tetragon's `KprobeAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the actions in policies")]
pub enum Action {
    #[default]
    Unknown,
    Post,
    FollowFd,
    Sigkill,
    UnfollowFd,
    Override,
    CopyFd,
    GetUrl,
    DnsLookup,
    NoPost,
    Signal,
    TrackSock,
    UntrackSock,
    NotifyEnforcer,
    CleanupEnforcerNotification,
    Set,
}

proto_enum! { Action,
    0 => Unknown = "KPROBE_ACTION_UNKNOWN";
    1 => Post = "KPROBE_ACTION_POST";
    2 => FollowFd = "KPROBE_ACTION_FOLLOWFD";
    3 => Sigkill = "KPROBE_ACTION_SIGKILL";
    4 => UnfollowFd = "KPROBE_ACTION_UNFOLLOWFD";
    5 => Override = "KPROBE_ACTION_OVERRIDE";
    6 => CopyFd = "KPROBE_ACTION_COPYFD";
    7 => GetUrl = "KPROBE_ACTION_GETURL";
    8 => DnsLookup = "KPROBE_ACTION_DNSLOOKUP";
    9 => NoPost = "KPROBE_ACTION_NOPOST";
    10 => Signal = "KPROBE_ACTION_SIGNAL";
    11 => TrackSock = "KPROBE_ACTION_TRACKSOCK";
    12 => UntrackSock = "KPROBE_ACTION_UNTRACKSOCK";
    13 => NotifyEnforcer = "KPROBE_ACTION_NOTIFYENFORCER";
    14 => CleanupEnforcerNotification = "KPROBE_ACTION_CLEANUPENFORCERNOTIFICATION";
    15 => Set = "KPROBE_ACTION_SET";
}

/// A call of a kernel function: hooks of `kprobes` and `fentries`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kprobe {
    /// The processes.
    #[serde(flatten)]
    pub processes: Processes,
    /// The function's symbol; for a system call with the prefix of the architecture (`__x64_sys_write`).
    #[serde(skip_serializing_if = "unset")]
    pub function_name: String,
    /// The arguments that the hook declares. One that cannot be read is a [`Value::Error`](crate::Value::Error).
    #[serde(skip_serializing_if = "unset")]
    pub args: Vec<Argument>,
    /// The result, if the hook has `return: true` and `returnArg`.
    #[serde(rename = "return", skip_serializing_if = "unset")]
    pub return_value: Option<Argument>,
    /// The values of the hook's `data`.
    #[serde(skip_serializing_if = "unset")]
    pub data: Vec<Argument>,
    /// The policy.
    #[serde(flatten)]
    pub matched: Match,
    /// What was done at the return. Tetragon always writes it: set [`Action::Post`] without a return hook as well.
    #[serde(skip_serializing_if = "unset")]
    pub return_action: Action,
    /// The kernel's stack, the innermost function first.
    #[serde(skip_serializing_if = "unset")]
    pub kernel_stack_trace: Vec<StackEntry>,
    /// The program's stack, the innermost function first.
    #[serde(skip_serializing_if = "unset")]
    pub user_stack_trace: Vec<StackEntry>,
}

/// An event of a tracepoint, also of a raw one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tracepoint {
    /// The processes.
    #[serde(flatten)]
    pub processes: Processes,
    /// Its subsystem.
    #[serde(skip_serializing_if = "unset")]
    pub subsys: String,
    /// Its name in the subsystem.
    #[serde(skip_serializing_if = "unset")]
    pub event: String,
    /// The arguments that the hook declares; an array gives one for each element. Tetragon gives them no labels.
    #[serde(skip_serializing_if = "unset")]
    pub args: Vec<Argument>,
    /// The policy.
    #[serde(flatten)]
    pub matched: Match,
}

/// A call of a function of a user program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Uprobe {
    /// The processes.
    #[serde(flatten)]
    pub processes: Processes,
    /// The hook's `path`.
    #[serde(skip_serializing_if = "unset")]
    pub path: String,
    /// The symbol; empty for a hook with `offsets` or `addrs`. [`at`](Self::at) chooses among these three.
    #[serde(skip_serializing_if = "unset")]
    pub symbol: String,
    /// The offset in the file, for a hook with `offsets`. In records of Tetragon also for one with `addrs`: it finds the
    /// offset of the address in the one file that it attaches to.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub offset: u64,
    /// Gatewatch's own: the virtual address, for a hook with `addrs`. Its offset can differ between the files that
    /// containers have at `path`.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub address: u64,
    /// The offset of the reference counter.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub ref_ctr_offset: u64,
    /// The arguments that the hook declares. The result is the last one; there is no `return`.
    #[serde(skip_serializing_if = "unset")]
    pub args: Vec<Argument>,
    /// The values of the hook's `data`.
    #[serde(skip_serializing_if = "unset")]
    pub data: Vec<Argument>,
    /// The policy.
    #[serde(flatten)]
    pub matched: Match,
}

impl Uprobe {
    /// The place in the file, as the policy names it.
    pub fn at(&self) -> ProgramAddress {
        if !self.symbol.is_empty() {
            ProgramAddress::Symbol(self.symbol.clone())
        } else if self.address != 0 {
            ProgramAddress::Address(self.address)
        } else {
            ProgramAddress::Offset(self.offset)
        }
    }
}

/// A static probe of a user program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usdt {
    /// The processes.
    #[serde(flatten)]
    pub processes: Processes,
    /// The hook's `path`.
    #[serde(skip_serializing_if = "unset")]
    pub path: String,
    /// The probe's provider.
    #[serde(skip_serializing_if = "unset")]
    pub provider: String,
    /// The probe's name.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
    /// The arguments that the hook declares.
    #[serde(skip_serializing_if = "unset")]
    pub args: Vec<Argument>,
    /// The policy.
    #[serde(flatten)]
    pub matched: Match,
    /// Tetragon's schema has it, but nothing sets it.
    #[serde(skip_serializing_if = "unset")]
    pub flags: String,
}

/// A call of a hook of the Linux security modules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lsm {
    /// The processes.
    #[serde(flatten)]
    pub processes: Processes,
    /// The hook's name without a prefix, such as `file_open`.
    #[serde(skip_serializing_if = "unset")]
    pub function_name: String,
    /// The arguments that the hook declares.
    #[serde(skip_serializing_if = "unset")]
    pub args: Vec<Argument>,
    /// The policy.
    #[serde(flatten)]
    pub matched: Match,
    /// The file's hash by IMA, as `sha256:` and hexadecimal digits. Tetragon's `tetra -o compact` ends at a record that
    /// has it and no `args`.
    #[serde(skip_serializing_if = "unset")]
    pub ima_hash: String,
}

/// A program or library that was mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loader {
    /// The processes.
    #[serde(flatten)]
    pub processes: Processes,
    /// The file.
    #[serde(skip_serializing_if = "unset")]
    pub path: String,
    /// Its build id.
    #[serde(with = "bytes", skip_serializing_if = "unset")]
    pub buildid: Vec<u8>,
}

/// One function of a stack, as Tetragon's `StackTraceEntry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StackEntry {
    /// The address; 0 without `--expose-stack-addresses`.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub address: u64,
    /// The offset in the function, or in the file for a program without symbols.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub offset: u64,
    /// The function.
    #[serde(skip_serializing_if = "unset")]
    pub symbol: String,
    /// The file of a user program.
    #[serde(skip_serializing_if = "unset")]
    pub module: String,
}
