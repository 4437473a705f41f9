//! The places in the kernel that a policy watches.

use crate::argument::Argument;
use crate::cel;
use crate::selector::Selector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A function of the kernel that is watched: an entry of kprobes or of fentries.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-validations" = cel::validations(&[cel::RETURN_NEEDS_ARGUMENT])))]
#[serde(rename_all = "camelCase")]
pub struct FunctionHook {
    /// The arguments that are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// Name of the function, or list: and the name of a list.
    pub call: String,

    /// Values that are read from elsewhere than the arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Argument>,

    /// What is no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<FunctionIgnore>,

    /// A sentence for people that goes with each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Whether the returned value is read too.
    #[serde(default, rename = "return")]
    pub returns: bool,

    /// How the returned value is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_arg: Option<Argument>,

    /// What is done with the returned value: `TrackSock` or `UntrackSock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_arg_action: Option<String>,

    /// Which calls are meant. Without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Whether call is a system call, so that its name gets the prefix of the architecture.
    #[serde(default = "crate::yes")]
    pub syscall: bool,

    /// Words that go with each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}

/// What is no error of a function hook.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionIgnore {
    /// Load the rest of the policy where the kernel does not have the function.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub call_not_found: bool,
}

/// A tracepoint of the kernel that is watched.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracepoint {
    /// The fields that are read; index is the position in the tracepoint's format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// Name of the event.
    pub event: String,

    /// A sentence for people that goes with each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Whether the arguments are the tracepoint's own, and not the fields of its format.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub raw: bool,

    /// Which events are meant. Without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Name of the group of the event.
    pub subsystem: String,

    /// Words that go with each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}

/// A hook of the kernel's security modules that is watched.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LsmHook {
    /// The arguments that are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// Name of the hook.
    pub hook: String,

    /// A sentence for people that goes with each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Which calls are meant. Without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Words that go with each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}
