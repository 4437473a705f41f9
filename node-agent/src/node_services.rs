//! The services of the node that are never stopped: kubelet and the container runtimes, by the files that they run.
//!
//! A name decides nothing alone. A file counts if root runs it in the host's mount namespace, and if only root can write it.
//! And the BPF programs spare only what the host executes, which no process of a container is
//! ([`HOST_PROGRAM`](gatewatch_abi::HOST_PROGRAM)).

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

/// Names of programs. What they start belongs to them, so runc and crun need no entry.
const NAMES: [&str; 20] = [
    "kubelet",
    "kubelite",
    "containerd",
    "containerd-shim",
    "containerd-shim-runc-v1",
    "containerd-shim-runc-v2",
    "crio",
    "cri-o",
    "cri-dockerd",
    "conmon",
    "conmonrs",
    "dockerd",
    "docker-containerd",
    "docker-containerd-shim",
    "k3s",
    "k3s-agent",
    "k3s-server",
    "k0s",
    "rke2",
    "podman",
];

/// Folders in which distributions have them, for a service that starts after the agent.
const FOLDERS: [&str; 6] =
    ["/usr/bin", "/usr/local/bin", "/usr/sbin", "/bin", "/opt/bin", "/home/kubernetes/bin"];

/// The usual paths, whether anything runs them or not.
pub fn usual() -> impl Iterator<Item = Vec<u8>> {
    FOLDERS
        .into_iter()
        .flat_map(|folder| NAMES.into_iter().map(move |name| format!("{folder}/{name}").into_bytes()))
}

/// The paths that are run now. Empty if `/proc` cannot be read.
pub fn running() -> BTreeSet<Vec<u8>> {
    let Ok(host) = fs::metadata("/proc/1/ns/mnt") else { return BTreeSet::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let processes = entries.filter_map(Result::ok).map(|entry| entry.path());
    let is_process = |path: &Path| {
        path.file_name().is_some_and(|name| name.as_bytes().first().is_some_and(u8::is_ascii_digit))
    };
    processes.filter(|path| is_process(path)).filter_map(|process| service(&process, host.ino())).collect()
}

/// The file that a process runs, if that is a service.
fn service(process: &Path, host: u64) -> Option<Vec<u8>> {
    let link = process.join("exe");
    let path = fs::read_link(&link).ok()?;
    let name = path.file_name()?.to_str()?;
    if !NAMES.contains(&name) {
        return None;
    }
    let of_root = fs::metadata(process).ok()?.uid() == 0;
    let mounts = fs::metadata(process.join("ns/mnt")).ok()?.ino();
    let file = fs::metadata(&link).ok()?;
    let only_root_writes = file.uid() == 0 && file.mode() & 0o022 == 0;
    (of_root && mounts == host && only_root_writes).then(|| path.as_os_str().as_bytes().to_vec())
}
