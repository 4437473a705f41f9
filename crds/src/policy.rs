//! The two kinds of policies, and the parts of a policy that are not hooks.

use crate::cel;
use crate::hook::{FunctionHook, LsmHook, Tracepoint};
use crate::labels::LabelSelector;
use crate::selector::Selector;
use crate::user_hook::{Uprobe, Usdt};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a policy watches, for whom, and what is counted. One of the sections kprobes, fentries, tracepoints, lsmhooks,
/// uprobes and usdts is given.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "cilium.io",
    version = "v1alpha1",
    kind = "TracingPolicy",
    plural = "tracingpolicies",
    shortname = "tgtp",
    category = "tetragon",
    doc = "A policy for the whole cluster: which calls into the kernel are watched, and for which pods.",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct TracingPolicySpec {
    /// Selects containers by name and repo, in the pods that are selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_selector: Option<LabelSelector>,

    /// Calls that can be stopped by the action `NotifyEnforcer`; one entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enforcers: Vec<Enforcer>,

    /// Kernel functions, watched by fentry programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fentries: Vec<FunctionHook>,

    /// Selects the host: absent or {}. Absent beside another selector, the host is not watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = cel::validations(&[cel::HOST_SELECTOR_EMPTY])))]
    pub host_selector: Option<LabelSelector>,

    /// Kernel functions, watched by kprobes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kprobes: Vec<FunctionHook>,

    /// Lists of functions or of numbers that hooks refer to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<List>,

    /// Whether the loading of libraries is reported.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub loader: bool,

    /// Hooks of the kernel's security modules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lsmhooks: Vec<LsmHook>,

    /// Selects the nodes on which the policy is loaded. Absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,

    /// Settings of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<PolicyOption>,

    /// Selects pods by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,

    /// Named filters that selectors take over by their field macros.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selectors_macros: BTreeMap<String, Selector>,

    /// Tracepoints of the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracepoints: Vec<Tracepoint>,

    /// Functions of programs and libraries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uprobes: Vec<Uprobe>,

    /// Probes that programs and libraries define themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usdts: Vec<Usdt>,
}

/// What a policy of a namespace watches: the same language, for the pods of the namespace alone. Has no hostSelector.
//
// A type of its own because a kind is derived from the type of its spec; in JSON and in the schema it is the same.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "cilium.io",
    version = "v1alpha1",
    kind = "TracingPolicyNamespaced",
    plural = "tracingpoliciesnamespaced",
    shortname = "tgtpn",
    category = "tetragon",
    namespaced,
    doc = "A policy for the pods of its namespace: which of their calls into the kernel are watched.",
    derive = "PartialEq"
)]
pub struct TracingPolicyNamespacedSpec(pub TracingPolicySpec);

/// Calls that can be stopped.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Enforcer {
    /// Names of functions, or list: and the name of a list.
    pub calls: Vec<String>,
}

/// A list of functions or of numbers.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// The name that hooks use, after list:.
    pub name: String,

    /// `generated_ftrace`: pattern of the names of functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,

    /// What the list is of. Absent means names of functions.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ListKind>,

    /// Internal to the agent that loads the policy; leave it out.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub validated: bool,

    /// The names or numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What a list is of, and where it comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListKind {
    /// System calls, as given.
    Syscalls,
    /// All system calls of the kernel.
    GeneratedSyscalls,
    /// All functions of the kernel that match a pattern.
    GeneratedFtrace,
}

/// One setting of a policy.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyOption {
    /// Name of the setting: disable-kprobe-multi, disable-uprobe-multi, override-method, policy-mode or
    /// sleepable-preload-size.
    pub name: String,

    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}
