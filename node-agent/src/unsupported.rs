//! Nodes on which no policy can run, or on which its counts would be wrong. The agent then loads nothing, is not ready, and
//! reports the reason.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use gatewatch_kernel::host::Support;

use crate::cgroup;

/// Inode number of the initial user namespace (`include/linux/proc_ns.h`, `PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;
/// Inode number of the root of a cgroup hierarchy (fs/kernfs/dir.c, `kernfs_create_root`).
const ROOT_CGROUP: u64 = 1;
/// Controllers that kubelet needs. It does not use cgroup v2 if one of them is in a hierarchy of cgroup v1.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// A process that ends while its cgroup is read has no id either, but not this often.
const READ_WITHIN: usize = 5;

/// The reason why no policy can run on this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The kernel lets only the initial user namespace load BPF programs.
    #[error(
        "the agent is in a user namespace, where the kernel allows no BPF programs, whatever capabilities it has there: run \
         it in the node's user namespace; in a cluster in rootless Docker or Podman no policy can run"
    )]
    UserNamespace,
    /// Pods are in cgroup v1.
    #[error(
        "the node uses cgroup v1 for {}, so events cannot be attributed to pods: boot the node with cgroup v2 alone \
         (`systemd.unified_cgroup_hierarchy=1`), which kubelet 1.35 and later require by default",
        .0.join(", ")
    )]
    CgroupV1(Vec<&'static str>),
    /// No cgroup v2 hierarchy is mounted where the agent can see it.
    #[error(
        "no cgroup v2 hierarchy is mounted, so events cannot be attributed to pods: mount the node's /sys/fs/cgroup at \
         /sys/fs/cgroup"
    )]
    NoCgroupV2,
    /// The agent sees its own container's cgroup instead of the node's.
    #[error(
        "{} has the cgroup of the agent alone, so events cannot be attributed to pods: mount the node's /sys/fs/cgroup \
         there",
        .0.display()
    )]
    OwnCgroup(PathBuf),
    /// Processes of the node have no id where the agent is.
    #[error(
        "processes in the cgroup {0} are not in the agent's pid namespace, so their programs are unknown: run the agent \
         in the node's pid namespace (`hostPID: true`), and a node that is a container in a cgroup namespace of its own"
    )]
    PidNamespace(String),
    /// The kernel can't do it.
    #[error("policies cannot run on this node: {0}")]
    NoKprobes(&'static str),
}

impl Unsupported {
    /// The value in labels.
    pub fn word(&self) -> &'static str {
        match self {
            Self::UserNamespace => "user-namespace",
            Self::CgroupV1(_) => "cgroup-v1",
            Self::NoCgroupV2 => "no-cgroup-v2",
            Self::OwnCgroup(_) => "own-cgroup",
            Self::PidNamespace(_) => "pid-namespace",
            Self::NoKprobes(_) => "no-kprobes",
        }
    }
}

/// Whether policies can run here. Does not ask what the agent may do.
pub fn check(kprobes: Support) -> Result<(), Unsupported> {
    if let Support::No(reason) = kprobes {
        return Err(Unsupported::NoKprobes(reason));
    }
    check_user_namespace()?;
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let old = v1_controllers(&text("/proc/self/cgroup"));
    if !old.is_empty() {
        return Err(Unsupported::CgroupV1(old));
    }
    let root = cgroup::find_cgroup2_mount(&text("/proc/self/mountinfo")).ok_or(Unsupported::NoCgroupV2)?;
    let Ok(cgroups) = cgroup::walk(&root) else { return Err(Unsupported::NoCgroupV2) };
    let own = std::process::id();
    for (id, path) in &cgroups {
        let procs = root.join(path.trim_start_matches('/')).join("cgroup.procs");
        if path == "/" && *id != ROOT_CGROUP && ids(&procs).is_ok_and(|ids| ids.contains(&own)) {
            return Err(Unsupported::OwnCgroup(root));
        }
        if is_elsewhere(&procs) {
            return Err(Unsupported::PidNamespace(path.clone()));
        }
    }
    Ok(())
}

/// The part of it that must be known before capabilities are asked for: in another user namespace they mean nothing.
pub fn check_user_namespace() -> Result<(), Unsupported> {
    match fs::metadata("/proc/self/ns/user") {
        Ok(namespace) if namespace.ino() != INITIAL_USER_NAMESPACE => Err(Unsupported::UserNamespace),
        _ => Ok(()),
    }
}

/// The controllers that kubelet needs and that are in hierarchies of cgroup v1, from the text of `/proc/self/cgroup`
/// (cgroups(7)): a line `ID:CONTROLLERS:PATH` for each hierarchy, of which cgroup v2 names no controllers. Others may be
/// there on a node with cgroup v2, such as `net_cls` or the one named `systemd`.
fn v1_controllers(text: &str) -> Vec<&'static str> {
    let named: Vec<&str> =
        text.lines().filter_map(|line| line.split(':').nth(1)).flat_map(|names| names.split(',')).collect();
    CONTROLLERS.into_iter().filter(|controller| named.contains(controller)).collect()
}

/// Whether a cgroup has processes without an id in our pid namespace: `cgroup.procs` then has 0 for them
/// (`cgroup_procs_show` in kernel/cgroup/cgroup.c).
fn is_elsewhere(procs: &Path) -> bool {
    (0..READ_WITHIN).all(|_| ids(procs).is_ok_and(|ids| ids.contains(&0)))
}

fn ids(procs: &Path) -> io::Result<Vec<u32>> {
    Ok(fs::read_to_string(procs)?.lines().filter_map(|line| line.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::v1_controllers;

    #[test]
    fn controllers_that_kubelet_needs() {
        for (text, want) in [
            ("0::/kubepods/x\n", &[][..]),
            ("1:net_cls,net_prio:/\n2:name=systemd:/\n0::/\n", &[]),
            (
                "4:memory:/user\n3:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/init.scope\n",
                &["cpu", "memory"],
            ),
            ("9:pids:/a:b\n", &["pids"]),
            ("", &[]),
        ] {
            assert_eq!(v1_controllers(text), want, "{text}");
        }
    }
}
