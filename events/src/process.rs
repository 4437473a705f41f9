//! The process of an event.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    bits::{CapabilitySet, SecureBits},
    json::{decimal, proto_enum, unset},
    pod::Pod,
    time::Timestamp,
};

/// A process, as Tetragon's `Process`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// The key of this execution: [`exec_id`] makes it. Empty if the process is unknown.
    #[serde(skip_serializing_if = "unset")]
    pub exec_id: String,
    /// The process id (thread group) in the host's pid namespace. Always set.
    #[serde(skip_serializing_if = "unset")]
    pub pid: Option<u32>,
    /// The effective user id at exec.
    #[serde(skip_serializing_if = "unset")]
    pub uid: Option<u32>,
    /// The working directory at exec.
    #[serde(skip_serializing_if = "unset")]
    pub cwd: String,
    /// The path as the caller of exec gave it, joined with `cwd` if it is relative: a script's own path, a symbolic link
    /// unresolved. For processes that ran before the agent, the target of `/proc/PID/exe`.
    #[serde(skip_serializing_if = "unset")]
    pub binary: String,
    /// The arguments without the first, joined by [`join_arguments`].
    #[serde(skip_serializing_if = "unset")]
    pub arguments: String,
    /// Words separated by blanks: `execve` or `procFS`, `clone`, `rootcwd`, `nocwd`, …; `truncFilename`, `truncArgs`
    /// and Gatewatch's own `truncCWD` for a text that is cut; `unknown` for a process that is not in the table.
    #[serde(skip_serializing_if = "unset")]
    pub flags: String,
    /// When this program was executed; for a process without exec, when it was cloned. Always set.
    #[serde(skip_serializing_if = "unset")]
    pub start_time: Option<Timestamp>,
    /// The login user id; 4294967295 if it is not set.
    #[serde(skip_serializing_if = "unset")]
    pub auid: Option<u32>,
    /// The pod; `None` on the host, and where it is not known: see `pod_status`.
    #[serde(skip_serializing_if = "unset")]
    pub pod: Option<Box<Pod>>,
    /// Gatewatch's own: the reason why there is no `pod`. Leave it at its default if there is one.
    #[serde(skip_serializing_if = "unset")]
    pub pod_status: PodStatus,
    /// The first 31 characters of the container's id: [`docker`] cuts it.
    #[serde(skip_serializing_if = "unset")]
    pub docker: String,
    /// The `exec_id` of the parent at clone, or of this process's previous program after a second exec.
    #[serde(skip_serializing_if = "unset")]
    pub parent_exec_id: String,
    /// Tetragon's count of references in its cache. Gatewatch does not write it.
    #[serde(skip_serializing_if = "unset")]
    pub refcnt: u32,
    /// The capabilities, with `--enable-process-cred`.
    #[serde(skip_serializing_if = "unset")]
    pub cap: Option<Capabilities>,
    /// The namespaces, with `--enable-process-ns`.
    #[serde(skip_serializing_if = "unset")]
    pub ns: Option<Box<Namespaces>>,
    /// The thread of the event; the same as `pid` in exec and exit, and in a parent. Always set.
    #[serde(skip_serializing_if = "unset")]
    pub tid: Option<u32>,
    /// The credentials, with `--enable-process-cred`.
    #[serde(skip_serializing_if = "unset")]
    pub process_credentials: Option<Box<Credentials>>,
    /// Properties of the executed file: in `process_exec` alone, with `--enable-process-cred`.
    #[serde(skip_serializing_if = "unset")]
    pub binary_properties: Option<Box<BinaryProperties>>,
    /// The user's name, with `--username-metadata=unix`, for processes of the host.
    #[serde(skip_serializing_if = "unset")]
    pub user: Option<UserRecord>,
    /// Whether the process descends from the first process of its container. Set it in every record (`false` on the
    /// host): readers of Tetragon's records expect it.
    #[serde(skip_serializing_if = "unset")]
    pub in_init_tree: Option<bool>,
    /// The environment, with `--enable-process-environment-variables`.
    #[serde(skip_serializing_if = "unset")]
    pub environment_variables: Vec<Variable>,
}

