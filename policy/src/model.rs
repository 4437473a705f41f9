//! A `TracingPolicy` as it is written, with every section of the language (`cilium.io/v1alpha1`).
//!
//! The model holds what is written in the document, not whether it makes sense: [`check`](crate::check) judges it and
//! [`compile`](crate::compile) gives it its meaning. Values of filters stay text here, since what `"4"` means
//! depends on the argument's type.

mod action;
mod data_source;
mod filter;
mod label;
mod list;
mod names;
mod section;

use std::collections::BTreeMap;

pub(crate) use self::names::names;
pub use self::{
    action::{Action, ActionKind},
    data_source::DataSource,
    filter::{
        ArgFilter, BinaryFilter, CapabilityFilter, CapabilitySet, NamespaceFilter, NamespaceKind, Operator,
        PidFilter, WorkloadFilter,
    },
    label::{LabelExpression, LabelOperator, LabelSelector},
    list::{List, ListType},
    section::Section,
};

/// How a policy names every system call, whatever its symbol is on an architecture.
pub const SYSCALL_PREFIX: &str = "sys_";
/// How the functions begin that call the security modules (`security/security.c`).
pub const SECURITY_PREFIX: &str = "security_";

/// The option that decides whether actions are done.
pub const POLICY_MODE: &str = "policy-mode";
/// The value of [`POLICY_MODE`] with which they are.
pub const ENFORCE: &str = "enforce";
/// The value of [`POLICY_MODE`] with which they are not.
pub const MONITOR: &str = "monitor";

/// One policy object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Which of the two kinds it is.
    pub kind: Kind,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; means something for [`Kind::Namespaced`] only.
    pub namespace: Option<String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec`.
    pub spec: Spec,
}

impl Policy {
    /// Whether it only monitors, by its option `policy-mode`: actions that change what a process does aren't done, and
    /// what they would be done to is counted.
    pub fn monitors(&self) -> bool {
        let modes = self.spec.options.iter().rev().find(|(name, _)| name == POLICY_MODE);
        modes.is_some_and(|(_, mode)| mode == MONITOR)
    }
}

names! {
    /// The kinds of policy: for the whole cluster, or for the pods of its own namespace.
    #[derive(Default)]
    pub enum Kind {
        #[default]
        Cluster = "TracingPolicy",
        Namespaced = "TracingPolicyNamespaced",
    }
}

/// `spec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// Pods to watch. `None` isn't the same as an empty selector: see section A.7 of the language reference.
    pub pod_selector: Option<LabelSelector>,
    /// Containers to watch, by the keys `name` and `repo`.
    pub container_selector: Option<LabelSelector>,
    /// Whether to watch the host's own processes: absent or empty.
    pub host_selector: Option<LabelSelector>,
    /// Nodes to load the policy on.
    pub node_selector: Option<LabelSelector>,
    /// `kprobes`: kernel functions.
    pub kprobes: Vec<Hook>,
    /// `fentries`: kernel functions too, attached by fentry.
    pub fentries: Vec<Hook>,
    /// `tracepoints`.
    pub tracepoints: Vec<Hook>,
    /// `lsmhooks`.
    pub lsm_hooks: Vec<Hook>,
    /// `uprobes`.
    pub uprobes: Vec<Hook>,
    /// `usdts`.
    pub usdts: Vec<Hook>,
    /// `loader`: report the libraries that processes load.
    pub loader: bool,
    /// `lists`, to be named as `list:NAME`.
    pub lists: Vec<List>,
    /// `enforcers`, one set of calls each.
    pub enforcers: Vec<Vec<String>>,
    /// `options`, name and value.
    pub options: Vec<(String, String)>,
    /// `selectorsMacros`.
    pub selectors_macros: BTreeMap<String, Selector>,
}

impl Section {
    /// Its hooks.
    pub const fn hooks(self, spec: &Spec) -> &Vec<Hook> {
        match self {
            Self::Kprobes => &spec.kprobes,
            Self::Fentries => &spec.fentries,
            Self::Tracepoints => &spec.tracepoints,
            Self::LsmHooks => &spec.lsm_hooks,
            Self::Uprobes => &spec.uprobes,
            Self::Usdts => &spec.usdts,
        }
    }

