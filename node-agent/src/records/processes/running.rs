//! Processes that ran before the agent: from /proc.

use std::{
    fs,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use gatewatch_abi::{
    RecordExec, SHARE_OF_HOST,
    consts::{
        NS_CGROUP, NS_IPC, NS_MNT, NS_NET, NS_PID, NS_PID_FOR_CHILDREN, NS_TIME, NS_TIME_FOR_CHILDREN,
        NS_USER, NS_UTS,
    },
};

use super::{Image, ImageId, Origin, TICK};
use crate::cgroup::{Level, level};

/// A process that was found.
#[derive(Debug, Default)]
pub(in crate::records) struct Found {
    /// When it was made, in ticks of the clock.
    pub(in crate::records) ticks: u64,
    /// Its parent.
    pub(in crate::records) parent: u32,
    /// The cgroup of its pod, or [`SHARE_OF_HOST`].
    pub(in crate::records) pod: u64,
    /// What it runs. Its parent and its texts are still to be set.
    pub(in crate::records) image: Image,
    /// The path.
    pub(in crate::records) binary: Vec<u8>,
    /// The command line.
    pub(in crate::records) command_line: Vec<u8>,
    /// The working directory.
    pub(in crate::records) cwd: Vec<u8>,
    /// Whether the command line is cut.
    pub(in crate::records) cut: bool,
}

/// Bytes of a command line that are kept, as of one that the kernel reports.
const COMMAND_LINE: usize = 4_095;

/// All processes, parents before their children where their ids say so. `cgroups` is where the hierarchy is mounted.
pub(in crate::records) fn running(cgroups: Option<&Path>) -> Vec<Found> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<Found> = ids.filter_map(|id| read(id, cgroups)).collect();
    found.sort_by_key(|found| (found.ticks, found.image.id.pid));
    found
}

/// `None`: it has ended.
fn read(pid: u32, cgroups: Option<&Path>) -> Option<Found> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let (parent, ticks) = parse_stat(&fs::read_to_string(folder.join("stat")).ok()?)?;
    let link = |name: &str| fs::read_link(folder.join(name)).map(|path| path.into_os_string().into_vec());
    let mut command_line = fs::read(folder.join("cmdline")).unwrap_or_default();
    let cut = command_line.len() > COMMAND_LINE;
    command_line.truncate(COMMAND_LINE);
    let mut who = RecordExec { auid: u32::MAX, parent, ..RecordExec::default() };
    if let Ok(text) = fs::read_to_string(folder.join("loginuid")) {
        who.auid = text.trim().parse().unwrap_or(u32::MAX);
    }
    parse_status(&fs::read_to_string(folder.join("status")).unwrap_or_default(), &mut who);
    for (kind, name) in NAMESPACES {
        let inode = link(&format!("ns/{name}")).ok().and_then(|text| inode(&text));
        who.namespaces[kind as usize] = inode.unwrap_or(0);
    }
    let cgroup = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
    let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let id = |path: &str| Some(fs::metadata(cgroups?.join(path.trim_start_matches('/'))).ok()?.ino());
    Some(Found {
        ticks,
        parent,
        pod: pod_of(cgroup).and_then(id).unwrap_or(SHARE_OF_HOST),
        image: Image {
            id: ImageId { pid, since: ticks * TICK },
            cgroup: id(cgroup).unwrap_or(0),
            who: Some(who),
            origin: Origin::Found,
            ..Image::default()
        },
        binary: link("exe").unwrap_or_default(),
        command_line,
        cwd: link("cwd").unwrap_or_default(),
        cut,
    })
}

/// The path of the pod's cgroup that a cgroup is in. `None`: it is the host's.
fn pod_of(cgroup: &str) -> Option<&str> {
    let ends = cgroup.match_indices('/').map(|(at, _)| at).chain([cgroup.len()]);
    ends.map(|end| &cgroup[..end]).find(|path| level(path) == Level::Pod)
}

/// Names below `/proc/PID/ns`.
const NAMESPACES: [(u32, &str); 10] = [
    (NS_UTS, "uts"),
    (NS_IPC, "ipc"),
    (NS_MNT, "mnt"),
    (NS_PID, "pid"),
    (NS_PID_FOR_CHILDREN, "pid_for_children"),
    (NS_NET, "net"),
    (NS_TIME, "time"),
    (NS_TIME_FOR_CHILDREN, "time_for_children"),
    (NS_CGROUP, "cgroup"),
    (NS_USER, "user"),
];

/// The parent and the time of birth of a process: fields 4 and 22 of its `stat` (proc(5)). Field 2, the name in parentheses,
/// may contain anything.
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// Users, groups, capabilities and the own process id, of `status`.
fn parse_status(status: &str, who: &mut RecordExec) {
    for line in status.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        let numbers = || rest.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
        let set = || u64::from_str_radix(rest.trim(), 16).unwrap_or(0);
        match name {
            // Real, effective, saved, of the file system; the kernel's structure has real, saved, effective.
            "Uid" => [0, 4, 2, 6].into_iter().zip(numbers()).for_each(|(at, id)| who.ids[at] = id),
            "Gid" => [1, 5, 3, 7].into_iter().zip(numbers()).for_each(|(at, id)| who.ids[at] = id),
            "NSpid" => who.ns_pid = numbers().next_back().unwrap_or(0),
            "CapInh" => who.inheritable = set(),
            "CapPrm" => who.permitted = set(),
            "CapEff" => who.effective = set(),
            _ => {}
        }
    }
}

/// The number in `uts:[4026531838]`.
fn inode(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    text.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_anything() {
        let stat = "42 (a) b) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 5242880 100";
        assert_eq!(parse_stat(stat), Some((7, 123_456)));
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn users_and_capabilities() {
        let mut who = RecordExec::default();
        parse_status(
            "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t900\t3\nCapEff:\t00000000a80425fb\n",
            &mut who,
        );
        assert_eq!(who.ids, [1, 5, 3, 7, 2, 6, 4, 8]);
        assert_eq!((who.ns_pid, who.effective), (3, 0xa804_25fb));
        assert_eq!(inode(b"uts:[4026531838]"), Some(4_026_531_838));
    }

    #[test]
    fn this_process_is_found() {
        let own = std::process::id();
        let all = running(None);
        let found = all.iter().find(|found| found.image.id.pid == own).unwrap();
        assert!(!found.binary.is_empty() && !found.command_line.is_empty());
        assert!(all.iter().any(|other| other.image.id.pid == found.parent));
    }

    #[test]
    fn the_share_of_a_process_is_its_pods_however_deep_its_cgroup_is() {
        let pod = "/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(pod_of(pod), Some(pod));
        assert_eq!(pod_of(&format!("{pod}/0123456789abcdef/made/below")), Some(pod));
        assert_eq!(pod_of("/system.slice/kubelet.service"), None);
        assert_eq!(pod_of("/"), None);
    }
}