/// Why a process has no `pod`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodStatus {
    /// It is a process of the host.
    Host,
    /// Its cgroup belongs to a pod that the agent does not know (yet).
    Unresolved,
    /// It has one, or the record's writer does not tell (Tetragon).
    #[default]
    #[serde(other)]
    Unspecified,
}

/// Makes an `exec_id` as Tetragon does: base64 of `NODE:KTIME:PID`.
///
/// `node` is the node's name, `ktime` the time of exec (or clone) in nanoseconds of the boot clock, `pid` the process id
/// in the host's pid namespace.
pub fn exec_id(node: &str, ktime: u64, pid: u32) -> String {
    STANDARD.encode(format!("{node}:{ktime}:{pid}"))
}

/// The value of `docker` for a container's id without prefix: its first 31 characters, as Tetragon writes it.
pub fn docker(container_id: &str) -> &str {
    container_id.char_indices().nth(31).map_or(container_id, |(end, _)| &container_id[..end])
}

/// Joins arguments as Tetragon does: by one blank, with double quotes around those that contain a blank.
///
/// `arguments` are those after the first (`argv[1..]`).
pub fn join_arguments<'a>(arguments: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut joined = String::new();
    for (index, argument) in arguments.into_iter().enumerate() {
        if index > 0 {
            joined.push(' ');
        }
        let argument = String::from_utf8_lossy(argument);
        if argument.contains(' ') {
            joined.push('"');
            joined.push_str(&argument);
            joined.push('"');
        } else {
            joined.push_str(&argument);
        }
    }
    joined
}

/// Sets of capabilities, as Tetragon's `Capabilities`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// `cap_permitted`.
    #[serde(skip_serializing_if = "unset")]
    pub permitted: CapabilitySet,
    /// `cap_effective`.
    #[serde(skip_serializing_if = "unset")]
    pub effective: CapabilitySet,
    /// `cap_inheritable`.
    #[serde(skip_serializing_if = "unset")]
    pub inheritable: CapabilitySet,
}

/// A namespace, as Tetragon's `Namespace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// The number of its inode (`/proc/PID/ns/…`).
    #[serde(skip_serializing_if = "unset")]
    pub inum: u32,
    /// It is the host's.
    #[serde(skip_serializing_if = "unset")]
    pub is_host: bool,
}

/// The namespaces of a process, as Tetragon's `Namespaces`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names of /proc/PID/ns")]
pub struct Namespaces {
    #[serde(skip_serializing_if = "unset")]
    pub uts: Option<Namespace>,
    #[serde(skip_serializing_if = "unset")]
    pub ipc: Option<Namespace>,
    #[serde(skip_serializing_if = "unset")]
    pub mnt: Option<Namespace>,
    #[serde(skip_serializing_if = "unset")]
    pub pid: Option<Namespace>,
    #[serde(skip_serializing_if = "unset")]
    pub pid_for_children: Option<Namespace>,
    #[serde(skip_serializing_if = "unset")]
    pub net: Option<Namespace>,
    #[serde(skip_serializing_if = "unset")]
    pub time: Option<Namespace>,
    #[serde(skip_serializing_if = "unset")]
    pub time_for_children: Option<Namespace>,
    #[serde(skip_serializing_if = "unset")]
    pub cgroup: Option<Namespace>,
    #[serde(skip_serializing_if = "unset")]
    pub user: Option<Namespace>,
}

/// A user namespace, as Tetragon's `UserNamespace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserNamespace {
    /// The level of nesting; the host's is 0.
    #[serde(skip_serializing_if = "unset")]
    pub level: Option<i32>,
    /// The owner's user id.
    #[serde(skip_serializing_if = "unset")]
    pub uid: Option<u32>,
    /// The owner's group id.
    #[serde(skip_serializing_if = "unset")]
    pub gid: Option<u32>,
    /// The namespace.
    #[serde(skip_serializing_if = "unset")]
    pub ns: Option<Namespace>,
}