    /// The same, to change them.
    pub(crate) const fn hooks_mut(self, spec: &mut Spec) -> &mut Vec<Hook> {
        match self {
            Self::Kprobes => &mut spec.kprobes,
            Self::Fentries => &mut spec.fentries,
            Self::Tracepoints => &mut spec.tracepoints,
            Self::LsmHooks => &mut spec.lsm_hooks,
            Self::Uprobes => &mut spec.uprobes,
            Self::Usdts => &mut spec.usdts,
        }
    }
}

/// One entry of `kprobes`, `fentries`, `tracepoints`, `lsmhooks`, `uprobes` or `usdts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hook {
    /// Where it attaches.
    pub target: HookTarget,
    /// `return`: report when the function returns.
    pub on_return: bool,
    /// `args`.
    pub args: Vec<Arg>,
    /// `data`: values that are no arguments.
    pub data: Vec<Arg>,
    /// `returnArg`.
    pub return_arg: Option<Arg>,
    /// `returnArgAction`, as written.
    pub return_arg_action: Option<String>,
    /// `selectors`; none means: every call.
    pub selectors: Vec<Selector>,
    /// `message`.
    pub message: Option<String>,
    /// `tags`.
    pub tags: Vec<String>,
    /// `ignore.callNotFound` (or `ignore.digestVerificationFailure` of uprobes).
    pub ignore_failure: bool,
}

impl Hook {
    /// The declared argument that a filter is evaluated on: by position in `args` if the filter has `args`, otherwise
    /// by index. For tracepoints, an index that no argument has is a position too.
    pub fn filtered_arg(&self, filter: &ArgFilter) -> Option<&Arg> {
        if let Some(position) = filter.args.first() {
            return self.args.get(*position as usize);
        }
        let is_tracepoint = matches!(self.target, HookTarget::Tracepoint { .. });
        let by_position = || self.args.get(filter.index as usize).filter(|_| is_tracepoint);
        self.args.iter().find(|arg| arg.index == filter.index).or_else(by_position)
    }
}

/// What a hook names, in the fields of its section.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HookTarget {
    /// A kernel function.
    Function {
        /// `call`: a function's name, or `list:NAME`.
        call: String,
        /// `syscall`: the name is a system call's, `sys_*`; true unless written otherwise.
        syscall: bool,
        /// Whether `syscall` was written.
        syscall_written: bool,
    },
    /// A tracepoint.
    Tracepoint {
        /// `subsystem`.
        subsystem: String,
        /// `event`.
        event: String,
        /// `raw`.
        raw: bool,
    },
    /// An LSM hook.
    Lsm {
        /// `hook`.
        hook: String,
    },
    /// A function of a user program.
    Uprobe {
        /// `path`.
        path: String,
        /// `symbols`.
        symbols: Vec<String>,
        /// `offsets`.
        offsets: Vec<u64>,
        /// `addrs`.
        addrs: Vec<u64>,
        /// `refCtrOffsets`.
        counters: Vec<u64>,
        /// `binaryDigests`, as written.
        digests: Vec<String>,
    },
    /// A static probe of a user program.
    Usdt {
        /// `path`.
        path: String,
        /// `provider`.
        provider: String,
        /// `name`.
        name: String,
    },
}

impl Default for HookTarget {
    fn default() -> Self {
        Self::Function { call: String::new(), syscall: true, syscall_written: false }
    }
}

/// One entry of `args` or `data`, or `returnArg`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Arg {
    /// `index`, from 0.
    pub index: u32,
    /// `type`.
    pub ty: ArgType,
    /// `label`.
    pub label: Option<String>,
    /// `sizeArgIndex`, from 1; 0 is absent.
    pub size_arg_index: u32,
    /// `returnCopy`.
    pub return_copy: bool,
    /// `maxData`.
    pub max_data: bool,
    /// `resolve`: a path into the argument's structure.
    pub resolve: Option<String>,
    /// `source` of a `data` entry.
    pub source: Option<String>,
    /// `btfType`.
    pub btf_type: Option<String>,
}

