//! What the agent has to know of the machine.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use gatewatch_policy::model::NamespaceKind;

use crate::cgroup;

/// Where the cgroup v2 hierarchy is mounted.
pub fn cgroup_root() -> Option<PathBuf> {
    cgroup::find_cgroup2_mount(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The inode numbers of the host's namespaces: those of process 1.
pub fn host_namespaces() -> BTreeMap<NamespaceKind, u32> {
    NamespaceKind::ALL.iter().filter_map(|kind| Some((*kind, inode(*kind)?))).collect()
}

fn inode(kind: NamespaceKind) -> Option<u32> {
    let name = match kind {
        NamespaceKind::Uts => "uts",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Mnt => "mnt",
        NamespaceKind::Pid => "pid",
        NamespaceKind::PidForChildren => "pid_for_children",
        NamespaceKind::Net => "net",
        NamespaceKind::Time => "time",
        NamespaceKind::TimeForChildren => "time_for_children",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::User => "user",
    };
    // `mnt:[4026531841]`
    let link = fs::read_link(Path::new("/proc/1/ns").join(name)).ok()?;
    link.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}