/// Credentials, as Tetragon's `ProcessCredentials`. The kernel's are in `struct cred`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields of struct cred")]
pub struct Credentials {
    #[serde(skip_serializing_if = "unset")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "unset")]
    pub gid: Option<u32>,
    #[serde(skip_serializing_if = "unset")]
    pub euid: Option<u32>,
    #[serde(skip_serializing_if = "unset")]
    pub egid: Option<u32>,
    #[serde(skip_serializing_if = "unset")]
    pub suid: Option<u32>,
    #[serde(skip_serializing_if = "unset")]
    pub sgid: Option<u32>,
    #[serde(skip_serializing_if = "unset")]
    pub fsuid: Option<u32>,
    #[serde(skip_serializing_if = "unset")]
    pub fsgid: Option<u32>,
    #[serde(skip_serializing_if = "unset")]
    pub securebits: SecureBits,
    #[serde(skip_serializing_if = "unset")]
    pub caps: Option<Capabilities>,
    #[serde(skip_serializing_if = "unset")]
    pub user_ns: Option<UserNamespace>,
}

/// Properties of an executed file, as Tetragon's `BinaryProperties`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BinaryProperties {
    /// The user id that the file's set-user-ID bit gave.
    #[serde(skip_serializing_if = "unset")]
    pub setuid: Option<u32>,
    /// The group id that the file's set-group-ID bit gave.
    #[serde(skip_serializing_if = "unset")]
    pub setgid: Option<u32>,
    /// Why the execution raised privileges.
    #[serde(skip_serializing_if = "unset")]
    pub privileges_changed: Vec<PrivilegesChanged>,
    /// The file, if it is only in memory or deleted.
    #[serde(skip_serializing_if = "unset")]
    pub file: Option<FileProperties>,
}

/// Why an execution raised privileges, as Tetragon's `ProcessPrivilegesChanged`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the text is the name")]
pub enum PrivilegesChanged {
    #[default]
    Unset,
    FileCapabilities,
    SetUserId,
    SetGroupId,
}

proto_enum! { PrivilegesChanged,
    0 => Unset = "PRIVILEGES_CHANGED_UNSET";
    1 => FileCapabilities = "PRIVILEGES_RAISED_EXEC_FILE_CAP";
    2 => SetUserId = "PRIVILEGES_RAISED_EXEC_FILE_SETUID";
    3 => SetGroupId = "PRIVILEGES_RAISED_EXEC_FILE_SETGID";
}

/// A file, as Tetragon's `FileProperties`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileProperties {
    /// Its inode.
    #[serde(skip_serializing_if = "unset")]
    pub inode: Option<InodeProperties>,
    /// Its path.
    #[serde(skip_serializing_if = "unset")]
    pub path: String,
}

/// An inode, as Tetragon's `InodeProperties`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InodeProperties {
    /// Its number.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub number: u64,
    /// Its links; 0 for a file that is only in memory.
    #[serde(skip_serializing_if = "unset")]
    pub links: Option<u32>,
}

/// A user, as Tetragon's `UserRecord`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRecord {
    /// Its name in the host's `/etc/passwd`.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
}

/// A variable of the environment, as Tetragon's `EnvVar`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variable {
    /// Its name.
    #[serde(rename = "Key", skip_serializing_if = "unset")]
    pub key: String,
    /// Its value.
    #[serde(rename = "Value", skip_serializing_if = "unset")]
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_arguments_are_as_tetragons() {
        assert_eq!(exec_id("node-a", 1_234_567_890_123, 42), "bm9kZS1hOjEyMzQ1Njc4OTAxMjM6NDI=");
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(docker(id), "0123456789abcdef0123456789abcde");
        assert_eq!(docker("short"), "short");
        let joined = join_arguments([&b"-c"[..], b"echo a b", b"", b"\xff\n"]);
        assert_eq!(joined, "-c \"echo a b\"  \u{fffd}\n");
    }
}