names! {
    /// Types of arguments.
    pub enum ArgType {
        Auto = "auto",
        Int = "int" | "sint32" | "int32",
        Int8 = "int8" | "sint8",
        Uint8 = "uint8",
        Int16 = "int16" | "sint16",
        Uint16 = "uint16",
        Uint32 = "uint32",
        Int64 = "int64" | "sint64" | "long",
        Uint64 = "uint64" | "ulong",
        SizeT = "size_t",
        String = "string",
        CharBuf = "char_buf",
        CharIovec = "char_iovec",
        Filename = "filename",
        Kiocb = "kiocb",
        File = "file",
        Path = "path",
        Dentry = "dentry",
        Fd = "fd",
        LinuxBinprm = "linux_binprm",
        Sock = "sock",
        Socket = "socket",
        Skb = "skb",
        Sockaddr = "sockaddr",
        SockaddrUn = "sockaddr_un",
        Cred = "cred",
        KernelCapT = "kernel_cap_t",
        CapInheritable = "cap_inheritable",
        CapPermitted = "cap_permitted",
        CapEffective = "cap_effective",
        Capability = "capability",
        UserNamespace = "user_namespace",
        BpfAttr = "bpf_attr",
        BpfProg = "bpf_prog",
        BpfMap = "bpf_map",
        BpfCmd = "bpf_cmd",
        PerfEvent = "perf_event",
        IovIter = "iov_iter",
        LoadInfo = "load_info",
        Module = "module",
        Syscall64 = "syscall64",
        ConstBuf = "const_buf",
        DataLoc = "data_loc",
        NetDevice = "net_device",
        Nop = "nop",
    }
}

#[allow(clippy::derivable_impls, reason = "the macro that makes the enum has no place for #[default]")]
impl Default for ArgType {
    fn default() -> Self {
        Self::Auto
    }
}

/// One entry of `selectors`: filters that must all hold, and what is done then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// `matchArgs`.
    pub match_args: Vec<ArgFilter>,
    /// `matchData`: the index is a position in [`Hook::data`].
    pub match_data: Vec<ArgFilter>,
    /// `matchReturnArgs`.
    pub match_return_args: Vec<ArgFilter>,
    /// `matchBinaries`.
    pub match_binaries: Vec<BinaryFilter>,
    /// `matchParentBinaries`.
    pub match_parent_binaries: Vec<BinaryFilter>,
    /// `matchPIDs`.
    pub match_pids: Vec<PidFilter>,
    /// `matchNamespaces`.
    pub match_namespaces: Vec<NamespaceFilter>,
    /// `matchCapabilities`.
    pub match_capabilities: Vec<CapabilityFilter>,
    /// `matchNamespaceChanges`: operator and names of namespaces.
    pub match_namespace_changes: Vec<(Operator, Vec<String>)>,
    /// `matchCapabilityChanges`.
    pub match_capability_changes: Vec<CapabilityFilter>,
    /// `matchWorkloads`: further selectors of workloads.
    pub match_workloads: Vec<WorkloadFilter>,
    /// `matchActions`; none means `Post`.
    pub match_actions: Vec<Action>,
    /// `matchReturnActions`.
    pub match_return_actions: Vec<Action>,
    /// `macros`.
    pub macros: Vec<String>,
    /// `label`.
    pub label: Option<String>,
}

impl Selector {
    /// The fields with actions.
    pub const ACTION_FIELDS: [&'static str; 2] = ["matchActions", "matchReturnActions"];

    /// The fields with actions, each with its name.
    pub fn action_lists(&self) -> impl Iterator<Item = (&'static str, &Vec<Action>)> {
        Self::ACTION_FIELDS.into_iter().zip([&self.match_actions, &self.match_return_actions])
    }

    /// All actions, each with the field that has it and its position there.
    pub fn actions(&self) -> impl Iterator<Item = (&'static str, usize, &Action)> {
        self.action_lists().flat_map(|(field, actions)| {
            actions.iter().enumerate().map(move |(i, action)| (field, i, action))
        })
    }
}

/// Calls a macro with the lists of a selector: each field with its name in the language. What macros of a policy can add is
/// decided by it.
macro_rules! with_selector_fields {
    ($each:ident) => {
        $each! {
            match_args "matchArgs",
            match_data "matchData",
            match_return_args "matchReturnArgs",
            match_binaries "matchBinaries",
            match_parent_binaries "matchParentBinaries",
            match_pids "matchPIDs",
            match_namespaces "matchNamespaces",
            match_capabilities "matchCapabilities",
            match_namespace_changes "matchNamespaceChanges",
            match_capability_changes "matchCapabilityChanges",
            match_workloads "matchWorkloads",
            match_actions "matchActions",
            match_return_actions "matchReturnActions",
        }
    };
}
pub(crate) use with_selector_fields;
