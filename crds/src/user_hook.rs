//! The places in programs and libraries that a policy watches.

use crate::argument::Argument;
use crate::cel;
use crate::selector::Selector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Functions of a program or library that are watched.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend(
    "x-kubernetes-validations" = cel::validations(&[cel::ONE_PLACE_IN_BINARY, cel::RETURN_NEEDS_ARGUMENT])
))]
#[serde(rename_all = "camelCase")]
pub struct Uprobe {
    /// Virtual addresses in the binary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addrs: Vec<i64>,

    /// The arguments that are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// Digests of which the binary must have one, as algorithm:hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binary_digests: Vec<String>,

    /// File with the type information of the binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf_path: Option<String>,

    /// Values that are read from elsewhere than the arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Argument>,

    /// What is no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<UprobeIgnore>,

    /// A sentence for people that goes with each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Offsets in the file of the binary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<i64>,

    /// Path of the binary.
    pub path: String,

    /// Offsets in the file of the counters that switch the probes on, one a probe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ref_ctr_offsets: Vec<i64>,

    /// Whether the returned value is read too.
    #[serde(default, rename = "return")]
    pub returns: bool,

    /// How the returned value is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_arg: Option<Argument>,

    /// Which calls are meant. Without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Names of functions in the binary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,

    /// Words that go with each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}

/// What is no error of a uprobe.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UprobeIgnore {
    /// Load the rest of the policy where the binary has none of the digests.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub digest_verification_failure: bool,
}

/// A probe that a program or library defines itself.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usdt {
    /// The arguments that are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,

    /// File with the type information of the binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf_path: Option<String>,

    /// A sentence for people that goes with each event, 2 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Name of the probe.
    pub name: String,

    /// Path of the binary.
    pub path: String,

    /// Name of the group of the probe.
    pub provider: String,

    /// Which calls are meant. Without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,

    /// Words that go with each event, 2 to 128 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tags: Vec<String>,
}
