//! Filters: the entries of a selector that decide which events match.

use super::{label::LabelSelector, names::names};

/// One entry of `matchArgs`, `matchData` or `matchReturnArgs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ArgFilter {
    /// `index`: the argument as numbered in [`Arg::index`].
    pub index: u32,
    /// `args`: positions in [`Hook::args`], in place of `index`; two for `CapabilitiesGained`, else one.
    pub args: Vec<u32>,
    /// `operator`.
    pub operator: Operator,
    /// `values`.
    pub values: Vec<String>,
}

impl ArgFilter {
    /// The position in `data` that a filter of `matchData` names.
    pub fn data_position(&self) -> u32 {
        self.args.first().copied().unwrap_or(self.index)
    }
}

/// One entry of `matchBinaries` or `matchParentBinaries`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BinaryFilter {
    /// `operator`.
    pub operator: Operator,
    /// `values`: absolute paths, or parts of them.
    pub values: Vec<String>,
    /// `followChildren`: the descendants of such a program count as that program.
    pub follow_children: bool,
}

/// One entry of `matchPIDs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PidFilter {
    /// `operator`.
    pub operator: Operator,
    /// `values`.
    pub values: Vec<u32>,
    /// `isNamespacePID`: ids as the process itself sees them.
    pub is_namespace_pid: bool,
    /// `followForks`: descendants too.
    pub follow_forks: bool,
}

/// One entry of `matchNamespaces`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceFilter {
    /// `namespace`.
    pub namespace: NamespaceKind,
    /// `operator`.
    pub operator: Operator,
    /// `values`: inode numbers or `host_ns`.
    pub values: Vec<String>,
}

/// One entry of `matchCapabilities` or `matchCapabilityChanges`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CapabilityFilter {
    /// `type`.
    pub set: CapabilitySet,
    /// `operator`.
    pub operator: Operator,
    /// `values`: `CAP_*`.
    pub values: Vec<String>,
    /// `isNamespaceCapability`: the capability doesn't count where the process is in the host's user namespace.
    pub is_namespace_capability: bool,
}

/// One entry of `matchWorkloads`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WorkloadFilter {
    /// `podSelector`.
    pub pod_selector: Option<LabelSelector>,
    /// `containerSelector`.
    pub container_selector: Option<LabelSelector>,
    /// `hostSelector`.
    pub host_selector: Option<LabelSelector>,
}

names! {
    /// Operators of filters.
    pub enum Operator {
        Equal = "Equal",
        NotEqual = "NotEqual",
        Gt = "GT" | "GreaterThan",
        Lt = "LT" | "LessThan",
        Mask = "Mask",
        Prefix = "Prefix",
        NotPrefix = "NotPrefix",
        Postfix = "Postfix",
        NotPostfix = "NotPostfix",
        SubString = "SubString",
        SubStringIgnCase = "SubStringIgnCase",
        In = "In",
        NotIn = "NotIn",
        InMap = "InMap",
        NotInMap = "NotInMap",
        InRange = "InRange",
        NotInRange = "NotInRange",
        SAddr = "SAddr",
        DAddr = "DAddr",
        NotSAddr = "NotSAddr",
        NotDAddr = "NotDAddr",
        SPort = "SPort",
        DPort = "DPort",
        NotSPort = "NotSPort",
        NotDPort = "NotDPort",
        SPortPriv = "SPortPriv",
        NotSPortPriv = "NotSportPriv" | "NotSPortPriv",
        DPortPriv = "DPortPriv",
        NotDPortPriv = "NotDPortPriv",
        Protocol = "Protocol",
        Family = "Family",
        State = "State",
        FileType = "FileType",
        NotFileType = "NotFileType",
        CapabilitiesGained = "CapabilitiesGained",
        CelExpr = "CelExpr",
    }
}

names! {
    /// Kinds of kernel namespaces.
    pub enum NamespaceKind {
        Uts = "Uts",
        Ipc = "Ipc",
        Mnt = "Mnt",
        Pid = "Pid",
        PidForChildren = "PidForChildren",
        Net = "Net",
        Time = "Time",
        TimeForChildren = "TimeForChildren",
        Cgroup = "Cgroup",
        User = "User",
    }
}

names! {
    /// Capability sets of a process.
    pub enum CapabilitySet {
        Effective = "Effective",
        Permitted = "Permitted",
        Inheritable = "Inheritable",
    }
}
