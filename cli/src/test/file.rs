//! The format of test files.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A test file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestFile {
    /// Files with policies, relative to the test file.
    pub(super) policies: Vec<PathBuf>,
    /// The kernel to compile for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<String>,
    pub(super) tests: Vec<Case>,
}

/// One event and its expected outcome.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(super) name: String,
    /// The pod of the process; absent for a host process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<Pod>,
    #[serde(default)]
    pub(super) process: Process,
    /// The function: a symbol, or a system call as `sys_execve`.
    pub(super) call: String,
    /// By position. A socket is an object.
    #[serde(default)]
    pub(super) args: Vec<Value>,
    /// The result.
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Value>,
    pub(super) counted: Expected,
}

/// The policies that must count an event.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Expected {
    /// Any policy, or none.
    Any(bool),
    /// Only this policy.
    By(String),
    /// Exactly these policies.
    ByAll(Vec<String>),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pod {
    #[serde(default = "default_namespace")]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// The container's name.
    #[serde(default)]
    pub(super) container: String,
    /// Its image.
    #[serde(default)]
    pub(super) image: String,
}

fn default_namespace() -> String {
    gatewatch_coverage::read::DEFAULT_NAMESPACE.to_owned()
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Process {
    /// The path of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) binary: Option<String>,
    /// The programs of its ancestors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ancestors: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    /// In its own PID namespace.
    #[serde(rename = "namespacePid", skip_serializing_if = "Option::is_none")]
    pub(super) namespace_pid: Option<u32>,
    /// The ids of its ancestors.
    #[serde(default, rename = "ancestorPids", skip_serializing_if = "Vec::is_empty")]
    pub(super) ancestor_pids: Vec<u32>,
    /// The same in its own pid namespace; 0 for one outside of it.
    #[serde(default, rename = "ancestorNamespacePids", skip_serializing_if = "Vec::is_empty")]
    pub(super) ancestor_namespace_pids: Vec<u32>,
    /// By set (`Effective`, …): names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) capabilities: Option<BTreeMap<String, Vec<String>>>,
    /// By kind (`Mnt`, …): `host_ns` or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespaces: Option<BTreeMap<String, Value>>,
}
