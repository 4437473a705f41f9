//! The points in the kernel that a policy hooks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{argument::Argument, cel, selector::Selector};

/// A hook on a kernel function: an entry of kprobes or fentries.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-validations" = cel::validations(&[cel::RETURN_NEEDS_ARGUMENT])))]
#[serde(rename_all = "camelCase")]
pub struct FunctionHook {
    /// The arguments to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// Name of the function, or list: followed by the name of a list.
    pub call: String,

    /// Values to read from other sources than the arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Argument>,

    /// Conditions that are not an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<FunctionIgnore>,

    /// A message in each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Whether to read the returned value too.
    #[serde(default, rename = "return")]
    pub returns: bool,

    /// Type of the returned value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_arg: Option<Argument>,

    /// Action on the returned value: `TrackSock` or `UntrackSock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_arg_action: Option<String>,

    /// Selectors of calls. Without a selector, every call matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Whether call is a system call. Its name then gets the prefix of the architecture.
    #[serde(default = "crate::yes")]
    pub syscall: bool,

    /// Tags in each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}

/// Conditions that are not an error of a function hook.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionIgnore {
    /// Load the other hooks of the policy if the kernel does not have the function.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub call_not_found: bool,
}

/// A hook on a kernel tracepoint.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracepoint {
    /// The fields to read. index is the position in the tracepoint's format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// Name of the event.
    pub event: String,

    /// A message in each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Whether args are the tracepoint's raw arguments instead of the fields of its format.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub raw: bool,

    /// Selectors of events. Without a selector, every event matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Name of the group of the event.
    pub subsystem: String,

    /// Tags in each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}

/// A hook of the kernel's security modules (LSM).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LsmHook {
    /// The arguments to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// Name of the hook.
    pub hook: String,

    /// A message in each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Selectors of calls. Without a selector, every call matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Tags in each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}
