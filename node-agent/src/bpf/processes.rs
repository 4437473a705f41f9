//! The processes that run already, read by a BPF iterator.
//!
//! `/proc` would not do: an agent on a node that is a container itself (kind) sees other ids there than the kernel's.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{ErrorKind, Read as _},
    os::unix::fs::MetadataExt as _,
};

use aya::{
    Btf, Ebpf,
    programs::{Iter, ProgramError},
};
use gatewatch_abi::Running;

use super::LoadError;

const PROGRAM: &str = "track_running";
const TARGET: &str = "task";

/// Loads the program. It runs at each [`running`].
pub(super) fn load(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), LoadError> {
    iterator(ebpf)?.load(TARGET, btf).map_err(failed)
}

/// Enters all processes that the table has no entry of, and returns all of them, threads of the kernel included.
pub(super) fn running(ebpf: &mut Ebpf) -> Result<Vec<Running>, LoadError> {
    let program = iterator(ebpf)?;
    let link = program.attach().map_err(failed)?;
    let link = program.take_link(link).map_err(failed)?;
    let mut file =
        link.into_file().map_err(|source| LoadError::Link { symbol: TARGET.to_owned(), source })?;
    let mut bytes = Vec::new();
    loop {
        match file.read_to_end(&mut bytes) {
            Ok(_) => break,
            // So many tasks that the kernel makes a pause (`MAX_ITER_OBJECTS` in `kernel/bpf/bpf_iter.c`).
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(LoadError::Processes(error)),
        }
    }
    Ok(bytes.chunks_exact(size_of::<Running>()).map(bytemuck::pod_read_unaligned).collect())
}

fn iterator(ebpf: &mut Ebpf) -> Result<&mut Iter, LoadError> {
    let program = ebpf.program_mut(PROGRAM).ok_or(LoadError::Missing(PROGRAM))?;
    program.try_into().map_err(failed)
}

fn failed(source: ProgramError) -> LoadError {
    LoadError::Program { program: PROGRAM, target: TARGET.to_owned(), source }
}

/// Inode number of the host's mount namespace, if this process may read it.
pub(super) fn host_mounts() -> Option<u64> {
    Some(fs::metadata("/proc/1/ns/mnt").ok()?.ino())
}

/// The ids of the processes that run one of these programs, and of all their descendants.
pub(super) fn descendants(processes: &[Running], programs: &[u64]) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(process.id);
    }
    let mut found = HashSet::new();
    let mut open: Vec<u32> = processes
        .iter()
        .filter(|process| programs.contains(&process.binary))
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
    use super::{Running, descendants};

    #[test]
    fn descendants_of_descendants_are_followed() {
        let process = |id, parent, binary| Running { binary, id, parent };
        let all = [process(1, 0, 10), process(2, 1, 20), process(3, 2, 30), process(4, 1, 30)];
        let mut found: Vec<u32> = descendants(&all, &[20]).into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
    }
}
