//! Filters of events: which calls of a hook a policy counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    action::Action,
    cel,
    labels::LabelSelector,
    operator::{ArgumentOperator, BinaryOperator, SetOperator},
};

/// Filters that must all hold, and the actions on a match. The selectors of a hook are tried in order, and the first
/// match applies.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// A name for this selector in metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,

    /// Names of entries of spec.selectorsMacros whose filters this selector includes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macros: Vec<String>,

    /// Actions when the filters hold. Without an action, the event is reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_actions: Vec<Action>,

    /// Filters on arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_args: Vec<ArgumentFilter>,

    /// A filter on the binary of the calling process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    pub match_binaries: Vec<BinaryFilter>,

    /// Filters on the capabilities of the process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_capabilities: Vec<CapabilityFilter>,

    /// Filters on capabilities that changed since the process started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_capability_changes: Vec<CapabilityFilter>,

    /// Filters on the entries of data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_data: Vec<ArgumentFilter>,

    /// Filters on namespaces that changed since the process started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_namespace_changes: Vec<NamespaceChangeFilter>,

    /// Filters on the namespaces of the process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_namespaces: Vec<NamespaceFilter>,

    /// Filters on the id of the process.
    #[serde(default, rename = "matchPIDs", skip_serializing_if = "Vec::is_empty")]
    pub match_pids: Vec<PidFilter>,

    /// A filter on the binary of the parent process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    pub match_parent_binaries: Vec<BinaryFilter>,

    /// Actions when the filters on the returned value hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_return_actions: Vec<Action>,

    /// Filters on the returned value. They need a hook with return: true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_return_args: Vec<ArgumentFilter>,

    /// Labels of the pods and containers to which this selector applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_workloads: Option<WorkloadFilter>,
}

/// A filter on an argument, a datum or the returned value.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArgumentFilter {
    /// Positions of the arguments, for operators that compare two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<u32>,

    /// Position of the argument, from 0. Absent means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,

    /// Operator of the comparison.
    pub operator: ArgumentOperator,

    /// Values to compare with. Write numbers as strings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// A filter on the binary of a process, by its full path.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BinaryFilter {
    /// Also match the processes that a matching process starts. Only with In and `NotIn`.
    #[serde(default)]
    pub follow_children: bool,

    /// Operator of the comparison.
    pub operator: BinaryOperator,

    /// Paths, or prefixes or suffixes of paths.
    pub values: Vec<String>,
}

/// A filter on a capability set of a process.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityFilter {
    /// Match only processes outside the host's user namespace.
    #[serde(default)]
    pub is_namespace_capability: bool,

    /// In: one of the values must be in the set. `NotIn`: none of them.
    pub operator: SetOperator,

    /// The set that the filter reads.
    #[serde(default, rename = "type")]
    pub set: CapabilitySet,

    /// Names of capabilities, for example `CAP_SYS_ADMIN`.
    pub values: Vec<String>,
}

/// The capability sets of a process that a filter can read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CapabilitySet {
    /// The capabilities that the kernel checks.
    #[default]
    Effective,
    /// The capabilities that execve keeps.
    Inheritable,
    /// The capabilities that the process can make effective.
    Permitted,
}

/// A filter on namespaces that changed since the process started.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceChangeFilter {
    /// In: one of the values must have changed. `NotIn`: none of them.
    pub operator: SetOperator,

    /// Kinds of namespaces: Uts, Ipc, Mnt, Pid, `PidForChildren`, Net, Time, `TimeForChildren`, Cgroup, User.
    pub values: Vec<String>,
}

/// A filter on a namespace of a process.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceFilter {
    /// Kind of the namespace.
    pub namespace: NamespaceKind,

    /// In: the namespace must be one of the values. `NotIn`: none of them.
    pub operator: SetOperator,

    /// Inode numbers of namespaces, or `host_ns` for the host's namespace.
    pub values: Vec<String>,
}

/// The kinds of namespaces of a process.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum NamespaceKind {
    /// Host and domain name.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Mounts.
    Mnt,
    /// Process ids.
    Pid,
    /// Process ids of the children.
    PidForChildren,
    /// Network.
    Net,
    /// Clocks.
    Time,
    /// Clocks of the children.
    TimeForChildren,
    /// Control groups.
    Cgroup,
    /// User ids and capabilities.
    User,
}

/// A filter on the id of a process.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PidFilter {
    /// Also match the processes that a matching process forks.
    #[serde(default)]
    pub follow_forks: bool,

    /// Whether the values are ids in the process's own namespace instead of the host's.
    #[serde(default, rename = "isNamespacePID")]
    pub is_namespace_pid: bool,

    /// In: the id must be one of the values. `NotIn`: none of them.
    pub operator: SetOperator,

    /// Process ids.
    //
    // Signed, because the schema admits negative numbers: an object that carries one must still be read.
    pub values: Vec<i32>,
}

/// The pods and containers to which a selector applies, by labels.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadFilter {
    /// Selects containers by name and repo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_selector: Option<LabelSelector>,

    /// Selects the host: absent or {}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = cel::validations(&[cel::HOST_SELECTOR_EMPTY])))]
    pub host_selector: Option<LabelSelector>,

    /// Selects pods by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}
