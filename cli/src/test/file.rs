//! The format of test files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    /// Files with policies, from where this one is.
    pub(super) policies: Vec<PathBuf>,
    /// The kernel to compile for.
    pub(super) kernel: Option<String>,
    pub(super) tests: Vec<Case>,
}

/// One event, and what is to become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    /// Whose process it is; absent: one of the node's own.
    pub(super) pod: Option<Pod>,
    #[serde(default)]
    pub(super) process: Process,
    /// The function: a symbol, or a system call as `sys_execve`.
    pub(super) call: String,
    /// By position. A socket is an object.
    #[serde(default)]
    pub(super) args: Vec<Value>,
    /// The result.
    #[serde(rename = "return")]
    pub(super) result: Option<Value>,
    pub(super) counted: Expected,
}

/// By whom an event is to be counted.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Expected {
    /// By any policy, or by none.
    Any(bool),
    /// By this one alone.
    By(String),
    /// By exactly these.
    ByAll(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pod {
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    /// The path of its program.
    pub(super) binary: Option<String>,
    /// The programs of its ancestors.
    #[serde(default)]
    pub(super) ancestors: Vec<String>,
    pub(super) pid: Option<u32>,
    /// As it sees it itself.
    #[serde(rename = "namespacePid")]
    pub(super) namespace_pid: Option<u32>,
    /// The ids of its ancestors.
    #[serde(default, rename = "ancestorPids")]
    pub(super) ancestor_pids: Vec<u32>,
    /// The same in its own pid namespace; 0 for one outside of it.
    #[serde(default, rename = "ancestorNamespacePids")]
    pub(super) ancestor_namespace_pids: Vec<u32>,
    /// By set (`Effective`, …): names.
    pub(super) capabilities: Option<BTreeMap<String, Vec<String>>>,
    /// By kind (`Mnt`, …): `host_ns` or a number.
    pub(super) namespaces: Option<BTreeMap<String, Value>>,
}
