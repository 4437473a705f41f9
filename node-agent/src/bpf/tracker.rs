//! Loads and attaches what follows processes and cgroups.

use std::{fs, path::Path};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, links::FdLink},
};
use aya_obj::generated::BPF_F_NO_PREALLOC;
use gatewatch_abi::{Running, Sizes};

use super::{
    LoadError, Node,
    bpffs::Pins,
    loader::{Loader, With, set_flags},
    objects, processes,
    verified::verified_instructions,
};

/// Program and tracepoint. Processes first: all other programs read their entries.
const PROGRAMS: &[(&str, &str)] = &[
    ("track_fork", "sched_process_fork"),
    ("track_exec", "sched_process_exec"),
    ("track_free", "sched_process_free"),
    ("track_cgroup_attach", "cgroup_attach_task"),
    ("track_cgroup_mkdir", "cgroup_mkdir"),
    ("track_cgroup_rmdir", "cgroup_rmdir"),
];

/// The loaded object.
pub(super) struct Tracker {
    ebpf: Ebpf,
}

impl Tracker {
    /// Loads it, with tables of these sizes.
    pub(super) fn load(
        node: &Node,
        loader: &mut Loader,
        sizes: Sizes,
        hash_key: u64,
    ) -> Result<Self, LoadError> {
        let host_mounts = processes::host_mounts().unwrap_or(0);
        let globals: &[(_, &[u8])] = &[
            ("LAYOUT", bytemuck::bytes_of(&node.layout)),
            ("HASH_KEY", &hash_key.to_ne_bytes()),
            ("HOST_MOUNTS", &host_mounts.to_ne_bytes()),
        ];
        let entries = &[
            ("COUNTS", sizes.places),
            ("VALUES", sizes.places),
            ("FREE", sizes.places),
            ("RELEASED", sizes.places),
            ("BINARIES", sizes.programs),
            ("PROCESSES", node.processes.most),
        ];
        let mut object = objects::built(objects::TRACK)?.to_owned();
        if node.processes.as_needed {
            set_flags(&mut object, "PROCESSES", BPF_F_NO_PREALLOC)?;
        }
        Ok(Self { ebpf: loader.load("tracking", &object, &With { globals, entries })? })
    }

    pub(super) fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Attaches. Programs of an earlier agent go when ours are there: for a moment both see everything, and what they
    /// do twice is the same as once.
    pub(super) fn attach(&mut self, btf: &Btf, pins: &Pins) -> Result<(), LoadError> {
        let folder = pins.kept().then(|| pins.dir().join("tracker"));
        for (name, tracepoint) in PROGRAMS {
            let program = self.ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
            let failed =
                |source| LoadError::Program { program: name, target: (*tracepoint).to_owned(), source };
            let program: &mut BtfTracePoint = program.try_into().map_err(failed)?;
            program.load(tracepoint, btf).map_err(failed)?;
            let link = program.attach().map_err(failed)?;
            if let Some(folder) = &folder {
                let link: FdLink = program.take_link(link).map_err(failed)?.into();
                keep(link, folder, name)?;
            }
        }
        processes::load(&mut self.ebpf, btf)
    }

    /// Enters the processes that aren't known, and returns all that run. To be called when all is attached.
    pub(super) fn running(&mut self) -> Result<Vec<Running>, LoadError> {
        processes::running(&mut self.ebpf)
    }

    pub(super) fn verified_instructions(&self) -> Vec<(String, u32)> {
        verified_instructions(&self.ebpf)
    }
}

/// Puts a link in the place of an earlier one, in one step.
fn keep(link: FdLink, folder: &Path, name: &str) -> Result<(), LoadError> {
    let (new, path) = (folder.join(format!("{name}-new")), folder.join(name));
    let failed = |source| LoadError::Pins { path: path.clone(), source };
    super::bpffs::remove_all(&new).map_err(failed)?;
    link.pin(&new).map_err(|source| LoadError::Pin { path: new.clone(), source })?;
    fs::rename(&new, &path).map_err(failed)
}
