//! The points in programs and libraries that a policy hooks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{argument::Argument, cel, selector::Selector};

/// A hook on functions of a program or library.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend(
    "x-kubernetes-validations" = cel::validations(&[cel::ONE_PLACE_IN_BINARY, cel::RETURN_NEEDS_ARGUMENT])
))]
#[serde(rename_all = "camelCase")]
pub struct Uprobe {
    /// Virtual addresses in the binary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addrs: Vec<i64>,

    /// The arguments to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// Digests as algorithm:hash. The binary must have one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binary_digests: Vec<String>,

    /// File with the BTF of the binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf_path: Option<String>,

    /// Values to read from other sources than the arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Argument>,

    /// Conditions that are not an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<UprobeIgnore>,

    /// A message in each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Offsets in the binary's file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<i64>,

    /// Path of the binary.
    pub path: String,

    /// Offsets in the binary's file of the counters that enable the probes, one for each probe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ref_ctr_offsets: Vec<i64>,

    /// Whether to read the returned value too.
    #[serde(default, rename = "return")]
    pub returns: bool,

    /// Type of the returned value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_arg: Option<Argument>,

    /// Selectors of calls. Without a selector, every call matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Names of functions in the binary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,

    /// Tags in each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}

/// Conditions that are not an error of a uprobe.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UprobeIgnore {
    /// Load the other hooks of the policy if the binary has none of the digests.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub digest_verification_failure: bool,
}

/// A hook on a probe that a program or library defines (USDT).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usdt {
    /// The arguments to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// File with the BTF of the binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf_path: Option<String>,

    /// A message in each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Name of the probe.
    pub name: String,

    /// Path of the binary.
    pub path: String,

    /// Name of the group of the probe.
    pub provider: String,

    /// Selectors of calls. Without a selector, every call matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Tags in each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}
