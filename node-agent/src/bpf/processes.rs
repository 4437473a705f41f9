//! The processes that run before the BPF programs do, from /proc.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::Path,
};

use crate::cgroup::{self, CgroupOwner};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Thread group id.
    pub id: u32,
    /// Its parent's.
    pub parent: u32,
    /// Path of its program in its mount namespace; none for a kernel thread.
    pub program: Option<Vec<u8>>,
    /// Whether it runs in the host's mount namespace, and in no pod. What it ran before isn't known.
    pub of_host: bool,
}

/// All processes, kernel threads included. What ends meanwhile is left out.
pub fn running() -> Vec<Running> {
    running_of(|_| true)
}

/// Those of them that are `wanted`, by their ids.
pub fn running_of(wanted: impl Fn(u32) -> bool) -> Vec<Running> {
    let Ok(dir) = fs::read_dir("/proc") else { return Vec::new() };
    dir.filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| wanted(*id))
        .filter_map(|id| process(id, Path::new("/proc")))
        .collect()
}

/// Whether there is a process of this id.
pub fn exists(id: u32) -> bool {
    Path::new("/proc").join(id.to_string()).exists()
}

fn process(id: u32, proc: &Path) -> Option<Running> {
    let dir = proc.join(id.to_string());
    let link = |name: &str| Some(fs::read_link(dir.join(name)).ok()?.into_os_string().into_vec());
    let program = link("exe").map(program);
    let stat = fs::read(dir.join("stat")).ok()?;
    let of_host = mounts(&dir).is_some_and(|own| Some(own) == host_mounts())
        && fs::read_to_string(dir.join("cgroup")).is_ok_and(|text| in_no_pod(&text));
    Some(Running { id, parent: parent(&stat)?, program, of_host })
}

/// Inode number of the host's mount namespace, if this process may read it.
pub fn host_mounts() -> Option<u64> {
    mounts(Path::new("/proc/1"))
}

/// Inode number of the mount namespace of a process, by its directory in /proc.
fn mounts(process: &Path) -> Option<u64> {
    Some(fs::metadata(process.join("ns/mnt")).ok()?.ino())
}

/// Whether `/proc/PID/cgroup` names no cgroup of a pod, in any hierarchy.
fn in_no_pod(cgroups: &str) -> bool {
    cgroups
        .lines()
        .all(|line| line.splitn(3, ':').nth(2).is_some_and(|path| cgroup::resolve(path) == CgroupOwner::Host))
}

/// The path that the BPF programs give for what `/proc/PID/exe` names: without the mark of an unlinked file.
fn program(exe: Vec<u8>) -> Vec<u8> {
    exe.strip_suffix(b" (deleted)").map(<[u8]>::to_vec).unwrap_or(exe)
}

/// The fourth field of `/proc/PID/stat`; the second one, the name in parentheses, may hold anything.
fn parent(stat: &[u8]) -> Option<u32> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The ids of the processes that run one of these programs, and of all their descendants.
pub fn descendants(processes: &[Running], programs: &[Vec<u8>]) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(process.id);
    }
    let mut found = HashSet::new();
    let mut open: Vec<u32> = processes
        .iter()
        .filter(|process| process.program.as_ref().is_some_and(|program| programs.contains(program)))
        .map(|process| process.id)
        .collect();
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(children.get(&id).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Running, descendants, in_no_pod, parent, program};

    #[test]
    fn program_is_what_was_executed() {
        assert_eq!(program(b"/usr/bin/cat".to_vec()), b"/usr/bin/cat");
        assert_eq!(program(b"/tmp/x (deleted)".to_vec()), b"/tmp/x");
    }

    #[test]
    fn pods_are_seen_in_any_hierarchy() {
        let pod = "/kubepods/besteffort/pod11111111-2222-3333-4444-555555555555/abc";
        assert!(in_no_pod("0::/system.slice/cron.service\n"));
        assert!(!in_no_pod(&format!("0::{pod}\n")));
        assert!(!in_no_pod(&format!("1:name=systemd:{pod}\n0::/\n")));
        assert!(!in_no_pod("unreadable"));
    }

    #[test]
    fn parent_is_found_behind_any_name() {
        assert_eq!(parent(b"7 (a) b) S 3 7 7 0"), Some(3));
        assert_eq!(parent(b"7 (sh"), None);
    }

    #[test]
    fn descendants_of_descendants_are_followed() {
        let process = |id, parent, program: &str| Running {
            id,
            parent,
            program: Some(program.as_bytes().to_vec()),
            of_host: true,
        };
        let all =
            [process(1, 0, "/init"), process(2, 1, "/sh"), process(3, 2, "/cat"), process(4, 1, "/cat")];
        let mut found: Vec<u32> = descendants(&all, &[b"/sh".to_vec()]).into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
    }
}
