//! The two kinds of policies, and the parts of a policy that are not hooks.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cel,
    hook::{FunctionHook, LsmHook, Tracepoint},
    labels::LabelSelector,
    selector::Selector,
    user_hook::{Uprobe, Usdt},
};

/// The hooks of a policy, the pods that it selects, and its actions. A policy has one of the sections kprobes,
/// fentries, tracepoints, lsmhooks, uprobes and usdts.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "cilium.io",
    version = "v1alpha1",
    kind = "TracingPolicy",
    plural = "tracingpolicies",
    shortname = "tgtp",
    category = "tetragon",
    doc = "A cluster-wide policy: the kernel calls to watch, and the pods to watch.",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct TracingPolicySpec {
    /// Selects containers by name and repo, in the selected pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_selector: Option<LabelSelector>,

    /// Calls that the action `NotifyEnforcer` can stop. At most one entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enforcers: Vec<Enforcer>,

    /// Hooks on kernel functions, attached by fentry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fentries: Vec<FunctionHook>,

    /// Selects the host: absent or {}. If it is absent and another selector is given, the policy does not watch the
    /// host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = cel::validations(&[cel::HOST_SELECTOR_EMPTY])))]
    pub host_selector: Option<LabelSelector>,

    /// Hooks on kernel functions, attached by kprobe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kprobes: Vec<FunctionHook>,

    /// Lists of functions or of numbers that hooks refer to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<List>,

    /// Whether to report the loading of libraries.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub loader: bool,

    /// Hooks of the kernel's security modules (LSM).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lsmhooks: Vec<LsmHook>,

    /// Selects the nodes that load the policy. Absent means all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,

    /// Settings of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<PolicyOption>,

    /// Selects pods by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,

    /// Named filters that selectors include by their field macros.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selectors_macros: BTreeMap<String, Selector>,

    /// Hooks on kernel tracepoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracepoints: Vec<Tracepoint>,

    /// Hooks on functions of programs and libraries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uprobes: Vec<Uprobe>,

    /// Hooks on probes that programs and libraries define (USDT).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usdts: Vec<Usdt>,
}

/// A policy for the pods of one namespace, in the same language. It has no hostSelector.
//
// A separate type, because a kind is derived from the type of its spec. JSON and schema are the same.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "cilium.io",
    version = "v1alpha1",
    kind = "TracingPolicyNamespaced",
    plural = "tracingpoliciesnamespaced",
    shortname = "tgtpn",
    category = "tetragon",
    namespaced,
    doc = "A policy for the pods of its namespace: the kernel calls to watch.",
    derive = "PartialEq"
)]
pub struct TracingPolicyNamespacedSpec(pub TracingPolicySpec);

/// Calls that an enforcer can stop.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Enforcer {
    /// Names of functions, or list: followed by the name of a list.
    pub calls: Vec<String>,
}

/// A list of functions or of numbers.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// Name of the list, which hooks use after list:.
    pub name: String,

    /// `generated_ftrace`: pattern of the function names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,

    /// Type of the list. Absent means function names.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ListKind>,

    /// Internal to the agent that loads the policy. Do not set it.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub validated: bool,

    /// The names or numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The type of a list, and the source of its entries.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListKind {
    /// The given system calls.
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

    /// Value of the setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}
