//! Loads and attaches what follows processes and cgroups.

use aya::{Btf, Ebpf, EbpfLoader, programs::BtfTracePoint};

use super::{LoadError, Node, objects};

/// Program and tracepoint. Processes first: what they do is looked at by everything else.
const PROGRAMS: &[(&str, &str)] = &[
    ("track_fork", "sched_process_fork"),
    ("track_exec", "sched_process_exec"),
    ("track_free", "sched_process_free"),
    ("track_cgroup_mkdir", "cgroup_mkdir"),
    ("track_cgroup_rmdir", "cgroup_rmdir"),
];

/// The loaded object.
pub(super) struct Tracker {
    ebpf: Ebpf,
}

impl Tracker {
    pub(super) fn load(node: &Node, hash_key: u64) -> Result<Self, LoadError> {
        let ebpf = EbpfLoader::new()
            .default_map_pin_directory(&node.pins)
            .override_global("LAYOUT", bytemuck::bytes_of(&node.layout), true)
            .override_global("HASH_KEY", &hash_key, true)
            .load(objects::built(objects::TRACK)?)
            .map_err(|source| LoadError::Object { object: "tracking", source })?;
        Ok(Self { ebpf })
    }

    pub(super) fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    pub(super) fn attach(&mut self, btf: &Btf) -> Result<(), LoadError> {
        for (name, tracepoint) in PROGRAMS {
            let program = self.ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
            let failed =
                |source| LoadError::Program { program: name, target: (*tracepoint).to_owned(), source };
            let program: &mut BtfTracePoint = program.try_into().map_err(failed)?;
            program.load(tracepoint, btf).map_err(failed)?;
            program.attach().map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn verified_instructions(&self) -> Vec<(String, u32)> {
        self.ebpf
            .programs()
            .filter_map(|(name, program)| {
                Some((name.to_owned(), program.info().ok()?.verified_instruction_count()?))
            })
            .collect()
    }
}
