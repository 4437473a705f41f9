//! The processes that run before the BPF programs do, from /proc.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::ffi::OsStringExt,
    path::Path,
};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Thread group id.
    pub id: u32,
    /// Its parent's.
    pub parent: u32,
    /// Path of its program, as it sees it itself; none for a kernel thread.
    pub program: Option<Vec<u8>>,
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
    let program = link("exe").map(|exe| program(exe, &link("root").unwrap_or_default()));
    let stat = fs::read(dir.join("stat")).ok()?;
    Some(Running { id, parent: parent(&stat)?, program })
}

/// The path that the BPF programs give for what `/proc/PID/exe` names: without the mark of an unlinked file, and from
/// the process's own root (which the link names from ours, where both are of one mount namespace).
fn program(exe: Vec<u8>, root: &[u8]) -> Vec<u8> {
    let mut path = exe.strip_suffix(b" (deleted)").map(<[u8]>::to_vec).unwrap_or(exe);
    if root != b"/"
        && let Some(inside) = path.strip_prefix(root)
        && inside.starts_with(b"/")
    {
        path = inside.to_vec();
    }
    path
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
    use super::{Running, descendants, parent, program};

    #[test]
    fn program_is_what_the_process_sees() {
        assert_eq!(program(b"/usr/bin/cat".to_vec(), b"/"), b"/usr/bin/cat");
        assert_eq!(program(b"/srv/root/bin/sh".to_vec(), b"/srv/root"), b"/bin/sh");
        assert_eq!(program(b"/srv/rooted/bin/sh".to_vec(), b"/srv/root"), b"/srv/rooted/bin/sh");
        assert_eq!(program(b"/tmp/x (deleted)".to_vec(), b"/"), b"/tmp/x");
    }

    #[test]
    fn parent_is_found_behind_any_name() {
        assert_eq!(parent(b"7 (a) b) S 3 7 7 0"), Some(3));
        assert_eq!(parent(b"7 (sh"), None);
    }

    #[test]
    fn descendants_of_descendants_are_followed() {
        let process =
            |id, parent, program: &str| Running { id, parent, program: Some(program.as_bytes().to_vec()) };
        let all =
            [process(1, 0, "/init"), process(2, 1, "/sh"), process(3, 2, "/cat"), process(4, 1, "/cat")];
        let mut found: Vec<u32> = descendants(&all, &[b"/sh".to_vec()]).into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
    }
}
